"""From observed Pods and Jobs to what became of every slot: a state machine without a clock and without I/O. What the
Pods of a slot say is judged in `seen`, whose Pods they are in `members`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import structs

from jobset_restart import seen
from jobset_restart.barrier import Arrivals
from jobset_restart.containers import fresh, mark_of
from jobset_restart.creation import last_seen
from jobset_restart.events import Event, Failed, Noticed, Ready, Starting, Stopping, Triggered
from jobset_restart.heeding import Heeding
from jobset_restart.machines import Machines
from jobset_restart.members import members_of
from jobset_restart.objects import Event as Refusal
from jobset_restart.objects import Pod
from jobset_restart.places import ended
from jobset_restart.plan import Plan
from jobset_restart.pods import condition, identity, statuses
from jobset_restart.seen import SlotTrack, State
from jobset_restart.slots import Slot, Unit
from jobset_restart.verdict import Neighbours, Verdict, verdict_of
from jobset_restart.workloads.workload import Workload

Outcome = Literal["restarted", "recreated", "unchanged", "triggered", "failed", "timed out", "gone"]
KEPT = "kept its old Pod"
SETTLING_SECONDS = 10.0
"""How long a container that refused an exec may take to show that it was being restarted anyway, and a failed Job's
JobSet to say what becomes of it."""


class Tracker:
    """Feed it what happens; it answers with events.

    It takes from the plan what it needs and keeps nothing else of it. `began` is the time the plan began to be carried
    out (seconds since the epoch), `min_ready_seconds` how long a slot must stay Ready to count. `machines` are those
    that somebody has watched before; without it nothing is known of any. `kind` is that of the workload. `number` is
    that of the round, `earlier` the tracker of the round before: what was not back there and is not restarted now is
    waited for all the same.
    """

    def __init__(
        self,
        plan: Plan,
        began: float,
        min_ready_seconds: float = 0.0,
        machines: Machines | None = None,
        *,
        number: int = 1,
        earlier: Tracker | None = None,
    ) -> None:
        self.began = began
        self.min_ready_seconds = min_ready_seconds
        self._barrier = Arrivals.of(plan)
        self.slots = {p.state.slot: seen.waiting(p, plan, began) for p in plan.scope}
        self.number = number
        self.verdict: Verdict | None = None
        self.members = members_of(plan.snapshot)
        self.machines = machines or Machines()
        self._marks = plan.operation if plan.trigger is not None and plan.trigger.marks else ""
        """What the write of this plan leaves on a Pod, where it leaves a mark."""
        self._neighbours = Neighbours.of(plan)
        self._containers = plan.request.containers
        self._workload = plan.snapshot.workload
        self.kind = self._workload.kind.kind
        self._sent_before = [planned.state.slot for planned in plan.scope if planned.sent]
        self._past = {pod.metadata.uid for pods in plan.snapshot.ended.values() for pod in pods}
        """The UIDs of Pods that were over before."""
        self._places: dict[Unit, list[SlotTrack]] = defaultdict(list)
        self._vacant: dict[Unit, dict[Slot, SlotTrack]] = defaultdict(dict)
        self._doomed: set[Unit] = set()
        """The Jobs that failed, and whose JobSet neither failed with them nor made them anew."""
        self._open = set(self.slots)
        self._news: dict[Slot, None] = dict.fromkeys(self.slots)
        self._found: dict[Slot, list[Pod]] = {}
        """The Pods that the plan saw in slots which the round before left open, until they are judged by them."""
        if earlier is not None:
            self._take_over(earlier, plan)
        self.halted = ""
        """Why slots were left that were to be triggered, empty where none was."""
        self._left: set[Slot] = set()
        self._pausing: set[Slot] = set()
        self._doubted: dict[Slot, float] = {}
        """Slots that refused an exec, and when they last did, until it is known what that meant."""
        expected = plan.trigger is not None and plan.trigger.restarts_it
        self._restarts_expected = expected or any(p.lost for p in plan.scope)
        self.resumed_by = ""
        self._heeding = Heeding()
        self._kept: tuple[int, float] = (0, 0.0)
        """How many Pods from before were left alone when last counted, and since when it is that many."""
        for track in self.slots.values():
            for pod in track.pods.values():
                self.machines.saw(pod)
            self._places[track.slot.unit].append(track)

    def _take_over(self, earlier: Tracker, plan: Plan) -> None:
        """What the round before leaves open: its slots that are not restarted again, and its barrier."""
        if self._barrier is None and earlier._barrier is not None:
            self._barrier = earlier._barrier
            self._barrier.current = plan.snapshot.workload.attempt or self._barrier.current
        known = plan.snapshot.slots
        for track in earlier.pending():
            if track.slot in self.slots or track.slot in earlier._left:
                continue
            self.slots[track.slot] = structs.replace(track, pods=dict(track.pods), round=track.round or earlier.number)
            state = known.get(track.slot)
            pods = (state.pod, *state.leftovers) if state else ()
            self._found[track.slot] = [pod for pod in pods if pod is not None]
            if track.state != "failed":
                self._open.add(track.slot)

    # ------------------------------------------------------------ what was sent

    def begin(self, now: float) -> list[Event]:
        """What another client had done before this one carries on, and what the plan saw of slots that the round before
        left open; nothing for a new operation."""
        if self._barrier:
            for track in self.slots.values():
                self._barrier.saw(track.slot, track.pods.values())
        events: list[Event] = []
        for slot in self._sent_before:
            self.slots[slot].frozen = True
            events += self.sent(slot, now)
        found, self._found = self._found, {}
        for slot, pods in found.items():
            events += self._renew(self.slots[slot], pods, now)
        return events

    def _renew(self, track: SlotTrack, found: list[Pod], now: float) -> list[Event]:
        """A slot of the round before, with the Pods that the plan saw: what came between was told to nobody."""
        present = {pod.metadata.uid for pod in found}
        for uid in track.pods.keys() - present:
            del track.pods[uid]
        events = [event for pod in found for event in self.observe(pod, now, live=False)]
        return events + self._judge(track, now)

    def sent(self, slot: Slot, now: float) -> list[Event]:
        """The write or exec for this slot was accepted."""
        track = self.slots.get(slot)
        if track is None or track.sent_at is not None:
            return []
        track.sent_at = now
        events: list[Event] = [Triggered(time=now, slot=str(slot), pod=track.pod, node=track.node)]
        if track.state == "waiting":
            track.state, track.since = "triggered", now
        return events + self._judge(track, now)

    def sent_all(self, now: float) -> list[Event]:
        """The one write for the whole workload was accepted."""
        return [event for slot in self.slots for event in self.sent(slot, now)]

    def refused(self, slot: Slot, reason: str, now: float) -> list[Event]:
        """The write or exec for this slot failed for good. If it comes back all the same, that counts."""
        track = self.slots.get(slot)
        if track is None or track.state == "ready":
            return []
        track.refusal = reason
        self._doubted.pop(slot, None)
        return self._move(track, "failed", reason, now)

    def exec_refused(self, slot: Slot, container: str, reason: str, now: float) -> list[Event]:
        """An exec in this slot could not be run. A container that is being restarted already (by its own crash, or
        with the rest of a workload that restarts as one) refuses it too: what is seen of it within SETTLING_SECONDS
        decides."""
        track = self.slots.get(slot)
        if track is None or track.state in ("ready", "failed"):
            return []
        track.refusals[container] = reason
        self._doubted[slot] = now
        return self._judge(track, now)

    def _settle(self, track: SlotTrack, now: float) -> list[Event]:
        """A container that refused an exec and still runs as before was not restarted."""
        del self._doubted[track.slot]
        before = track.before
        pod = track.pods.get(before.uid) if before else None
        if before is None or pod is None or condition(pod.status.conditions, "AllContainersRestarting"):
            return []
        untouched = (s for s in statuses(pod) if s.name in track.refusals and s.state.running and not fresh(s, before))
        container = next(untouched, None)
        return self.refused(track.slot, track.refusals[container.name], now) if container else []

    def leave(self, reason: str, failed: Iterable[Slot], now: float) -> list[Event]:
        """Nothing more is sent, for this reason: slots not triggered yet stay as they are, and nothing is waited for
        there. `failed` are slots that are given up. Does nothing where there is no reason."""
        if not reason:
            return []
        self.halted = reason
        self._left = {track.slot for track in self.slots.values() if track.sent_at is None and track.state != "failed"}
        self._open -= self._left
        given_up = ((slot, self.slots[slot].reason) for slot in failed)
        return [event for slot, why_ in given_up for event in self.refused(slot, why_, now)]

    # ------------------------------------------------------------ what was seen

    def observe(self, pod: Pod, now: float, *, deleted: bool = False, live: bool = True) -> list[Event]:
        """A Pod was added or changed, or is gone. `live` tells an event of the watch, of which none was missed, from
        an object found by a list."""
        uid = pod.metadata.uid
        slot = self.members.see(pod, deleted=deleted)
        track = self.slots.get(slot) if slot else None
        if slot is None or track is None or uid in self._past:
            return []
        if deleted:
            track.pods.pop(uid, None)
        else:
            track.pods[uid] = pod
            self.machines.saw(pod)
            if self._neighbours:
                self.verdict = self.verdict or self._neighbours.verdict(pod)
            if self._marks and not track.frozen:
                self._freeze(track, pod, live)
            if self._barrier:
                self._barrier.saw(slot, (pod,))
        events = self._judge(track, now) + self._judge_vacant(slot.unit, now)
        return [*events, *self._barrier.tell(now)] if self._barrier else events

    def _freeze(self, track: SlotTrack, pod: Pod, live: bool) -> None:
        """The first event that carries our mark is the PATCH itself: what ran then is what has to go. A container that
        crashed and came back between the plan and the PATCH is not taken for restarted. What a list found with the mark
        may be the restarted one already: then what the plan saw has to go."""
        if track.before and pod.metadata.uid == track.before.uid and mark_of(pod)[0] == self._marks:
            track.frozen = True
            if live:
                track.before = identity(pod)

    def relist(self, pods: Iterable[Pod], now: float) -> list[Event]:
        """Every Pod there is: what is not among them is gone. A transition that was missed shows in the identities."""
        listed = list(pods)
        present = {pod.metadata.uid for pod in listed}
        self.members.listed(present)
        events: list[Event] = []
        for track in self.slots.values():
            for pod in [pod for uid, pod in track.pods.items() if uid not in present]:
                events += self.observe(pod, now, deleted=True)
        for pod in listed:
            events += self.observe(pod, now, live=False)
        return events

    def observe_child(self, child: Any, now: float, *, deleted: bool = False) -> list[Event]:
        """What stands between the workload and its Pods was added or changed, or is gone: Pods that were held until it
        was known are seen now, and slots that are empty may have nothing to wait for any more."""
        held = self.members.see_child(child, deleted=deleted)
        events = [event for pod in held for event in self.observe(pod, now, live=False)]
        unit = self.members.unit_of(child)
        if unit is None:
            return events
        current = self.members.job_at(unit)
        if current is None:
            return events + self._judge_vacant(unit, now, always=True)
        if current.metadata.uid != child.metadata.uid:
            return events
        if not self.members.failure(unit):
            self._doomed.discard(unit)
        if unit in self._places and self.members.news(unit, now):
            events += self._judge_vacant(unit, now, always=True)
        return events

    def relist_children(self, children: Iterable[Any], now: float) -> list[Event]:
        """Every child there is: what is not among them is gone."""
        listed = list(children)
        gone = [event for each in self.members.missing(listed) for event in self.observe_child(each, now, deleted=True)]
        return gone + [event for child in listed for event in self.observe_child(child, now)]

    def refused_creation(self, event: Refusal, now: float) -> list[Event]:
        """A controller said that it could not create a Pod or Job. What it said before the operation began is over."""
        if last_seen(event) < int(self.began):
            return []
        mine = event.involved_object.uid == self._workload.parent_uid
        if event.involved_object.uid == self._workload.metadata.uid:
            self._heeding.refused(event)
        refused = self.members.refused(event)
        places = [*self._vacant] if mine else refused
        return [event for place in places for event in self._judge_vacant(place, now, always=True)]

    @property
    def asks_why(self) -> bool:
        """Whether an Event may say why nothing happens: a slot has no Pod, old or new, or a part of the workload is not
        suspended with it."""
        return self._heeding.waits or any(self._vacant.values())

    def observe_workload(self, workload: Workload | None, now: float) -> list[Event]:
        """The workload changed, or is gone (None)."""
        ended_by = verdict_of(workload, self._workload, restarts_expected=self._restarts_expected)
        if ended_by is not None or workload is None:
            self.verdict = self.verdict or ended_by
            return []
        self._heeding.see(workload, now)
        if workload.attempt and self._barrier:
            self._barrier.current = workload.attempt
            return [*self._barrier.tell(now)]
        if workload.job is not None:
            return self.observe_child(workload.job, now)
        units = self.members.see_workload(workload)
        return [event for unit in units for event in self._judge_vacant(unit, now, always=True)]

    def _look_at_machines(self, now: float) -> list[Event]:
        said = self.machines.tick(now)
        if not said:
            return []
        open_tracks = [self.slots[slot] for slot in list(self._open)]
        events = [event for track in open_tracks for event in self._judge(track, now)]
        return [*(Noticed(time=now, message=sentence) for sentence in said), *events]

    def resumed(self, who: str, now: float) -> None:
        """Somebody else resumed the workload before all its Pods had ended: nothing more is stopped."""
        self.resumed_by, self._kept = who, (-1, now)

    def _settle_kept(self, now: float) -> list[Event]:
        """Pods from before that are still left alone SETTLING_SECONDS after the last of the others began to end will
        not be replaced any more."""
        kept = [track for track in self.slots.values() if track.refusal == "" and seen.keeps_its_pod(track)]
        if len(kept) != self._kept[0]:
            self._kept = len(kept), now
        if now - self._kept[1] < SETTLING_SECONDS:
            return []
        return self._give_up(KEPT, now)

    def _give_up(self, reason: str, now: float) -> list[Event]:
        """The slots that keep their Pod from before keep it for good, for this reason."""
        kept = [track for track in self.slots.values() if track.refusal == "" and seen.keeps_its_pod(track)]
        return [event for track in kept for event in self.refused(track.slot, reason, now)]

    def tick(self, now: float) -> list[Event]:
        """Time passed: slots that stayed Ready long enough are done; so are those that refused and did nothing."""
        stayed = [event for slot in list(self._pausing) for event in self._judge(self.slots[slot], now)]
        settled = [slot for slot, refused_at in self._doubted.items() if now - refused_at >= SETTLING_SECONDS]
        failed = [place for place in self.members.failed_since(now - SETTLING_SECONDS) if place not in self._doomed]
        self._doomed.update(failed)
        return [
            *self._look_at_machines(now),
            *stayed,
            *(self._settle_kept(now) if self.resumed_by else ()),
            *(self._give_up(self._heeding.given_up, now) if self._heeding.tick(now) else ()),
            *(event for slot in settled for event in self._settle(self.slots[slot], now)),
            *(event for place in failed for track in self._places[place] for event in self._judge(track, now)),
        ]

    # ------------------------------------------------------------ judging

    def _judge(self, track: SlotTrack, now: float) -> list[Event]:
        place = track.slot.unit
        self._news[track.slot] = None
        track.over = ""
        found = seen.in_place(track, self._containers) if track.in_place else None
        state, reason = found or seen.recreated(track, self.members)
        if state != "ready" and place in self._doomed and (failure := self.members.failure(place)):
            state, reason = "failed", failure
        if state == "ready":
            running = seen.running(track)
            if track.ready_since is None or track.ready_as != running:
                track.ready_since, track.ready_as = now, running
            if now - track.ready_since < self.min_ready_seconds:
                self._pausing.add(track.slot)
                state, reason = "starting", "ready, to be seen staying so"
        else:
            track.ready_since = None
        if state != "starting" or track.ready_since is None:
            self._pausing.discard(track.slot)
        if track.refusal and (state in ("waiting", "triggered", "stopping") or (self.halted and state == "starting")):
            state, reason = "failed", track.refusal
        if state not in ("ready", "failed"):
            reason = self.machines.why(pod for pod in track.pods.values() if not ended(pod)) or reason
        if track.vacant and state not in ("ready", "failed"):
            self._vacant[place][track.slot] = track
        else:
            self._vacant[place].pop(track.slot, None)
        return self._move(track, state, reason, now)

    def _judge_vacant(self, place: Unit, now: float, *, always: bool = False) -> list[Event]:
        """Judges the empty slots of a Job anew, where its other Pods or the Job itself may have settled them."""
        vacant = self._vacant.get(place)
        if not vacant or not (always or self.members.has_all(place)):
            return []
        return [event for track in list(vacant.values()) for event in self._judge(track, now)]

    def _move(self, track: SlotTrack, state: State, reason: str, now: float) -> list[Event]:
        order = ("waiting", "triggered", "stopping", "starting", "ready")
        backwards = state in order[:2] and track.state not in order[:2]
        if (
            backwards
            or (state == track.state and reason == track.reason)
            or (track.state, state) == ("triggered", "waiting")
        ):
            return []
        track.reason = reason
        self._news[track.slot] = None
        about = {"slot": str(track.slot), "pod": track.pod, "node": track.node, "reason": reason}
        if state == track.state and state not in ("starting", "stopping"):
            return [Triggered(time=now, **about)] if state == "triggered" else []
        track.state, track.since = state, now
        if state in ("ready", "failed"):
            self._open.discard(track.slot)
        elif track.slot not in self._left:
            self._open.add(track.slot)
        match state:
            case "stopping":
                return [Stopping(time=now, **about)]
            case "starting":
                return [Starting(time=now, **about)]
            case "failed":
                return [Failed(time=now, **about)]
            case "ready":
                track.seconds = now - (track.sent_at or self.began)
                moved = track.node_before if track.moved else ""
                return [Ready(time=now, **about, seconds=track.seconds, recreated=track.recreated, previous_node=moved)]
        return []

    # ------------------------------------------------------------ questions

    def news(self) -> list[SlotTrack]:
        """The slots of which something was seen or sent since this was asked last; at first all."""
        found = [self.slots[slot] for slot in self._news]
        self._news.clear()
        return found

    def pending(self) -> list[SlotTrack]:
        """The slots that are not back: those that may come, and those that failed."""
        return [track for track in self.slots.values() if track.state != "ready"]

    def waits_at_barrier(self, track: SlotTrack) -> bool:
        """Whether the slot has come to the barrier, and waits there for others."""
        return self._barrier is not None and self._barrier.keeps_waiting(track.slot)

    @property
    def left_alone(self) -> int:
        """How many slots were to be triggered and then were not."""
        return len(self._left)

    @property
    def untouched(self) -> frozenset[Slot]:
        """The slots that were to be triggered and then were not."""
        return frozenset(self._left)

    @property
    def done(self) -> bool:
        """Whether nothing is left to wait for. Native also wants the barrier lifted: all attempts the current one."""
        lifted = self._barrier is None or self._barrier.lifted
        return self.verdict is not None or (not self._open and lifted)

    @property
    def stopped(self) -> bool:
        """Whether no Pod from before is left alive in any slot, but for those given up on lost machines; or whether
        there is no point in waiting for that, because somebody else resumed the workload, or nothing suspends its Pods.
        One that is over is not alive, however long its Job keeps it."""
        return bool(self.resumed_by or self._heeding.given_up) or all(
            ended(pod) or (track.lost and pod.metadata.deletion_timestamp)
            for track in self.slots.values()
            for uid, pod in track.pods.items()
            if uid in track.old
        )

    def outcome(self, slot: Slot, *, timed_out: bool) -> Outcome:
        """What became of the slot: "triggered" where it was left under way, "timed out" where the deadline passed."""
        track = self.slots.get(slot)
        if track is None:
            return "unchanged"
        if track.state == "ready":
            if track.over:
                return "unchanged" if track.over == "completed" else "gone"
            return "recreated" if track.recreated else "restarted"
        if track.state == "failed" or track.refusal:
            return "failed"
        if track.sent_at is None:
            return "unchanged"
        if timed_out:
            return "timed out" if track.pods else "gone"
        return "triggered"
