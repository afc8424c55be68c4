"""ResourceQuotas on the number of Pods: the plugin ResourceQuota of the API server, and the controller of that name.

A Pod counts from its creation until it is Succeeded, Failed or gone, or its grace period is over (``QuotaV1Pod``).
"""

from __future__ import annotations

from collections.abc import Iterator

from jobset_restart.simulator.profile import Profile
from jobset_restart.simulator.store import Key, Obj, Store, StoreError, key_of, seconds

PODS, OBJECTS = "pods", "count/pods"
COUNTED = (PODS, OBJECTS)
"""What of a quota is kept: Pods that live, and all Pods there are."""


class QuotaController:
    """Keeps the status of quotas (``syncResourceQuota``), and refuses Pods that are too many."""

    def __init__(self, profile: Profile) -> None:
        self._delay = profile.collect

    def wakes(self, store: Store, resource: str, change: str, obj: Obj, old: Obj | None) -> Iterator[tuple[Key, float]]:
        """Quotas whose limits changed; those of a namespace where Pods ended or went (``replenishQuota``)."""
        if resource == "resourcequotas":
            if old is None or obj["spec"] != old["spec"]:
                yield key_of(obj), self._delay
        elif resource == "pods" and store.count("resourcequotas") and _released(change, obj, old):
            for quota in store.list("resourcequotas", obj["metadata"]["namespace"]):
                yield key_of(quota), self._delay

    def reconcile(self, store: Store, key: Key, now: float) -> float | None:
        quota = store.find("resourcequotas", *key)
        if quota is None:
            return None
        pods = store.list("pods", key[0])
        used = {PODS: sum(_counts(pod, now) for pod in pods), OBJECTS: len(pods)}
        hard = quota["spec"].get("hard") or {}
        status = {"hard": dict(hard), "used": {name: str(used[name]) for name in hard}}
        if status != quota.get("status"):
            store.update("resourcequotas", {**quota, "status": status}, now, subresource="status")
        ends = [end for pod in pods if (end := _ends(pod)) is not None and end > now]
        return min(ends, default=None)

    @staticmethod
    def guard(store: Store, resource: str, new: Obj, now: float, dry_run: bool) -> None:
        """``checkRequest``: a new Pod is counted. Raises StoreError 403 where it is one too many."""
        if resource != "pods" or not store.count("resourcequotas"):
            return
        meta = new["metadata"]
        quotas = store.list("resourcequotas", meta["namespace"])
        for quota in quotas:
            status, name = quota.get("status") or {}, quota["metadata"]["name"]
            if status.get("hard") is None and quota["spec"].get("hard"):
                raise _forbidden(meta["name"], f"status unknown for quota: {name}, resources: {PODS}")
            over = [each for each, most in sorted(status["hard"].items()) if int(status["used"][each]) >= int(most)]
            if over:
                limits = ",".join(f"{each}={status['hard'][each]}" for each in over)
                used = ",".join(f"{each}={status['used'][each]}" for each in over)
                asked = ",".join(f"{each}=1" for each in over)
                words = f"exceeded quota: {name}, requested: {asked}, used: {used}, limited: {limits}"
                raise _forbidden(meta["name"], words)
        for quota in () if dry_run else quotas:
            counted = {each: str(int(number) + 1) for each, number in quota["status"]["used"].items()}
            store.update(
                "resourcequotas", {**quota, "status": {**quota["status"], "used": counted}}, now, subresource="status"
            )


def _forbidden(pod: str, why: str) -> StoreError:
    return StoreError(403, "Forbidden", f'pods "{pod}" is forbidden: {why}', {"name": pod, "kind": "pods"})


def _released(change: str, obj: Obj, old: Obj | None) -> bool:
    """Whether a Pod no longer counts."""
    if change == "DELETED":
        return True
    if old is None:
        return False
    return _over(obj) != _over(old) or ("deletionTimestamp" in obj["metadata"]) != (
        "deletionTimestamp" in old["metadata"]
    )


def _over(pod: Obj) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _ends(pod: Obj) -> float | None:
    """When the grace period of a Pod that is being deleted is over."""
    stamp = pod["metadata"].get("deletionTimestamp")
    return None if stamp is None else seconds(stamp) + float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _counts(pod: Obj, now: float) -> bool:
    end = _ends(pod)
    return not _over(pod) and (end is None or now <= end)
