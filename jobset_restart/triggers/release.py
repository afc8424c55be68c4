"""Frees the slots that a dead machine holds, whatever restarts the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.objects import Pod
from jobset_restart.stages import Drawn
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import Write, pod_path

_FAILED = {"phase": "Failed", "reason": "NodeDown", "message": "declared to be on a machine that is off"}


def release(states: Iterable[SlotState]) -> Drawn[Write]:
    """Frees slots held by Pods on machines that are off: status.phase Failed lets the Job's finalizer go, the deletion
    without grace does not wait for a kubelet. Right only when the machine is really off."""
    held = ((pod, str(state.slot)) for state in states for pod in (state.pod, *state.leftovers) if pod is not None)
    return Drawn([(pod, slot, gone) for pod, slot in held for gone in (False, True)], _action)


def _action(target: tuple[Pod, str, bool]) -> Write:
    pod, slot, gone = target
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    if not gone:
        body = {"status": _FAILED}
        return Write(verb="patch", path=f"{path}/status", body=body, uid=pod.metadata.uid, slot=slot)
    return Write(verb="delete", path=path, body={"gracePeriodSeconds": 0}, uid=pod.metadata.uid, slot=slot)
