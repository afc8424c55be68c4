"""Who has arrived at the barrier of a native restart, and whether it was lifted. A state machine without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from jobset_restart.case import Trigger
from jobset_restart.events import Barrier
from jobset_restart.objects import Pod
from jobset_restart.plan import Plan
from jobset_restart.slots import Slot

HOLDERS_NAMED = 8


class Arrivals:
    """The slots that have to arrive at in-place attempt `target`. `current` is the attempt that all Pods have reached,
    as the workload tells."""

    def __init__(self, trigger: Trigger, slots: Iterable[Slot], target: int, current: int) -> None:
        self.target, self.current = target, current
        self._arrived = trigger.arrived
        self._held = dict.fromkeys(slots)
        """Slots that have not arrived, in order."""
        self._total = len(self._held)
        self._said: Barrier | None = None

    @classmethod
    def of(cls, plan: Plan) -> Arrivals | None:
        """Those of a plan; None where its trigger has no barrier."""
        if plan.trigger is None or not plan.trigger.barrier:
            return None
        slots = (planned.state.slot for planned in plan.scope)
        return cls(plan.trigger, slots, plan.attempt, plan.snapshot.workload.attempt)

    @property
    def lifted(self) -> bool:
        return self.current >= self.target

    def keeps_waiting(self, slot: Slot) -> bool:
        """Whether the slot has arrived, and others that have not hold the barrier."""
        return not self.lifted and bool(self._held) and slot not in self._held

    def saw(self, slot: Slot, pods: Iterable[Pod]) -> None:
        """These Pods fill the slot."""
        if any(self._arrived(pod, self.target) for pod in pods):
            self._held.pop(slot, None)

    def tell(self, now: float) -> list[Barrier]:
        """What is to be told of the barrier: nothing where no more arrived since it was told last. Nobody who arrived
        leaves again."""
        arrived = self._total - len(self._held)
        if self._said and self._said.arrived == arrived:
            return []
        self._said = Barrier(
            time=now,
            attempt=self.target,
            arrived=arrived,
            total=self._total,
            held_by=[str(slot) for slot in islice(self._held, HOLDERS_NAMED)],
        )
        return [self._said]
