"""The suspects of a diagnosis, as a file that a restart takes: read, and held against the workload as it is now. Pure.

A file is input: somebody may have written it by hand, or for another workload, or an hour ago.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from jobset_restart.errors import UsageError
from jobset_restart.harmless import plain
from jobset_restart.objects import seconds
from jobset_restart.snapshot import Snapshot

MOST_BYTES = 4 * 1024 * 1024
"""A diagnosis of 5,000 Pods with 64 suspects is 0.2 MB."""
MOST_SHOWN = 3
CLOCKS = 60.0
"""Seconds that a file may seem to be from the future: it was written by the same server's clock, by another client."""
DIAGNOSE_AGAIN = "diagnose it again: `jsr diagnose NAME -o json > FILE`"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class _Suspect(Struct, rename="camel"):
    slot: str
    pod: str = ""
    uid: str = ""


class Suspects(Struct, rename="camel", kw_only=True):
    """What a restart takes of the document of `jsr diagnose -o json`."""

    kind: str
    workload_kind: str
    workload_group: str
    name: str
    namespace: str
    uid: str
    time: str
    verdict: str
    suspected: int
    suspects: list[_Suspect]


def read_suspects(text: bytes, file: str) -> Suspects:
    """The suspects of the document `text`, which `file` holds. Raises UsageError where it is none, and where it names
    nobody, or not all."""
    where = f"--suspects {file}"
    if len(text) > MOST_BYTES:
        raise UsageError(f"{where}: it is larger than {MOST_BYTES // 2**20} MiB; nothing was changed", DIAGNOSE_AGAIN)
    try:
        found = msgspec.json.decode(text, type=Suspects)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        why = plain(str(error))[:200]
        raise UsageError(
            f"{where} is no document of `jsr diagnose -o json`: {why}; nothing was changed", DIAGNOSE_AGAIN
        ) from None
    if found.kind != "Diagnosis" or not _TIME.fullmatch(found.time):
        raise UsageError(f"{where} is no document of `jsr diagnose -o json`; nothing was changed", DIAGNOSE_AGAIN)
    if not found.suspects:
        raise UsageError(
            f"{where} names no suspects: the verdict was {plain(found.verdict)[:40] or '?'}; nothing was changed"
        )
    if found.suspected > len(found.suspects):
        raise UsageError(
            f"{where} has only the first {len(found.suspects)} of {found.suspected:,} suspects; nothing was changed",
            "restart what they share: --node NODE, --replicated-job NAME, or everything",
        )
    return found


def pods_of(suspects: Suspects, snapshot: Snapshot, most_age: float) -> frozenset[str]:
    """The names of the suspected Pods, which are those that were looked at, at most `most_age` seconds ago.

    Raises UsageError where the file is of another workload, too old, or a Pod is another one by now."""
    _check_workload(suspects, snapshot)
    try:
        age = snapshot.time - seconds(suspects.time)
    except (ValueError, OverflowError):
        age = float("inf")
    if age > most_age or age < -CLOCKS:
        said = f"{age:.0f} s ago" if 0 <= age < 1e9 else "at another time"
        raise UsageError(
            f"the suspects were named {said}, and at most {most_age:.0f} s are allowed; nothing was changed",
            "diagnose it again, or say --suspects-age DURATION where that is no matter",
        )
    now = {str(slot): state.pod for slot, state in snapshot.slots.items()}
    gone = []
    for each in suspects.suspects:
        pod = now.get(each.slot)
        if pod is None or not each.uid or (pod.metadata.uid, pod.metadata.name) != (each.uid, each.pod):
            gone.append(f"slot {plain(each.slot)[:80]} ({plain(each.pod)[:80] or 'no Pod'})")
    if gone:
        more = f" and {len(gone) - MOST_SHOWN} more" if len(gone) > MOST_SHOWN else ""
        raise UsageError(
            f"what was suspected has other Pods by now, or none: {', '.join(gone[:MOST_SHOWN])}{more}; "
            "nothing was changed",
            "diagnose it again",
        )
    return frozenset(each.pod for each in suspects.suspects)


def _check_workload(suspects: Suspects, snapshot: Snapshot) -> None:
    workload = snapshot.workload
    theirs = (suspects.workload_kind, suspects.workload_group, suspects.namespace, suspects.name)
    mine = (workload.kind.kind, workload.kind.group, snapshot.namespace, snapshot.name)
    if theirs != mine:
        said = f"{plain(suspects.workload_kind)[:80]} {plain(suspects.namespace)[:80]}/{plain(suspects.name)[:80]}"
        raise UsageError(
            f"the suspects are those of {said}, and not of {workload.title}; nothing was changed",
            "name the workload that was diagnosed",
        )
    if suspects.uid != workload.metadata.uid:
        raise UsageError(
            f"{workload.title} was deleted and created anew since its suspects were named; nothing was changed",
            "diagnose it again",
        )
