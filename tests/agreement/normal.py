"""An object as a client sees it, without what differs from one run to the next: times, UIDs, random suffixes, versions,
addresses. Facets are named values ("phase": "Pending"); numbers stay numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]
Facets = dict[str, str | int]

ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"
SLOT = (
    "jobset.sigs.k8s.io/replicatedjob-name",
    "jobset.sigs.k8s.io/job-index",
    "batch.kubernetes.io/job-completion-index",
)
KINDS = {"pods": "Pod", "jobs": "Job", "jobsets": "JobSet", "nodes": "Node"}
JOB_COUNTERS = ("active", "ready", "succeeded", "failed", "terminating")
JOBSET_COUNTERS = ("restarts", "restartsCountTowardsMax")
JOBSET_ATTEMPTS = ("previousInPlaceRestartAttempt", "currentInPlaceRestartAttempt")
REPLICATED_COUNTERS = ("ready", "active", "succeeded", "failed", "suspended")


def facets(resource: str, thing: Object) -> Facets:
    """The facets of an object of one of the KINDS. What is not there is left out."""
    of_kind = {"pods": _pod, "jobs": _job, "jobsets": _jobset, "nodes": _node}[resource]
    meta, status = thing["metadata"], thing.get("status", {})
    found: Facets = {"finalizers": " ".join(sorted(meta.get("finalizers", ())))}
    if "deletionTimestamp" in meta:
        found["deleting"] = f"grace {meta.get('deletionGracePeriodSeconds', 'unset')}"
    found |= {f"condition {c['type']}": _words(c["status"], c.get("reason")) for c in status.get("conditions", ())}
    return {name: value for name, value in (found | of_kind(thing, status)).items() if value != ""}


def name_of(resource: str, thing: Object) -> str:
    """The slot of a JobSet's Pod, else the object's name."""
    labels = thing["metadata"].get("labels", {})
    if resource == "pods" and all(key in labels for key in SLOT):
        return "/".join(labels[key] for key in SLOT)
    return str(thing["metadata"]["name"])


def _pod(pod: Object, status: Object) -> Facets:
    meta, spec = pod["metadata"], pod["spec"]
    found: Facets = {
        "phase": status.get("phase", ""),
        "reason": status.get("reason", ""),
        "bound": "yes" if spec.get("nodeName") else "no",
        "address": "yes" if status.get("podIP") else "no",
    }
    attempt = meta.get("annotations", {}).get(ATTEMPT)
    if attempt is not None:
        found["attempt"] = int(attempt) if attempt.isdigit() else f"not a number: {attempt}"
    for part, statuses in (("init container", "initContainerStatuses"), ("container", "containerStatuses")):
        for container in status.get(statuses, ()):
            found |= _container(f"{part} {container['name']}", container)
    return found


def _container(name: str, status: Object) -> Facets:
    ready = "ready" if status.get("ready") else "not ready"
    started = {True: "started", False: "not started", None: "started unset"}[status.get("started")]
    return {
        name: _state(status.get("state", {})),
        f"{name} last": _state(status.get("lastState", {})),
        f"{name} flags": f"{ready} {started}",
        f"{name} restarts": status["restartCount"],
    }


def _state(state: Mapping[str, Any]) -> str:
    if "running" in state:
        return "running"
    if "waiting" in state:
        return _words("waiting", state["waiting"].get("reason"))
    if "terminated" in state:
        ended = state["terminated"]
        return _words("terminated", ended["exitCode"], ended.get("reason"))
    return ""


def _job(job: Object, status: Object) -> Facets:
    uncounted = status.get("uncountedTerminatedPods", {})
    return {
        "suspend": str(job["spec"].get("suspend", "unset")),
        **{name: status.get(name, 0) for name in JOB_COUNTERS},
        "completedIndexes": status.get("completedIndexes", ""),
        "failedIndexes": status.get("failedIndexes", ""),
        **{f"uncounted {name}": len(uncounted.get(name, ())) for name in ("succeeded", "failed")},
        "startTime": _set(status, "startTime"),
        "completionTime": _set(status, "completionTime"),
    }


def _jobset(jobset: Object, status: Object) -> Facets:
    return {
        "suspend": str(jobset["spec"].get("suspend", "unset")),
        "terminalState": status.get("terminalState", ""),
        **{name: status.get(name, 0) for name in JOBSET_COUNTERS},
        **{name: status[name] for name in JOBSET_ATTEMPTS if name in status},
        **{
            f"replicatedJob {part['name']} {name}": part.get(name, 0)
            for part in status.get("replicatedJobsStatus", ())
            for name in REPLICATED_COUNTERS
        },
    }


def _node(node: Object, _: Object) -> Facets:
    taints = (f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in node["spec"].get("taints", ()))
    return {
        "taints": " ".join(sorted(taints)) or "none",
        "unschedulable": str(node["spec"].get("unschedulable", False)),
    }


def _set(status: Mapping[str, Any], name: str) -> str:
    return "set" if name in status else ""


def _words(*words: object) -> str:
    return " ".join(str(word) for word in words if word not in (None, ""))


# ---------------------------------------------------------------- what becomes of an object


def sequences(states: Iterable[Facets]) -> dict[str, list[str | int]]:
    """The values each facet takes one after the other, "-" where it is not there. Of numbers that rise or fall for a
    while only the ends are kept: how many steps it takes depends on who writes how often."""
    found: dict[str, list[str | int]] = {}
    for state in states:
        for name in found.keys() | state.keys():
            _append(found.setdefault(name, ["-"]), state.get(name, "-"))
    return found


def _append(values: list[str | int], value: str | int) -> None:
    if values[-1] == value:
        return
    if len(values) > 1 and isinstance(value, int):
        before, last = values[-2:]
        if isinstance(before, int) and isinstance(last, int) and (last > before) == (value > last):
            values[-1] = value
            return
    values.append(value)


def shape(state: Facets) -> str:
    """A state in one line: what is true of the object at the same time, numbers only as 0 or more."""
    aside = ("finalizers", "reason", "attempt", "address")
    words = set()
    for name, value in state.items():
        if name in aside or name.endswith((" last", " restarts")) or value == 0:
            continue
        if isinstance(value, int):
            words.add(f"{anonymous(name)} >0")
        else:
            words.add(f"{anonymous(name)}={'yes' if name == 'deleting' else value}")
    return ", ".join(sorted(words))


def anonymous(facet: str) -> str:
    """The facet's name without the name of the container or of the ReplicatedJob."""
    for part in ("init container ", "container ", "replicatedJob "):
        if facet.startswith(part):
            return part + facet.removeprefix(part).partition(" ")[2] if " " in facet.removeprefix(part) else part[:-1]
    return facet
