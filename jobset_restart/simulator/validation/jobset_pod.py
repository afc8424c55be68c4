"""The JobSet's webhook for Pods, mpod.kb.io (pkg/webhooks/pod_webhook.go).

Exclusive placement is refused with the JobSet, so that what is left of vpod.kb.io has nothing to say.
"""

from __future__ import annotations

from jobset_restart.simulator.controllers.jobset_children import JOBSET_NAME
from jobset_restart.simulator.controllers.jobset_jobs import NODE_SELECTOR
from jobset_restart.simulator.store import Obj

PRIORITY = "jobset.sigs.k8s.io/priority"


def with_priority_label(pod: Obj) -> Obj:
    """A new Pod of a JobSet with its priority as a label; other Pods as they are."""
    annotations = pod["metadata"].get("annotations") or {}
    priority = pod["spec"].get("priority")
    if JOBSET_NAME not in annotations or NODE_SELECTOR in annotations or priority is None:
        return pod
    labels = (pod["metadata"].get("labels") or {}) | {PRIORITY: str(priority)}
    return {**pod, "metadata": {**pod["metadata"], "labels": labels}}
