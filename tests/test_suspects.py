"""A restart of what a diagnosis suspects: only that, and only while it is still what was looked at."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cli.diagnosing import report_of
from jobset_restart.cli.options import Suspected
from jobset_restart.errors import UsageError
from jobset_restart.gathering import Gathering, Options
from jobset_restart.snapshot import Snapshot
from jobset_restart.suspects import MOST_BYTES, pods_of, read_suspects
from jobset_restart.view.document import render
from tests import build
from tests.hanging import LOADING, WAITING, dump, look, process, steps
from tests.small_cluster import SmallCluster

AGE = 900.0


def running() -> Snapshot:
    return build.snapshot(build.jobset(replicas=2, pods=4, backoff_limit=100))


def diagnosed(seen: Snapshot, *culprits: int) -> bytes:
    """What `jsr diagnose -o json` prints where these of its slots hang."""
    gathering = Gathering(SmallCluster(build.jobset_of(seen), list(seen.pods())), seen, Options())
    for n, each in enumerate(gathering.observation.slots.values()):
        each.look, each.look_at = look(process(), dump(1, LOADING if n in culprits else WAITING)), seen.time
        each.before = each.tail = steps(seen.time - 300)
        each.before_at = each.tail_at = seen.time
    return render(report_of(gathering, seen, seen.time, 4.0, ""), "json").encode()


def changed(document: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(document), **values}).encode()


def refused(document: bytes, seen: Snapshot | None = None, most_age: float = AGE) -> str:
    with pytest.raises(UsageError) as raised:
        pods_of(read_suspects(document, "file.json"), seen or running(), most_age)
    assert "nothing was changed" in raised.value.message
    assert "\x1b" not in raised.value.message
    return raised.value.message


def test_the_suspects_of_a_diagnosis_are_what_is_restarted() -> None:
    seen = running()
    found = pods_of(read_suspects(diagnosed(seen, 2, 5), "-"), seen, AGE)
    assert found == {"train-workers-0-2", "train-workers-1-1"}


def test_another_workload_is_not_restarted_for_them() -> None:
    document = diagnosed(running(), 2)
    for value in ({"name": "other"}, {"namespace": "other"}, {"workloadKind": "Job"}, {"workloadGroup": "batch"}):
        assert "the suspects are those of" in refused(changed(document, **value))
    assert "created anew" in refused(changed(document, uid="0-0"))


def test_what_was_seen_long_ago_is_not_acted_on() -> None:
    seen = running()
    for ago, words in ((AGE + 1, "901 s ago"), (-120, "another time"), (1e10, "another time")):
        at = datetime.fromtimestamp(seen.time - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert words in refused(changed(diagnosed(seen, 2), time=at), seen)
    at = datetime.fromtimestamp(seen.time - 901, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert pods_of(read_suspects(changed(diagnosed(seen, 2), time=at), "-"), seen, 1000.0)


def test_a_pod_that_is_another_by_now_is_not_restarted() -> None:
    seen = running()
    suspects = json.loads(diagnosed(seen, 2))["suspects"]
    for change in ({"uid": "another"}, {"uid": ""}, {"pod": "train-workers-0-3"}, {"slot": "workers/7/7"}):
        document = changed(diagnosed(seen, 2), suspects=[{**suspects[0], **change}])
        assert "other Pods by now" in refused(document, seen)


def test_of_more_than_the_file_has_none_is_restarted() -> None:
    assert "only the first 1 of 70 suspects" in refused(changed(diagnosed(running(), 2), suspected=70))


def test_a_diagnosis_without_suspects_names_nobody() -> None:
    assert "names no suspects: the verdict was NoSuspects" in refused(diagnosed(running()))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"kind": "Diagnosis"}',
        b" " * (MOST_BYTES + 1),
        changed(diagnosed(running(), 2), kind="Plan"),
        changed(diagnosed(running(), 2), time="\x1b[2J"),
        changed(diagnosed(running(), 2), time="2026-13-45T99:99:99Z"),
        changed(diagnosed(running(), 2), suspects="all"),
        changed(diagnosed(running(), 2), suspects=[{"slot": ["\x1b"]}]),
        changed(diagnosed(running(), 2), name="\x1b]0;evil\x07"),
    ],
    ids=range(12),
)
def test_what_is_no_diagnosis_is_refused_in_words(text: bytes) -> None:
    assert refused(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(text: bytes) -> None:
    assert refused(text)


def test_the_file_is_read_in_bounds(tmp_path: Path) -> None:
    file = tmp_path / "suspects.json"
    file.write_bytes(diagnosed(running(), 2))
    found = Suspected(suspects=str(file)).read(resumed=False)
    assert found is not None
    assert [each.pod for each in found.suspects] == ["train-workers-0-2"]
    assert Suspected().read(resumed=False) is None
    os.mkfifo(tmp_path / "fifo")
    for name in ("missing", "fifo", ".", "a\0b"):
        with pytest.raises(UsageError, match="nothing was changed"):
            Suspected(suspects=str(tmp_path / name)).read(resumed=False)
    with pytest.raises(UsageError, match="--resume"):
        Suspected(suspects=str(file)).read(resumed=True)
    with pytest.raises(UsageError, match="--suspects-age"):
        Suspected(suspects=str(file), suspects_age="soon").read(resumed=False)
