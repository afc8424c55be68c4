"""The Table form of a listing (meta.k8s.io/v1), which is what `kubectl get` prints.

Columns and cells are those of kube-apiserver's printers (pkg/printers/internalversion/printers.go) and, for JobSets, of
the CustomResourceDefinition's additionalPrinterColumns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jobset_restart.simulator.store import Obj, seconds

Cells = list[Any]
_NONE = "<none>"
_UNKNOWN = "<unknown>"


class Printer(NamedTuple):
    """``columns``: names as printed, with a "*" those of -o wide only. ``cells(obj, now)`` fills them, in order."""

    columns: str
    cells: Callable[[Obj, float], Cells]


def table(resource: str, objects: list[Obj], now: float, metadata: Obj, include: str, *, header: bool = True) -> Obj:
    """``objects`` as a Table; ``now`` (epoch, s) gives the ages.

    ``include`` is the query's includeObject: Metadata (the default), Object or None. ``header`` False leaves the
    column definitions out, as in all but the first event of a watch.
    """
    printer = PRINTERS.get(resource, _GENERIC)
    rows = [{"cells": printer.cells(obj, now), "object": _included(obj, include)} for obj in objects]
    body: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return body | {"columnDefinitions": _definitions(printer.columns) if header else None, "rows": rows}


def human_duration(span: float) -> str:
    """Seconds as ages are printed (apimachinery ``duration.HumanDuration``)."""
    if span <= -2:
        return "<invalid>"
    left = max(int(span), 0)
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if left < 120:
        return f"{left}s"
    if minutes < 10:
        return _two(minutes, "m", left % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _days(days, hours)


def _days(days: int, hours: int) -> str:
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365 if days < 365 * 8 else 0, "d")


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def _definitions(columns: str) -> list[Obj]:
    return [_definition(name.rstrip("*"), int(name.endswith("*"))) for name in columns.split(",")]


def _definition(name: str, priority: int) -> Obj:
    kind = "date" if name == "Created At" else "string"
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": name, "priority": priority}


def _included(obj: Obj, include: str) -> Obj | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _age(text: str | None, now: float) -> str:
    return human_duration(now - seconds(text)) if text else _UNKNOWN


def _created(obj: Obj, now: float) -> str:
    return _age(obj["metadata"].get("creationTimestamp"), now)


def _conditions(obj: Obj) -> dict[str, Obj]:
    return {each["type"]: each for each in obj.get("status", {}).get("conditions") or ()}


def _true(obj: Obj, condition: str) -> bool:
    return bool(_conditions(obj).get(condition, {}).get("status") == "True")


def _selector(labels: Obj | None) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or _NONE


# Pods (printPod)


class _Containers:
    """What the container statuses of a Pod add up to: ready, restarts, when the last one was, and a reason."""

    def __init__(self, pod: Obj) -> None:
        self.spec, self.status = pod["spec"], pod.get("status", {})
        self.ready = self.restarts = 0
        self.last = ""
        self.reason = self.status.get("reason") or self.status.get("phase", "")
        if _conditions(pod).get("PodScheduled", {}).get("reason") == "SchedulingGated":
            self.reason = "SchedulingGated"
        sidecars = {each["name"] for each in self.spec.get("initContainers") or () if _is_sidecar(each)}
        self.total = len(self.spec["containers"]) + len(sidecars)
        initializing = self._init(sidecars)
        if not initializing or _true(pod, "Initialized"):
            self.restarts, self.last = 0, ""
            for status in self.status.get("initContainerStatuses") or ():
                if status["name"] in sidecars:
                    self._count(status)
            self._main(_true(pod, "Ready"))

    def _count(self, status: Obj) -> None:
        self.restarts += status.get("restartCount", 0)
        self.last = max(self.last, status.get("lastState", {}).get("terminated", {}).get("finishedAt") or "")

    def _init(self, sidecars: set[str]) -> bool:
        """Whether an init container holds the Pod up; then the reason says which and why."""
        statuses = self.status.get("initContainerStatuses") or ()
        for index, status in enumerate(statuses):
            self._count(status)
            state = status.get("state", {})
            terminated, waiting = state.get("terminated"), state.get("waiting", {}).get("reason", "")
            if terminated and terminated["exitCode"] == 0:
                continue
            if status["name"] in sidecars and status.get("started"):
                self.ready += bool(status.get("ready"))
                continue
            if terminated:
                self.reason = f"Init:{_ended(terminated)}"
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{index}/{len(self.spec['initContainers'])}"
            return True
        return False

    def _main(self, pod_ready: bool) -> None:
        running, failure = False, ""
        for status in reversed(self.status.get("containerStatuses") or ()):
            self._count(status)
            state = status.get("state", {})
            if state.get("waiting", {}).get("reason"):
                self.reason = state["waiting"]["reason"]
            elif state.get("terminated"):
                self.reason = _ended(state["terminated"])
                failure = self.reason if state["terminated"]["exitCode"] else failure
            elif status.get("ready") and "running" in state:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            if running and pod_ready:
                self.reason = "Running"
            else:
                self.reason = failure or ("NotReady" if running else "Completed")


def _is_sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated['exitCode']}"


def _pod(pod: Obj, now: float) -> Cells:
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    containers = _Containers(pod)
    reason, restarts = containers.reason, str(containers.restarts)
    if meta.get("deletionTimestamp") and status.get("reason") == "NodeLost":
        reason = "Unknown"
    elif meta.get("deletionTimestamp") and status.get("phase") not in ("Failed", "Succeeded"):
        reason = "Terminating"
    if containers.restarts and containers.last:
        restarts += f" ({_age(containers.last, now)} ago)"
    gates = [each["conditionType"] for each in spec.get("readinessGates") or ()]
    address = (status.get("podIPs") or [{}])[0].get("ip") or _NONE
    nominated = status.get("nominatedNodeName") or _NONE
    passed = f"{sum(_true(pod, gate) for gate in gates)}/{len(gates)}" if gates else _NONE
    ready = f"{containers.ready}/{containers.total}"
    wide = [address, spec.get("nodeName") or _NONE, nominated, passed]
    return [meta["name"], ready, reason, restarts, _created(pod, now), *wide]


# Everything else


def _node(node: Obj, now: float) -> Cells:
    """printNode."""
    meta, status = node["metadata"], node.get("status", {})
    info = status.get("nodeInfo", {})
    ready = _conditions(node).get("Ready")
    state = ("Ready" if ready["status"] == "True" else "NotReady") if ready else "Unknown"
    if node.get("spec", {}).get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = ",".join(sorted(label[len(prefix) :] for label in meta.get("labels") or {} if label.startswith(prefix)))
    addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    kernel = info.get("kernelVersion") or _UNKNOWN
    kernel += f" ({info['architecture']})" if info.get("architecture") else ""
    cells = [meta["name"], state, roles or _NONE, _created(node, now), info.get("kubeletVersion", "")]
    cells += [addresses.get("InternalIP", _NONE), addresses.get("ExternalIP", _NONE)]
    return [*cells, info.get("osImage") or _UNKNOWN, kernel, info.get("containerRuntimeVersion") or _UNKNOWN]


_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job(job: Obj, now: float) -> Cells:
    """printJob."""
    meta, spec, status = job["metadata"], job["spec"], job.get("status", {})
    wanted = spec.get("completions")
    if wanted is None:
        wanted = f"1 of {spec['parallelism']}" if spec.get("parallelism", 0) > 1 else 1
    start, end = status.get("startTime"), status.get("completionTime")
    lasted = human_duration((seconds(end) if end else now) - seconds(start)) if start else ""
    if _true(job, "Complete"):
        state = "Complete"
    elif _true(job, "Failed"):
        state = "Failed"
    elif meta.get("deletionTimestamp"):
        state = "Terminating"
    else:
        state = next((each for each in _JOB_STATES if _true(job, each)), "Running")
    containers = spec["template"]["spec"]["containers"]
    names, images = (",".join(str(each.get(field, "")) for each in containers) for field in ("name", "image"))
    selector = _selector((spec.get("selector") or {}).get("matchLabels"))
    completions = f"{status.get('succeeded', 0)}/{wanted}"
    return [meta["name"], state, completions, lasted, _created(job, now), names, images, selector]


def _jobset(jobset: Obj, now: float) -> Cells:
    status, suspend = jobset.get("status", {}), jobset["spec"].get("suspend")
    restarts = str(status["restarts"]) if "restarts" in status else None
    completed = _conditions(jobset).get("Completed", {}).get("status")
    suspended = None if suspend is None else str(suspend).lower()
    name = jobset["metadata"]["name"]
    return [name, status.get("terminalState"), restarts, completed, suspended, _created(jobset, now)]


def _event(event: Obj, now: float) -> Cells:
    """printEvent."""
    source, about, series = event.get("source") or {}, event.get("involvedObject") or {}, event.get("series")
    first = _age(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = _age(event["lastTimestamp"], now) if event.get("lastTimestamp") else first
    times = event.get("count") or 1
    if series:
        last, times = _age(series.get("lastObservedTime"), now), series.get("count", 1)
    target = "/".join(filter(None, (about.get("kind", "").lower(), about.get("name"))))
    component = source.get("component") or event.get("reportingComponent") or ""
    where = ", ".join(filter(None, (component, source.get("host") or event.get("reportingInstance"))))
    cells = [last, event.get("type"), event.get("reason"), target, about.get("fieldPath", ""), where]
    return [*cells, (event.get("message") or "").strip(), first, times, event["metadata"]["name"]]


def _service(service: Obj, now: float) -> Cells:
    """printService, without load balancers."""
    spec = service.get("spec", {})
    address = (spec.get("clusterIPs") or [spec.get("clusterIP") or _NONE])[0]
    ports = ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or ()) or _NONE
    name, kind = service["metadata"]["name"], spec.get("type", "ClusterIP")
    return [name, kind, address, _NONE, ports, _created(service, now), _selector(spec.get("selector"))]


def _namespace(namespace: Obj, now: float) -> Cells:
    return [namespace["metadata"]["name"], namespace.get("status", {}).get("phase", ""), _created(namespace, now)]


def _binding(binding: Obj, now: float) -> Cells:
    """printRoleBinding and printClusterRoleBinding."""
    subjects, role = binding.get("subjects") or (), binding["roleRef"]
    users = ", ".join(each["name"] for each in subjects if each["kind"] == "User")
    groups = ", ".join(each["name"] for each in subjects if each["kind"] == "Group")
    accounts = (each for each in subjects if each["kind"] == "ServiceAccount")
    names = ", ".join(f"{each.get('namespace', '')}/{each['name']}" for each in accounts)
    cells = [binding["metadata"]["name"], f"{role['kind']}/{role['name']}", _created(binding, now)]
    return [*cells, users, groups, names]


def _lease(lease: Obj, now: float) -> Cells:
    return [lease["metadata"]["name"], lease.get("spec", {}).get("holderIdentity") or "", _created(lease, now)]


def _config_map(obj: Obj, now: float) -> Cells:
    keys = {**(obj.get("data") or {}), **(obj.get("binaryData") or {})}
    return [obj["metadata"]["name"], str(len(keys)), _created(obj, now)]


def _secret(obj: Obj, now: float) -> Cells:
    keys = obj.get("data") or {}
    return [obj["metadata"]["name"], obj.get("type", "Opaque"), str(len(keys)), _created(obj, now)]


def _quota(obj: Obj, now: float) -> Cells:
    status = obj.get("status") or {}
    used, hard = status.get("used") or {}, status.get("hard") or {}
    shown = ", ".join(f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard))
    return [obj["metadata"]["name"], shown, "", _created(obj, now)]


def _dated(obj: Obj, _now: float) -> Cells:
    return [obj["metadata"]["name"], obj["metadata"]["creationTimestamp"]]


def _aged(obj: Obj, now: float) -> Cells:
    return [obj["metadata"]["name"], _created(obj, now)]


_GENERIC = Printer("Name,Age", _aged)
_BINDINGS = Printer("Name,Role,Age,Users*,Groups*,ServiceAccounts*", _binding)
_DATED = Printer("Name,Created At", _dated)
PRINTERS: dict[str, Printer] = {
    "pods": Printer("Name,Ready,Status,Restarts,Age,IP*,Node*,Nominated Node*,Readiness Gates*", _pod),
    "nodes": Printer(
        "Name,Status,Roles,Age,Version,Internal-IP*,External-IP*,OS-Image*,Kernel-Version*,Container-Runtime*", _node
    ),
    "jobs": Printer("Name,Status,Completions,Duration,Age,Containers*,Images*,Selector*", _job),
    "jobsets": Printer("Name,TerminalState,Restarts,Completed,Suspended,Age", _jobset),
    "events": Printer("Last Seen,Type,Reason,Object,Subobject*,Source*,Message,First Seen*,Count*,Name*", _event),
    "services": Printer("Name,Type,Cluster-IP,External-IP,Port(s),Age,Selector*", _service),
    "namespaces": Printer("Name,Status,Age", _namespace),
    "rolebindings": _BINDINGS,
    "clusterrolebindings": _BINDINGS,
    "roles": _DATED,
    "clusterroles": _DATED,
    "leases": Printer("Name,Holder,Age", _lease),
    "configmaps": Printer("Name,Data,Age", _config_map),
    "resourcequotas": Printer("Name,Request,Limit,Age", _quota),
    "secrets": Printer("Name,Type,Data,Age", _secret),
}
