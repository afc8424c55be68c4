"""What a sync has to do: ``computePodActions`` and the restart rules of pkg/kubelet/kuberuntime and pkg/api/v1/pod."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobset_restart.simulator.controllers.containers import Container, Run
from jobset_restart.simulator.store import Obj, Objs


@dataclass
class Actions:
    """``podActions``. Containers to kill come with the message of their event and, if a probe failed, its name."""

    create_sandbox: bool = False
    kill_pod: bool = False
    kill: list[tuple[Obj, Container, str, str]] = field(default_factory=list)
    start_init: Objs = field(default_factory=list)
    start: Objs = field(default_factory=list)
    reset: list[tuple[Obj, Container]] = field(default_factory=list)


def init_containers(pod: Obj) -> Objs:
    return list(pod["spec"].get("initContainers") or ())


def is_sidecar(spec: Obj) -> bool:
    """``IsRestartableInitContainer``; meant for init containers."""
    return bool(spec.get("restartPolicy") == "Always")


def matching_action(spec: Obj, code: int) -> str:
    """The action of the first restart rule an exit code matches (``FindMatchingContainerRestartRule``), or ""."""
    for rule in spec.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes")
        if codes and (code in codes.get("values", ())) == (codes["operator"] == "In"):
            return str(rule["action"])
    return ""


def should_restart(spec: Obj, pod: Obj, code: int) -> bool:
    """``ContainerShouldRestart``: rules, then the container's policy, then the Pod's."""
    if spec.get("restartPolicy") and matching_action(spec, code):
        return True
    policy = spec.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    return bool(policy == "Always" or (policy == "OnFailure" and code != 0))


def should_be_restarted(spec: Obj, pod: Obj, run: Run) -> bool:
    """``ShouldContainerBeRestarted``."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    found = run.newest(spec["name"])
    return found is None or (not found.running and should_restart(spec, pod, found.code))


def all_could_restart(pod: Obj) -> bool:
    """``AllContainersCouldRestart``: whether some rule restarts all containers."""
    return any(
        rule["action"] == "RestartAllContainers"
        for spec in (*init_containers(pod), *pod["spec"]["containers"])
        for rule in spec.get("restartPolicyRules") or ()
    )


def should_all_restart(pod: Obj, run: Run, status: Obj) -> bool:
    """``ShouldAllContainersRestart``: the condition says so, or a container exited with a rule that does."""
    for each in status.get("conditions") or ():
        if each["type"] == "AllContainersRestarting" and each["status"] == "True":
            return True
    shown = {
        each["name"]: each["state"].get("terminated")
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    for spec in (*init_containers(pod), *pod["spec"]["containers"]):
        if not spec.get("restartPolicyRules"):
            continue
        found, ended = run.newest(spec["name"]), shown.get(spec["name"])
        codes = [found.code] if found and not found.running else []
        codes += [ended["exitCode"]] if ended and (found is None or not found.running) else []
        if any(matching_action(spec, code) == "RestartAllContainers" for code in codes):
            return True
    return False


def pod_actions(pod: Obj, run: Run, restart_all: bool) -> Actions:
    """``computePodActions``."""
    actions = Actions()
    if restart_all:
        actions.reset = _to_reset(pod, run)
        return actions
    if not run.sandbox:
        if run.history:  # the Pod was killed because it is done
            actions.kill_pod = True
            return actions
        actions.create_sandbox = True
        first = init_containers(pod)[:1]
        actions.start_init, actions.start = first, [] if first else list(pod["spec"]["containers"])
        return actions
    if not _init_actions(pod, run, actions) or actions.kill_pod:
        return actions
    kept = 0
    for spec in pod["spec"]["containers"]:
        found = run.newest(spec["name"])
        if found is None or not found.running:
            if should_be_restarted(spec, pod, run):
                actions.start.append(spec)
            continue
        policy = spec.get("restartPolicy") or pod["spec"].get("restartPolicy")
        restart, message, probe = policy != "Never", "", ""
        if found.reference != spec["image"]:
            restart, message = True, f"Container {spec['name']} definition changed"
        elif found.startup is False:
            message, probe = f"Container {spec['name']} failed startup probe", "startupProbe"
        else:
            kept += 1
            continue
        if restart:
            message += ", will be restarted"
            actions.start.append(spec)
        actions.kill.append((spec, found, message, probe))
    if not kept and not actions.start:
        actions.kill_pod, actions.start_init = True, []
    return actions


def _init_actions(pod: Obj, run: Run, actions: Actions) -> bool:
    """``computeInitContainerActions``: whether the Pod is initialized; from the last init container to the first."""
    specs = init_containers(pod)
    if not specs:
        return True
    regular = [run.newest(spec["name"]) for spec in pod["spec"]["containers"]]
    initialized = previously = any(found is not None and found.running for found in regular)
    indexes: list[int] = []
    for index in reversed(range(len(specs))):
        spec, found = specs[index], run.newest(specs[index]["name"])
        sidecar = is_sidecar(spec)
        if found is None:
            if previously and sidecar:
                indexes.append(index)
            continue
        if previously and not sidecar:
            continue
        ready = not found.running and not sidecar and found.code == 0
        if found.running and sidecar:
            ready = _sidecar_actions(spec, found, index, actions, indexes)
        elif not found.running and (sidecar or found.code != 0):
            if not sidecar and not should_be_restarted(spec, pod, run):
                actions.kill_pod = True
                return False
            indexes.append(index)
        if ready and index == len(specs) - 1:
            initialized = True
        elif ready and not previously:
            indexes.append(index + 1)
        previously = True
    if not previously:
        indexes.append(0)
    actions.start_init = [specs[index] for index in sorted(set(indexes))]
    return initialized


def _sidecar_actions(spec: Obj, found: Container, index: int, actions: Actions, indexes: list[int]) -> bool:
    """What a running sidecar needs; returns whether it has started."""
    name, message, probe = spec["name"], "", ""
    if found.has_startup and found.startup is not True:
        if found.startup is None:
            return False
        message, probe = f"Init container {name} failed startup probe", "startupProbe"
    elif found.reference != spec["image"]:
        message = f"Init container {name} definition changed"
    if message:
        actions.kill.append((spec, found, message, probe))
        indexes.append(index)
    return not probe


def _to_reset(pod: Obj, run: Run) -> list[tuple[Obj, Container]]:
    """Every container, those whose exit caused it last (``getContainersToReset``)."""
    sources: list[tuple[Obj, Container]] = []
    targets: list[tuple[Obj, Container]] = []
    for specs in (init_containers(pod), pod["spec"]["containers"]):
        mine: list[tuple[Obj, Container]] = []
        for spec in specs:
            for found in run.history.get(spec["name"], ()):
                caused = not found.running and matching_action(spec, found.code) == "RestartAllContainers"
                (sources if caused else mine).append((spec, found))
        targets = mine + targets
    return targets + sources
