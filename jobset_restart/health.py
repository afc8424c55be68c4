"""Whether what fills a slot can be reached. Pure."""

from __future__ import annotations

from jobset_restart.objects import seconds
from jobset_restart.pods import condition, node_ready, ready_condition
from jobset_restart.workloads.workload import SlotState


def running(state: SlotState) -> bool:
    """Whether the slot has a Pod whose containers can be restarted."""
    pod = state.pod
    return pod is not None and pod.status.phase == "Running" and not pod.metadata.deletion_timestamp


def dead(state: SlotState) -> bool:
    """Whether the slot's Pod is bound to a Node that is seen not to be Ready, and has not turned Ready since.

    Only the kubelet makes a Pod Ready; the node lifecycle controller takes that away when the kubelet falls silent
    (MarkPodsNotReady). A Pod that is Ready later than its Node was given up is the word of a living kubelet, whose
    Node follows with its next heartbeat: so it is after an outage of the control plane."""
    if state.node is None or node_ready(state.node):
        return False
    since = ready_condition(state.node.status.conditions)
    spoke = condition(state.pod.status.conditions, "Ready") if state.pod else None
    if since is None or spoke is None:
        return True
    return seconds(spoke.last_transition_time) <= seconds(since.last_transition_time)
