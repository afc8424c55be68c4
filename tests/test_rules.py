"""The rules of Kubernetes as functions, against what its sources say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.objects import Container, ContainerStatus, PodSpec
from jobset_restart.rules import (
    back_off_left,
    crash_loop_delay,
    effect_of_exit,
    ended_for_good,
    go_duration,
    job_back_off,
    past_backoff_limit,
    past_backoff_limit_on_failure,
    pod_failure_action,
)
from tests import build


def of(**fields: object) -> Container:
    return msgspec.convert({"name": "worker", **fields}, Container)


def rule(action: str, operator: str, *values: int) -> dict[str, object]:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(values)}}


@pytest.mark.parametrize(
    ("container", "pod_policy", "code", "effect"),
    [
        (of(), "Never", 1, "fail"),
        (of(), "Never", 0, "complete"),
        (of(), "OnFailure", 0, "complete"),
        (of(), "OnFailure", 143, "restart"),
        (of(), "Always", 0, "restart"),
        (of(restartPolicy="Never"), "OnFailure", 1, "fail"),
        (of(restartPolicy="OnFailure"), "Never", 1, "restart"),
        (of(restartPolicyRules=[rule("Restart", "In", 143)]), "Never", 143, "restart"),
        (of(restartPolicyRules=[rule("Restart", "In", 143)]), "Never", 1, "fail"),
        (of(restartPolicyRules=[rule("RestartAllContainers", "NotIn", 0)]), "Never", 1, "restart all"),
        (of(restartPolicyRules=[rule("RestartAllContainers", "NotIn", 0)]), "Never", 0, "complete"),
        (
            of(restartPolicyRules=[rule("Restart", "In", 1), rule("RestartAllContainers", "In", 1)]),
            "Never",
            1,
            "restart",
        ),
    ],
)
def test_rules_are_tried_in_order_before_the_container_s_policy_before_the_pod_s(
    container: Container, pod_policy: str, code: int, effect: str
) -> None:
    assert effect_of_exit(container, PodSpec(restart_policy=pod_policy), code) == effect


def test_backoff_limit_of_on_failure_is_reached_at_the_limit_and_with_zero_at_any_restart() -> None:
    assert not past_backoff_limit_on_failure(6, 5)
    assert past_backoff_limit_on_failure(6, 6)
    assert not past_backoff_limit_on_failure(0, 0)
    assert past_backoff_limit_on_failure(0, 1)


def test_backoff_limit_of_failed_pods_is_exceeded_only_beyond_it() -> None:
    assert not past_backoff_limit(0, 0)
    assert past_backoff_limit(0, 1)
    assert not past_backoff_limit(6, 6)


def test_job_back_off_doubles_from_ten_seconds_to_ten_minutes() -> None:
    assert [job_back_off(n) for n in (0, 1, 2, 3, 6, 7, 1000)] == [0, 10, 20, 40, 320, 600, 600]


def test_pod_failure_policy_takes_the_first_rule_that_matches() -> None:
    policy = {
        "rules": [
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [143], "containerName": "worker"}},
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
        ]
    }
    assert pod_failure_action(policy, "worker", 143) == "Ignore"
    assert pod_failure_action(policy, "log", 143) == "FailJob"
    assert pod_failure_action(policy, "log", 0) == "Count"


def test_crash_loop_delay_doubles_and_is_forgotten_after_ten_minutes() -> None:
    def crashed(restarts: int, finished: str) -> ContainerStatus:
        last = {"terminated": {"exitCode": 1, "finishedAt": finished}}
        return msgspec.convert(build.status(restarts=restarts, lastState=last), ContainerStatus)

    just_now = "2026-01-01T00:59:00Z"
    assert [crash_loop_delay(crashed(n, just_now), build.NOW) for n in (0, 1, 2, 3, 9)] == [0, 10, 20, 40, 300]
    assert crash_loop_delay(crashed(3, "2026-01-01T00:40:00Z"), build.NOW) == 0


def test_back_off_left_counts_from_the_last_exit() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container=worker"}}
    last = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:59:30Z"}}
    crashing = msgspec.convert(build.status(state=state, lastState=last), ContainerStatus)
    assert back_off_left(crashing, build.NOW) == 50
    assert back_off_left(msgspec.convert(build.status(), ContainerStatus), build.NOW) is None


def test_a_dead_container_stays_down_unless_its_policy_brings_it_back() -> None:
    dead = msgspec.convert(build.status(state={"terminated": {"exitCode": 1}}), ContainerStatus)
    assert ended_for_good(dead, of(), PodSpec(restart_policy="Never"))
    assert not ended_for_good(dead, of(), PodSpec(restart_policy="OnFailure"))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_go_durations_are_read_as_go_writes_them(hours: int, minutes: int, seconds: int) -> None:
    assert go_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "h5", "five"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert go_duration(text) is None
