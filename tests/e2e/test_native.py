"""In place by the JobSet's own controller and the agents in its Pods."""

from __future__ import annotations

from tests.e2e.command import Jsr
from tests.e2e.manifests import native
from tests.e2e.picture import assert_nothing_changed, assert_restarted_in_place, rounds_between
from tests.e2e.place import Place


def test_agents_over_two_replicated_jobs_and_two_nodes(place: Place, jsr: Jsr, two_nodes: tuple[str, str]) -> None:
    first, second = two_nodes
    place.grant("agent")
    place.create(native("train", driver_node=first, workers_node=second))
    before = place.settled("train")
    assert {pod.node for pod in before.pods.values()} == {first, second}
    assert before.jobset.current_attempt == 0
    last = ""
    for _ in range(2):
        running = jsr.start_restart("train", "--in-place")
        record = place.until_claimed("train", other_than=last)
        during = jsr.status("train")
        assert during["operation"]["id"] == record["id"]
        assert during["operation"]["trigger"] == "native"
        result = running.wait().exited(0).document
        assert (result["trigger"], result["writes"], result["outcomes"]) == ("native", 1, {"restarted": 4})
        assert result["operation"] == record["id"]
        after = place.settled("train")
        rounds = rounds_between(before, after)
        assert rounds == 1
        assert_restarted_in_place(before, after, rounds=rounds)
        assert after.jobs == before.jobs
        assert {pod.attempt for pod in after.pods.values()} == {str(after.jobset.current_attempt)}
        assert (after.jobset.restarts, after.jobset.towards_max) == (0, 0)
        assert after.jobset.conditions == before.jobset.conditions
        before, last = after, record["id"]
    status = jsr.status("train")
    current = before.jobset.current_attempt
    assert current is not None
    assert (status["previousInPlaceAttempt"], status["currentInPlaceAttempt"]) == (current - 1, current)
    assert status["restarts"] == 0


def test_no_restart_left_is_refused(place: Place, jsr: Jsr) -> None:
    place.grant("agent")
    place.create(native("train", workers=1, max_restarts=0))
    before = place.settled("train")
    ended = jsr.restart("train", "--in-place").exited(3)
    assert "JSR203" in ended.stderr
    assert_nothing_changed(before, place.settled("train"))
