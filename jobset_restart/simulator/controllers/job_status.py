"""A Job's status: conditions, and the counters that UIDs of finished Pods pass through."""

from __future__ import annotations

from jobset_restart.simulator.store import Obj, timestamp


def condition(status: Obj, *kinds: str) -> Obj | None:
    """The first condition of one of these types that is True."""
    for each in status.get("conditions") or ():
        if each["type"] in kinds and each["status"] == "True":
            return dict(each)
    return None


def make_condition(kind: str, reason: str, message: str, now: float, value: str = "True") -> Obj:
    """``newCondition``."""
    when = timestamp(now)
    return {
        "type": kind,
        "status": value,
        "lastProbeTime": when,
        "lastTransitionTime": when,
        "reason": reason,
        "message": message,
    }


def ensure_condition(status: Obj, wanted: Obj) -> bool:
    """``ensureJobConditionStatus``: add, or change when the status differs; False does not add."""
    conditions = list(status.get("conditions") or ())
    for index, each in enumerate(conditions):
        if each["type"] == wanted["type"]:
            if all(each.get(field) == wanted[field] for field in ("status", "reason", "message")):
                return False
            conditions[index] = wanted
            break
    else:
        if wanted["status"] == "False":
            return False
        conditions.append(wanted)
    status["conditions"] = conditions
    return True


def settled(status: Obj, tracked_uids: set[str]) -> Obj:
    """The status with the UIDs whose finalizer is gone moved into the counters
    (``cleanUncountedPodsWithoutFinalizers``)."""
    status = dict(status)
    uncounted: dict[str, list[str]] = {}
    for name, uids in status["uncountedTerminatedPods"].items():
        left = [uid for uid in uids if uid in tracked_uids]
        if len(left) != len(uids):
            status[name] = status.get(name, 0) + len(uids) - len(left)
        if left:
            uncounted[name] = left
    status["uncountedTerminatedPods"] = uncounted
    return status
