"""The status a kubelet writes: ``generateAPIPodStatus`` and what it calls (pkg/kubelet, pkg/kubelet/status)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jobset_restart.simulator.controllers.containers import Container, Run
from jobset_restart.simulator.controllers.pod_actions import (
    all_could_restart,
    init_containers,
    is_sidecar,
    should_all_restart,
    should_be_restarted,
    should_restart,
)
from jobset_restart.simulator.store import Obj, Objs, timestamp

OWN = frozenset(
    {
        "PodScheduled",
        "Ready",
        "Initialized",
        "ContainersReady",
        "PodReadyToStartContainers",
        "AllContainersRestarting",
    }
)
"""Conditions owned by the kubelet (``PodConditionByKubelet``)."""
TERMINAL = ("Succeeded", "Failed")
RESTARTING = "RestartingAllContainers"
_REMOVED = "The container is removed because RestartAllContainers in place"
_LOST = "The container could not be located when the pod was"


class Address(NamedTuple):
    host: str
    pod: str


def pod_status(pod: Obj, run: Run, address: Address, now: float, *, stopped: bool = False) -> Obj:
    """The status of a Pod as its runtime has it now; ``stopped`` says that its containers will not start again."""
    spec, old = pod["spec"], pod.get("status") or {}
    could = all_could_restart(pod)
    restarting = could and should_all_restart(pod, run, old)
    inits = init_containers(pod)
    waiting = "PodInitializing" if inits else "ContainerCreating"
    regular = _statuses(pod, run, spec["containers"], old.get("containerStatuses"), waiting, restarting, False)
    initial = _statuses(pod, run, inits, old.get("initContainerStatuses"), waiting, restarting, True)
    shown = {each["name"]: each for each in (*initial, *regular)}
    phase = _phase(pod, run, shown, stopped)
    if old.get("phase") in TERMINAL:
        phase = old["phase"]
    status = dict(old)
    status.update(
        observedGeneration=pod["metadata"].get("generation", 1),
        phase=phase,
        hostIP=address.host,
        hostIPs=[{"ip": address.host}],
        containerStatuses=sorted(regular, key=lambda each: str(each["name"])),
        startTime=old.get("startTime") or timestamp(now),
    )
    if "resources" not in status:
        status.update(_pod_resources(spec))
    if address.pod:
        status.update(podIP=address.pod, podIPs=[{"ip": address.pod}])
    if inits:
        status["initContainerStatuses"] = initial
    if phase != old.get("phase"):
        status.pop("reason", None)
        status.pop("message", None)
    status["conditions"] = _conditions(pod, run, shown, phase, now)
    if could:
        cleaned = restarting and not any(run.history.values())
        before = next((each for each in old.get("conditions") or () if each["type"] == "AllContainersRestarting"), None)
        status["conditions"].append(_all_restarting(phase, restarting and not cleaned, before, now))
    return status


def _conditions(pod: Obj, run: Run, shown: Mapping[str, Obj], phase: str, now: float) -> Objs:
    """The Pod's conditions: those of others, then the kubelet's own for these container statuses."""
    old = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    found = [each for each in old.values() if each["type"] not in OWN]
    ready = _containers_ready(pod, shown, phase)
    wanted = [
        ("PodReadyToStartContainers", run.sandbox, "", ""),
        ("Initialized", *_initialized(pod, shown, phase, old.get("Initialized"))),
        ("Ready", *(ready if not ready[0] else _gates(pod, old))),
        ("ContainersReady", *ready),
        ("PodScheduled", True, "", ""),
    ]
    generation = pod["metadata"].get("generation", 1)
    for kind, value, reason, message in wanted:
        found.append(_condition(kind, value, reason, message, generation, old.get(kind), now))
    return found


def _condition(
    kind: str, value: bool, reason: str, message: str, generation: int | None, old: Obj | None, now: float
) -> Obj:
    """A condition; lastTransitionTime moves with its status only (``updateLastTransitionTime``)."""
    text = "True" if value else "False"
    same = old is not None and old["status"] == text
    condition: Obj = {"type": kind, "status": text, "lastProbeTime": None}
    condition["lastTransitionTime"] = old["lastTransitionTime"] if same and old else timestamp(now)
    if generation is not None:
        condition["observedGeneration"] = generation
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


_Verdict = tuple[bool, str, str]


def _containers_ready(pod: Obj, shown: Mapping[str, Obj], phase: str) -> _Verdict:
    """``GenerateContainersReadyCondition``."""
    if phase in TERMINAL:
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    names = [spec["name"] for spec in init_containers(pod) if is_sidecar(spec)]
    names += [spec["name"] for spec in pod["spec"]["containers"]]
    unready = [name for name in names if not shown[name]["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _gates(pod: Obj, old: Mapping[str, Obj]) -> _Verdict:
    """Readiness gates (``GeneratePodReadyCondition``)."""
    problems = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in old:
            problems.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif old[kind]["status"] != "True":
            is_now = old[kind]["status"]
            problems.append(f'the status of pod readiness gate "{kind}" is not "True", but {is_now}')
    return (False, "ReadinessGatesNotReady", ", ".join(problems)) if problems else (True, "", "")


def _initialized(pod: Obj, shown: Mapping[str, Obj], phase: str, old: Obj | None) -> _Verdict:
    """``GeneratePodInitializedCondition``: once a Pod is initialized it stays so."""
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    for spec in pod["spec"]["containers"]:
        if "waiting" not in shown[spec["name"]]["state"]:
            return True, "", ""
    incomplete = [
        spec["name"]
        for spec in init_containers(pod)
        if not shown[spec["name"]]["started" if is_sidecar(spec) else "ready"]
    ]
    if not incomplete or (old is not None and old["status"] == "True"):
        return True, "", ""
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"


def _all_restarting(phase: str, value: bool, old: Obj | None, now: float) -> Obj:
    """``GenerateAllContainersRestartingCondition``; it alone has no observedGeneration."""
    reason = message = ""
    if phase in TERMINAL:
        value, reason = False, "PodCompleted" if phase == "Succeeded" else "PodFailed"
    elif value:
        reason, message = "RestartAllContainersStarted", "container exited with restart policy rule"
    return _condition("AllContainersRestarting", value, reason, message, None, old, now)


# Containers (convertToAPIContainerStatuses)


def _statuses(
    pod: Obj, run: Run, specs: Iterable[Obj], before: Objs | None, waiting: str, restarting: bool, init: bool
) -> Objs:
    old = {each["name"]: each for each in before or ()}
    return [_status(pod, run, spec, old.get(spec["name"]), waiting, restarting, init) for spec in specs]


def _status(pod: Obj, run: Run, spec: Obj, old: Obj | None, waiting: str, restarting: bool, init: bool) -> Obj:
    found = run.history.get(spec["name"])
    status = _known(spec, found, old) if found else _unknown(pod, spec, old, waiting, restarting)
    _explain_waiting(pod, run, spec, status, init)
    newest = found[0] if found else None
    started = newest is not None and newest.is_started
    status["started"] = started
    if init and not is_sidecar(spec):
        # ``UpdatePodStatus`` of the prober leaves it as it was where a container of the past is no more
        ended = status["state"].get("terminated")
        status["ready"] = status["ready"] or bool(ended and ended["exitCode"] == 0)
    else:
        status["ready"] = started and newest is not None and newest.ready
    mounts = [_mount(each) for each in spec.get("volumeMounts") or ()]
    if mounts:
        shared = old is not None and old.get("volumeMounts") == mounts
        status["volumeMounts"] = old["volumeMounts"] if old is not None and shared else mounts
    return status


def _known(spec: Obj, found: list[Container], old: Obj | None) -> Obj:
    """The status of a container the runtime has (``convertContainerStatus``)."""
    newest = found[0]
    restarts, last = newest.restarts, {}
    if old is not None:
        restarts = max(restarts, old["restartCount"])
        ended = old["state"].get("terminated")
        if ended and old.get("containerID") != f"containerd://{newest.id}":
            last = {"terminated": ended}
        elif old["lastState"].get("terminated"):
            last = old["lastState"]
        if newest.running and ended and old["restartCount"] >= newest.restarts:
            restarts = old["restartCount"] + 1
    if len(found) > 1:
        last = {"terminated": _terminated(found[1])}
    state: Obj = {"running": {"startedAt": timestamp(newest.started)}}
    status: Obj = {
        "name": spec["name"],
        "state": state if newest.running else {"terminated": _terminated(newest)},
        "lastState": last,
        "ready": False,
        "restartCount": restarts,
        "image": newest.image,
        "imageID": newest.image_id,
        "containerID": f"containerd://{newest.id}",
        "resources": spec.get("resources") or {},
    }
    if status["resources"].get("requests"):
        status["allocatedResources"] = status["resources"]["requests"]
    return status


def _terminated(container: Container) -> Obj:
    return {
        "exitCode": container.code,
        "reason": container.reason,
        "startedAt": timestamp(container.started),
        "finishedAt": timestamp(container.finished or container.started),
        "containerID": f"containerd://{container.id}",
    }


def _unknown(pod: Obj, spec: Obj, old: Obj | None, waiting: str, restarting: bool) -> Obj:
    """The status of a container the runtime does not have: not yet, or no more."""
    status: Obj = {
        "name": spec["name"],
        "state": {"waiting": {"reason": waiting}},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": spec["image"],
        "imageID": "",
    }
    if old is None:
        return status
    if "terminated" in old["state"]:
        status = {**old}
    else:
        status.update(restartCount=old["restartCount"], lastState=old["lastState"])
    if restarting and "waiting" not in old["state"]:
        status["state"] = {"waiting": {"reason": RESTARTING, "message": _REMOVED}}
        status["lastState"] = {"terminated": _lost(RESTARTING, _REMOVED)}
        status["restartCount"] = old["restartCount"] + 1
    elif "running" in old["state"] and not status["lastState"].get("terminated"):
        message = f"{_LOST} deleted.  The container used to be Running"
        status["lastState"] = {"terminated": _lost("ContainerStatusUnknown", message)}
        status["restartCount"] += "deletionTimestamp" not in pod["metadata"]
    return status


def _lost(reason: str, message: str) -> Obj:
    return {"exitCode": 137, "reason": reason, "message": message, "startedAt": None, "finishedAt": None}


def _explain_waiting(pod: Obj, run: Run, spec: Obj, status: Obj, init: bool) -> None:
    """A container that should run and could not be started is Waiting, with the reason of the last attempt."""
    found = run.newest(spec["name"])
    if init and found is None and not is_sidecar(spec) and "waiting" in status["state"]:
        if any(run.newest(each["name"]) for each in pod["spec"]["containers"]):
            status["state"] = {
                "terminated": {"exitCode": 0, "reason": "Completed", "startedAt": None, "finishedAt": None}
            }
        return
    if init and found is not None and not found.running and found.code == 0:
        return
    failure = run.failures.get(spec["name"])
    if failure is None or not should_be_restarted(spec, pod, run):
        return
    if "terminated" in status["state"]:
        status["lastState"] = status["state"]
    status["state"] = {"waiting": {"reason": failure.reason, "message": failure.message}}


def _mount(mount: Obj) -> Obj:
    found: Obj = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        found |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return found


def _pod_resources(spec: Obj) -> Obj:
    """status.resources and allocatedResources, where one container asks for anything; sums are not modelled."""
    asked = [each["resources"] for each in spec["containers"] if each.get("resources")]
    if len(asked) != 1:
        return {"resources": {}}
    requests = asked[0].get("requests")
    alone = len(spec["containers"]) == 1
    found: Obj = {"resources": asked[0] if alone else {"requests": requests} if requests else {}}
    if requests:
        found["allocatedResources"] = requests
    return found


def stopped_for_good(pod: Obj, status: Obj) -> Obj:
    """The status with every container terminated and a terminal phase (``TerminatePod``)."""
    status = dict(status)
    began = any("waiting" not in each["state"] or each["lastState"] for each in status["containerStatuses"])
    last = init_containers(pod)[-1:]
    done = [each for each in status.get("initContainerStatuses") or () if last and each["name"] == last[0]["name"]]
    if not last or began or (done and done[0]["state"].get("terminated", {}).get("exitCode") == 0):
        status["containerStatuses"] = [_ended(each) for each in status["containerStatuses"]]
    inits = list(status.get("initContainerStatuses") or ())
    tried = [index for index, each in enumerate(inits) if "waiting" not in each["state"] or each["lastState"]]
    for index in range(max(tried, default=0) + 1 if inits else 0):
        inits[index] = _ended(inits[index])
    if inits:
        status["initContainerStatuses"] = inits
    if status["phase"] not in TERMINAL:
        status["phase"] = "Failed"
    # what is left once the Pod's cgroup is gone, which this is read from (``convertToAPIPodLevelResourcesStatus``)
    memory = (status["resources"].get("requests") or {}).get("memory")
    status["resources"] = {"requests": {"memory": memory}} if memory else {}
    return status


def _ended(status: Obj) -> Obj:
    if "terminated" in status["state"]:
        return status
    return {**status, "state": {"terminated": _lost("ContainerStatusUnknown", f"{_LOST} terminated")}}


# The phase (getPhase)


def _phase(pod: Obj, run: Run, shown: Mapping[str, Obj], stopped: bool) -> str:
    """``getPhase``."""
    failed, pending, sidecars_pending, running, waiting = _count_inits(pod, shown)
    stopped_count = final = succeeded = 0
    for spec, state, ended in _states(pod["spec"]["containers"], shown):
        running += "running" in state
        waiting += "waiting" in state and ended is None
        if ended is not None:
            stopped_count += 1
            final += not (should_restart(spec, pod, ended["exitCode"]) or ended["reason"] == RESTARTING)
            succeeded += "terminated" in state and ended["exitCode"] == 0
    if failed:
        return "Failed"
    began = any(run.newest(spec["name"]) for spec in pod["spec"]["containers"])
    if pending or (sidecars_pending and not began) or waiting:
        return "Pending"
    if running:
        return "Running"
    if not stopped_count:
        return "Pending"
    if stopped_count != final and not stopped:
        return "Running"
    return "Succeeded" if stopped_count == succeeded else "Failed"


def _count_inits(pod: Obj, shown: Mapping[str, Obj]) -> tuple[bool, bool, bool, int, int]:
    """(one failed for good, one pending, a sidecar pending, sidecars running, sidecars waiting)."""
    failed = pending = sidecars_pending = False
    running = waiting = 0
    for spec, state, ended in _states(init_containers(pod), shown):
        if is_sidecar(spec):
            running += "running" in state
            waiting += "waiting" in state and ended is None
            late = "running" in state and not shown[spec["name"]]["started"]
            sidecars_pending |= late or ("waiting" in state and ended is None)
        elif ended is None:
            pending = True
        elif ended["exitCode"] != 0:
            failed |= not (should_restart(spec, pod, ended["exitCode"]) or ended["reason"] == RESTARTING)
    return failed, pending, sidecars_pending, running, waiting


def _states(specs: Iterable[Obj], shown: Mapping[str, Obj]) -> Iterator[tuple[Obj, Obj, Obj | None]]:
    """Each container with its state and how it last ended: now, or before it began to wait."""
    for spec in specs:
        status = shown[spec["name"]]
        state = status["state"]
        yield (
            spec,
            state,
            state.get("terminated") or ("waiting" in state and status["lastState"].get("terminated")) or None,
        )
