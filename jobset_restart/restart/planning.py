"""From what a person asked for to a final plan: the workload as it stands, the evidence, and what stands against it."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.errors import Invalid, Refused, Superseded, UsageError
from jobset_restart.names import followed
from jobset_restart.objects import Named
from jobset_restart.plan import Plan, Request, make, still_to_leave
from jobset_restart.pods import node_ready
from jobset_restart.report.operation import been_through
from jobset_restart.restart.evidence import decide
from jobset_restart.resume import carry_on, unfinished
from jobset_restart.slots import Slot
from jobset_restart.snapshot import Snapshot
from jobset_restart.suspects import Suspects, pods_of
from jobset_restart.workloads.kinds import JOBSET, WorkloadKind
from jobset_restart.workloads.workload import Workload

if TYPE_CHECKING:
    from jobset_restart.cluster import Cluster


class Asked(Struct, frozen=True, kw_only=True):
    """What a person asked for: which workload, and what of it. `selector` restricts the request to Pods with these
    labels, `suspects` to those that a diagnosis named, at most `suspects_age` seconds ago; `resume` is the id of the
    operation to carry on. `rehearsal`: nothing will be sent, so a claim of another client is no obstacle."""

    namespace: str
    name: str
    kind: WorkloadKind = JOBSET
    request: Request
    selector: str = ""
    resume: str = ""
    rehearsal: bool = False
    suspects: Suspects | None = None
    suspects_age: float = 0.0


async def planned(cluster: Cluster, asked: Asked) -> Plan:
    """The plan as of now, which may be one that refuses.

    Raises NotFound, Superseded where another client holds it, UsageError for an operation that cannot be
    carried on, a selector that is none and suspects that are none any more, and what the transport raises.
    """
    from jobset_restart.cluster.resolve import resolve

    snapshot = await resolve(cluster, asked.namespace, asked.name, asked.kind)
    if asked.resume:
        return await _carried_on(cluster, snapshot, asked)
    if not asked.rehearsal:
        _refuse_if_held(snapshot)
    request = _within(snapshot, asked)
    if asked.selector:
        named = await selected_pods(cluster, snapshot, asked.selector)
        request = structs.replace(request, selection=request.selection.only(snapshot, named))
    if asked.suspects is not None:
        named = pods_of(asked.suspects, snapshot, asked.suspects_age)
        request = structs.replace(request, selection=request.selection.only(snapshot, named))
    dead = claim.left_suspended(snapshot.workload, snapshot.time)
    operation = secrets.token_hex(4)
    finishes = dead.id if dead else ""
    last = claim.last_time(snapshot.workload)
    return await decide(cluster, lambda found: make(snapshot, request, operation, found, finishes), last)


async def planned_again(cluster: Cluster, asked: Asked, shown: Plan) -> Plan:
    """The plan as of now: while the person read, the cluster went on. Raises Refused where it is another one, and what
    `planned` raises."""
    plan = await planned(cluster, asked)
    if plan.refused or (plan.trigger, len(plan.scope)) != (shown.trigger, len(shown.scope)):
        raise Refused(
            f"the {plan.snapshot.workload.kind.kind} has changed since the plan was shown; nothing was changed",
            "look at it again, then repeat the command",
        )
    return plan


async def planned_next(
    cluster: Cluster, workload: Workload, request: Request, record: claim.Record, left: Collection[Slot]
) -> Plan | None:
    """The plan of a further round of the operation with this record, which holds the workload, for slots that were
    `left` behind; None where they are all back meanwhile. Raises what the transport raises."""
    from jobset_restart.cluster.resolve import resolve

    snapshot = await resolve(cluster, workload.namespace, workload.name, workload.kind)
    asked = still_left(snapshot, request, record, left)
    if asked is None:
        return None
    return await decide(cluster, lambda found: make(snapshot, asked, record.id, found))


def still_left(snapshot: Snapshot, request: Request, record: claim.Record, left: Collection[Slot]) -> Request | None:
    """The request without slots that have come back since, as far as it is for single slots, and without machines that
    are back, or that the operation has freed; None where no slot is left. `left` are the slots that it is made for,
    empty where it is not for such."""
    used = {pod.spec.node_name for pod in snapshot.pods()}
    nodes = snapshot.nodes or {}
    alive = {name for name, node in nodes.items() if node_ready(node)}
    request = still_to_leave(request, snapshot)
    down = tuple(name for name in request.node_down if name in used and name not in alive)
    request = structs.replace(request, node_down=down, taint=request.taint and bool(down))
    back = {slot for slot in left if slot in snapshot.slots and been_through(snapshot.slots[slot], record)}
    if not left or not back:
        return request
    if not set(left) - back:
        return None
    selection = request.selection
    if selection.slots is not None and selection.slots <= set(left):
        selection = structs.replace(selection, slots=selection.slots - back)
    return structs.replace(request, selection=selection)


def refusal(plan: Plan) -> Refused:
    """The error that a plan which refuses ends in. Its hint begins with the blocker that no option lets through."""
    blockers = plan.blockers()
    mistyped = [finding for finding in blockers if finding.id == "JSR106"]
    stand = mistyped or [finding for finding in blockers if finding.final] or blockers
    if mistyped:
        hint = followed(stand[0].todo, f"`jsr explain {stand[0].id}` says more")
    else:
        hint = f"`jsr explain {stand[0].id}` says more"
        if not stand[0].final:
            hint += f"; {' '.join(f'--allow {finding.id}' for finding in blockers)} goes ahead all the same"
    names = ", ".join(dict.fromkeys(finding.id for finding in blockers))
    return Refused(f"{plan.snapshot.workload.title} was not restarted, nothing was changed: {names}", hint)


def _within(snapshot: Snapshot, asked: Asked) -> Request:
    """The request, for the Job alone where that was named. Raises UsageError where it selects among Jobs besides."""
    request = asked.request
    if snapshot.part is None:
        return request
    selection, (group, indexes) = request.selection, snapshot.part
    if selection.replicated_jobs or selection.job_indexes:
        whole = snapshot.workload.reference
        raise UsageError(
            f"{asked.kind.word}/{asked.name} is one Job already: --replicated-job and --job-index do not go with it",
            f"to select among the Jobs of {snapshot.workload.title}, write `jsr restart {whole}`",
        )
    selection = structs.replace(selection, replicated_jobs=(group,), job_indexes=indexes[:1])
    return structs.replace(request, selection=selection)


async def selected_pods(cluster: Cluster, snapshot: Snapshot, selector: str) -> frozenset[str]:
    """The names of the Pods that carry these labels: the API server knows what a selector means."""
    pods = snapshot.workload.sources.pods
    try:
        found = await cluster.list(pods.collection, Named, label_selector=f"{pods.labels},{selector}")
    except Invalid as error:
        raise UsageError(f"--selector {selector!r} is not a label selector: {error}", "write a=b,c!=d,e") from None
    return frozenset(item.metadata.name for item in found.items)


async def _carried_on(cluster: Cluster, snapshot: Snapshot, asked: Asked) -> Plan:
    record = unfinished(snapshot, asked.resume)
    _refuse_if_held(snapshot)

    if strange := sorted({*asked.request.replace_nodes} - {*record.request.replace_nodes}):
        raise UsageError(
            f"operation {record.id} does not replace the Pods of {strange[0]}",
            "leave --replace-node out: it is recorded",
        )

    def again(evidence: Evidence) -> Plan:
        try:
            return carry_on(
                snapshot,
                record,
                evidence,
                allow=asked.request.allow,
                node_down=asked.request.node_down,
                fallback=asked.request.fallback,
                escalate=asked.request.escalate,
                step_timeout=asked.request.step_timeout,
                cordon=asked.request.cordon,
                taint=asked.request.taint,
            )
        except ValueError as error:
            raise UsageError(str(error), "start a new one") from None

    return await decide(cluster, again)


def _refuse_if_held(snapshot: Snapshot) -> None:
    """The claim is on the workload; on one of its parts, where a client could not see that it is one."""
    for workload in (snapshot.workload, *snapshot.workload.parts):
        found = claim.lock(workload)
        if found is not None and claim.live(found, snapshot.time):
            raise Superseded(*claim.held(workload, found, snapshot.time, snapshot.context))
