"""The comparison of two clusters: what it takes for equal, and what it finds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.agreement import accepted, compare, observe, report, schema
from tests.agreement.accepted import Accepted
from tests.agreement.compare import Side
from tests.agreement.normal import anonymous, facets, sequences, shape
from tests.agreement.recording import Line, Recording

Object = dict[str, Any]
LABELS = {
    "jobset.sigs.k8s.io/replicatedjob-name": "workers",
    "jobset.sigs.k8s.io/job-index": "0",
    "batch.kubernetes.io/job-completion-index": "1",
}


def container(state: Object, restarts: int = 0, **more: Any) -> Object:
    return {"name": "worker", "state": state, "restartCount": restarts, "ready": "running" in state, **more}


def pod(*containers: Object, uid: str = "u1", phase: str = "Running", ready: str = "True", **meta: Any) -> Object:
    return {
        "metadata": {"name": f"train-workers-0-1-{uid}", "uid": uid, "labels": LABELS, **meta},
        "spec": {"nodeName": "node-0"},
        "status": {
            "phase": phase,
            "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": list(containers),
        },
    }


RUNNING = pod(container({"running": {"startedAt": "2026-01-01T00:00:01Z"}}))
ENDED = pod(container({"terminated": {"exitCode": 143, "reason": "Error"}}), ready="False")
AGAIN = pod(container({"running": {"startedAt": "2026-01-01T00:00:09Z"}}, restarts=1))


def lines(*objects: Object, resource: str = "pods") -> list[Line]:
    return [Line(float(n), "MODIFIED", resource, thing) for n, thing in enumerate(objects)]


def recording(*objects: Object, test: str = "t", outcome: str = "passed") -> Recording:
    return Recording(test, outcome, lines(*objects))


def side(*recordings: Recording) -> Side:
    made = Side()
    for each in recordings:
        made.add(each)
    return made


# ---------------------------------------------------------------- states


def test_a_state_is_what_a_client_sees_without_times_and_addresses() -> None:
    later = pod(container({"running": {"startedAt": "2027-02-02T00:00:00Z"}}), uid="u2")
    later["status"]["podIP"] = "10.0.0.9"
    assert facets("pods", RUNNING) == facets("pods", later)
    found = facets("pods", ENDED)
    assert found["container worker"] == "terminated 143 Error"
    assert found["condition Ready"] == "False"
    assert "deleting" not in found
    assert facets("pods", pod(deletionTimestamp="x", deletionGracePeriodSeconds=2))["deleting"] == "grace 2"


def test_a_counter_that_is_left_out_is_zero_and_an_attempt_is_not() -> None:
    jobset: Object = {"metadata": {"name": "train"}, "spec": {}, "status": {"currentInPlaceRestartAttempt": 0}}
    found = facets("jobsets", jobset)
    assert found["restarts"] == 0
    assert found["currentInPlaceRestartAttempt"] == 0
    assert "previousInPlaceRestartAttempt" not in found
    job = {"metadata": {"name": "train-workers-0"}, "spec": {"suspend": True}, "status": {"active": 2}}
    assert facets("jobs", job) | {"active": 2, "failed": 0, "suspend": "True"} == facets("jobs", job)


def test_numbers_keep_only_where_they_turn() -> None:
    def active(*values: int) -> list[str | int]:
        return sequences({"active": value} for value in values)["active"]

    assert active(0, 1, 2, 2, 1, 0, 2) == active(0, 2, 0, 1, 2)
    assert active(0, 2, 0) != active(0, 2)
    assert sequences([{"phase": "Pending"}, {}]) == {"phase": ["-", "Pending", "-"]}


def test_a_shape_is_the_same_whatever_containers_and_replicated_jobs_are_called() -> None:
    assert anonymous("init container agent last") == "init container last"
    assert anonymous("container worker") == "container"
    assert anonymous("replicatedJob workers ready") == "replicatedJob ready"
    assert shape({"container a": "running", "container a restarts": 3}) == shape({"container b": "running"})
    assert shape({"active": 2, "failed": 0}) == shape({"active": 5}) != shape({"active": 0})


# ---------------------------------------------------------------- lives


def test_pods_of_a_slot_are_numbered_one_after_the_other() -> None:
    found = observe.lives(lines(RUNNING, RUNNING, pod(uid="u2"), ENDED))
    assert [(life.key, len(life.states)) for life in found] == [("Pod workers/0/1#1", 2), ("Pod workers/0/1#2", 1)]
    assert {life.group for life in found} == {"Pod workers#1", "Pod workers#2"}


def test_what_is_gone_ends_as_gone_and_nothing_else() -> None:
    gone = Recording("t", "passed", [*lines(RUNNING), Line(1, "DELETED", "pods", RUNNING)])
    assert observe.finals(gone) == {
        ("Pod workers/0/1#1", "exists"): "gone",
        ("Pod workers/0/1", "objects one after the other"): "1",
    }
    assert observe.finals(recording(RUNNING))["Pod workers/0/1#1", "exists"] == "yes"


def test_events_by_what_they_say_and_who_says_it() -> None:
    event = {
        "metadata": {"name": "x"},
        "type": "Normal",
        "reason": "Killing",
        "involvedObject": {"kind": "Pod"},
        "source": {"component": "kubelet"},
    }
    assert observe.events(lines(event, event, resource="events")) == {"Events: Normal Killing of a Pod from kubelet"}


# ---------------------------------------------------------------- comparing


def test_equal_runs_do_not_differ() -> None:
    one = side(recording(RUNNING, ENDED, AGAIN), recording(RUNNING, ENDED, AGAIN))
    for chapter in report.CHAPTERS.values():
        assert [*chapter(one, one)] == []
    assert [*compare.journeys(one, one, always=False)] == []


def test_a_transition_that_one_side_always_shows_and_the_other_never() -> None:
    real = side(recording(RUNNING, ENDED, AGAIN), recording(RUNNING, ENDED, AGAIN))
    embedded = side(recording(RUNNING, AGAIN), recording(RUNNING, AGAIN))
    found = {one.text: one.detail for one in compare.journeys(real, embedded)}
    assert "only real: Pod container: running -> terminated 143 Error" in found
    assert found["only real: Pod container: running -> terminated 143 Error"].startswith("2/2 against 0/2")
    mirrored = {one.text for one in compare.journeys(embedded, real)}
    assert "only embedded: Pod container: running -> terminated 143 Error" in mirrored


def test_a_transition_that_is_summed_up_now_and_then_is_a_note() -> None:
    real = side(recording(RUNNING, ENDED, AGAIN), recording(RUNNING, AGAIN))
    embedded = side(recording(RUNNING, AGAIN), recording(RUNNING, AGAIN))
    assert [*compare.journeys(real, embedded)] == []
    notes = [one.text for one in compare.journeys(real, embedded, always=False)]
    assert "sometimes only real: Pod container: running -> terminated 143 Error" in notes
    assert [*compare.journeys(embedded, embedded, always=False)] == []


def test_a_transition_that_is_seen_elsewhere_is_told_apart() -> None:
    twice = [recording(RUNNING, ENDED), recording(RUNNING, ENDED)]
    real = side(*twice, recording(RUNNING, test="other"))
    embedded = side(recording(RUNNING), recording(RUNNING), recording(RUNNING, ENDED, test="other"))
    texts = [one.text for one in compare.journeys(real, embedded)]
    assert "only real in t: Pod container: running -> terminated 143 Error" in texts


def test_an_end_that_the_real_side_never_had() -> None:
    real = side(recording(RUNNING), recording(ENDED))
    assert [*compare.endings(real, side(recording(ENDED)))] == []
    (found,) = [*compare.endings(side(recording(RUNNING)), side(recording(AGAIN)))]
    assert found.text == "end of t Pod workers container worker restarts: real 0, embedded 1"


def test_an_object_that_only_one_side_has_is_told_once() -> None:
    texts = [one.text for one in compare.endings(side(recording(RUNNING)), side(recording()))]
    assert texts == [
        "end of t Pod workers objects one after the other: real 1, embedded -",
        "end of t Pod workers exists: real yes, embedded -",
    ]


def test_a_scenario_that_fails_on_one_side() -> None:
    real, embedded = side(recording(RUNNING)), side(recording(RUNNING, outcome="failed"))
    assert [one.text for one in compare.outcomes(real, embedded)] == ["outcome of t: real passed, embedded failed"]


# ---------------------------------------------------------------- fields


def test_fields_without_what_is_anybodys_own() -> None:
    one = {"metadata": {"name": "train-0-x7k2p", "uid": "0e1f4a52-7f66-4d6e-9b5a-1f2f3a4b5c6d"}, "spec": {}}
    other = {"metadata": {"name": "train-0-bbbbb", "uid": "1e1f4a52-7f66-4d6e-9b5a-1f2f3a4b5c6e"}, "spec": {}}
    assert [*schema.differences(schema.paths(lines(one)), schema.paths(lines(other)))] == []


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ({"qosClass": "Burstable"}, {}, "field only real: pods status.qosClass = [Burstable]"),
        ({}, {"hostIP": "1.2.3.4"}, "field only embedded: pods status.hostIP = [<address>]"),
        ({"q": "a"}, {"q": "b"}, "values of pods status.q: only real [a], only embedded [b]"),
        ({"q": 1}, {"q": "1"}, "types of pods status.q: real ['int'], embedded ['str']"),
        (
            {"conditions": [{"type": "Ready", "reason": "A"}]},
            {"conditions": [{"type": "Ready"}]},
            "field only real: pods status.conditions[Ready].reason = [A]",
        ),
    ],
)
def test_fields_that_differ(one: Object, other: Object, text: str) -> None:
    common = {"phase": "Running"}
    found = schema.differences(
        schema.paths(lines({"status": {**common, **one}})), schema.paths(lines({"status": {**common, **other}}))
    )
    assert [*found] == [text]


# ---------------------------------------------------------------- what is accepted


def test_what_is_accepted_is_not_left_and_what_is_accepted_for_nothing_is_told() -> None:
    real, embedded = side(recording(RUNNING)), side(recording(AGAIN))
    texts = [one.text for chapter in report.CHAPTERS.values() for one in chapter(real, embedded)]
    assert texts
    out = io.StringIO()
    entries = [Accepted("*restart*", "a reason"), Accepted("*[no such thing]*", "a reason")]
    left = report.differences(real, embedded, entries, out, notes=True)
    assert {one.text for one in left} == {text for text in texts if "restart" not in text}
    assert "accepted, and not met: *[no such thing]*" in out.getvalue()
    assert len(report.differences(real, embedded, [], io.StringIO())) == len(texts)


def test_every_accepted_difference_has_a_reason(tmp_path: Path) -> None:
    assert all(entry.difference and len(entry.reason) > 10 for entry in accepted.load())
    file = tmp_path / "accepted.yaml"
    file.write_text("- difference: '*'\n", encoding="utf-8")
    with pytest.raises(TypeError):
        accepted.load(file)
