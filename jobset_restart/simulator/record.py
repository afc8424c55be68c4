"""Events, as client-go's recorders write them: repeats of one event raise its count."""

from __future__ import annotations

from zlib import crc32

from jobset_restart.simulator.store import Obj, Store, micro_timestamp, timestamp

KEPT = 2_000
"""How many Events the cluster keeps; the oldest go first (a real one keeps them for an hour)."""

ACTIONS = {"default-scheduler": {"FailedScheduling": "Scheduling", "Scheduled": "Binding"}, "jobset": {}}
"""Components that write through events.k8s.io, and what they say they were doing, by reason ("Reconciling" where it is
not said). Such Events have an eventTime and a series in the place of firstTimestamp, lastTimestamp and count; those
with one reason about one version of an object are one, whatever they say (client-go, tools/events)."""


def record(
    store: Store,
    about: Obj,
    kind: str,
    reason: str,
    message: str,
    source: str,
    now: float,
    *,
    part: str = "",
    host: str = "",
) -> None:
    """Write an Event of ``kind`` (Normal, Warning) about an object, by the component ``source`` (on ``host``).

    ``part`` is the field of the object that it is about, such as ``spec.containers{worker}``."""
    meta = about["metadata"]
    same = (kind, meta["resourceVersion"]) if source in ACTIONS else (message,)
    name = f"{meta['name']}.{crc32('/'.join((meta.get('uid', ''), part, reason, *same)).encode()):08x}"
    namespace = meta.get("namespace", "default")
    home = store.find("namespaces", "", namespace)
    if home is None or home["metadata"].get("deletionTimestamp"):
        return
    seen = store.find("events", namespace, name)
    if seen:
        store.update("events", _again(seen, now), now)
        return
    involved = {"kind": about["kind"], "apiVersion": about["apiVersion"], "name": meta["name"]}
    involved |= {field: meta[field] for field in ("uid", "resourceVersion") if field in meta}
    if meta.get("namespace"):
        involved["namespace"] = namespace
    if part:
        involved["fieldPath"] = part
    event: Obj = {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved,
        "type": kind,
        "reason": reason,
        "message": message,
        "reportingComponent": source,
        "reportingInstance": host,
        **_times(source, host, reason, now),
    }
    store.create("events", event, now, valid=True)
    store.expire("events", KEPT)


def _times(source: str, host: str, reason: str, now: float) -> Obj:
    if source in ACTIONS:
        never: Obj = {"firstTimestamp": None, "lastTimestamp": None, "source": {}}
        return never | {"eventTime": micro_timestamp(now), "action": ACTIONS[source].get(reason, "Reconciling")}
    both = {"firstTimestamp": timestamp(now), "lastTimestamp": timestamp(now), "eventTime": None}
    return both | {"source": {"component": source} | ({"host": host} if host else {}), "count": 1}


def _again(event: Obj, now: float) -> Obj:
    if event.get("eventTime"):
        if "series" in event:
            return event  # further repeats are written in sum, minutes later, which is not modelled
        return {**event, "series": {"count": 2, "lastObservedTime": micro_timestamp(now)}}
    return {**event, "count": event["count"] + 1, "lastTimestamp": timestamp(now)}
