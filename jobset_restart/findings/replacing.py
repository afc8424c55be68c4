"""JSR409 to JSR414: Pods that are to leave a node, and what that does to the node."""

from __future__ import annotations

from collections import Counter

from jobset_restart.case import Case
from jobset_restart.findings.registry import Occurrence, finding
from jobset_restart.findings.words import count, named, some
from jobset_restart.names import suggestion
from jobset_restart.pods import node_ready
from jobset_restart.scheduling import DemandingPod, Surroundings, shut, unfit
from jobset_restart.triggers.nodes import cordoning
from jobset_restart.triggers.pods import PODS
from jobset_restart.workloads.workload import SlotState


def _leaving(case: Case) -> list[SlotState]:
    """The slots whose Pods are to leave their node, by whatever trigger."""
    return [state for state in (*case.replaced, *case.scope) if state.node_name in case.replace_nodes]


@finding(
    "JSR409",
    "blocker",
    "new Pods may come back to the node they are to leave",
    source="scheduler: spec.unschedulable and spec.taints of the Node, spec.tolerations of the Pod",
    todo="add --cordon, which makes the node unschedulable first",
)
def may_come_back(case: Case) -> Occurrence | None:
    """--replace-node makes the Pods of a node anew so that they run elsewhere. The scheduler does not know that: as
    long as the node takes Pods, a new one may be put right there again, and often is, for that is where room was made.

    So the node has to be closed to them: cordoned, not Ready, or with a taint (NoSchedule or NoExecute) that the Pods
    do not tolerate. --cordon cordons it as the first write, and leaves it so. A Pod that tolerates everything (an
    operator Exists without a key) goes to cordoned nodes too: then only another label, another selector or another
    taint helps. --allow JSR409 leaves it to the scheduler."""
    seen = case.evidence.surroundings
    if not case.replace_nodes or case.finishes or (seen is None and case.cordon):
        return None
    if seen is None or seen.places is None:
        return _unseen(case)
    pods = _pods_to_place(case, seen)
    leaving = sorted(case.replace_nodes & seen.places.keys())
    back = [n for n in leaving if any(not shut(seen.places[n], pod, cordoned=case.cordon) for pod in pods)]
    if not back:
        return None
    objects = [f"Node {name}" for name in back]
    if case.cordon:
        return Occurrence(
            objects,
            f"Pods tolerate that {some(back)} is cordoned, and may come back",
            todo="their tolerations take node.kubernetes.io/unschedulable: change the template, or taint the node with "
            "a key that they do not tolerate; --allow JSR409 leaves it to the scheduler",
        )
    return Occurrence(objects, f"{some(back)} takes new Pods")


def _unseen(case: Case) -> Occurrence | None:
    """What the Nodes of the workload's own Pods tell, where the others cannot be seen."""
    nodes = case.snapshot.nodes or {}
    names = sorted(case.replace_nodes)
    open_ = [n for n in names if n not in nodes or (node_ready(nodes[n]) and not nodes[n].spec.unschedulable)]
    if not open_ or case.cordon:
        return None
    how = "takes new Pods" if case.snapshot.nodes is not None else "may take new Pods: Nodes cannot be seen"
    return Occurrence([f"Node {name}" for name in open_], f"{some(open_)} {how}")


def _pods_to_place(case: Case, seen: Surroundings) -> list[DemandingPod]:
    """The Pods that have to be placed anew, as far as they were looked at: one of each kind."""
    alike = {_kind(pod): pod for pod in seen.pods.values()}
    return list(alike.values()) or ([DemandingPod()] if _leaving(case) else [])


def _kind(pod: DemandingPod) -> str:
    return repr((pod.spec, pod.topology))


@finding(
    "JSR410",
    "blocker",
    "no other node takes the Pods that are to leave",
    source="scheduler: NodeUnschedulable, TaintToleration, NodeAffinity, VolumeBinding; JobSet, exclusive-topology",
    todo="uncordon or add a node that fits, or leave --replace-node out",
)
def nowhere_else(case: Case) -> Occurrence | None:
    """The Pods of --replace-node are scheduled anew, and every other node of the cluster says no: it is cordoned, not
    Ready, tainted, lacks a label that the Pod's nodeSelector or node affinity wants, cannot use a volume that the Pod
    mounts (a local disk, another zone), or is in another topology domain while the rest of the Job stays in its own
    (exclusive-topology). The new Pods would stay Pending, and a native restart would wait at its barrier for them.

    Where exactly one node is left this is a warning, and where the nodes cannot be listed: neither room (CPU, GPUs,
    the number of Pods) nor Pod affinity is looked at, so that a node fits is no promise that there is room on it."""
    seen = case.evidence.surroundings
    if not case.replace_nodes or seen is None or case.finishes:
        return None
    if seen.places is None:
        return Occurrence(["Nodes"], "; ".join(seen.notes) or "the nodes cannot be listed", _ASK, "warning")
    away = case.replace_nodes | case.node_down
    places = {name: place for name, place in seen.places.items() if name not in away}
    few: list[str] = []
    for pod in _pods_to_place(case, seen):
        whys = {name: unfit(place, pod, seen) for name, place in places.items()}
        fit = [name for name, why in whys.items() if not why]
        if not fit:
            reasons = Counter(whys.values()).most_common(3)
            told = ", ".join(f"{number:,} {why}" for why, number in reasons) or "there is no other"
            what = f"Pod {pod.metadata.name}" if pod.metadata.name else "the Pods"
            return Occurrence(named(_leaving(case)), f"{what} would fit on no other node: {told}", _todo(case, pod))
        few = few or (fit if len(fit) == 1 else [])
    if not few:
        return None
    return Occurrence(
        [f"Node {few[0]}"],
        f"only {few[0]} takes them; whether it has room was not looked at",
        "make sure that there is room",
        "warning",
    )


_ASK = "grant list on nodes, or make sure that another node takes these Pods"


def _todo(case: Case, pod: DemandingPod) -> str:
    if pod.topology and case.trigger.in_place:
        return f"the Job keeps its domain of {pod.topology}: recreate all of it, with --recreate and the same options"
    return ""


@finding(
    "JSR411",
    "blocker",
    "--replace-node names a node that no Pod can leave",
    source="spec.nodeName of the workload's Pods; the options of the command",
    todo="check the name with `kubectl get pods -o wide`",
    final=True,
)
def nothing_to_replace(case: Case) -> Occurrence | None:
    """Each node named with --replace-node must hold Pods that are to be restarted: a node that is not there or has none
    of them is a mistyped name, or the Pods have left it already; a node whose Pods were left out by --pod,
    --replicated-job and the like contradicts the selection.

    With --in-place, Pods have to be left for the restart in place: where every one of them runs on nodes to be left,
    it is --recreate that is meant. And a deleted Pod must come back alone: kinds of workload where it takes others with
    it, such as a LeaderWorkerSet, are recreated."""
    if not case.replace_nodes or case.finishes:
        return None
    used = {state.node_name for state in case.snapshot.slots.values() if state.node_name}
    chosen = {state.node_name for state in _leaving(case)}
    workload = case.snapshot.workload
    wrong = []
    for name in sorted(case.replace_nodes - chosen):
        if name in used:
            wrong.append((name, f"the Pods on {name} are not among those selected"))
        else:
            near = suggestion(name, used)
            wrong.append((name, f"no Pod of {workload.title} is on {name}{f' ({near})' if near else ''}"))
    if wrong:
        return Occurrence([f"Node {name}" for name, _ in wrong], some([why for _, why in wrong]))
    if not case.trigger.in_place:
        return None
    if PODS.name not in workload.triggers:
        what = f"a deleted Pod of a {workload.kind.kind} does not come back alone"
        return Occurrence([workload.title], what, "use --recreate with the same options")
    if not case.scope:
        return Occurrence(
            [f"Node {name}" for name in sorted(case.replace_nodes)],
            "every Pod would leave its node, and none is left to be restarted in place",
            "use --recreate with the same options, which makes all Pods anew",
        )
    return None


@finding(
    "JSR412",
    "warning",
    "nodes are cordoned, and stay so",
    source="spec.unschedulable of the Node",
    todo="uncordon them when they are fit again: this tool never does",
)
def cordons(case: Case) -> Occurrence | None:
    """With --cordon the nodes of --replace-node are made unschedulable before anything else is sent, for every workload
    of the cluster: what runs there runs on, and nothing new is put there.

    It is not taken back, whatever comes of the restart: whether the machine is fit again is for whoever looks after it
    to say. The result and the record name the nodes."""
    names = [action.path.rpartition("/")[2] for action in cordoning(case).actions]
    if not names:
        return None
    commands = " ".join(names)
    return Occurrence(
        [f"Node {name}" for name in names],
        f"{some(names)} {'is' if len(names) == 1 else 'are'} cordoned first, and "
        f"{'stays' if len(names) == 1 else 'stay'} so",
        f"when the machine is fit again: `kubectl uncordon {commands}`",
    )


@finding(
    "JSR413",
    "warning",
    "the taint takes every Pod of the machine away",
    source="Kubernetes, non-graceful node shutdown; pod garbage collector, gcTerminating; taint eviction controller",
    todo="make sure that the machine is off: all that runs there is given up",
)
def tainted(case: Case) -> Occurrence | None:
    """--taint declares the machines of --node-down out of service
    (node.kubernetes.io/out-of-service=nodeshutdown:NoExecute): within some 15 seconds every Pod there that does not
    tolerate it is failed and removed, those of other workloads and namespaces included, and volumes are detached.
    Whoever owns them makes new ones elsewhere.

    It is right only when the machine is really off. It is not taken back either: remove it once the machine is back, or
    nothing will ever stay there."""
    if not case.taint or not case.lost:
        return None
    names = sorted({state.node_name for state in case.lost})
    seen = case.evidence.surroundings
    tenants = seen.tenants if seen else None
    if tenants is None:
        return Occurrence([f"Node {name}" for name in names], f"every Pod on {some(names)} goes; {UNSEEN}")
    pods = [each for name in names for each in tenants.get(name, ())]
    by_namespace = Counter(namespace for namespace, _ in pods)
    where = some([f"{number:,} in {namespace}" for namespace, number in by_namespace.most_common()], 5)
    return Occurrence([f"Node {name}" for name in names], f"{count(len(pods), 'Pod')} on {some(names)} go: {where}")


UNSEEN = "which these are cannot be seen"


@finding(
    "JSR414",
    "blocker",
    "the taint is for a machine that is off",
    source="Node condition Ready; pod garbage collector, gcTerminating",
    todo="repair or drain it: a node that is Ready is left with --replace-node NODE --cordon",
    final=True,
)
def taints_the_living(case: Case) -> Occurrence | None:
    """The taint out-of-service takes every Pod of the node away by force, without waiting for its kubelet. On a node
    that is Ready that would kill the work of everybody there, so it is refused, and so it is where it cannot be seen
    whether the node is Ready."""
    if not case.taint:
        return None
    nodes = case.snapshot.nodes
    wrong = []
    for name in sorted(case.node_down):
        node = nodes.get(name) if nodes is not None else None
        if nodes is None:
            wrong.append(f"whether {name} is Ready cannot be seen")
        elif node is not None and node_ready(node):
            wrong.append(f"{name} is Ready")
    return Occurrence([f"Node {name}" for name in sorted(case.node_down)], some(wrong)) if wrong else None
