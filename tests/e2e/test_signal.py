"""In place by a signal to PID 1, and where it is refused."""

from __future__ import annotations

import pytest

from tests.e2e.command import Jsr
from tests.e2e.manifests import IGNORES_TERM, container, handles_term, jobset, native, replicated_job
from tests.e2e.picture import assert_nothing_changed, assert_restarted_in_place, assert_same_jobset
from tests.e2e.place import Place


@pytest.mark.short
def test_handler_under_on_failure(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job("workers", pods=3, restart_policy="OnFailure", backoff_limit=6)))
    before = place.settled("train")
    running = jsr.start_restart("train", "--via", "signal")
    record = place.until_claimed("train")
    assert jsr.status("train")["operation"]["id"] == record["id"]
    result = running.wait().exited(0).document
    assert (result["strategy"], result["trigger"], result["outcomes"]) == ("in-place", "signal", {"restarted": 3})
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)
    (budget,) = jsr.status("train")["budgets"][:1]
    assert (budget["limit"], budget["used"]) == (6, 3)


def test_a_shell_ends_with_its_child(place: Place, jsr: Jsr) -> None:
    """A shell catches INT and goes on; it is the death of what it waits for that ends it."""
    waits = container(command=["sh", "-c", "sleep 100000; exit 3"])
    place.create(jobset("train", replicated_job("workers", waits, restart_policy="OnFailure", backoff_limit=6)))
    before = place.settled("train")
    jsr.restart("train", "--via", "signal", "--timeout", "30s").exited(0)
    after = place.settled("train")
    assert_restarted_in_place(before, after)
    assert_same_jobset(before, after)


@pytest.mark.parametrize(
    ("command", "policy", "finding"),
    [
        (IGNORES_TERM, "OnFailure", "JSR304"),
        (handles_term(143), "Never", "JSR204"),
    ],
    ids=["no-handler", "exit-that-does-not-bring-it-back"],
)
def test_refused(place: Place, jsr: Jsr, command: list[str], policy: str, finding: str) -> None:
    workers = replicated_job("workers", container(command=command), restart_policy=policy, backoff_limit=100)
    place.create(jobset("train", workers))
    before = place.settled("train")
    ended = jsr.restart("train", "--via", "signal").exited(3)
    assert finding in ended.stderr
    assert_nothing_changed(before, place.picture("train"))


def test_on_a_jobset_that_restarts_as_one(place: Place, jsr: Jsr) -> None:
    """Refused; let through and one by one, the first signal restarts all Pods, and some of the execs that follow come
    upon containers in mid-restart. It ends when all are back all the same."""
    place.grant("agent")
    place.create(native("train", workers=7))
    before = place.settled("train")
    assert "JSR308" in jsr.restart("train", "--via", "signal").exited(3).stderr
    assert_nothing_changed(before, place.picture("train"))
    allowed = ("--allow", "JSR308", "--concurrency", "1", "--timeout", "90s")
    result = jsr.restart("train", "--via", "signal", *allowed, within=150).exited(0).document
    assert (result["trigger"], result["outcomes"]) == ("signal", {"restarted": 8})
    after = place.settled("train")
    assert {slot: pod.uid for slot, pod in after.pods.items()} == {slot: pod.uid for slot, pod in before.pods.items()}
    assert all(
        after.pods[slot].containers["worker"].id != pod.containers["worker"].id for slot, pod in before.pods.items()
    )
    assert (after.jobset.restarts, after.jobset.conditions) == (0, before.jobset.conditions)


def test_signal_that_is_not_handled_is_refused(place: Place, jsr: Jsr) -> None:
    place.create(jobset("train", replicated_job(restart_policy="OnFailure", backoff_limit=100)))
    before = place.settled("train")
    ended = jsr.restart("train", "--via", "signal", "--signal", "USR1").exited(3)
    assert "JSR304" in ended.stderr
    assert_nothing_changed(before, place.picture("train"))
