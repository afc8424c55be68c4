"""Files that somebody else may have written: recordings for `jsr replay`, and kubeconfigs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e import manifests as make
from tests.fuzz.effort import fuzz
from tests.fuzz.forging import ForgedCluster, forged_cluster
from tests.fuzz.hostile import ESCAPES, NUMBERS, TEXTS, values_for
from tests.fuzz.invariants import broken
from tests.simulation.cluster import NAME

RECORDINGS = sorted((Path(__file__).parent.parent / "data").glob("*.jsonl"))
VALUES = [value for value in values_for("any") + TEXTS if isinstance(value, str | int | float | list | dict | None)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ForgedCluster]:
    with forged_cluster(make.jobset(NAME, make.replicated_job("workers", pods=1))) as found:
        yield found


def test_recordings_and_kubeconfigs_as_they_are(cluster: ForgedCluster) -> None:
    for file in RECORDINGS:
        ran = cluster.run("replay", str(file), "--speed", "0")
        assert (ran.code, broken(ran)) == (0, [])
    assert cluster.command("status").code == 0


def change(draw: st.DrawFn, value: Any) -> Any:
    """The same with one thing changed somewhere in it."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: change(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], change(draw, value[at]), *value[at + 1 :]]
    return draw(st.sampled_from(VALUES) | st.sampled_from(NUMBERS) | st.text(max_size=12))


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    lines = draw(st.sampled_from(RECORDINGS)).read_bytes().splitlines()[:40]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                lines[at] = draw(st.binary(max_size=40))
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case _:
                try:
                    lines[at] = json.dumps(change(draw, json.loads(lines[at]))).encode(errors="surrogatepass")
                except ValueError:
                    lines[at] = b"{}"
    return b"\n".join(lines)


@given(content=recordings(), terminal=st.booleans())
@fuzz(150)
def test_any_recording(cluster: ForgedCluster, content: bytes, terminal: bool) -> None:
    file = cluster.folder / "recording"
    file.write_bytes(content)
    ran = cluster.run("replay", str(file), "--speed", "0", terminal=terminal)
    assert not broken(ran)


@st.composite
def kubeconfigs(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    found = copy.deepcopy(good)
    found["users"][0]["user"] |= draw(st.sampled_from(USERS))
    found["clusters"][0]["cluster"] |= draw(st.sampled_from(CLUSTERS))
    for _ in range(draw(st.integers(0, 3))):
        found = change(draw, found)
    text = yaml.safe_dump(found, allow_unicode=draw(st.booleans())) if draw(st.booleans()) else json.dumps(found)
    data = text.encode(errors="surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=6)) + data[at + draw(st.integers(0, 6)) :]
    return data


USERS: list[dict[str, Any]] = [
    {},
    {"token": "a\r\nX-Evil: 1"},
    {"token": ESCAPES},
    {"tokenFile": "/dev/zero"},
    {"tokenFile": "/nonexistent"},
    {"tokenFile": "."},
    {"as": "a\nb"},
    {"as": "²", "as-groups": ["x", "y\r\n"], "as-user-extra": {"a b": ["c"], "": [""]}},
    {"username": "u", "password": "p\x00"},
    {"client-certificate-data": "AAAA", "client-key-data": "%%%"},
    {"client-certificate": "/dev/zero", "client-key": "/dev/zero"},
    {"auth-provider": {"name": "gcp", "config": {"x": "y"}}},
    {"auth-provider": {"name": "oidc", "config": {"id-token": "x.y.z", "idp-issuer-url": "http://127.0.0.1:1"}}},
    {"exec": {"apiVersion": "client.authentication.k8s.io/v9", "command": ""}},
]
CLUSTERS: list[dict[str, Any]] = [
    {},
    {"server": ""},
    {"server": "https://u:secret@127.0.0.1:1/x?y#z"},
    {"server": "http://[::1"},
    {"server": "http://127.0.0.1:99999"},
    {"server": "https://127.0.0.1:1"},
    {"server": "http://nowhere.invalid"},
    {"server": "http://127.0.0.1:1/" + "a" * 9000},
    {"proxy-url": "socks5://127.0.0.1:1"},
    {"proxy-url": "http://u:secret@127.0.0.1:1"},
    {"proxy-url": "\x1b[2J"},
    {"certificate-authority-data": "AAAA"},
    {"certificate-authority": "/dev/zero"},
    {"tls-server-name": "²\n"},
    {"insecure-skip-tls-verify": True},
]


@given(data=st.data(), command=st.sampled_from(["status", "all", "restart", "wait"]))
@fuzz(200)
def test_any_kubeconfig(cluster: ForgedCluster, data: st.DataObject, command: str) -> None:
    file = Path(cluster.kubeconfig)
    good = file.read_bytes()
    try:
        file.write_bytes(data.draw(kubeconfigs(yaml.safe_load(good))))
        ran = cluster.command(command, *(("--dry-run=client",) if command == "restart" else ()))
    finally:
        file.write_bytes(good)
    assert not broken(ran)
    assert "secret" not in ran.stderr
