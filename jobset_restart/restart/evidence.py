"""What a plan asks of the cluster before it is final: permissions, a look into the containers, a dry run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from msgspec import structs

from jobset_restart.case import Evidence
from jobset_restart.cluster.pod_owners import owners_above
from jobset_restart.cluster.surroundings import look_around
from jobset_restart.containers import containers_in_scope
from jobset_restart.errors import ApiError, Forbidden, JsrError
from jobset_restart.pid1 import Probe, probe, read_probe
from jobset_restart.plan import Plan, permissions
from jobset_restart.scheduling import Surroundings
from jobset_restart.spans import LastTime, Measured
from jobset_restart.writes import Action, Exec, Permission, Write

if TYPE_CHECKING:
    from jobset_restart.cluster import ActionResult, Cluster

PROBE_SECONDS = 15.0
PROBES = 3


async def decide(cluster: Cluster, make_plan: Callable[[Evidence], Plan], last: LastTime | None = None) -> Plan:
    """The final plan: made, asked about, and made again until it needs no more evidence. `last` is the workload's last
    restart.

    What is found can rule a trigger out, and the next one has questions of its own. How long the API server takes to
    answer them is evidence too.
    """
    evidence = Evidence(measured=Measured(last=last))
    plan = make_plan(evidence)
    if plan.snapshot.workload.shares_its_pods:
        evidence = structs.replace(evidence, above=await owners_above(cluster, plan.snapshot))
        plan = make_plan(evidence)
    if plan.request.replace_nodes or plan.request.taint:
        evidence = structs.replace(evidence, surroundings=await _look_around(cluster, plan))
        plan = make_plan(evidence)
    while not plan.refused and (plan.needs_probes or plan.trigger_name not in evidence.denied):
        evidence = await _gather(cluster, plan, evidence)
        if plan.needs_probes or evidence.denied[plan.trigger_name] or evidence.measured.slowness > 1:
            plan = make_plan(evidence)
    return plan


async def _look_around(cluster: Cluster, plan: Plan) -> Surroundings:
    request = plan.request
    leaving = [s for s in plan.snapshot.slots.values() if s.node_name in request.replace_nodes]
    return await look_around(cluster, leaving, request.node_down if request.taint else ())


async def _gather(cluster: Cluster, plan: Plan, before: Evidence) -> Evidence:
    """The evidence this plan still lacks, added to what was there: which of its permissions are denied, and if it
    needs probes, what PID 1 of one running container per program and name is.

    Containers of one template run the same program; each signal looks again in its own container before it is sent.
    """
    asked = permissions(plan)
    answers = await asyncio.gather(*(_allowed(cluster, p, plan.snapshot.namespace) for p in asked))
    denied = [p for p, (allowed, _) in zip(asked, answers, strict=True) if not allowed]
    measured = structs.replace(before.measured, answers_in=median(took for _, took in answers) if answers else None)
    probes = before.probes
    if plan.needs_probes:
        probes = await _probe_all(cluster, plan)
    denials = {**before.denied, plan.trigger_name: denied}
    return structs.replace(before, probes=probes, denied=denials, measured=measured)


async def _allowed(cluster: Cluster, wanted: Permission, namespace: str) -> tuple[bool, float]:
    """Whether it is allowed, and how many seconds the answer took. A user who may not even ask is taken at their word:
    the request itself will tell."""
    now = asyncio.get_running_loop().time
    began = now()
    try:
        allowed = await cluster.allowed(wanted, "" if wanted.resource == "nodes" else namespace)
    except (Forbidden, ApiError):
        allowed = True
    return allowed, now() - began


async def _probe_all(cluster: Cluster, plan: Plan) -> dict[tuple[str, str], Probe]:
    """A look into one container of each kind that is still to be signalled; Pods that are Ready first."""
    samples: dict[tuple[str, str], list[Exec]] = {}
    program = plan.snapshot.workload.program
    by_exit = plan.trigger is not None and plan.trigger.by_exit
    asked = [planned for planned in plan.scope if planned.state.pod and not (planned.sent and by_exit)]
    for planned in sorted(asked, key=lambda planned: not planned.state.ready):
        pod = planned.state.pod
        for container in containers_in_scope(pod, plan.request.containers) if pod else ():
            few = samples.setdefault((program(planned.state), container.name), [])
            if pod and len(few) < PROBES:
                few.append(probe(pod, container.name))
    found = await asyncio.gather(*(_probe(cluster, few) for few in samples.values()))
    return dict(zip(samples, found, strict=True))


async def _probe(cluster: Cluster, samples: list[Exec]) -> Probe:
    """What the first of the samples that can be looked into says: one may be restarting just now."""
    refused = Probe(error="there is no container to look into")
    for sample in samples:
        try:
            answer = await cluster.execute(sample, timeout=PROBE_SECONDS)
        except JsrError as error:
            refused = Probe(error=error.message)
            continue
        if answer.exit_code in (126, 127):
            return Probe(error="there is no shell in the container")
        return read_probe(answer.stdout)
    return refused


async def rehearse(cluster: Cluster, plan: Plan) -> list[str]:
    """Sends every write with dryRun=All. Returns what the server refused, a sentence each; commands are not run."""
    refused: list[str] = []

    def on_done(action: Action, done: ActionResult) -> None:
        if done.error is not None:
            refused.append(f"{action.path}: {done.error.message}")

    workload = plan.snapshot.workload
    claim = workload.changed({"metadata": {}})
    # The object may change at any moment, and nothing is decided by whether it did.
    asked = (structs.replace(a, resource_version="") for a in plan.actions if isinstance(a, Write))
    writes = [claim, *asked]
    await cluster.send_all(writes, on_done, dry_run=True)
    return refused
