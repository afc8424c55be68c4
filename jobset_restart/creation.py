"""Why a Job or Pod that should be there is not: the reason a controller gave in an Event when it could not create it.
Pure.

Only Events tell: a Pod refused by a quota or a webhook leaves nothing in the status of its Job, and a Job refused by
the API server nothing in the status of its JobSet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobset_restart.objects import Event, JobSet, seconds

POD_REFUSED = "involvedObject.kind=Job,reason=FailedCreate"
"""Field selector of the Events about Pods that a Job could not create (Kubernetes, controller_utils.go,
FailedCreatePodReason)."""
JOB_REFUSED = "involvedObject.kind=JobSet,reason=JobCreationFailed"
"""Field selector of the Events about Jobs that a JobSet could not create (JobSet,
constants.JobCreationFailedReason)."""
TRAINER_REFUSED = "involvedObject.kind=TrainJob,reason=TrainJobResourcesCreationFailed"
"""Field selector of the Events about a JobSet that Trainer could not create or change for a TrainJob (Trainer v2,
trainjob_controller.go, Reconcile)."""
REASONS = frozenset(
    {
        "FailedCreate",
        "JobCreationFailed",
        "TrainJobResourcesCreationFailed",
        "FailedToCreateHeadPod",
        "FailedToCreateWorkerPod",
    }
)
"""What the controllers call it: the Job and StatefulSet controllers, JobSet, Trainer, and KubeRay for head and
workers."""
MOST_REASONS = 3

_NAMES = re.compile(
    r'^(Error creating: |job "[^"]*" creation failed with error: |TrainJob resources reconciliation failed: )?'
    r'((pods|Pod|jobs\.batch|Job\.batch) "[^"]*" is (forbidden|invalid): )?'
)
"""What stands before the reason: the Job controller (FailedCreate), the JobSet controller (one line for each Job) and
Trainer, then the API server (apimachinery, NewForbidden, NewInvalid)."""
_VALUE = re.compile(r"Invalid value: [\[{].*[\]}]: ")
"""A whole object that is not as it should be (apimachinery, field.Error): hundreds of characters, and no reason."""


def refusals(events: Iterable[Event]) -> dict[str, Event]:
    """By UID of the object that could not create something, the newest Event that says why. `events` are those that
    the selectors above select; others are passed over."""
    newest: dict[str, Event] = {}
    for event in events:
        uid = event.involved_object.uid
        if event.reason not in REASONS or not uid:
            continue
        if uid not in newest or last_seen(event) >= last_seen(newest[uid]):
            newest[uid] = event
    return newest


def last_seen(event: Event) -> float:
    """When it happened last, in seconds since the epoch, 0.0 where it does not say.

    Events of core/v1 carry lastTimestamp, those written through events.k8s.io/v1 eventTime and, once they repeat,
    series.lastObservedTime."""
    repeated = event.series.last_observed_time if event.series else None
    return seconds(repeated or event.last_timestamp or event.event_time or event.metadata.creation_timestamp)


def reason(event: Event) -> str:
    """The controller's own words, without the names of what could not be created, which the table has already and which
    differ for each Pod that is tried, and without the objects that were refused."""
    texts = [" ".join(_VALUE.sub("", _NAMES.sub("", line)).split()) for line in event.message.splitlines()]
    different = list(dict.fromkeys(filter(None, texts)))
    return "; ".join(different[:MOST_REASONS]) or event.reason


def held_back(jobset: JobSet, replicated_job: str) -> str:
    """Why the JobSet controller does not create the Jobs of this ReplicatedJob yet, "" where nothing holds them back
    (JobSet, jobset_controller.go: dependencyReachedStatus, inOrderStartupPolicy)."""
    names = [each.name for each in jobset.spec.replicated_jobs]
    mine = next((each for each in jobset.spec.replicated_jobs if each.name == replicated_job), None)
    if mine is None:
        return ""
    if mine.depends_on:
        return "dependsOn: waits for " + ", ".join(f"{each.name} to be {each.status}" for each in mine.depends_on)
    policy = jobset.spec.startup_policy
    if policy is not None and policy.startup_policy_order == "InOrder" and names.index(replicated_job):
        return f"startupPolicy InOrder: waits for {names[names.index(replicated_job) - 1]} to be ready"
    return ""
