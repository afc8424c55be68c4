"""What holds for every run, whatever went wrong, judged by the store and not by what the program believes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from jobset_restart.events import Claimed, Finished, NextRound, Planned
from jobset_restart.restart.result import DEADLINE
from jobset_restart.rules import UNLIMITED
from jobset_restart.vocabulary import RUNGS
from tests.simulation.cluster import NAME
from tests.simulation.play import Played
from tests.simulation.program import FAULT, Ended
from tests.simulation.scenario import TIMEOUT

CODES = {0, 1, 3, 4, 5, 6, 7, 8, 124, 130}
Broken = Iterator[str]
_invariants: list[Callable[[Played], Broken]] = []


def invariant(check: Callable[[Played], Broken]) -> Callable[[Played], Broken]:
    _invariants.append(check)
    return check


def broken(played: Played) -> list[str]:
    """A sentence for each way in which a run broke an invariant."""
    return [f"{check.__name__}: {what}" for check in _invariants for what in check(played)]


def document(client: Ended) -> dict[str, Any] | None:
    """The JSON result, where it is one of a restart."""
    if not client.stdout.strip():
        return None
    found: dict[str, Any] = json.loads(client.stdout)
    return found if "outcomes" in found else None


def _plan(client: Ended) -> Planned | None:
    return next((event for event in client.events if isinstance(event, Planned)), None)


def _rounds(client: Ended) -> list[Planned | NextRound]:
    return [event for event in client.events if isinstance(event, Planned | NextRound)]


@invariant
def ends_well(played: Played) -> Broken:
    """No traceback, no code outside the contract, nothing the loop or the embedded cluster complains of."""
    for client in played.clients:
        if client.crash is not None and not _our_fault(played, client):
            yield f"{client.crash!r}"
        replaced = played.scenario.deeds and client is not played.clients[0]
        if client.code is not None and client.code not in CODES and not (client.code == 2 and replaced):
            yield f"exit code {client.code}: {client.stderr[-300:]}"
    killed = any(client.code is None for client in played.clients)
    for said in played.complaints:
        if FAULT not in said and not (killed and "Unclosed" in said):  # the dead close nothing
            yield said


def _our_fault(played: Played, client: Ended) -> bool:
    death = played.scenario.death
    return client.struck and death is not None and death.kind == "fault"


@invariant
def keeps_its_deadline(played: Played) -> Broken:
    for client in played.clients:
        if client.ended - client.began > TIMEOUT + 120:
            yield f"ended after {client.ended - client.began:.0f} s with a deadline of {TIMEOUT} s"


@invariant
def gets_there(played: Played) -> Broken:
    """Where only the way to the API server was disturbed, and nothing forbidden, a restart that was claimed ends with
    every slot back, and long before its deadline."""
    scenario = played.scenario
    if not scenario.only_transport or scenario.moves:
        return
    faults = scenario.faults[:-1] if scenario.falls_back else scenario.faults
    refusing = any(fault.kind == "forbidden" or fault.group == "exec" for fault in faults)
    for client in played.clients:
        claimed = any(isinstance(event, Claimed) for event in client.events)
        wrong = client.code == DEADLINE or (claimed and not refusing and client.code not in (0, 130, None))
        if wrong and not _our_fault(played, client):
            yield f"ended with {client.code} after {client.ended - client.began:.0f} s: {client.stderr[-200:]}"


@invariant
def tells_one_story(played: Played) -> Broken:
    """Exit code, JSON document and event stream agree."""
    for client in played.clients:
        result = document(client)
        last = next((event for event in reversed(client.events) if isinstance(event, Finished)), None)
        if result is None or client.code is None:
            continue
        if result["exitCode"] != client.code:
            yield f"exit code {client.code}, the document says {result['exitCode']}"
        if last is None:
            yield "the event stream has no end"
        elif (last.exit_code, last.outcomes) != (client.code, result["outcomes"]):
            yield f"the last event says {last.exit_code}, {last.outcomes}, the document {result['outcomes']}"
        if Counter(slot["outcome"] for slot in result["slots"]) != result["outcomes"]:
            yield f"{result['outcomes']} are not the outcomes of the slots"


@invariant
def is_one_operation(played: Played) -> Broken:
    """However many rounds there are: one plan that opens it, one claim, one end, and rounds that go on counting, in the
    events, the document and the record."""
    for client in played.clients:
        for kind in (Planned, Claimed, Finished):
            if (number := sum(isinstance(event, kind) for event in client.events)) > 1:
                yield f"{number} events {kind.__name__}"
        numbers, result = [each.round for each in _rounds(client)], document(client)
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            yield f"the rounds are {numbers}"
        if result is None or client.code is None or not numbers or played.scenario.deeds:
            continue
        told = [each["round"] for each in result["rounds"]] or [1]
        if told != list(range(1, numbers[-1] + 1)):
            yield f"the document tells of rounds {told}, the events of {numbers}"


@invariant
def falls_back(played: Played) -> Broken:
    """What is refused in place is recreated: by this client, or by the one that carries on."""
    if not played.scenario.falls_back or not played.scenario.only_transport or played.scenario.moves:
        return
    last = played.clients[-1]
    result = document(last)
    refused_for_good = played.scenario.faults[-1].lasts > 1000
    if result is not None and last.code == 0 and refused_for_good and result["strategy"] != "recreate":
        yield f"every PATCH of a Pod is refused, and the result is {result['strategy']} by {result['trigger']}"


@invariant
def accounts_for_every_slot(played: Played) -> Broken:
    for client in played.clients:
        result, plan = document(client), _plan(client)
        if result is None or plan is None or played.scenario.moves:
            continue
        named, planned = {slot["slot"] for slot in result["slots"]}, {slot.slot for slot in plan.slots}
        if named != planned:
            yield f"the result names {sorted(named)}, the plan {sorted(planned)}"
        if client is played.clients[0] and named != played.witness.before.keys():
            yield f"the result names {sorted(named)}, there were {sorted(played.witness.before)}"


@invariant
def keeps_its_pace(played: Played) -> Broken:
    """Never is more down at once because of the restart than was asked for."""
    plan = _plan(played.clients[0])
    at_once = played.scenario.at_once
    if not at_once or plan is None or not plan.trigger or not played.scenario.only_transport:
        return
    if len(played.clients) > 1 and not played.scenario.resumes:
        return  # the restart was begun again, of what may not have been back
    whole = plan.trigger == "jobs"
    meant = {slot.slot.rpartition("/")[0] if whole else slot.slot for slot in plan.slots if slot.trigger}
    most = max(1, len(meant) * int(at_once[:-1]) // 100) if at_once.endswith("%") else int(at_once)
    down = played.witness.most_down.get("units" if whole else "slots", 0)
    if down > most:
        yield f"{down} of {len(meant)} were down at once, and --max-unavailable is {at_once}"


@invariant
def is_never_left_suspended(played: Played) -> Broken:
    """A JobSet that is suspended at the end has a record that says so, or somebody else suspended it."""
    if any(deed.what == "suspends" for deed in played.scenario.deeds) or not played.witness.is_suspended:
        return
    record = played.cluster.record() or {}
    last = played.clients[-1]
    if record.get("phase") != "suspending" or record.get("state") == "finished":
        yield f"suspended, and its record says {record}"
    elif len(played.clients) > 1 and last.code in (0, 4):
        yield f"suspended after the second client ended with {last.code}"


@invariant
def resumes_before_it_leaves(played: Played) -> Broken:
    """A client that ends by itself leaves no JobSet suspended, or says that it could not help it."""
    others = any(deed.what == "suspends" for deed in played.scenario.deeds)
    for client in played.clients:
        at_once = played.scenario.death is not None and played.scenario.death.kind == "twice" and client.struck
        alive = client.code is not None and not others and not at_once
        if client.left_suspended and alive and "may stay suspended" not in client.stderr:
            yield f"left suspended with exit code {client.code}: {client.stderr[-300:]}"


@invariant
def destroys_nothing(played: Played) -> Broken:
    """Where nothing happens to the Pods from outside, nothing fails, and nothing is spent beyond the plan."""
    if not played.scenario.only_transport:
        return
    yield from played.witness.failed
    before, deletes = played.witness.counters_before, _deletes_pods(played)
    for name, spent in played.witness.counters().items():
        group = name if played.cluster.alone else name.removeprefix(NAME + "-").rpartition("-")[0]
        pods = sum(slot.startswith(f"{group}/") for slot in deletes)
        if spent - before.get(name, 0) > pods:
            yield f"{name} has {spent - before.get(name, 0)} failures more, and the plan deletes {pods} of its Pods"


@invariant
def spends_what_was_shown(played: Played) -> Broken:
    """However far it went for slots that did not come back: no Job that has a limit counts more failures than the plan
    showed before, and none fails."""
    if played.shown is None or (len(played.clients) > 1 and not played.scenario.resumes):
        return  # what is begun again has a plan of its own
    yield from played.witness.failed
    told = [played.shown, *played.shown["escalation"]]
    budgets = [budget for each in told if not each["refused"] for budget in each["budgets"]]
    most = {budget["name"]: 0 for budget in budgets}
    for budget in budgets:
        most[budget["name"]] = max(most[budget["name"]], budget["after"] - budget["before"])
    before = played.witness.counters_before
    endless = {job["metadata"]["name"] for job in played.cluster.jobs() if job["spec"]["backoffLimit"] >= UNLIMITED}
    for name, now in played.witness.counters().items():
        spent = now - before.get(name, 0)
        if name not in endless and spent > most.get(f"Job {name} backoffLimit", 0) and name != "JobSet":
            yield f"{name} has {spent} failures more, and the plan showed {most.get(f'Job {name} backoffLimit', 0)}"
        if name == "JobSet" and spent > 0:
            yield f"the JobSet was restarted {spent} times by its controller"


@invariant
def rises_rung_by_rung(played: Played) -> Broken:
    """As far as it may, and never back, but for slots whose turn had not come."""
    allowed = RUNGS[: RUNGS.index(played.scenario.escalates) + 1] if played.scenario.escalates in RUNGS else ()
    for client in played.clients:
        taken = [each.rung for each in client.events if isinstance(each, NextRound)]
        if any(rung and rung not in allowed for rung in taken):
            yield f"it went {taken}, and may go {allowed}"
        for before, after in itertools.pairwise(taken):
            if before and after and RUNGS.index(after) <= RUNGS.index(before):
                yield f"after {before} it went on with {after}"


@invariant
def brings_back_what_can_come(played: Played) -> Broken:
    """Where containers start again after a while, and everything may be done, everything is back in the end."""
    scenario = played.scenario
    for_ever = any(fault.lasts > 1000 for fault in scenario.faults)
    if scenario.escalates != "workload" or for_ever or not played.clients[0].events:
        return
    if len(played.clients) > 1 and not scenario.resumes:
        return
    last = played.clients[-1]
    if "not touched" in last.stderr:
        return  # a canary did not come back by itself: that stops the others, whatever brought it back
    if last.code in (4, DEADLINE) and not any(fault.kind == "forbidden" for fault in scenario.faults):
        yield f"ended with {last.code}: {last.stderr[-300:]}"


def _deletes_pods(played: Played) -> list[str]:
    """The slots whose Pods a plan deletes one by one: each is a failure of its Job."""
    plans = [plan for client in played.clients for plan in _rounds(client)]
    return [slot.slot for plan in plans for slot in plan.slots if slot.trigger == "pods"]


@invariant
def changes_nothing_where_it_refuses(played: Played) -> Broken:
    if len(played.clients) > 1 or played.clients[0].code not in (2, 3):
        return
    sent = [request for request in played.cluster.requests if request.changes and not request.path.endswith("/exec")]
    if sent:
        yield f"refused, but sent {sent[0].method} {sent[0].path}"


@invariant
def restarts_nothing_twice(played: Played) -> Broken:
    """One operation, carried on or not, starts each container once, and makes one new Pod for each slot."""
    scenario = played.scenario
    if not scenario.only_transport or scenario.moves or (len(played.clients) > 1 and not scenario.resumes):
        return
    for slot, was in played.witness.before.items():
        for name, times in played.witness.starts(was.uid).items():
            if times > 1:
                yield f"container {name} of {slot} was started {times} times"
        rungs = {each.rung for client in played.clients for each in client.events if isinstance(each, NextRound)}
        if len(played.witness.created[slot]) > 1 and not rungs & {"pod", "job", "workload"}:
            yield f"{slot} got {len(played.witness.created[slot])} new Pods"


@invariant
def lands_elsewhere(played: Played) -> Broken:
    """A Pod that was to leave its node is on another one, and the node is still cordoned."""
    if not played.scenario.replaces:
        return
    left = played.scenario.options[played.scenario.options.index("--replace-node") + 1]
    for client in played.clients:
        for slot in (document(client) or {}).get("slots", ()):
            if slot["outcome"] == "recreated" and slot["node"] == left:
                yield f"{slot['slot']} is recreated on {left}, which it was to leave"
        for node in (document(client) or {}).get("cordoned", ()):
            if not played.cluster.store.get("nodes", "", node)["spec"].get("unschedulable"):
                yield f"{node} was cordoned, and is not any more"


@invariant
def says_what_became_of_each_slot(played: Played) -> Broken:
    """What the document says of a slot is what the store shows, where only this client touched it."""
    client = played.clients[0]
    result = document(client)
    if result is None or not played.scenario.only_transport or played.scenario.moves or len(played.clients) > 1:
        return
    if _our_fault(played, client):
        return  # what was in flight is not known to it
    now = played.witness.now()
    for slot in result["slots"]:
        was, became = played.witness.before.get(slot["slot"]), now.get(slot["slot"])
        if was is None or became is None:
            yield f"{slot['slot']} is {slot['outcome']} by the document, and was {was}, is {became}"
            continue
        fresh = became.uid == was.uid and all(became.containers[n] != was.containers[n] for n in was.containers)
        truth = "recreated" if became.uid != was.uid else "restarted" if fresh else "unchanged"
        if slot["outcome"] == "unchanged" and played.scenario.kind == "native" and result["strategy"] == "recreate":
            continue  # new Pods restart the others in place: the plan says so
        if slot["outcome"] in ("restarted", "recreated", "unchanged") and slot["outcome"] != truth:
            yield f"{slot['slot']} is {slot['outcome']} by the document and {truth} by the store"
        if slot["outcome"] in ("restarted", "recreated") and not became.ready:
            yield f"{slot['slot']} is {slot['outcome']} by the document and not Ready"


@invariant
def asks_in_moderation(played: Played) -> Broken:
    """No hot loop: no second with more requests than Pods and a few explain."""
    most = 60 + 8 * len(played.witness.before)
    for second, number in Counter(int(request.time) for request in played.cluster.requests).items():
        if number > most:
            kinds = Counter(r.method + " " + r.path for r in played.cluster.requests if int(r.time) == second)
            yield f"{number} requests within one second: {kinds.most_common(2)}"
            return
    spent = sum(client.ended - client.began for client in played.clients)
    if len(played.cluster.requests) > 3 * most + 3 * spent:
        yield f"{len(played.cluster.requests)} requests in {spent:.0f} s"


@invariant
def ends_as_if_undisturbed(played: Played) -> Broken:
    """When all is over and a client carried on, everything it was to restart is restarted, once, and Ready."""
    last = played.clients[-1]
    if not played.scenario.only_transport or len(played.clients) < 2 or not played.scenario.resumes:
        return
    if last.code != 0 and not played.scenario.moves:
        yield f"the client that carried on ended with {last.code}: {last.stderr[-300:]}"
    plan = _plan(last)
    now = played.witness.now()
    for slot in plan.slots if plan and last.code == 0 and not played.scenario.moves else ():
        was, became = played.witness.before.get(slot.slot), now.get(slot.slot)
        if was is None or became is None or not became.ready:
            yield f"{slot.slot} was {was} and is {became}"
        elif slot.trigger and became.uid == was.uid and became.containers == was.containers:
            yield f"{slot.slot} was not restarted"


@invariant
def notices_what_others_do(played: Played) -> Broken:
    """A JobSet that was deleted, replaced or claimed while a client restarted it is none that it reports as done."""
    client = played.clients[0]
    over = ((document(client) or {}).get("seconds") or 0.0) - 2.0
    for deed in played.scenario.deeds:
        if deed.what in ("deletes", "recreates") and deed.at < over and client.code == 0:
            yield f"somebody {deed.what} it after {deed.at:.1f} s, and all was back after {over + 2:.1f} s"


@invariant
def gives_away_no_credential(played: Played) -> Broken:
    token = played.cluster.server.token
    for client in played.clients:
        if token in client.stdout or token in client.stderr or token in str(client.events):
            yield "the token is in what it printed"
