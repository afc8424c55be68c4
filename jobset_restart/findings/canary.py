"""Which slots go ahead of the others, because nothing shows yet that the trigger's means work in this JobSet."""

from __future__ import annotations

from jobset_restart.findings import Case, Hit, count, finding, named, some
from jobset_restart.order import steps
from jobset_restart.snapshot import SlotState, node_ready
from jobset_restart.triggers import containers_in_scope, status_of
from jobset_restart.triggers.image import Forms, known_as, plain, running_digest, runtime_of


def unproven(case: Case) -> dict[str, list[SlotState]]:
    """The means that nothing has shown to work, in words, and the slots in scope that depend on each.

    For `image`: the registry where a pull is needed (imagePullPolicy Always), one for each image; and the form of the
    reference where it is not known whether the container runtime takes it. For `signal`: that the program of a
    ReplicatedJob dies of it and comes back."""
    found: dict[str, list[SlotState]] = {}
    forms = Forms(case.snapshot.slots.values()) if case.trigger == "image" else None
    for state, pod in case.pods():
        if case.trigger == "signal":
            found.setdefault(f"the signal to {state.slot.group}", []).append(state)
        if forms is None:
            continue
        images = {
            known_as(c.image) for c in containers_in_scope(pod, case.containers) if c.image_pull_policy == "Always"
        }
        for each in sorted(images):
            found.setdefault(f"the pull of {each}", []).append(state)
        if forms.known(state) is None:
            runtime = runtime_of(state) or "a container runtime that cannot be seen"
            found.setdefault(f"a reference with tag and digest on {runtime}", []).append(state)
    return found


def canaries(case: Case) -> list[SlotState]:
    """The slots to restart first, the healthy ones of the first step before others.

    With --canary N so many; without it one for each of the `unproven` means that another one does not prove along.
    """
    if case.trigger in ("native", "suspend", "jobs") or case.canary == 0:
        return []
    means = unproven(case)
    if not means and not case.canary:
        return []
    place = {name: n for n, s in enumerate(steps(case.snapshot.jobset, _names(case))) for name in s.replicated_jobs}
    ranked = sorted((state for state, _ in case.pods()), key=lambda s: (place[s.slot.group], not _healthy(s)))
    if case.canary is not None:
        first = [state for state in ranked if state.slot.group in _first(ranked, place)]
        return first[: case.canary]
    chosen: list[SlotState] = []
    for states in means.values():
        slots = {state.slot for state in states}
        if not any(state.slot in slots for state in chosen):
            chosen.append(next(state for state in ranked if state.slot in slots))
    return chosen


def _names(case: Case) -> set[str]:
    return {state.slot.group for state in case.scope}


def _first(ranked: list[SlotState], place: dict[str, int]) -> set[str]:
    lowest = min((place[s.slot.group] for s in ranked), default=0)
    return {name for name, at in place.items() if at == lowest}


def _healthy(state: SlotState) -> bool:
    return state.ready and (state.node is None or node_ready(state.node))


@finding(
    "JSR311",
    "note",
    "one slot goes first",
    source="imagePullPolicy; node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603",
    todo="nothing; --canary N sends N slots first, --canary 0 all at once",
    triggers=("image", "signal"),
)
def goes_first(case: Case) -> Hit | None:
    """Where nothing in the JobSet shows yet that a restart by this trigger works, one slot is restarted, and the others
    only when it is back. If it does not come back, the others have not been touched.

    That is so where the image would be pulled again, where the container runtime is not known to take a reference with
    both a tag and a digest (containerd does; if another refuses it, the reference without a tag is sent instead), and
    for the first signal. It costs the time of one more restart."""
    first = canaries(case)
    if not first or len(first) >= len(case.scope):
        return None
    reasons = [f"--canary {case.canary}"] if case.canary is not None else list(unproven(case))
    return Hit(named(first), f"{some([str(s.slot) for s in first])} before the others: {some(reasons)}")


@finding(
    "JSR507",
    "blocker",
    "no slot can go first",
    source="native and suspend restart the whole JobSet at once, jobs whole Jobs",
    todo="use --via image, signal or pods, which go slot by slot",
    triggers=("native", "suspend", "jobs"),
    final=True,
)
def no_canary(case: Case) -> Hit | None:
    """--canary N asks for N slots to be restarted before the others. A trigger that restarts all of them with one write
    cannot do that."""
    if not case.canary:
        return None
    return Hit(
        [f"JobSet {case.snapshot.name}"], f"--canary {case.canary}, and {case.trigger} has no slots to send ahead"
    )


@finding(
    "JSR310",
    "warning",
    "image may work only once",
    source="node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603; kubelet, doBackOff",
    todo="use another trigger next time, or a container runtime that takes tag and digest together",
    triggers=("image",),
)
def only_once(case: Case) -> Hit | None:
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
        return Hit(named(had), f"{runtimes}: {count(len(had), 'container')} may have had the digest alone before")
    return Hit(named(bare), f"{runtimes}: {count(len(bare), 'Pod')} can be given the digest alone once")


def _runtimes(states: list[SlotState]) -> str:
    names = some(sorted({runtime_of(s) or "a container runtime that cannot be seen" for s in states}))
    return f"{names} takes no tag beside a digest"


@finding(
    "JSR312",
    "blocker",
    "there is no other reference to the image",
    source="kubelet, containerChanged; node.status.nodeInfo.containerRuntimeVersion; cri-o/cri-o#8603",
    todo="use another trigger",
    triggers=("image",),
    final=True,
)
def no_other_reference(case: Case) -> Hit | None:
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
    return Hit(named(states), f"{_runtimes(states)}, and container {spent[0][1].name} runs {spent[0][1].image}")
