"""What `--fallback recreate` does where the plan let a restart in place through and the API server does not."""

from __future__ import annotations

import json

from jobset_restart.events import Planned
from tests.restart.stage import Stage
from tests.simulation.cluster import NAME, NAMESPACE
from tests.simulation.program import Ended, run

EVERY_POD = f"patch pods {NAMESPACE}/*"


def restart(stage: Stage, *options: str) -> Ended:
    command = ("restart", NAME, "-n", NAMESPACE, "--yes", "-o", "json", "--in-place", *options)
    return run(stage.cluster, *command)


def test_where_every_write_in_place_is_refused_it_recreates(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four, "--fallback", "recreate")
    assert ended.code == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["strategy"], result["trigger"]) == ("recreate", "suspend")
    assert result["outcomes"] == {"recreated": 4}
    assert "looking again to recreate, as --fallback recreate allows" in ended.stderr
    assert not before & {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    assert not four.suspended
    assert [event.trigger for event in ended.events if isinstance(event, Planned)] == ["image", "suspend"]


def test_without_the_option_nothing_is_recreated(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four)
    assert ended.code == 4
    assert "never left" in ended.stderr
    assert before == {pod["metadata"]["uid"] for pod in four.cluster.pods()}


def test_where_some_were_restarted_the_rest_is_left_to_the_person(four: Stage) -> None:
    four.fault("forbidden", target=f"patch pods */{NAME}-workers-0-1-*", lasts=600)
    before = {pod["metadata"]["uid"] for pod in four.cluster.pods()}
    ended = restart(four, "--fallback", "recreate")
    assert ended.code == 4
    assert json.loads(ended.stdout)["outcomes"] == {"restarted": 3, "failed": 1}
    assert before == {pod["metadata"]["uid"] for pod in four.cluster.pods()}


def test_a_blocker_against_recreating_leaves_the_first_result(four: Stage) -> None:
    four.fault("forbidden", target=EVERY_POD, lasts=600)
    ended = restart(four, "--fallback", "recreate", "-c", "worker")
    assert ended.code == 4
    assert json.loads(ended.stdout)["trigger"] == "image"
    assert "JSR505" in ended.stderr
