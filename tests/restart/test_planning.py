"""From what a person asked for to a plan: which Pods a selector means, who holds the JobSet, what can be carried on."""

from __future__ import annotations

import asyncio
import re

import pytest
from msgspec import structs

from jobset_restart.cluster import HttpCluster
from jobset_restart.errors import NotFound, Refused, Superseded, UsageError
from jobset_restart.plan import Plan, Request, Selection
from jobset_restart.restart import Asked, Options, Tenure, planned, planned_again, refusal
from tests.restart.stage import ANN, Stage
from tests.simulation.cluster import NAME, NAMESPACE

IMAGE = Asked(namespace=NAMESPACE, name=NAME, request=Request(via="image"))


def plan(stage: Stage, asked: Asked = IMAGE) -> Plan:
    return stage.do(lambda api: planned(api, asked))


def names(plan: Plan) -> set[str]:
    return {slot.pod for slot in plan.scope}


def test_a_selector_means_the_pods_that_carry_the_labels(four: Stage) -> None:
    all_of_them = names(plan(four))
    assert len(all_of_them) == 4
    third = "batch.kubernetes.io/job-completion-index=2"
    (one,) = names(plan(four, structs.replace(IMAGE, selector=third)))
    both = Request(via="image", selection=Selection(pods=frozenset({one})))
    assert names(plan(four, structs.replace(IMAGE, selector=third, request=both))) == {one}
    other = Request(via="image", selection=Selection(pods=frozenset(all_of_them - {one})))
    assert plan(four, structs.replace(IMAGE, selector=third, request=other)).refused


def test_a_pod_that_is_not_there_is_told_beside_a_selector_too(four: Stage) -> None:
    typo = Request(via="image", selection=Selection(pods=frozenset({"nosuchpod"})))
    refused = plan(four, structs.replace(IMAGE, selector="batch.kubernetes.io/job-completion-index=2", request=typo))
    assert "JSR106" in {finding.id for finding in refused.blockers()}


def test_what_is_no_selector_is_the_persons_mistake(four: Stage) -> None:
    with pytest.raises(UsageError, match="is not a label selector"):
        plan(four, structs.replace(IMAGE, selector="a in (b"))


def test_near_names_of_a_jobset(four: Stage) -> None:
    with pytest.raises(NotFound) as raised:
        plan(four, structs.replace(IMAGE, name=NAME + "x"))
    assert raised.value.hint == f"did you mean {NAME}?"


def test_what_another_client_holds_can_be_looked_at_but_not_planned(four: Stage) -> None:
    async def beside(api: HttpCluster) -> None:
        tenure = Tenure(await planned(api, IMAGE), api, lambda _: None, Options(owner=ANN, timeout=300))
        running = asyncio.ensure_future(tenure.run())
        await asyncio.sleep(1)
        with pytest.raises(Superseded, match=re.escape(ANN)):
            await planned(api, IMAGE)
        assert (await planned(api, structs.replace(IMAGE, rehearsal=True))).trigger_name == "image"
        assert (await running).exit_code == 0

    four.do(beside)


@pytest.mark.parametrize("wanted", ["nosuchid", "op1"])
def test_only_what_is_unfinished_can_be_carried_on(four: Stage, wanted: str) -> None:
    four.restart(Request(via="image"))
    with pytest.raises(UsageError, match=r"has no operation nosuchid: the last one recorded is op1|op1 is over"):
        plan(four, structs.replace(IMAGE, resume=wanted))


def test_the_plan_that_was_shown_is_the_one_that_is_carried_out(four: Stage) -> None:
    async def twice(api: HttpCluster) -> Plan:
        shown = await planned(api, IMAGE)
        same = await planned_again(api, IMAGE, shown)
        assert names(same) == names(shown)
        return shown

    shown = four.do(twice)
    fewer = structs.replace(IMAGE, selector="batch.kubernetes.io/job-completion-index=2")
    with pytest.raises(Refused, match="has changed since the plan was shown"):
        four.do(lambda api: planned_again(api, fewer, shown))


def test_a_refusal_says_what_would_let_it_through(four: Stage) -> None:
    typo = structs.replace(IMAGE, request=Request(via="image", containers=("wroker",)))
    assert refusal(plan(four, typo)).hint == "did you mean worker? `jsr explain JSR106` says more"
    none = structs.replace(IMAGE, selector="no=such")
    assert refusal(plan(four, none)).hint == "`jsr explain JSR104` says more"
