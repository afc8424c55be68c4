"""JSR4xx: the machines."""

from __future__ import annotations

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.findings.words import count, named, some
from jobset_restart.health import dead
from jobset_restart.objects import Condition, Node
from jobset_restart.pods import condition, node_ready, ready_condition
from jobset_restart.rules import agents_count_attempts
from jobset_restart.triggers.suspend import holds_up
from jobset_restart.workloads.workload import SlotState


def _down(case: Case) -> list[SlotState]:
    return [state for state in (*case.scope, *case.replaced) if dead(state)]


@finding(
    "JSR401",
    "blocker",
    "Pods on a node that is not Ready",
    source="Node condition Ready; node lifecycle controller, MarkPodsNotReady",
    todo="if the machine is really off, say so with --node-down NODE; if it is only cut off, repair it first",
)
def not_ready(case: Case) -> Occurrence | None:
    """The kubelet of this node does not report, so nothing asked of its Pods will happen until it comes back: image
    and signal do not take effect, a native restart stops every healthy Pod and leaves it waiting at the barrier, and
    a deleted Pod stays Terminating for ever, because its finalizer goes only when it has ended.

    Containers on it still show ready: true, only the Pod's condition Ready is False. Ways out, all of them only right
    when the machine is really off (if it is merely cut off, the old containers still run and two Pods would hold one
    identity): with --recreate --node-down NODE the workload is suspended and resumed and its new Pods start elsewhere,
    no Job failure counted; with --in-place --node-down NODE the Pods there are set to Failed and deleted, each a Job
    failure, and the others restart in place; or an administrator taints the Node
    node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, which takes every Pod of that node away. With --allow
    JSR401 the slots there are left to wait."""
    slots = _down(case)
    if not slots:
        return None
    names = sorted({state.node_name for state in slots})
    reasons = {_reason(state.node) for state in slots if state.node}
    options = " ".join(f"--node-down {name}" for name in names)
    failures = " (each Pod there is a Job failure)" if case.snapshot.workload.made_of_jobs else ""
    return Occurrence(
        named(slots),
        f"{some(names)} ({', '.join(sorted(reasons))}): {count(len(slots), 'slot')} would hang there",
        todo=f"if the machine is really off: --recreate {options} ({_price(case)}), or --in-place {options}"
        f"{failures}; if it is only cut off, repair it first",
    )


def _price(case: Case) -> str:
    """What recreating the whole workload spends, in words."""
    return "spends an in-place attempt" if agents_count_attempts(case.snapshot.jobset) else "spends nothing"


def _reason(node: Node) -> str:
    ready = ready_condition(node.status.conditions)
    return ready.reason or f"Ready is {ready.status}" if ready else "no Ready condition"


@finding(
    "JSR402",
    "blocker",
    "Pods on a node that no longer exists",
    source="pod garbage collector, gcOrphaned",
    todo="wait for the garbage collector, or say that the machine is off with --node-down NODE",
)
def gone(case: Case) -> Occurrence | None:
    """The Pod is bound to a Node that has been deleted. Its containers cannot be reached; the Pod garbage collector
    fails and deletes it after a while, which counts as a Job failure."""
    nodes = case.snapshot.nodes
    slots = [s for s in (*case.scope, *case.replaced) if nodes is not None and s.node_name and s.node_name not in nodes]
    if not slots:
        return None
    names = sorted({state.node_name for state in slots})
    return Occurrence(
        named(slots),
        f"{some(names)}: {count(len(slots), 'slot')}",
        todo="if the machines are off: " + " ".join(f"--node-down {name}" for name in names),
    )


@finding(
    "JSR403",
    "warning",
    "Pods on a cordoned node would move",
    source="spec.unschedulable of the Node",
    todo="uncordon the node, or make sure that another one has room",
    concerns=lambda trigger: not trigger.in_place,
)
def cordoned(case: Case) -> Occurrence | None:
    """A new Pod cannot be scheduled to a cordoned node. If no other node has room, it stays Pending."""
    staying = (state for state in case.scope if state.node_name not in case.replace_nodes)
    slots = [state for state in staying if state.node and state.node.spec.unschedulable]
    names = sorted({state.node_name for state in slots})
    return Occurrence(named(slots), f"{some(names)}: {count(len(slots), 'slot')}") if slots else None


@finding(
    "JSR408",
    "warning",
    "new Pods may find no node",
    source="scheduler, Pod condition PodScheduled (Unschedulable); spec.unschedulable and condition Ready of the Nodes",
    todo="make room or uncordon nodes first; a restart in place needs no scheduling",
    concerns=lambda trigger: not trigger.in_place,
)
def nowhere_to_go(case: Case) -> Occurrence | None:
    """Recreated Pods have to be scheduled again, and two things that can be seen beforehand speak against it: Pods of
    this workload that the scheduler cannot place now, or that none of the nodes it runs on takes new Pods (cordoned, or
    not Ready). Where Pods are to leave a node, JSR410 looks at all nodes instead.

    Only the nodes of its own Pods are looked at, and neither room, taints nor selectors: other nodes may do, and that
    nothing was found is no promise that there is room."""
    waiting = [(s, unmet) for s in case.snapshot.slots.values() if (unmet := _unschedulable(s))]
    if waiting:
        said = waiting[0][1].message or "Unschedulable"
        return Occurrence(named(s for s, _ in waiting), f"{count(len(waiting), 'Pod')} cannot be scheduled now: {said}")
    nodes = {s.node_name: s.node for s in case.snapshot.slots.values() if s.node}
    shut = [f"{name} {_shut(node)}" for name, node in sorted(nodes.items()) if _shut(node)]
    if not nodes or len(shut) < len(nodes) or case.replace_nodes:
        return None
    return Occurrence(
        [f"Node {name}" for name in sorted(nodes)],
        f"no node it runs on takes new Pods: {some(shut)}; whether another one does was not looked at",
    )


def _unschedulable(state: SlotState) -> Condition | None:
    if state.pod is None or state.pod.metadata.deletion_timestamp:
        return None
    unmet = condition(state.pod.status.conditions, "PodScheduled", "False")
    return unmet if unmet and unmet.reason == "Unschedulable" else None


def _shut(node: Node) -> str:
    if not node_ready(node):
        return "is not Ready"
    return "is cordoned" if node.spec.unschedulable else ""


@finding(
    "JSR404",
    "note",
    "the nodes cannot be seen",
    source="permission to get and list nodes",
    todo="grant get and list on nodes to see dead nodes before they hang a restart",
)
def unseen(case: Case) -> Occurrence | None:
    """Without the permission to read Nodes, dead nodes are known only by the Ready condition of their Pods, and
    --node-down cannot be checked."""
    return Occurrence(["Nodes"], "no permission to read Nodes") if case.snapshot.nodes is None else None


@finding(
    "JSR405",
    "blocker",
    "--node-down names a node that is not down",
    source="Node condition Ready",
    todo="check the name; a Ready node is restarted like any other",
)
def declared_down_but_ready(case: Case) -> Occurrence | None:
    """--node-down asserts that a machine is off, and the Pods on it are given up. A node that reports Ready, or on
    which a Pod became Ready after the node was given up, runs them: two Pods would hold one identity. A node with no
    Pod of this workload is taken for a mistyped name."""
    nodes, used = case.snapshot.nodes, {pod.spec.node_name for pod in case.snapshot.pods()}
    speaking = {s.node_name for s in case.snapshot.slots.values() if s.ready and not dead(s)}
    wrong = []
    for name in sorted(case.node_down):
        node = nodes.get(name) if nodes is not None else None
        if node is not None and node_ready(node):
            wrong.append(f"{name} is Ready")
        elif node is not None and name in speaking:
            wrong.append(f"{name} is alive: a Pod on it has become Ready since it was given up")
        elif name not in used:
            wrong.append(f"{name} has no Pod of {case.snapshot.workload.title}")
    return Occurrence([f"Node {w.split(' ', 1)[0]}" for w in wrong], some(wrong)) if wrong else None


@finding(
    "JSR406",
    "warning",
    "Pods on machines declared down are given up",
    source="job controller, finalizer batch.kubernetes.io/job-tracking; podReplacementPolicy",
    todo="make sure that the machines are off: what still runs there keeps its identity beside the new Pods",
)
def given_up(case: Case) -> Occurrence | None:
    """By --node-down it was said that these machines are off. Their Pods cannot end by themselves.

    With suspend and podReplacementPolicy TerminatingOrFailed they stay Terminating beside the new ones and nothing is
    spent. With --taint they go with every other Pod of the machine (JSR413). Otherwise, and where no Job runs them,
    they are set to Failed and deleted without grace; a Job counts each as a failure unless it is suspended.
    """
    if not case.lost:
        return None
    workload = case.snapshot.workload
    freed = not case.trigger.suspends or any(holds_up(workload, state) for state in case.lost)
    how = "set to Failed and deleted" if freed else "left Terminating while new ones start elsewhere"
    how = "taken away with all others there, by the taint (JSR413)" if case.taint else how
    return Occurrence(named(case.lost), f"{count(len(case.lost), 'Pod')} on {some(sorted(case.node_down))}: {how}")
