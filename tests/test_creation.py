"""Why Jobs and Pods are not there, from the Events of those who should have created them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobset_restart.creation import last_seen, reason, refusals
from jobset_restart.objects import Event

QUOTA = (
    'Error creating: pods "quo-w-0-x7k2p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, '
    "limited: pods=1"
)
WEBHOOK = (
    'Error creating: admission webhook "check.example.com" denied the request: no team label\n  ask the platform team'
)
JOBS = "\n".join(
    f'job "native-{n}" creation failed with error: Job.batch "native-{n}" is invalid: spec.x: Unsupported value: "a"'
    for n in range(3)
)


def event(uid: str = "job-0", **fields: Any) -> Event:
    raw = {
        "metadata": {"name": "e", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "involvedObject": {"kind": "Job", "name": "train-workers-0", "uid": uid},
        "reason": "FailedCreate",
        "message": QUOTA,
        **fields,
    }
    return msgspec.convert(raw, Event)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (QUOTA, "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        (WEBHOOK, 'admission webhook "check.example.com" denied the request: no team label; ask the platform team'),
        (JOBS, 'spec.x: Unsupported value: "a"'),
        ('pods "', 'pods "'),
        ("", "FailedCreate"),
    ],
    ids=["quota", "webhook", "job", "cut", "empty"],
)
def test_the_reason_is_the_controllers_own(message: str, said: str) -> None:
    assert reason(event(message=message)) == said


def test_the_newest_word_on_each_object_counts() -> None:
    old = event(message="old", lastTimestamp="2026-01-01T00:00:10Z")
    new = event(message="new", eventTime="2026-01-01T00:00:05.1Z", series={"lastObservedTime": "2026-01-01T00:01:00Z"})
    other = event("jobset-uid", reason="JobCreationFailed", message="other", lastTimestamp=None)
    found = refusals([new, old, other, event("", message="of nobody"), event(reason="SuccessfulCreate")])
    assert {uid: said.message for uid, said in found.items()} == {"job-0": "new", "jobset-uid": "other"}


def test_what_has_no_time_was_long_ago() -> None:
    assert last_seen(event(metadata={})) == 0.0
