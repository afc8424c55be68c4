"""Which slots go ahead of the others, because nothing shows yet that the trigger's means work here."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.containers import status_of
from jobset_restart.findings.registry import Occurrence, finding, only
from jobset_restart.findings.words import count, named, some
from jobset_restart.slots import key_text
from jobset_restart.triggers.image import IMAGE, Forms, plain, running_digest, runtime_of
from jobset_restart.triggers.pacing import at_once, goes
from jobset_restart.triggers.steps import canaries
from jobset_restart.workloads.workload import SlotState


@finding(
    "JSR311",
    "note",
    "one slot goes first",
    source="imagePullPolicy; node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603",
    todo="nothing; --canary N sends N slots first, --canary 0 all at once",
    concerns=lambda trigger: trigger.paced,
)
def goes_first(case: Case) -> Occurrence | None:
    """Where nothing in the workload shows yet that a restart by this trigger works, one slot is restarted, and the
    others only when it is back. If it does not come back, the others have not been touched. With jobs
    and group, which restart whole units, --canary N sends N units first.

    That is so where the image would be pulled again, where the container runtime is not known to take a reference with
    both a tag and a digest (containerd does; if another refuses it, the reference without a tag is sent instead), and
    for the first signal. It costs the time of one more restart."""
    first = canaries(case)
    if not first or len(first) >= len(case.scope):
        return None
    reasons = [f"--canary {case.canary}"] if case.canary is not None else list(case.trigger.unproven(case))
    of = goes(case)
    names = dict.fromkeys(key_text(of(s.slot)) for s in first)
    return Occurrence(named(first), f"{some(list(names))} before the others: {some(reasons)}")


@finding(
    "JSR507",
    "blocker",
    "no slot can go first",
    source="native, suspend, restart, rollout and requeue restart the whole workload with one write",
    todo="use --via image, signal or pods, which go slot by slot, or jobs or group, which go unit by unit",
    concerns=lambda trigger: not trigger.paced or not trigger.in_place,
    final=True,
)
def no_canary(case: Case) -> Occurrence | None:
    """--canary N asks for N slots to be restarted before the others; with jobs and group, which restart whole units,
    for N units. A trigger that restarts all of them with one write cannot do that; and in a JobSet with
    restartStrategy InPlaceRestart one new Pod has all others restarted."""
    why = at_once(case)
    if not case.canary or not why:
        return None
    return Occurrence([case.snapshot.workload.title], f"--canary {case.canary}, and {why}")


@finding(
    "JSR310",
    "warning",
    "image may work only once",
    source="node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603; kubelet, doBackOff",
    todo="use another trigger next time, or a container runtime that takes tag and digest together",
    concerns=only(IMAGE),
)
def only_once(case: Case) -> Occurrence | None:
    """The kubelet keeps a back-off for each image reference a container was restarted with, so each restart by image
    needs one the Pod has not had before. That is a new tag beside the digest, which the runtime ignores.

    A container runtime that refuses the two together leaves the digest alone, and that reference is new only once. A
    Pod that has it already is given no other, and one that may have had it within the last 10 minutes may be held in
    CrashLoopBackOff, which ends a Pod with restartPolicy Never."""
    forms = Forms(case.snapshot.slots.values())
    bare = [s for s, _ in case.pods() if forms.of(s) == "plain"]
    if not bare:
        return None
    runtimes = _runtimes(bare)
    had = [s for s, _, c in case.targets() if forms.of(s) == "plain" and "@" in c.image]
    if had:
        return Occurrence(
            named(had), f"{runtimes}: {count(len(had), 'container')} may have had the digest alone before"
        )
    return Occurrence(named(bare), f"{runtimes}: {count(len(bare), 'Pod')} can be given the digest alone once")


def _runtimes(states: list[SlotState]) -> str:
    names = some(sorted({runtime_of(s) or "a container runtime that cannot be seen" for s in states}))
    return f"{names} takes no tag beside a digest"


@finding(
    "JSR312",
    "blocker",
    "there is no other reference to the image",
    source="kubelet, containerChanged; node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603",
    todo="use another trigger",
    concerns=only(IMAGE),
    final=True,
)
def no_other_reference(case: Case) -> Occurrence | None:
    """The container runtime takes no tag beside a digest, and the container has the digest alone already: no reference
    is left that would be a change and mean the same image."""
    forms = Forms(case.snapshot.slots.values())
    spent = []
    for state, pod, container in case.targets():
        digest = running_digest(container, status_of(pod, container.name))
        if digest and forms.of(state) == "plain" and plain(container.image, digest) == container.image:
            spent.append((state, container))
    if not spent:
        return None
    states = [state for state, _ in spent]
    return Occurrence(named(states), f"{_runtimes(states)}, and container {spent[0][1].name} runs {spent[0][1].image}")
