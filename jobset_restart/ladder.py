"""The rungs of a restart: what may follow for slots that do not come back, as ordinary requests. Pure.

`force` does inside the containers what can still be done there, `pod` makes their Pods anew, `job` all Pods of their
unit (in a JobSet the Job, in a LeaderWorkerSet the group), `workload` everything. Each is planned like any other
request, so that findings and budgets are asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from jobset_restart.events import Budget
from jobset_restart.health import running
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.slots import Slot
from jobset_restart.triggers.registry import BY_NAME
from jobset_restart.vocabulary import RUNGS, Rung, TriggerName
from jobset_restart.workloads.workload import Workload


class Left(Struct, frozen=True, kw_only=True):
    """A slot that does not come back. `pod` is the Pod in it; `down` the node it is on, where that is down; `runs`
    tells whether a container of before still runs there; `seated` that its Pod carries no index, so that only its name
    says which it is."""

    slot: Slot
    pod: str = ""
    down: str = ""
    runs: bool = False
    seated: bool = False


class Footing(Struct, frozen=True, kw_only=True):
    """What the rungs of a workload stand on: all its slots, and the triggers it offers."""

    slots: tuple[Slot, ...]
    triggers: tuple[TriggerName, ...]

    @classmethod
    def of(cls, workload: Workload, slots: Iterable[Slot]) -> Footing:
        return cls(slots=tuple(slots), triggers=workload.triggers)


def above(rung: Rung | Literal[""], most: Rung | Literal[""]) -> tuple[Rung, ...]:
    """The rungs that may follow upon this one, the highest allowed being `most`."""
    first = RUNGS.index(rung) + 1 if rung else 0
    return RUNGS[first : RUNGS.index(most) + 1] if most else ()


def request_for(rung: Rung, request: Request, left: Sequence[Left], footing: Footing) -> Request | None:
    """The request that is this rung for these slots, None where it has nothing to offer any of them. What is on a
    machine that is down is left out unless that was declared down: no rung goes further than what was allowed."""
    within = [each for each in left if not each.down or each.down in request.node_down]
    if rung == "force":
        return _asks(request, rung, _named([each for each in left if each.runs and not each.down]), via="force")
    if rung == "pod":
        return _asks(request, rung, _named(within), via="pods")
    if rung == "job":
        stays = {each.slot.unit for each in left} - {each.slot.unit for each in within}
        units = {each.slot.unit for each in within} - stays
        slots = frozenset(slot for slot in footing.slots if slot.unit in units)
        by_unit = (name for name in footing.triggers if BY_NAME[name].reach == "unit")
        return _asks(request, rung, Selection(slots=slots) if slots else None, via=next(by_unit, ""))
    return _asks(request, rung, Selection() if left else None)


def _asks(
    request: Request, rung: Rung, selection: Selection | None, via: TriggerName | Literal[""] = ""
) -> Request | None:
    if selection is None:
        return None
    strategy = "in-place" if rung == "force" else "recreate"
    more = {"strategy": strategy, "via": via, "signal": "", "canary": None, "fallback": False}
    stays = structs.replace(request, replace_nodes=(), cordon=False)
    return structs.replace(stays, rung=rung, selection=selection, **more)


def _named(left: Sequence[Left]) -> Selection | None:
    """Just these slots; by the names of their Pods where nothing else tells those apart."""
    if any(each.seated for each in left):
        pods = frozenset(each.pod for each in left if each.pod)
        return Selection(pods=pods) if pods else None
    return Selection(slots=frozenset(each.slot for each in left)) if left else None


# ---------------------------------------------------------------- what each could cost


class Outlook(Struct, frozen=True, kw_only=True):
    """What a rung would do if every slot of a plan needed it: by which trigger, and what would be spent of each budget
    by then, the plan and the rungs before it included. `refused` says what would stand against it, "" where nothing
    does as far as can be seen now."""

    rung: Rung
    trigger: TriggerName | Literal[""]
    slots: int
    budgets: tuple[Budget, ...]
    refused: str = ""


def outlook(plan: Plan) -> list[Outlook]:
    """The worst that each rung allowed beyond this plan could come to, least first."""
    workload, snapshot = plan.snapshot.workload, plan.snapshot
    footing = Footing.of(workload, snapshot.slots)
    left = [
        Left(slot=p.state.slot, pod=p.pod, runs=running(p.state), seated=workload.seated(p.state)) for p in plan.scope
    ]
    spent = {budget.name: budget for budget in plan.budgets}
    found = []
    for rung in above(plan.request.rung, plan.request.escalate):
        request = request_for(rung, plan.request, left, footing)
        if request is None:
            continue
        if plan.trigger is not None and plan.trigger.marks and rung == "force":
            # What a changed image stops comes back whatever its exit code.
            request = structs.replace(request, allow=(*request.allow, "JSR204"))
        there = make(snapshot, request, plan.operation, draft=True)
        spent |= {b.name: _added(spent.get(b.name), b) for b in there.budgets}
        found.append(
            Outlook(
                rung=rung,
                trigger=there.trigger.name if there.trigger else "",
                slots=len(there.scope),
                budgets=tuple(spent[b.name] for b in there.budgets),
                refused=there.reason.removeprefix("refused: ") if there.refused else "",
            )
        )
    return found


def _added(before: Budget | None, more: Budget) -> Budget:
    """What is spent when this comes on top."""
    if before is None:
        return more
    return structs.replace(more, before=before.before, after=before.after + more.after - more.before)
