"""How long things take: data only, every number with its source.

All durations are seconds of world time, all rates per second. ``spread`` is the sigma of the log-normal factor that
each kubelet duration is multiplied by, so that a large JobSet has stragglers; 0 makes every Pod alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Latencies of one kind of cluster. ``sources`` says for each number where it comes from."""

    name: str
    about: str
    jobset_sync: float
    """From a change to the JobSet controller's answer."""
    job_start: float
    """From a Job's creation, or a change of its spec, to the Job controller's answer."""
    job_sync: float
    """From a Pod's change to the Job controller's answer (it batches)."""
    pod_creates_rate: float
    """Pods the Job controller creates, over all Jobs."""
    schedule_rate: float
    """Pods the scheduler binds."""
    sandbox: float
    """From binding to a sandbox with an address."""
    pull: float
    """Pulling an image a node does not have."""
    container_start: float
    """Creating and starting one container."""
    container_stop: float
    """From TERM to the death of a process that handles it, or from KILL to death."""
    notice: float
    """From a container's death to the kubelet knowing (PLEG)."""
    relist: float
    """From a Pod's end to the kubelet stopping what is left of it: the pod worker waits for PLEG in between."""
    sandbox_stop: float
    """From the death of a Pod's last container to its sandbox being gone."""
    removal: float
    """From there to the Pod being deleted."""
    init: float
    """How long an init container takes whose program is not known."""
    agent: float
    """From the in-place-restart agent's start to what it does."""
    agent_watch: float
    """From a change of the JobSet's status to what the agent does."""
    exec: float
    """One command run through exec."""
    collect: float
    """The garbage collector's reaction."""
    node_grace: float
    """How long no kubelet has to post before its node is not ready."""
    pod_gc: float
    """The Pod garbage collector's period."""
    spread: float
    sources: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The profile as data: each number beside its source."""
        numbers = {each.name: getattr(self, each.name) for each in fields(self) if each.type == "float"}
        rows = {name: {"value": value, "source": self.sources.get(name, "")} for name, value in numbers.items()}
        return {"name": self.name, "about": self.about, "numbers": rows}


_NOTHING = "nothing takes time, so that tests see order and not duration"
INSTANT = Profile(
    name="instant",
    about="For tests: only what the API asks for takes time (grace periods, back-off, tolerations).",
    jobset_sync=0.0,
    job_start=0.0,
    job_sync=0.0,
    pod_creates_rate=math.inf,
    schedule_rate=math.inf,
    sandbox=0.001,
    pull=0.001,
    container_start=0.001,
    container_stop=0.001,
    notice=0.001,
    relist=0.001,
    sandbox_stop=0.0,
    removal=0.001,
    init=0.001,
    agent=0.001,
    agent_watch=0.001,
    exec=0.0,
    collect=0.0,
    node_grace=1.0,
    pod_gc=0.0,
    spread=0.0,
    sources=dict.fromkeys(
        (
            *("jobset_sync", "job_start", "job_sync", "pod_creates_rate", "schedule_rate", "sandbox_stop", "exec"),
            *("collect", "pod_gc", "spread"),
        ),
        _NOTHING,
    )
    | {"node_grace": "a second: not measured, enough to tell a node that is out from one that was switched off and on"}
    | dict.fromkeys(
        (
            "sandbox",
            "pull",
            "container_start",
            "container_stop",
            "notice",
            "relist",
            "removal",
            "init",
            "agent",
            "agent_watch",
        ),
        "a millisecond: not measured, enough to keep cause before effect",
    ),
)

_MEASURED = "measured on a cluster of Kubernetes 1.36.2, containerd, 2 cores"
REALTIME = Profile(
    name="realtime",
    about="A small real cluster: Kubernetes 1.36.2, containerd and runc, one API server, 2 cores, idle.",
    jobset_sync=0.02,
    job_start=0.05,
    job_sync=1.0,
    pod_creates_rate=50.0,
    schedule_rate=100.0,
    sandbox=0.25,
    pull=1.5,
    container_start=0.15,
    container_stop=0.05,
    notice=0.3,
    relist=1.0,
    sandbox_stop=0.25,
    removal=0.7,
    init=1.0,
    agent=0.7,
    agent_watch=0.1,
    exec=0.05,
    collect=0.05,
    node_grace=20.0,
    pod_gc=20.0,
    spread=0.15,
    sources={
        "jobset_sync": _MEASURED + ": JobSet created to its Jobs created",
        "job_start": _MEASURED + ": Job suspended to its Pods told to go",
        "job_sync": "source: SyncJobBatchPeriod in pkg/controller/job",
        "pod_creates_rate": "source: kube-controller-manager --kube-api-qps, set to 50 here (default 20)",
        "schedule_rate": "doc: the scheduler's published throughput test of 100 Pods/s; never reached here",
        "sandbox": _MEASURED + ": PodScheduled to PodReadyToStartContainers",
        "pull": "a small image over a fast network; images were loaded by hand on the measured cluster",
        "container_start": _MEASURED + ": image change to running with TERM handled (0.4 s), less stop and notice",
        "container_stop": _MEASURED + ": TERM to exit of a shell with a handler",
        "notice": _MEASURED + ": grace period + 0.3 s to running; PLEG relists once a second without events",
        "relist": "source: genericPlegRelistPeriod in pkg/kubelet",
        "sandbox_stop": _MEASURED + ": Pod deleted to phase Failed (0.3 s), less container_stop",
        "removal": _MEASURED + ": phase Failed to the Pod deleted",
        "init": "made up: something small is fetched or checked",
        "agent": _MEASURED + ": agent container shown running to its Pod annotated (0.4 s), and notice",
        "agent_watch": _MEASURED + ": attempt written to the agent shown terminated (0.4 to 0.5 s), less notice",
        "exec": _MEASURED,
        "collect": _MEASURED + ": Job deleted in the foreground to its Pods deleted",
        "node_grace": "source: kube-controller-manager --node-monitor-grace-period, set to 20 s here (default 40 s)",
        "pod_gc": "source: gcCheckPeriod in pkg/controller/podgc",
        "spread": "fitted: the spread of 5,000 simulated starts, not measured on as many nodes",
    },
)

_PUBLISHED = "published by the JobSet project for its prototype at 5,000 nodes: recreate 2 min 10 s, in place 10 s"
PUBLISHED = Profile(
    name="published",
    about="Calibrated, not measured: 5,000 nodes with one Pod each recreate in about 130 s and restart in place in "
    "about 10 s, as the JobSet project published for its prototype. Fitted: pod_creates_rate, sandbox, "
    "container_start, container_stop, agent, agent_watch, spread.",
    jobset_sync=0.05,
    job_start=0.05,
    job_sync=1.0,
    pod_creates_rate=50.0,
    schedule_rate=100.0,
    sandbox=7.0,
    pull=0.0,
    container_start=0.5,
    container_stop=0.5,
    notice=0.5,
    relist=1.0,
    sandbox_stop=0.25,
    removal=0.7,
    init=1.0,
    agent=1.0,
    agent_watch=0.2,
    exec=0.1,
    collect=0.1,
    node_grace=40.0,
    pod_gc=20.0,
    spread=0.35,
    sources={
        "jobset_sync": "a busy controller; no published number",
        "job_start": "as realtime; no published number",
        "job_sync": "source: SyncJobBatchPeriod in pkg/controller/job",
        "pod_creates_rate": "fitted to 130 s; " + _PUBLISHED,
        "schedule_rate": "doc: the scheduler's published throughput test of 100 Pods/s",
        "sandbox": "fitted to 130 s; " + _PUBLISHED,
        "pull": "the image is on every node: a restart does not pull it again",
        "container_start": "fitted to 10 s; " + _PUBLISHED,
        "container_stop": "fitted to 10 s; " + _PUBLISHED,
        "notice": "source: PLEG relists once a second, so half of that on average",
        "relist": "source: genericPlegRelistPeriod in pkg/kubelet",
        "sandbox_stop": "as realtime; no published number",
        "removal": "as realtime; no published number",
        "init": "made up: something small is fetched or checked",
        "agent": "fitted to 10 s; " + _PUBLISHED,
        "agent_watch": "fitted to 10 s; " + _PUBLISHED,
        "exec": "no published number",
        "collect": "no published number",
        "node_grace": "source: kube-controller-manager --node-monitor-grace-period, default 40 s",
        "pod_gc": "source: gcCheckPeriod in pkg/controller/podgc",
        "spread": "fitted: the slowest of 5,000 takes about three times the median; " + _PUBLISHED,
    },
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (INSTANT, REALTIME, PUBLISHED)}
