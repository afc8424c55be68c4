"""Where bytes become objects: what a field may hold, and what is said of one that holds something else."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cluster.decoding import called, decode
from jobset_restart.cluster.watch import Stream, StreamFailed
from jobset_restart.errors import ApiError
from jobset_restart.objects import JobSet, ObjectList, Pod, Time, seconds
from tests.apiserver import line
from tests.fuzz.fields import every_field, fields_of, put
from tests.fuzz.hostile import TIMES

PATH = "/api/v1/namespaces/ns/pods"
STARTED = ("status", "containerStatuses", 0, "state", "running", "startedAt")


def pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", **metadata}}


def with_(path: tuple[str | int, ...], value: Any, name: str = "p") -> dict[str, Any]:
    found = pod(name)
    put(found, path, value)
    return found


def listed(*items: Any) -> ObjectList[Pod]:
    body = msgspec.json.encode({"metadata": {}, "items": items})
    return decode(msgspec.json.Decoder(ObjectList[Pod]), body, PATH)


def refused(*items: Any) -> str:
    with pytest.raises(ApiError) as caught:
        listed(*items)
    assert caught.value.message.startswith(f"the answer to {PATH} is not what the Kubernetes API sends: ")
    return caught.value.message.partition("sends: ")[2]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (STARTED, "tomorrow", "p: status.containerStatuses[0].state.running.startedAt: this is not a time (RFC 3339)"),
        (
            ("metadata", "creationTimestamp"),
            "2026-02-30T00:00:00Z",
            "p: metadata.creationTimestamp: this is not a",
        ),
        (("spec", "nodeName"), "a\x1b[2Jb", "p: spec.nodeName: this is not a name"),
        (("spec", "nodeName"), "../../nodes", "p: spec.nodeName: this is not a name"),
        (
            ("spec", "terminationGracePeriodSeconds"),
            10**400,
            "p: spec.terminationGracePeriodSeconds: Expected",
        ),
        (
            ("status", "containerStatuses", 0, "restartCount"),
            2**31,
            "p: status.containerStatuses[0].restartCount",
        ),
        (("status", "phase"), [], "p: status.phase: Expected `str`, got `array`"),
    ],
)
def test_the_object_and_the_field_at_fault_are_named(path: tuple[str | int, ...], value: Any, words: str) -> None:
    assert refused(pod("good"), with_(path, value)).startswith(words)


def test_in_a_watch_too() -> None:
    bad = with_(STARTED, "tomorrow")
    with pytest.raises(StreamFailed, match=r"cannot be read: p: status.*startedAt: this is not a time"):
        Stream(Pod, "1").feed(line("MODIFIED", bad))


@pytest.mark.parametrize("name", [".", "..", "a/b", "a%2fb", "a b", "a?b", "a#b", "a\n", "²", "\u202ea", "x" * 254])
def test_what_cannot_be_part_of_a_path_is_no_name(name: str) -> None:
    assert refused(pod(name)) == "metadata.name: this is not a name"
    assert called(msgspec.Raw(msgspec.json.encode(pod(name)))) == ("", "ns", "")


@pytest.mark.parametrize("name", ["p", "node-1.example.com", "e.17f0a.1", "x" * 253])
def test_names_as_the_api_server_takes_them(name: str) -> None:
    assert listed(pod(name)).items[0].metadata.name == name


@pytest.mark.parametrize("attempt", [-1, -99999999, 2**31 - 1])
def test_an_attempt_has_one_that_comes_after_it(attempt: int) -> None:
    status = {"currentInPlaceRestartAttempt": attempt}
    with pytest.raises(ApiError, match="currentInPlaceRestartAttempt: Expected `int`"):
        decode(msgspec.json.Decoder(JobSet), msgspec.json.encode({**pod(), "status": status}), PATH)


class _Timed(msgspec.Struct):
    time: Time = None


@given(st.sampled_from(TIMES) | st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()) | st.text())
def test_a_time_that_was_decoded_is_a_number(text: str) -> None:
    try:
        found = msgspec.json.decode(msgspec.json.encode({"time": text}), type=_Timed)
    except msgspec.ValidationError:
        return
    assert abs(seconds(found.time)) < 1e12


def test_every_number_of_an_object_is_bounded_and_every_name_checked() -> None:
    """Found by walking the types: a field that is added must say how large its numbers are."""
    fields = every_field()
    assert len(fields) > 400
    unbounded = [field for field in fields if field.sort == "number" and not field.bounded]
    assert not unbounded, unbounded
    names = {field.path[-1] for field in fields_of("pods") if field.sort == "name"}
    assert {"name", "namespace", "nodeName"} <= names


def test_the_message_has_no_pattern_in_it() -> None:
    assert not re.search(r"[\\^{}]", refused(pod("a b")))
