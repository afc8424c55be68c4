"""What the Pods seen in a slot say of it: how far its restart has come, and what it waits for. Pure.

In place is done when every container in scope has another containerID than before and the Pod is Ready; never by
having seen it unready, because a status can jump from running to running. Recreate is done when the slot's old Pods
are over (or are Terminating on a machine declared down) and a new one is Ready. Ready is the Pod's condition, not the
containers', unless a container that had ended for good keeps the Pod from ever being Ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from jobset_restart.containers import containers_in_scope, fresh, keep_unready
from jobset_restart.members import ANOTHER, Members
from jobset_restart.objects import ContainerStatus, Pod, seconds
from jobset_restart.places import ended
from jobset_restart.plan import Plan, SlotPlan
from jobset_restart.pods import Identity, condition, pod_ready, statuses, waits_for, why
from jobset_restart.rules import ended_at, ended_for_good
from jobset_restart.slots import Slot

State = Literal["waiting", "triggered", "stopping", "starting", "ready", "failed"]
Seen = tuple[State, str]
"""A state and the reason for it."""


class SlotTrack(Struct):
    """One slot in scope. `before` is the identity to judge by, `pods` the Pods seen in the slot, by UID, `old` the UIDs
    of those that were there before. `frozen` tells that `before` was taken at the very write. `refusals` are the
    reasons for which containers, by name, refused an exec; `refusal` is the reason once it is final. `unattainable`
    names the containers that had ended for good before and keep the Pod from being Ready. `ready_as` are the containers
    it is Ready with since `ready_since`; `node_before` is where its Pod was at first. `broken`: the Pod that was to be
    restarted failed, and its Job has to replace it. `over`: the slot needs no Pod any more, because its index completed
    or its Job does without it. `rung` is that of the plan that restarts it, `round` the number of its round where that
    is over."""

    slot: Slot
    before: Identity | None
    in_place: bool
    lost: bool = False
    state: State = "waiting"
    pods: dict[str, Pod] = field(default_factory=dict)
    old: set[str] = field(default_factory=set)
    frozen: bool = False
    sent_at: float | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    unattainable: tuple[str, ...] = ()
    broken: bool = False
    over: Literal["", "completed", "gone"] = ""
    since: float = 0.0
    ready_since: float | None = None
    ready_as: frozenset[str] = frozenset()
    reason: str = ""
    pod: str = ""
    node: str = ""
    node_before: str = ""
    seconds: float | None = None
    recreated: bool = False
    round: int = 0
    rung: str = ""

    @property
    def moved(self) -> bool:
        """Whether its new Pod is on another node than the one before."""
        return self.recreated and bool(self.node and self.node_before) and self.node != self.node_before

    @property
    def vacant(self) -> bool:
        """Whether no Pod fills the slot."""
        return all(ended(pod) for pod in self.pods.values())


def available(track: SlotTrack) -> bool:
    """Whether a Pod in the slot is Ready and not on its way out."""
    return any(map(pod_ready, track.pods.values()))


def waiting(planned: SlotPlan, plan: Plan, since: float) -> SlotTrack:
    """The slot as the plan found it, before anything is sent. `since` is seconds since the epoch."""
    pods = {pod.metadata.uid: pod for pod in (planned.state.pod, *planned.state.leftovers) if pod is not None}
    return SlotTrack(
        planned.state.slot,
        planned.before,
        in_place=(plan.strategy == "in-place" or planned.awaited) and not (planned.lost or planned.leaves),
        lost=planned.lost,
        pods=pods,
        old=pods.keys() - planned.new,
        since=since,
        unattainable=keep_unready(planned.state.pod, plan.request.containers) if planned.state.pod else (),
        pod=planned.pod,
        node=planned.node,
        node_before=planned.leaves or planned.node,
        rung="" if planned.awaited else plan.request.rung,
    )


def in_place(track: SlotTrack, containers: Sequence[str]) -> Seen | None:
    """How far the restart of these containers, all main ones if empty, has come in the Pod that was there before. None
    where that Pod is gone, going or failed: its Job replaces it."""
    before = track.before
    pod = track.pods.get(before.uid) if before else None
    if before is None or pod is None or pod.metadata.deletion_timestamp:
        return None
    if pod.status.phase == "Failed":
        track.broken = True
        return None
    scope = {c.name: c for c in containers_in_scope(pod, containers)}
    current = {s.name: s for s in statuses(pod) if s.name in scope}
    tried = track.sent_at is not None or track.refusals or track.refusal
    renewed = {name for name, status in current.items() if fresh(status, before)} if tried else set()
    if pod.status.phase == "Succeeded":
        return _succeeded(track, pod, restarted=renewed == set(scope))
    dead = next((s for n, s in current.items() if n in renewed and ended_for_good(s, scope[n], pod.spec)), None)
    if dead is not None:
        reason = f"container {dead.name} ended and stays down: {why(dead)}"
        alone = not any(s.state.running for s in pod.status.container_statuses)
        return ("stopping", f"{reason}; the Pod is over") if alone else ("failed", reason)
    if renewed == set(scope):
        return _renewed(track, pod, list(current.values()))
    return _stopping(track, pod, {n: s for n, s in current.items() if n not in renewed}, len(scope))


def _succeeded(track: SlotTrack, pod: Pod, *, restarted: bool) -> Seen:
    if restarted:
        return "ready", "completed"
    if track.sent_at is None or ended_at(pod) < int(track.sent_at):
        track.over = "completed"
        return "ready", "completed before it was restarted"
    return "failed", "the Pod succeeded: its containers ended and were not started again"


def _renewed(track: SlotTrack, pod: Pod, current: list[ContainerStatus]) -> Seen:
    if pod_ready(pod):
        return "ready", ""
    if track.unattainable and all(status.ready for status in current):
        names = ", ".join(track.unattainable)
        return "ready", f"judged by the restarted containers: {names} had ended before, so the Pod cannot be Ready"
    return "starting", waits_for(pod, current)


def _stopping(track: SlotTrack, pod: Pod, left: dict[str, ContainerStatus], total: int) -> Seen:
    """Some containers are to come: `left` are those whose status is still that of the old one."""
    if condition(pod.status.conditions, "AllContainersRestarting"):
        return "stopping", "RestartingAllContainers"
    stopped = [status for status in left.values() if status.state.running is None]
    begins = next((status for status in stopped if status.state.waiting), None)
    if begins is not None:
        return "starting", why(begins)
    if stopped:
        return "stopping", why(stopped[0])
    if len(left) < total:
        return "stopping", f"{total - len(left)} of {total} containers"
    return ("triggered" if track.sent_at is not None else "waiting"), ""


def recreated(track: SlotTrack, members: Members) -> Seen:
    """How far the slot has come to a new Pod. One that ended and that its Job keeps is nothing to wait for."""
    living = [(uid, pod) for uid, pod in track.pods.items() if not ended(pod)]
    new = [pod for uid, pod in living if uid not in track.old]
    holding = [p for uid, p in living if uid in track.old and not (track.lost and p.metadata.deletion_timestamp)]
    if new:
        pod = _youngest(new)
        track.pod, track.node, track.recreated = pod.metadata.name, pod.spec.node_name, True
        if not pod_ready(pod):
            return "starting", waits_for(pod, statuses(pod))
        return ("starting", f"Pod {holding[0].metadata.name} is still there") if holding else ("ready", "")
    if holding:
        if any(pod.metadata.deletion_timestamp for pod in holding):
            return "stopping", "Terminating"
        return ("triggered" if track.sent_at is not None else "waiting"), ""
    return _vacant(track, members)


def _vacant(track: SlotTrack, members: Members) -> Seen:
    """What is to come in a slot without a living Pod."""
    since = [pod for uid, pod in track.pods.items() if uid not in track.old]
    if any(pod.status.phase == "Succeeded" for pod in since):
        track.recreated = True
        return "ready", "completed"
    if members.completed(track.slot):
        track.over = "completed"
        return "ready", track.over
    if lost := members.lost(track.slot):
        return "failed", lost
    if reason := members.nothing_to_come(track.slot):
        track.over = "gone"
        return "ready", reason
    awaited = members.awaited(track.slot)
    if awaited != ANOTHER:
        return "starting", awaited
    if since:
        return "starting", _failed(_youngest(since), members)
    failed = [pod for pod in track.pods.values() if pod.status.phase == "Failed" and track.in_place]
    return ("stopping", _failed(_youngest(failed), members)) if failed else ("starting", awaited)


def _failed(pod: Pod, members: Members) -> str:
    ends = next((why(s) for s in pod.status.container_statuses if s.state.terminated), "")
    reason = pod.status.reason or ends
    return f"Pod {pod.metadata.name} failed{f' ({reason})' if reason else ''}; {members.successor}"


def _youngest(pods: list[Pod]) -> Pod:
    return max(pods, key=lambda pod: (seconds(pod.metadata.creation_timestamp), pod.metadata.uid))


def running(track: SlotTrack) -> frozenset[str]:
    """The containers of the slot. One that crashed and was started anew at once may never have been seen down."""
    return frozenset(status.container_id for pod in track.pods.values() for status in statuses(pod))


def keeps_its_pod(track: SlotTrack) -> bool:
    """Whether a Pod that was in the slot before lives on and is not asked to end."""
    return any(
        uid in track.old and not pod.metadata.deletion_timestamp and not ended(pod) for uid, pod in track.pods.items()
    )
