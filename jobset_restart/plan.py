"""From a snapshot and a request to a plan: which trigger, for which slots, with which actions, and why. Pure.

The choice (without --via): native if it covers exactly what is asked and has headroom, else image, else signal; if
recreating is allowed too, then suspend, jobs, pods. A candidate with a blocker is passed over, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field, structs

from jobset_restart.case import Case, Evidence, Trigger
from jobset_restart.containers import containers_in_scope
from jobset_restart.events import Budget
from jobset_restart.findings import Finding, look
from jobset_restart.findings.budgets import budgets
from jobset_restart.names import Absent, absent
from jobset_restart.pods import Identity, identity
from jobset_restart.prediction import patience, predicted
from jobset_restart.requests import requested
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import NOTHING, Prediction
from jobset_restart.stages import Stage, StageName, made
from jobset_restart.suspension import queue
from jobset_restart.triggers import pacing
from jobset_restart.triggers.nodes import cordoned_first
from jobset_restart.triggers.pods import PODS
from jobset_restart.triggers.registry import BY_NAME, TRIGGERS, offered
from jobset_restart.triggers.requeue import REQUEUE
from jobset_restart.triggers.steps import in_steps, waves
from jobset_restart.triggers.suspend import SUSPEND
from jobset_restart.vocabulary import OrderName, Rung, Strategy, TriggerName
from jobset_restart.waits import min_ready_seconds
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Action, Exec, Permission, Write, on_collection, permission

MOST_READY_SECONDS = 366 * 86400.0
"""A year."""


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which slots are meant. Empty: all. Each given list must contain the slot's own. `pods` and `slots` are
    None for any and empty for none."""

    replicated_jobs: tuple[str, ...] = ()
    job_indexes: tuple[int, ...] = ()
    pods: frozenset[str] | None = None
    nodes: tuple[str, ...] = ()
    slots: frozenset[Slot] | None = None

    def of(self, states: Iterable[SlotState]) -> list[SlotState]:
        """Those of the slots that are meant."""
        names, indexes, nodes = set(self.replicated_jobs), set(self.job_indexes), set(self.nodes)
        return [
            state
            for state in states
            if (not names or state.slot.group in names)
            and (not indexes or indexes.intersection(state.slot.indexes[:1]))
            and (self.pods is None or (state.pod is not None and state.pod.metadata.name in self.pods))
            and (not nodes or state.node_name in nodes)
            and (self.slots is None or state.slot in self.slots)
        ]

    def only(self, snapshot: Snapshot, pods: frozenset[str]) -> Selection:
        """This selection without the Pods of the snapshot that are not among `pods`."""
        known = {state.pod.metadata.name for state in snapshot.slots.values() if state.pod}
        named = known & pods
        if self.pods is not None:
            named = (named & self.pods) | (self.pods - known)
        return structs.replace(self, pods=named)

    def absent(self, snapshot: Snapshot) -> list[Absent]:
        """The groups (in a JobSet the ReplicatedJobs), indexes, Pods and Nodes named here of which this workload has
        none."""
        states = snapshot.slots.values()
        group, index = ("ReplicatedJob", "Job index") if snapshot.workload.jobset else ("group", "index")
        groups = {*snapshot.workload.groups, *(s.slot.group for s in states)}
        indexes = {index for s in states for index in s.slot.indexes[:1]}
        indexes |= {index for job in snapshot.jobs for index in snapshot.workload.unit_of(job)[1][:1]}
        return [
            *absent(group, self.replicated_jobs, groups),
            *absent(index, (i for i in self.job_indexes if not snapshot.workload.has_index(i)), indexes),
            *absent("Pod", sorted(self.pods or ()), {s.pod.metadata.name for s in states if s.pod}),
            *absent("Node", self.nodes, {s.node_name for s in states} - {""}),
        ]


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for. `strategy` empty: the plan chooses. `signal` is a name such as TERM, empty: the plan
    chooses. `canary` is how many slots go ahead of the others, None: the plan chooses. `replace_nodes` are Nodes that
    the Pods there are to leave, whatever becomes of the others; `cordon`: those are cordoned first; `taint`: the
    machines in `node_down` are tainted as out of service. `max_unavailable` is how many may be down at once, "N", "P%"
    or empty for all; `order` by what they are put in order; `keep_going`: one that fails does not stop the others.
    `min_ready_seconds` is how long a slot has to stay Ready, None: the plan chooses.

    `escalate` is the highest rung that may follow for slots that do not come back, "" for none; `rung` the one that
    this request is, "" for what was asked for itself. `step_timeout` is how many seconds a slot has to come back before
    the next rung begins, None: as long as the plan says.

    Raises ValueError where max_unavailable says no number."""

    strategy: Strategy | Literal[""] = ""
    via: TriggerName | Literal[""] = ""
    containers: tuple[str, ...] = ()
    signal: str = ""
    node_down: tuple[str, ...] = ()
    replace_nodes: tuple[str, ...] = ()
    cordon: bool = False
    taint: bool = False
    allow: tuple[str, ...] = ()
    fallback: bool = False
    canary: int | None = None
    max_unavailable: str = ""
    order: OrderName | Literal[""] = ""
    keep_going: bool = False
    min_ready_seconds: Annotated[float, Meta(ge=0, le=MOST_READY_SECONDS)] | None = None
    escalate: Rung | Literal[""] = ""
    rung: Rung | Literal[""] = ""
    step_timeout: float | None = None
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if self.max_unavailable:
            pacing.check(self.max_unavailable)

    def candidates(self, snapshot: Snapshot) -> tuple[Trigger, ...]:
        """The triggers to look at, best first. Where the workload offers none of the strategy asked for, one that it
        does not offer, which is refused as such."""
        if self.via:
            return (BY_NAME[self.via],)
        wanted = "" if self.strategy == "in-place" and self.fallback else self.strategy
        found = tuple(trigger for trigger in offered(snapshot) if wanted in ("", trigger.strategy))
        return found or tuple(trigger for trigger in TRIGGERS if trigger.strategy == wanted)[:1]

    def absent(self, snapshot: Snapshot) -> list[Absent]:
        """What is named here and this workload does not have."""
        specs = (
            [*snapshot.workload.groups.values(), *(s.pod.spec for s in snapshot.slots.values() if s.pod)]
            if self.containers
            else []
        )
        containers = {c.name for spec in specs for c in (*spec.containers, *spec.init_containers)}
        return [*self.selection.absent(snapshot), *absent("container", self.containers, containers)]


class SlotPlan(Struct, frozen=True, kw_only=True):
    """What the plan does with one slot. `pod` and `node` name what fills it. `trigger` is None where it leaves the
    slot alone; `lost` tells that its Pod is on a machine declared down, `leaves` names the Node that its Pod is deleted
    to leave beside a restart in place. `before` is the identity to judge by, None
    where the slot has no Pod. `sent` and `new` are for an operation that is carried on: the slot was triggered
    already, and the UIDs of its Pods that are new already; `awaited`: an earlier round restarted its Pod in place, this
    one only waits for it."""

    state: SlotState
    trigger: Trigger | None
    reason: str
    lost: bool = False
    leaves: str = ""
    before: Identity | None = None
    pod: str = ""
    node: str = ""
    sent: bool = False
    new: frozenset[str] = frozenset()
    awaited: bool = False

    @property
    def trigger_name(self) -> str:
        return self.trigger.name if self.trigger else ""


class Plan(Struct, frozen=True, kw_only=True):
    """The decision. `refused`: a blocker stands, nothing may be sent, and there is no trigger, unless it is the one of
    an operation to carry on. `needs_probes`: the containers must be looked into before the choice is final. `finishes`:
    the id of a dead client's suspend that this run completes. `attempt`: the in-place attempt that a native restart
    leads to. `written_to`: the Nodes that an operation which is carried on has cordoned or tainted. `prediction` is how
    long it should take. `min_ready_seconds` is how long a slot must stay Ready to count, where that was not asked for,
    and `patience` how many seconds it has to come back before it counts as stuck; `deaf` are the slots that do not
    notice when they are told to stop."""

    operation: str
    snapshot: Snapshot
    request: Request
    strategy: Strategy | Literal[""]
    trigger: Trigger | None
    reason: str
    slots: list[SlotPlan]
    stages: list[Stage]
    findings: list[Finding]
    budgets: list[Budget] = []
    refused: bool = False
    needs_probes: bool = False
    prediction: Prediction = NOTHING
    waves: int = 1
    min_ready_seconds: float = 0.0
    patience: float = 0.0
    deaf: frozenset[Slot] = frozenset()
    finishes: str = ""
    attempt: int = 0
    written_to: tuple[tuple[StageName, str], ...] = ()
    drafted: int = 0

    @property
    def trigger_name(self) -> str:
        return self.trigger.name if self.trigger else ""

    @property
    def writes(self) -> int:
        """How many actions there are, or would be if this is a draft."""
        return self.drafted or len(self.actions)

    @property
    def actions(self) -> list[Action]:
        return [action for stage in self.stages for action in stage.actions]

    @property
    def scope(self) -> list[SlotPlan]:
        return [slot for slot in self.slots if slot.trigger]

    def idle(self, slot: SlotPlan) -> dict[str, float]:
        """The extended resources that nothing uses while this slot is down, by name. Of containers that are restarted
        in place alone what these ask for."""
        pod = slot.state.pod
        spec = pod.spec if pod else self.snapshot.workload.groups.get(slot.state.slot.group)
        if spec is None or not slot.trigger:
            return {}
        return requested(
            spec, self.request.containers if self.strategy == "in-place" and not (slot.lost or slot.leaves) else ()
        )

    def blockers(self) -> list[Finding]:
        return _standing(self.findings)


def make(
    snapshot: Snapshot,
    request: Request,
    operation: str,
    evidence: Evidence | None = None,
    finishes: str = "",
    *,
    draft: bool = False,
) -> Plan:
    """The plan for this request. `operation` is the id the actions carry; `evidence` what was probed and asked so far.
    A `draft` counts the actions without making them, for a look.

    `finishes` is the id of a lapsed operation that left the workload suspended: then the plan is to complete it.
    """
    evidence = evidence or Evidence()
    if finishes:
        return _finishing(snapshot, request, operation, evidence, finishes)
    passed_over: list[tuple[Trigger, list[Finding]]] = []
    for trigger in request.candidates(snapshot):
        case = case_for(snapshot, request, trigger, evidence)
        found = look(case, frozenset(request.allow))
        if _standing(found):
            passed_over.append((trigger, found))
        else:
            return _chosen(case, request, operation, found, passed_over, draft)
    return _refusal(snapshot, request, operation, passed_over)


def case_for(snapshot: Snapshot, request: Request, trigger: Trigger, evidence: Evidence) -> Case:
    """The slots this trigger would have to restart. Completed slots are never in scope, nor are Pods that have none of
    the containers asked for."""
    expected = [s for s in snapshot.slots.values() if s.expected]
    down, leaving = frozenset(request.node_down), frozenset(request.replace_nodes)
    meant = request.selection.of(expected)
    selected = [s for s in meant if s.node_name in leaving or has_any(s, request.containers)]
    apart = down | leaving if trigger.in_place else down
    return Case(
        snapshot=snapshot,
        trigger=trigger,
        scope=[s for s in selected if s.node_name not in apart],
        lost=[s for s in selected if s.node_name in down],
        replaced=[s for s in selected if s.node_name in apart - down],
        whole=len(selected) == len(expected),
        containers=request.containers,
        node_down=down,
        replace_nodes=leaving,
        cordon=request.cordon,
        taint=request.taint,
        signal=request.signal,
        canary=request.canary,
        max_unavailable=request.max_unavailable,
        order=request.order,
        keep_going=request.keep_going,
        min_ready_seconds=request.min_ready_seconds,
        evidence=evidence,
        absent=request.absent(snapshot),
    )


def still_to_leave(request: Request, snapshot: Snapshot) -> Request:
    """The request for a further round: Nodes that the Pods it selects have left by now are not left again."""
    here = {state.node_name for state in request.selection.of(snapshot.slots.values())}
    return structs.replace(request, replace_nodes=tuple(name for name in request.replace_nodes if name in here))


def has_any(state: SlotState, containers: tuple[str, ...]) -> bool:
    """Whether the slot's Pod, if it has one, has any of these containers. None named: all are meant."""
    return not containers or state.pod is None or bool(containers_in_scope(state.pod, containers))


def _chosen(
    case: Case,
    request: Request,
    operation: str,
    found: list[Finding],
    passed_over: list[tuple[Trigger, list[Finding]]],
    draft: bool,
) -> Plan:
    case.scope, left = _divide(case)
    slots = [SlotPlan(state=s, trigger=case.trigger, reason=case.trigger.why, **_before(s)) for s in case.scope]
    for state in case.lost:
        reason = f"its machine {state.node_name} was declared down"
        slots.append(SlotPlan(state=state, trigger=case.trigger, reason=reason, lost=True, **_before(state)))
    slots += [
        SlotPlan(state=s, trigger=PODS, reason=f"leaves node {s.node_name}", leaves=s.node_name, **_before(s))
        for s in case.replaced
    ]
    slots += [SlotPlan(state=state, trigger=None, reason=reason, **_before(state)) for state, reason in left]
    order = {slot: n for n, slot in enumerate(case.snapshot.slots)}
    slots.sort(key=lambda plan: order[plan.state.slot])
    found_stages = cordoned_first(case, case.trigger.stages(case, operation))
    return Plan(
        operation=operation,
        snapshot=case.snapshot,
        request=request,
        strategy=case.trigger.strategy,
        trigger=case.trigger,
        reason=_reason(case, passed_over),
        slots=slots,
        stages=[] if case.unprobed or draft else made(found_stages),
        drafted=sum(len(stage.actions) for stage in found_stages) if draft else 0,
        findings=found,
        budgets=budgets(case),
        needs_probes=case.unprobed or looks_for_deaf(case, request),
        prediction=predicted(case),
        waves=waves(case),
        min_ready_seconds=min_ready_seconds(case),
        patience=patience_of(case, request),
        deaf=case.deaf() if may_force(case, request) else frozenset(),
        attempt=case.snapshot.workload.attempt + 1,
    )


def may_force(case: Case, request: Request) -> bool:
    """Whether containers that do not stop when they are told to may be made to before their grace period is over."""
    whole = request.escalate and not request.rung and request.step_timeout is None
    return bool(whole) and case.trigger.in_place and case.trigger.gives_grace


def looks_for_deaf(case: Case, request: Request) -> bool:
    """Whether it has to be seen which containers would use their grace period in vain."""
    return may_force(case, request) and case.evidence.probes is None


def patience_of(case: Case, request: Request) -> float:
    """How many seconds a slot has to come back before it counts as stuck; 0 where nothing would be done about it."""
    if not request.escalate:
        return 0.0
    return patience(case) if request.step_timeout is None else request.step_timeout


def _reason(case: Case, passed_over: list[tuple[Trigger, list[Finding]]]) -> str:
    reason = case.trigger.why
    if paced := pacing.words(case, waves(case) if case.max_unavailable else 0):
        reason += f"; {paced}"
    if case.trigger.order == "steps" and len(in_order := in_steps(case)) > 1:
        reason += f"; in {len(in_order)} steps, each when the one before is Ready: " + ", then ".join(
            map(str, in_order)
        )
    if case.replaced:
        names = ", ".join(sorted({state.node_name for state in case.replaced}))
        reason += f"; {len(case.replaced):,} of them on {names} are made anew elsewhere"
    if passed_over:
        reason += "; passed over: " + _why_not(passed_over)
    return reason


def _why_not(passed_over: list[tuple[Trigger, list[Finding]]]) -> str:
    parts = []
    for trigger, found in passed_over:
        blocker = _standing(found)[0]
        parts.append(f"{trigger} ({blocker.id}: {blocker.summary})")
    return ", ".join(parts)


def _divide(case: Case) -> tuple[list[SlotState], list[tuple[SlotState, str]]]:
    """The slots to trigger, and those left alone with the reason: complete, unselected, or let be by --allow."""
    scope = []
    chosen = {s.slot for s in case.meant}
    left = [(state, _unselected(case, state)) for state in case.snapshot.slots.values() if state.slot not in chosen]
    for state in case.scope:
        if reason := case.trigger.leaves_alone(state):
            left.append((state, reason))
        else:
            scope.append(state)
    return scope, left


def _unselected(case: Case, state: SlotState) -> str:
    if state.completed:
        return "complete"
    if state.surplus:
        return "not wanted any more"
    return "not selected" if has_any(state, case.containers) else f"no container {' or '.join(case.containers)}"


def _before(state: SlotState) -> dict[str, Any]:
    if state.pod is None:
        return {}
    return {"before": identity(state.pod), "pod": state.pod.metadata.name, "node": state.node_name}


def _refusal(
    snapshot: Snapshot, request: Request, operation: str, passed_over: list[tuple[Trigger, list[Finding]]]
) -> Plan:
    """The plan that does nothing. It tells of the candidate that fewest blockers stand against, those that cannot be
    let through before the others; its reason names the first blocker of each."""
    nearest = min(
        (found for _, found in passed_over),
        key=lambda found: (sum(f.final for f in _standing(found)), len(_standing(found))),
    )
    return Plan(
        operation=operation,
        snapshot=snapshot,
        request=request,
        strategy=request.strategy,
        trigger=None,
        reason="refused: " + _why_not(passed_over),
        slots=[SlotPlan(state=s, trigger=None, reason="refused", **_before(s)) for s in snapshot.slots.values()],
        stages=[],
        findings=nearest,
        refused=True,
    )


def _standing(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.severity == "blocker" and not f.allowed]


def _finishing(snapshot: Snapshot, request: Request, operation: str, evidence: Evidence, finishes: str) -> Plan:
    """Resume a workload that a dead client left suspended, once its old Pods are gone. Everything comes back anew."""
    trigger = REQUEUE if queue(snapshot.workload.metadata) else SUSPEND
    whole = Request(
        strategy="recreate",
        via=trigger.name,
        node_down=request.node_down,
        replace_nodes=request.replace_nodes,
        cordon=request.cordon,
        allow=(*request.allow, "JSR401"),
    )
    case = case_for(snapshot, whole, trigger, evidence)
    case.finishes = finishes
    found = look(case, frozenset((*whole.allow, "JSR402", "JSR503")))
    reason = f"operation {finishes} ended between suspend and resume; {snapshot.workload.title} is resumed"
    refused = bool(_standing(found))
    return Plan(
        operation=operation,
        snapshot=snapshot,
        request=whole,
        strategy=trigger.strategy,
        trigger=trigger,
        reason=reason,
        slots=[
            SlotPlan(state=s, trigger=trigger, reason=reason, lost=lost, **_before(s))
            for states, lost in ((case.scope, False), (case.lost, True))
            for s in states
        ],
        stages=[]
        if refused
        else made(
            s for s in cordoned_first(case, trigger.stages(case, operation)) if s.name not in ("suspend", "evict")
        ),
        findings=found,
        budgets=budgets(case),
        refused=refused,
        prediction=predicted(case),
        min_ready_seconds=min_ready_seconds(case),
        finishes=finishes,
    )


def permissions(plan: Plan) -> list[Permission]:
    """Every permission the plan's actions use, those of the claim and the watch included."""
    workload = plan.snapshot.workload
    claims = (workload.changed({}), Write(verb="patch", path=workload.path))
    needed = {permission(action) for action in (*plan.actions, *claims)}
    sources = workload.sources
    collections = [source.collection for source in (sources.pods, *sources.children)]
    collections += [source.collection for source in (sources.itself, *sources.parts)]
    needed |= {on_collection("watch", collection) for collection in collections}
    by_exit = plan.trigger is not None and plan.trigger.by_exit
    if (by_exit and plan.needs_probes) or any(isinstance(action, Exec) for action in plan.actions):
        # A WebSocket is opened with GET, which RBAC takes for get; newer API servers ask for create besides.
        needed |= {Permission("create", "", "pods", "exec"), Permission("get", "", "pods", "exec")}
    return sorted(needed)
