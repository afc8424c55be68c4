"""JSR3xx: whether the trigger has what it needs."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.containers import status_of
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import count, named, some
from jobset_restart.objects import Container, Pod
from jobset_restart.pid1 import measures
from jobset_restart.pods import agent, attempt
from jobset_restart.rules import effect_of_exit, in_place_exit_code
from jobset_restart.snapshot import DISABLE_IN_PLACE_RESTART
from jobset_restart.suspension import queue
from jobset_restart.triggers.force import FORCE
from jobset_restart.triggers.image import IMAGE, running_digest
from jobset_restart.triggers.native import NATIVE
from jobset_restart.triggers.signal import SIGNAL
from jobset_restart.workloads.jobset import is_native

RESTART_ALL_CONTAINERS = "RestartAllContainersOnContainerExits"


@finding(
    "JSR301",
    "blocker",
    "the digest of the running image is not known",
    source="status.containerStatuses[].imageID",
    todo="use another trigger; or run images by digest (repo@sha256:...) next time",
    concerns=only(IMAGE),
    final=True,
)
def digest_unknown(case: Case) -> Occurrence | None:
    """The image trigger changes the reference, never the image, so it must pin the digest that runs now.

    The digest comes from the spec where the image is given by digest, else from imageID, which has one only when the
    image came from a registry, and is believed only for the repository the spec names: an image pulled under another
    name may not exist under this one. An image loaded by hand shows a bare sha256, which no registry knows."""
    unknown = []
    for state, pod, container in case.targets():
        status = status_of(pod, container.name)
        if not running_digest(container, status):
            unknown.append((state, container, status.image_id if status else ""))
    if not unknown:
        return None
    _, container, image_id = unknown[0]
    seen = f"imageID {image_id}" if image_id else "no imageID yet"
    return Occurrence(named(s for s, _, _ in unknown), f"container {container.name} runs {container.image}, {seen}")


@finding(
    "JSR302",
    "warning",
    "every Pod would ask the image registry",
    source="imagePullPolicy; kubelet, imageManager.EnsureImageExists",
    todo="make sure that the registry answers and has the digest; or use another trigger",
    concerns=only(IMAGE),
)
def always_pulls(case: Case) -> Occurrence | None:
    """With imagePullPolicy Always each container start asks the registry, even if the image is there.

    If the registry does not answer, or no longer has the digest, the container stays down. Under OnFailure it waits in
    ImagePullBackOff until the registry is back. Under Never its end counts as the Pod's: the Pod fails (or, where the
    container exits 0 on TERM, even succeeds), and with backoffLimit 0 its Job with it. So one slot goes first, and the
    others only when it is back; with --canary 0, which gives that up, this is a blocker under Never. Otherwise nothing
    is pulled: the node has the digest that runs."""
    pulling = [(s, pod) for s, pod, container in case.targets() if container.image_pull_policy == "Always"]
    if not pulling:
        return None
    summary = f"imagePullPolicy Always: {count(len(pulling), 'pull')}"
    never = any(pod.spec.restart_policy == "Never" for _, pod in pulling)
    if never:
        summary += "; a Pod whose pull fails would fail, for its restartPolicy is Never"
    if never and case.canary == 0:
        todo = "leave --canary 0 away, so that one slot goes first; or use another trigger"
        return Occurrence(named(s for s, _ in pulling), f"{summary}, and all would pull at once", todo, "blocker")
    return Occurrence(named(s for s, _ in pulling), summary)


@finding(
    "JSR303",
    "blocker",
    "there is no shell to inspect PID 1 with",
    source="exec of sh in the container",
    todo="use --via image, which needs nothing in the container",
    concerns=lambda trigger: trigger.by_exit,
    final=True,
)
def no_shell(case: Case) -> Occurrence | None:
    """A signal has to be sent from inside the container, by a shell that can also tell whether PID 1 handles it; and so
    has whatever else makes a container end from inside (--via force).

    Distroless images have none. Without the look the signal might do nothing at all.
    """
    bad = []
    for state, _, container in case.targets():
        if case.evidence.probes is None:
            break
        probe = case.evidence.probes.get((case.snapshot.workload.program(state), container.name))
        if probe is None or probe.error:
            bad.append((state, container.name, probe.error if probe else "it could not be looked into"))
    return Occurrence(named(s for s, _, _ in bad), f"container {bad[0][1]}: {bad[0][2]}") if bad else None


@finding(
    "JSR304",
    "blocker",
    "PID 1 would survive the signal",
    source="pid_namespaces(7): signals to PID 1 from its own namespace need a handler; /proc/1/status SigCgt",
    todo="use --via image; or run the program under an init that handles TERM",
    concerns=only(SIGNAL),
    final=True,
)
def no_handler(case: Case) -> Occurrence | None:
    """The kernel drops a signal sent to PID 1 from inside its namespace when PID 1 has no handler for it: TERM does
    nothing to `sleep`, to a shell without trap, or to a Python program without one; even KILL does nothing.

    Looked for, in this order: a handler for TERM, one for INT, a shell that waits for a child (whose death ends it),
    and prlimit for a PID 1 that computes. None was found here. With --signal only that signal's handler counts."""
    bad = []
    for state, pod, container in case.targets():
        probe = case.probe_of(state, container)
        if pod.spec.share_process_namespace or pod.spec.host_pid:
            bad.append((state, container.name, "PID 1 is not the container's: its process namespace is shared"))
        elif probe and not probe.error and case.means_for(state, container) is None:
            what = f"SIG{case.signal.upper().removeprefix('SIG')}" if case.signal else "neither TERM nor INT"
            bad.append(
                (state, container.name, f"PID 1 ({probe.name}) handles {what if not case.signal else 'no ' + what}")
            )
    return Occurrence(named(s for s, _, _ in bad), f"container {bad[0][1]}: {bad[0][2]}") if bad else None


@finding(
    "JSR314",
    "blocker",
    "PID 1 would survive whatever can be done from inside",
    source="pid_namespaces(7): not even KILL reaches PID 1 from its own namespace; setrlimit(2), RLIMIT_CPU",
    todo="make a new Pod (--via pods, or --escalate pod); or run the program under an init that handles TERM",
    concerns=only(FORCE),
    final=True,
)
def survives_force(case: Case) -> Occurrence | None:
    """Where a container does not end when it is told to, three things can still be done from inside, one after the
    other: signals that PID 1 catches are sent; everything else in the container is killed, and a shell or launcher that
    waits for it ends with it; and where there is prlimit, PID 1 gets a CPU limit, at which the kernel kills it: that
    meets a program that computes.

    A PID 1 that sleeps, catches nothing and has no children survives all of this, and so does one in a process
    namespace that is shared, where PID 1 is not the container's."""
    bad = []
    for state, pod, container in case.targets():
        probe = case.probe_of(state, container)
        if pod.spec.share_process_namespace or pod.spec.host_pid:
            bad.append((state, container.name, "PID 1 is not the container's: its process namespace is shared"))
        elif probe and not probe.error and not measures(probe):
            bad.append((state, container.name, f"PID 1 ({probe.name}) catches no signal and has no children"))
    return Occurrence(named(s for s, _, _ in bad), f"container {bad[0][1]}: {bad[0][2]}") if bad else None


@finding(
    "JSR305",
    "blocker",
    "the in-place restart agents are not all there and in sync",
    source="JobSet, in_place_restart.go; cmd/in-place-restart-agent",
    todo="see `jsr status` for the attempts; use --via image, which needs no agent",
    concerns=only(NATIVE),
    final=True,
)
def agents(case: Case) -> Occurrence | None:
    """A native restart is one write; the rest is done by an agent in every Pod and by the controller.

    It needs restartStrategy InPlaceRestart, an agent in every Pod that has written its attempt, all attempts equal to
    status.currentInPlaceRestartAttempt (which the controller sets only with its gate InPlaceRestart on), and no
    annotation that disables the agents. Otherwise some Pods would wait at the barrier for ever, or nothing would
    happen at all.
    """
    jobset = case.snapshot.jobset
    target = [case.snapshot.workload.title]
    if not is_native(jobset):
        return Occurrence(target, "failurePolicy.restartStrategy is not InPlaceRestart")
    if jobset.metadata.annotations.disable_in_place_restart is not None:
        return Occurrence(target, f"annotation {DISABLE_IN_PLACE_RESTART} makes the agents do nothing")
    current = jobset.status.current_in_place_restart_attempt
    if current is None:
        return Occurrence(
            target, "status.currentInPlaceRestartAttempt is not set: gate InPlaceRestart off, or not synced yet"
        )
    without = [state for state, pod in case.pods() if agent(pod.spec) is None]
    if without:
        return Occurrence(named(without), f"{count(len(without), 'Pod')} without the agent container")
    late = [state for state, pod in case.pods() if attempt(pod) is None]
    if late:
        return Occurrence(
            named(late), f"{count(len(late), 'Pod')} whose agent has not written its attempt: {some(named(late))}"
        )
    return None


@finding(
    "JSR306",
    "blocker",
    "a node cannot restart all containers of a Pod",
    source="KEP-5532; node.status.declaredFeatures",
    todo="use --via image, which every kubelet knows",
    concerns=only(NATIVE),
)
def nodes_lack_restart_all(case: Case) -> Occurrence | None:
    """The agent's exit restarts the whole Pod only where the kubelet has the feature RestartAllContainers (1.35 and
    later).

    A node that declares features but not this one would restart the agent alone. A node that declares none may be
    older, or have declared features off: then this is a warning."""
    lacking = [s for s in case.scope if s.node and RESTART_ALL_CONTAINERS not in s.node.status.declared_features]
    if not lacking:
        return None
    sure = [s for s in lacking if s.node and s.node.status.declared_features]
    names = sorted({s.node_name for s in sure or lacking})
    return Occurrence(
        [f"Node {name}" for name in names],
        f"{some(names)} {'does' if len(names) == 1 else 'do'} not declare {RESTART_ALL_CONTAINERS}",
        severity="blocker" if sure else "warning",
    )


@finding(
    "JSR309",
    "blocker",
    "an agent's exit would not restart the containers of its Pod",
    source="KEP-5532 restartPolicyRules as the Pod has them; kubelet, computePodActions; cmd/in-place-restart-agent",
    todo="use --via image, which every kubelet knows",
    concerns=only(NATIVE),
    final=True,
)
def rules_are_missing(case: Case) -> Occurrence | None:
    """A native restart reaches the containers of a Pod by a rule of its agent: its exit code restarts all containers.

    The Pod tells for sure. An API server that does not know the rule (Kubernetes 1.33, and others with the feature
    gate off) drops it without a word, while the JobSet still shows it. Then only the agents are restarted, and every
    attempt advances as if all had gone well. An agent that runs the worker itself (WORKER_COMMAND) needs no rule where
    it is the only main container."""
    short = [(state, pod) for state, pod in case.pods() if _untouched(pod)]
    if not short:
        return None
    names = some(sorted({c.name for _, pod in short for c in _untouched(pod)}))
    summary = f"{count(len(short), 'Pod')} without a rule that restarts all containers: {names} would run on"
    return Occurrence(named(state for state, _ in short), summary)


def _untouched(pod: Pod) -> list[Container]:
    """The main containers that the exit of the Pod's agent does not restart."""
    found = agent(pod.spec)
    effect = effect_of_exit(found, pod.spec, in_place_exit_code(found)) if found else "restart all"
    if effect == "restart all":
        return []
    return [c for c in pod.spec.containers if effect != "restart" or c is not found]


@finding(
    "JSR313",
    "blocker",
    "the trigger is not for this kind of workload",
    source="the API of the kind: a Job has no child Jobs and no in-place restart of its own, for one",
    todo="leave --via away, and the plan chooses among those that fit",
    final=True,
)
def not_for_this_kind(case: Case) -> Occurrence | None:
    """--via names a trigger that works on something this kind of workload does not have: child Jobs that its controller
    creates again, a status field that restarts it in place, or spec.suspend.

    Each kind offers those triggers that were seen to work with its controller."""
    workload = case.snapshot.workload
    if case.trigger.name in workload.triggers:
        return None
    if case.trigger.name == "requeue" and not queue(workload.metadata):
        return Occurrence([workload.title], "it is in no queue of Kueue, which requeue is for", "leave --via away")
    *others, last = workload.triggers
    offered = f"{', '.join(others)} or {last}" if others else last
    return Occurrence(
        [workload.title], f"{case.trigger} is not for a {workload.kind.kind}", f"use --via {offered}, or none of them"
    )


@finding(
    "JSR307",
    "note",
    "containers may take their whole grace period to stop",
    source="spec.terminationGracePeriodSeconds; kubelet, killContainer",
    todo="nothing, if there is time to wait; a handler for TERM that exits makes it faster",
    concerns=lambda trigger: trigger.gives_grace,
)
def grace_period(case: Case) -> Occurrence | None:
    """Each container gets preStop and TERM first, and KILL only after terminationGracePeriodSeconds.

    A hung process that does not handle TERM uses all of it.
    """
    longest = max((pod.spec.termination_grace_period_seconds for _, pod in case.pods()), default=0)
    if longest < 10:
        return None
    return Occurrence([], f"up to {longest} s before a container that ignores TERM is killed")


@finding(
    "JSR308",
    "blocker",
    "a signal to one Pod would restart the whole JobSet",
    source="KEP-5532 RestartAllContainers; JobSet, in_place_restart.go: Pods whose attempts differ are restarted",
    todo="use --via native: one write, one round; or --via image, which sets off no restart rule",
    concerns=lambda trigger: trigger.by_exit,
)
def signal_sets_off_rounds(case: Case) -> Occurrence | None:
    """Where a container's exit restarts all containers of its Pod, the Pod's agent comes back with another attempt, and
    a JobSet with restartStrategy InPlaceRestart then restarts all its Pods.

    One signal does that already. More of them, to containers that have just come back, set off round after round,
    each of which counts towards failurePolicy.maxRestarts."""
    if not is_native(case.snapshot.jobset):
        return None
    restarting = {
        state.slot: state for state, pod, _, _, effect in case.exits() if effect == "restart all" and agent(pod.spec)
    }
    if not restarting:
        return None
    return Occurrence(
        named(restarting.values()), f"{count(len(restarting), 'Pod')} would each start a round of the JobSet"
    )
