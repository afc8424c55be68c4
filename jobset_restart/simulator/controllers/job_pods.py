"""What the Job controller knows about Pods: indexes, failure policy, back-off, and the Pod it makes of a template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jobset_restart.simulator.store import Obj, Objs, seconds

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
MAX_GENERATED_NAME = 58
"""names.MaxGeneratedNameLength: with five more characters it still is a label."""
BACKOFF, MAX_BACKOFF = 10.0, 600.0
"""DefaultJobPodFailureBackOff and MaxJobPodFailureBackOff, seconds."""


class Backoff(NamedTuple):
    """Failures since the last success, and when the last one was (``backoffRecord``)."""

    failures: int = 0
    last: float = 0.0

    def after(self, succeeded: Objs, failed: Objs) -> Backoff:
        """The record after newly finished Pods (``newBackoffRecord``)."""
        ends = sorted(finished_at(pod) for pod in failed)
        if succeeded:
            since = max(finished_at(pod) for pod in succeeded)
            ends = [end for end in ends if end > since]
            return Backoff(len(ends), ends[-1]) if ends else Backoff()
        return Backoff(self.failures + len(ends), ends[-1]) if ends else self

    def until(self) -> float:
        """When the next Pod may be created (``getRemainingTimeForFailuresCount``); 0 when at once."""
        if not self.failures:
            return 0.0
        return self.last + min(BACKOFF * 2.0 ** min(self.failures - 1, 30), MAX_BACKOFF)


def finished_at(pod: Obj) -> float:
    """When a Pod finished: its containers, else Ready turning False, else its deletion (``getFinishedTime``)."""
    status = pod.get("status", {})
    spec = pod["spec"].get("initContainers") or ()
    sidecars = {each["name"] for each in spec if each.get("restartPolicy") == "Always"}
    found = [each for each in status.get("initContainerStatuses") or () if each["name"] in sidecars]
    found += status.get("containerStatuses") or ()
    ends = [each["state"].get("terminated", {}).get("finishedAt") for each in found]
    if ends and all(ends):
        return max(seconds(end) for end in ends)
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "False":
            return seconds(condition["lastTransitionTime"])
    meta = pod["metadata"]
    if "deletionTimestamp" in meta:
        return seconds(meta["deletionTimestamp"]) - float(meta.get("deletionGracePeriodSeconds") or 0)
    return seconds(meta["creationTimestamp"])


def phase(pod: Obj) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


def tracked(pod: Obj) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def untracked(pod: Obj) -> Obj:
    """The Pod without the Job controller's finalizer."""
    meta = dict(pod["metadata"])
    meta["finalizers"] = [each for each in meta["finalizers"] if each != TRACKING]
    if not meta["finalizers"]:
        del meta["finalizers"]
    return {**pod, "metadata": meta}


def deleting(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Obj) -> bool:
    """``controller.IsPodActive``."""
    return "deletionTimestamp" not in pod["metadata"] and phase(pod) not in ("Succeeded", "Failed")


def is_terminating(pod: Obj) -> bool:
    """``controller.IsPodTerminating``."""
    return phase(pod) not in ("Succeeded", "Failed") and deleting(pod)


def is_ready(pod: Obj) -> bool:
    for each in pod.get("status", {}).get("conditions") or ():
        if each["type"] == "Ready":
            return bool(each["status"] == "True")
    return False


def only_replace_failed(job: Obj) -> bool:
    """``onlyReplaceFailedPods``."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in spec


def is_failed(pod: Obj, job: Obj) -> bool:
    """``isPodFailed``: a Pod being deleted counts too, unless only failed Pods are replaced."""
    if phase(pod) == "Failed":
        return True
    return not only_replace_failed(job) and deleting(pod) and phase(pod) != "Succeeded"


def is_indexed(job: Obj) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def index_of(pod: Obj) -> int:
    """The completion index; -1 when there is none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def parse_indexes(text: str) -> set[int]:
    """``1,3-5`` as a set."""
    indexes: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        indexes.update(range(int(first), int(last or first) + 1))
    return indexes


def render_indexes(indexes: Iterable[int]) -> str:
    """The inverse of ``parse_indexes`` (``orderedIntervals.String``: two in a row stay apart by a comma)."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = {0: "{0}", 1: "{0},{1}"}
    return ",".join(parts.get(last - first, "{0}-{1}").format(first, last) for first, last in runs)


def past_backoff_limit_on_failure(job: Obj, pods: Objs) -> bool:
    """``pastBackoffLimitOnFailure``: restarts of all containers of all live Pods, summed, against backoffLimit."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in pods:
        if phase(pod) in ("Running", "Pending"):
            status = pod.get("status", {})
            for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
                restarts += each["restartCount"]
    limit = job["spec"]["backoffLimit"]
    return bool(restarts > 0 if limit == 0 else restarts >= limit)


def failure_rule(job: Obj, pod: Obj) -> tuple[str, str]:
    """(action, message) of the first podFailurePolicy rule a failed Pod matches (``matchPodFailurePolicy``), or ""."""
    for index, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        meta = pod["metadata"]
        where = f"pod {meta['namespace']}/{meta['name']}"
        codes = rule.get("onExitCodes")
        if codes:
            for each in _exited(pod):
                code = each["state"]["terminated"]["exitCode"]
                named = codes.get("containerName") in (None, each["name"])
                if named and code != 0 and (code in codes["values"]) == (codes["operator"] == "In"):
                    why = f"exit code {code} matching {rule['action']} rule at index {index}"
                    return rule["action"], f"Container {each['name']} for {where} failed with {why}"
        for wanted in rule.get("onPodConditions") or ():
            for each in pod.get("status", {}).get("conditions") or ():
                if each["type"] == wanted["type"] and each["status"] == wanted.get("status", "True"):
                    why = f"condition {each['type']} matching {rule['action']} rule at index {index}"
                    return rule["action"], f"Pod {meta['namespace']}/{meta['name']} has {why}"
    return "", ""


def _exited(pod: Obj) -> Objs:
    status = pod.get("status", {})
    both = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return [each for each in both if "terminated" in each["state"]]


def pod_from_template(job: Obj, index: int | None) -> Obj:
    """The Pod for one completion index (``CreatePodsWithGenerateName``); None for Jobs without indexes."""
    meta, template = job["metadata"], job["spec"]["template"]
    labels = dict(template.get("metadata", {}).get("labels") or {})
    annotations = dict(template.get("metadata", {}).get("annotations") or {})
    spec = dict(template["spec"])
    generate = f"{meta['name']}-"[:MAX_GENERATED_NAME]
    if index is not None:
        labels[INDEX] = annotations[INDEX] = str(index)
        suffix = f"-{index}-"
        generate = meta["name"][: MAX_GENERATED_NAME - len(suffix)] + suffix
        spec["hostname"] = f"{meta['name']}-{index}"
        for field in ("containers", "initContainers"):
            if spec.get(field):
                spec[field] = [_with_index_env(each) for each in spec[field]]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {
        "metadata": {
            "generateName": generate,
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": annotations,
            "finalizers": [*(template.get("metadata", {}).get("finalizers") or ()), TRACKING],
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }


def _with_index_env(container: Obj) -> Obj:
    """JOB_COMPLETION_INDEX from the label (``addCompletionIndexEnvVariable``)."""
    if any(each["name"] == "JOB_COMPLETION_INDEX" for each in container.get("env") or ()):
        return container
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*(container.get("env") or ()), {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}
