"""How long what a restart consists of takes: stopping, starting, being made anew, and the writes for all of it. Pure.

Each is a range. What the objects and the plan's own requests show comes before what is known of clusters in general;
the numbers of these are those of a real API server, and of Kubernetes' defaults, with their source.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from jobset_restart.case import Case
from jobset_restart.containers import status_of
from jobset_restart.lately import made_and_ready, start_to_ready
from jobset_restart.objects import Container, Pod, Probe
from jobset_restart.rules import crash_loop_delay
from jobset_restart.spans import Part, Span
from jobset_restart.waits import longest_grace

WRITES_IN_FLIGHT = 64
"""As many PATCHes and DELETEs are under way at once, where nobody asked for another number."""
STOPS = Span(0.0, 0.4, 2.0)
"""A container that ends on TERM: the kubelet looks for what ended each second (genericPlegRelistPeriod)."""
KILLED_AFTER = 2.0
"""The least that a container gets after its preStop hook has used up the grace period (kubelet,
minimumGracePeriodInSeconds)."""
STARTS = Span(0.1, 0.4, 4.0)
"""A container whose image is there."""
PROBES_MISSED = 3
"""What readiness probes may miss where nothing shows when they succeed: their default failureThreshold."""

IN_PLACE = Span(1 / 380, 1 / 90, 1 / 20)
"""A slot, of many: a real API server takes 355 to 400 PATCHes a second; 5,000 Pods on one machine with two cores, their
kubelets and the API server together came back at 24 to 36 a second, and what is common lies between."""
MADE = Span(1 / 60, 1 / 15, 3 / 20)
"""A Pod that is deleted and made anew, of many: 11 a second on that machine. A controller manager with default flags
writes 20 times a second (--kube-api-qps), and a Pod takes three: its deletion, its finalizer, its successor."""
MADE_ALONE = Span(0.5, 2.0, 10.0)
"""The same for one Pod alone: scheduled, its sandbox made, started."""
CONTROLLERS = Span(0.2, 1.0, 6.0)
"""Suspending, or deleting what owns Pods, and the making of new ones: each has to be seen by its controller."""
REGISTRY = Span(0.0, 0.5, 10.0)
"""A registry that has nothing new."""
PULL_SECONDS = 60.0
"""What a pull may take on a node that has not had the image."""
ENOUGH_TO_TELL = 50
"""So many slots make the rate of a cluster count for something."""
FEW = 10
MOST_SLOWNESS = 10.0


def stopping(case: Case) -> Part:
    """A container that ends on TERM, or uses its whole grace period, preStop included (kubelet, killContainer)."""
    grace = longest_grace(case)
    if not grace:
        return Part(turn=STOPS)
    high = max(STOPS.high, grace + KILLED_AFTER)
    return Part(
        turn=Span(STOPS.low, STOPS.likely, high), ground=f"up to {grace:g} s if a container does not end on TERM"
    )


def starting(case: Case) -> Part:
    """From the start of the containers to Ready: as it was the last time, else by their probes."""
    took = start_to_ready(pod for _, pod in case.pods())
    if took:
        least, usual, most = took[(len(took) - 1) // 2], took[ceil((len(took) - 1) * 0.9)], took[-1]
        again = Span(max(0.0, least - 1) / 2, usual, most * 1.5 + 1)
        ground = f"from start to Ready its Pods took {least:g} to {most:g} s when they last started" if most > 1 else ""
        return Part(turn=_slowed(STARTS, case) + again, ground=ground)
    probed = _probed(pod for _, pod in case.pods())
    ground = f"by its probes, a Pod is Ready {probed.low:g} to {probed.high:g} s after its start" if probed.high else ""
    return Part(turn=_slowed(STARTS, case) + probed, ground=ground)


def _probed(pods: Iterable[Pod]) -> Span:
    """What startup and readiness probes take: the first may succeed, or the last that is allowed."""
    found = [_of_container(each) for pod in pods for each in pod.spec.containers]
    return max(found, key=lambda each: (each.high, each.likely), default=Span())


def _of_container(container: Container) -> Span:
    total = Span()
    for probe, misses in ((container.startup_probe, None), (container.readiness_probe, PROBES_MISSED)):
        if probe is not None:
            total += _of_probe(probe, misses)
    return total


def _of_probe(probe: Probe, misses: int | None) -> Span:
    period, delay = max(1, probe.period_seconds), max(0, probe.initial_delay_seconds)
    allowed = max(1, probe.failure_threshold) if misses is None else misses
    return Span(delay, delay + period, delay + period * allowed)


def in_place(case: Case) -> Part:
    """What many slots take besides, because API server, kubelets and this client have so many to see to."""
    some = slots(case) >= ENOUGH_TO_TELL
    answers = case.evidence.measured.answers_in
    writes = max(IN_PLACE.low, (answers or 0.0) / WRITES_IN_FLIGHT)
    per_slot = Span(writes, max(writes, IN_PLACE.likely), max(writes, IN_PLACE.high))
    ground = f"a cluster restarts {1 / per_slot.high:.0f} to {1 / per_slot.low:.0f} slots a second" if some else ""
    return Part(slot=_slowed(per_slot, case), ground=ground)


def making(case: Case) -> Part:
    """Pods that are made anew: as it was when they were made the last time, else by what is usual."""
    found = made_and_ready(state.pod for state in case.meant if state.pod)
    if found is None:
        usual = f"a cluster makes {1 / MADE.high:.0f} to {1 / MADE.low:.0f} Pods a second"
        ground = usual if slots(case) >= ENOUGH_TO_TELL else ""
        pulls = Span(0.0, 0.0, PULL_SECONDS)
        return Part(
            turn=_slowed(MADE_ALONE, case) + starting(case).turn + pulls, slot=_slowed(MADE, case), ground=ground
        )
    ground = f"{found.pods:,} of its Pods took {found.took:g} s from the first that was made to the last that was Ready"
    alone, share = found.alone, max(0.0, found.took - found.alone) / found.pods
    turn = Span(max(MADE_ALONE.low, (alone - 1) / 2), max(1.0, alone), alone * 2 + MADE_ALONE.high)
    unsure = MADE.times(min(1.0, FEW / found.pods))  # of a few Pods the rate of a cluster cannot be told
    # Deleting the old ones costs the same controllers about as much again as a quarter of the making.
    slot = Span(share * 0.6, share * 1.25 + unsure.likely, share * 2.2 + unsure.high)
    return Part(turn=turn, slot=_slowed(slot, case), ground=ground)


def remade(case: Case) -> Part:
    """Pods that are made anew beside a restart in place, because they leave their Node or their machine is down."""
    part = making(case)
    once = stopping(case).turn + part.turn + part.slot.times(len(case.deleted))
    return Part(once=Span(0.0, once.likely, once.high), ground=f"{len(case.deleted):,} Pods are made anew")


def waited(back_off: float, *, each: bool = False) -> Part:
    """The back-off of Jobs: once, where it runs while slots are restarted, or each time that Pods are deleted."""
    wait = Span(0.0, back_off, back_off + 5.0) if back_off else Span()
    ground = f"{back_off:.0f} s without new Pods, the back-off of their Jobs" if back_off else ""
    return Part(turn=wait, ground=ground) if each else Part(once=wait, ground=ground)


def crash_loop(case: Case) -> Part:
    """A container that ended lately by itself, and ends again, waits in CrashLoopBackOff."""
    now = case.snapshot.time
    waits = (
        crash_loop_delay(status, now)
        for _, pod, container in case.targets()
        if (status := status_of(pod, container.name)) is not None
    )
    longest = max(waits, default=0.0)
    ground = f"up to {longest:.0f} s in CrashLoopBackOff, after an exit in the last 10 minutes" if longest else ""
    return Part(turn=Span(0.0, longest, longest + 5.0) if longest else Span(), ground=ground)


def asking_registries(case: Case) -> Part:
    """With imagePullPolicy Always, a registry is asked even for an image that is there."""
    asked = any(container.image_pull_policy == "Always" for _, _, container in case.targets())
    return Part(turn=REGISTRY, ground="imagePullPolicy Always: every Pod asks its registry") if asked else Part()


def controllers(case: Case) -> Part:
    """What it takes the controllers to see that something is to be done."""
    return Part(turn=_slowed(CONTROLLERS, case))


def in_turn(part: Part, number: int) -> Part:
    """The part so many times, one after the other."""
    return Part(turn=part.turn.times(number), once=part.once, slot=part.slot, ground=part.ground)


def slots(case: Case) -> int:
    """How many slots the restart is for."""
    return len(case.meant)


def all_anew(case: Case) -> list[Part]:
    """Every Pod ends, and the controllers make all of them again."""
    return [stopping(case), controllers(case), making(case)]


def slowness(case: Case) -> float:
    """How many times slower than usual this API server answers: 1.0 where it is not, or nobody knows."""
    return min(MOST_SLOWNESS, case.evidence.measured.slowness)


def _slowed(span: Span, case: Case) -> Span:
    """A server that answers slowly does everything slowly; how much, is not known that well."""
    by = slowness(case)
    return Span(span.low, span.likely * by**0.5, span.high * by)
