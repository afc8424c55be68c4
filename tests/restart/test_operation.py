"""What the README promises of a restart, each promise once: the store tells whether it was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from jobset_restart.cluster import connect
from jobset_restart.errors import Superseded
from jobset_restart.events import Claimed, Detached, Event, Finished, Noticed, Phase, Planned, Ready
from jobset_restart.plan import Request, Selection
from jobset_restart.restart import Options, Tenure
from tests.e2e import manifests as make
from tests.restart.stage import ANN, Stage, stage, workers
from tests.simulation.cluster import NAME, NAMESPACE

IN_PLACE = Request(strategy="in-place")
SUSPEND = Request(strategy="recreate", via="suspend")


def reasons(stage: Stage) -> list[str]:
    return [each["reason"] for each in stage.cluster.store.all("events") if each["source"].get("component") == "jsr"]


# ---------------------------------------------------------------- the two ways, undisturbed


def test_in_place_every_container_is_started_once_in_its_pod(four: Stage) -> None:
    came = four.restart(IN_PLACE)
    assert (came.result.exit_code, came.result.outcomes) == (0, {"restarted": 4})
    after = four.witness.now()
    for slot, was in four.witness.before.items():
        assert after[slot].uid == was.uid
        assert after[slot].ready
        assert four.witness.starts(was.uid) == {"worker": 1}
    assert isinstance(came.events[0], Planned)
    assert isinstance(came.events[1], Claimed)
    assert len(came.of(Ready)) == 4
    assert isinstance(came.events[-1], Finished)
    assert (four.record["state"], four.record["exitCode"]) == ("finished", 0)
    assert reasons(four) == ["RestartStarted", "Restarted"]


def test_recreate_every_slot_gets_one_new_pod_and_nothing_is_spent(four: Stage) -> None:
    came = four.restart(SUSPEND)
    assert (came.result.exit_code, came.result.outcomes) == (0, {"recreated": 4})
    after = four.witness.now()
    assert all(after[slot].uid != was.uid and after[slot].ready for slot, was in four.witness.before.items())
    assert {len(created) for created in four.witness.created.values()} == {1}
    assert four.witness.counters() == four.witness.counters_before
    assert [suspended for _, suspended in four.witness.suspended] == [True, False]


# ---------------------------------------------------------------- never left suspended


def test_interrupted_while_suspended_it_resumes_before_it_leaves(four: Stage) -> None:
    came = four.restart(SUSPEND, meanwhile=lambda operation: four.loop.call_later(1.0, operation.interrupt))
    assert came.result.exit_code == 130
    assert not four.suspended
    assert "before leaving" in [event.reason for event in came.of(Phase)]


def test_the_deadline_passes_while_suspended(tmp_path: Path) -> None:
    with stage(tmp_path, workers(grace=60)) as slow:
        came = slow.restart(SUSPEND, timeout=10.0)
        assert came.result.exit_code == 124
        assert not slow.suspended
        assert slow.record["state"] == "detached"


def test_the_watch_is_forbidden_while_suspended(four: Stage) -> None:
    four.fault("forbidden", target="watch pods *", at=0.5, lasts=60)
    four.fault("watch-cut", at=1.0, lasts=5)
    came = four.restart(SUSPEND)
    assert came.result.exit_code == 1
    assert "forbidden" in came.result.reason
    assert not four.suspended


def test_a_fault_of_the_program_while_suspended(four: Stage) -> None:
    def fails(event: Event) -> None:
        if isinstance(event, Phase) and event.phase == "resuming" and not event.reason:
            raise KeyError("workers")

    came = four.restart(SUSPEND, emit=fails)
    assert came.result.exit_code == 1
    assert "KeyError" in came.result.reason
    assert not four.suspended


def test_the_api_server_goes_away_for_good_while_suspended_and_the_record_says_so(four: Stage) -> None:
    four.fault("apiserver", at=1.0, lasts=200)
    came = four.restart(SUSPEND, timeout=20.0)
    assert came.result.exit_code in (1, 124)
    assert "may stay suspended" in " ".join(event.message for event in came.of(Noticed))
    assert four.suspended
    assert (four.record["phase"], four.record.get("state", "running")) == ("suspending", "running")


# ---------------------------------------------------------------- the claim


def test_a_second_client_is_refused_and_changes_nothing(four: Stage) -> None:
    refused: list[Superseded] = []

    async def second() -> None:
        async with await connect(four.cluster.kubeconfig) as api:
            plan = await four.plan(api, SUSPEND, "op2")
            with pytest.raises(Superseded) as raised:
                await Tenure(plan, api, lambda event: None, Options(owner="bob", timeout=60.0)).run()
            refused.append(raised.value)

    tasks: list[asyncio.Task[None]] = []
    came = four.restart(IN_PLACE, meanwhile=lambda _: tasks.append(four.loop.create_task(_after(0.5, second))))
    assert came.result.exit_code == 0
    assert ANN in refused[0].message
    assert "nothing was changed" in refused[0].message
    assert four.witness.suspended == []


def test_a_claim_that_lapsed_is_taken_over(four: Stage) -> None:
    jobset = four.cluster.workload()
    assert jobset
    four.cluster.claim(jobset)
    with pytest.raises(Superseded):
        four.restart(IN_PLACE)
    four.wait(31.0)
    came = four.restart(IN_PLACE)
    assert came.result.exit_code == 0
    assert came.of(Claimed)[0].took_over == "0ther000"


def test_the_heartbeat_keeps_the_claim_alive(tmp_path: Path) -> None:
    with stage(tmp_path, workers(grace=45)) as slow:
        beats: set[str] = set()

        def look(resource: str, change: str, obj: object, old: object) -> None:
            if resource == "jobsets":
                beats.add(slow.record.get("heartbeat", ""))

        slow.cluster.store.subscribe(look)
        assert slow.restart(IN_PLACE).result.exit_code == 0
        assert len(beats - {""}) >= 4


def test_a_client_that_loses_its_claim_triggers_nothing_more(tmp_path: Path) -> None:
    with stage(tmp_path, workers(pods=12)) as many:
        many.fault("slow", target="patch pods *", lasts=100, seconds=1.0)
        many.loop.call_later(2.5, many.cluster.somebody, "claims")
        came = many.restart(IN_PLACE, concurrency=1)
        assert came.result.exit_code == 6
        assert "somebody@else" in came.result.reason
        assert many.marked() < 6
        assert many.record["owner"] == "somebody@else"


# ---------------------------------------------------------------- leaving early


def test_ctrl_c_leaves_what_was_triggered_and_triggers_nothing_more(tmp_path: Path) -> None:
    with stage(tmp_path, workers(pods=12)) as many:
        many.fault("slow", target="patch pods *", lasts=100, seconds=1.0)
        came = many.restart(
            IN_PLACE, concurrency=1, meanwhile=lambda operation: many.loop.call_later(2.5, operation.interrupt)
        )
        assert came.result.exit_code == 130
        assert "--resume op1" in came.result.follow
        sent = many.marked()
        assert 0 < sent < 6
        assert came.of(Detached)[0].not_triggered == 12 - sent
        assert many.record["state"] == "detached"
        many.wait(30.0)
        assert many.marked() == sent


def test_without_waiting_it_leaves_when_all_is_sent(four: Stage) -> None:
    came = four.restart(IN_PLACE, wait=False)
    assert (came.result.exit_code, came.result.reason) == (0, "triggered, not waited for")
    assert came.result.seconds < 2.0
    four.wait(10.0)
    assert all(four.witness.starts(was.uid) == {"worker": 1} for was in four.witness.before.values())


def test_the_deadline_names_who_is_not_back(four: Stage) -> None:
    four.fault("stuck", lasts=600, target=f"{NAMESPACE}/{NAME}-workers-0-2-*")
    came = four.restart(IN_PLACE, timeout=20.0)
    assert came.result.exit_code == 124
    assert "workers/0/2" in came.result.reason
    assert came.result.outcomes == {"restarted": 3, "timed out": 1}
    assert 20.0 <= came.result.seconds < 21.0


# ---------------------------------------------------------------- what the cluster does


def test_writes_that_are_refused_fail_their_slots_and_no_others(four: Stage) -> None:
    four.fault("forbidden", target=f"patch pods */{NAME}-workers-0-1-*", lasts=600)
    came = four.restart(IN_PLACE)
    assert came.result.exit_code == 4
    assert came.result.outcomes == {"restarted": 3, "failed": 1}
    failed = next(slot for slot in came.result.slots if slot.outcome == "failed")
    assert failed.slot == "workers/0/1"
    assert "forbidden" in failed.reason


@pytest.mark.parametrize(
    ("deed", "words"), [("deletes", "deleted"), ("recreates", "deleted"), ("claims", "claimed by")]
)
def test_it_stops_when_the_jobset_is_no_longer_its_own(tmp_path: Path, deed: str, words: str) -> None:
    with stage(tmp_path, workers(grace=20)) as slow:
        slow.loop.call_later(5.0, slow.cluster.somebody, deed)
        came = slow.restart(IN_PLACE)
        assert came.result.exit_code == 6
        assert words in came.result.reason
        assert came.result.seconds < 10.0


def test_it_stops_when_the_jobset_fails(tmp_path: Path) -> None:
    manifest = workers(grace=20)
    manifest["spec"]["failurePolicy"]["maxRestarts"] = 0
    manifest["spec"]["replicatedJobs"].append(make.replicated_job("driver", pods=1))
    with stage(tmp_path, manifest) as slow:
        slow.fault("exit", at=5.0, lasts=1, target=f"{NAMESPACE}/{NAME}-driver-*")
        came = slow.restart(Request(strategy="in-place", selection=Selection(replicated_jobs=("workers",))))
        assert came.result.exit_code == 5
        assert "failed" in came.result.reason


def test_others_may_change_the_jobset_meanwhile_and_their_changes_stay(four: Stage) -> None:
    for at in (0.02, 0.3, 0.8, 1.5):
        four.loop.call_later(at, four.cluster.somebody, "annotates")
    assert four.restart(SUSPEND).result.exit_code == 0
    jobset = four.cluster.workload()
    assert jobset
    assert "example.com/touched" in jobset["metadata"]["annotations"]
    assert four.record["state"] == "finished"


def test_a_connection_that_is_lost_after_each_write_restarts_nothing_twice(four: Stage) -> None:
    four.fault("lost", target="patch *", share=0.7, lasts=3)
    came = four.restart(IN_PLACE)
    assert (came.result.exit_code, came.result.outcomes) == (0, {"restarted": 4})
    assert all(four.witness.starts(was.uid) == {"worker": 1} for was in four.witness.before.values())


async def _after(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await work()


def test_of_jobs_that_are_deleted_those_that_were_refused_are_told_apart(tmp_path: Path) -> None:
    """A slot whose Job was deleted is recreated, whatever was answered about the other Jobs."""
    manifest = make.jobset(NAME, make.replicated_job("workers", jobs=3, pods=1))
    with stage(tmp_path, manifest) as three:
        three.fault("forbidden", target=f"delete jobs */{NAME}-workers-1", lasts=60)
        came = three.restart(Request(strategy="recreate", via="jobs"))
        outcomes = {slot.slot: slot.outcome for slot in came.result.slots}
        assert outcomes == {"workers/0/0": "recreated", "workers/1/0": "failed", "workers/2/0": "recreated"}
        assert (came.result.exit_code, came.result.writes) == (4, 2)
        assert "forbidden" in came.result.reason
        after = three.witness.now()
        assert {slot for slot, was in three.witness.before.items() if after[slot].uid != was.uid} == {
            "workers/0/0",
            "workers/2/0",
        }


def test_jobs_that_were_never_deleted_are_not_said_to_be_when_it_is_interrupted(tmp_path: Path) -> None:
    manifest = make.jobset(NAME, make.replicated_job("workers", jobs=6, pods=1))
    with stage(tmp_path, manifest) as six:
        six.fault("slow", target="delete jobs *", lasts=100, seconds=1.0)
        came = six.restart(
            Request(strategy="recreate", via="jobs"),
            concurrency=1,
            meanwhile=lambda operation: six.loop.call_later(1.5, operation.interrupt),
        )
        deleted = sum(request.method == "DELETE" for request in six.cluster.requests)
        assert came.result.exit_code == 130
        assert 0 < deleted < 4
        assert came.of(Detached)[0].not_triggered == 6 - deleted


def test_a_deletion_whose_answer_was_lost_has_been_done_though_a_namesake_is_there(tmp_path: Path) -> None:
    """When the deletion is tried again, the Job has been made anew under the same name: the UID tells them apart."""
    with stage(tmp_path, make.jobset(NAME, make.replicated_job("workers", pods=2, grace=0))) as quick:
        quick.fault("lost", target="delete jobs *", lasts=0.2)
        quick.fault("reset", target="delete jobs *", at=0.2, lasts=8)
        came = quick.restart(Request(strategy="recreate", via="jobs"))
        assert (came.result.exit_code, came.result.outcomes) == (0, {"recreated": 2})
        assert {len(created) for created in quick.witness.created.values()} == {1}


@pytest.mark.parametrize(("nodes", "watches"), [(3, 3), (40, 1)])
def test_few_nodes_are_watched_one_by_one_and_many_in_one_watch(tmp_path: Path, nodes: int, watches: int) -> None:
    with stage(tmp_path, workers(nodes), nodes=nodes) as wide:
        assert wide.restart(IN_PLACE).result.exit_code == 0
        watched = [r for r in wide.cluster.requests if r.path.endswith("/nodes") and "watch=1" in r.query]
        assert len(watched) == watches
