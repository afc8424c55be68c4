"""What Nodes and Events tell."""

from __future__ import annotations

from jobset_restart.diagnose.signals.registry import Sight, events, signal
from jobset_restart.diagnose.stacks import FEW, ODD


@signal("DX401", 0.7, "its node is not Ready", enough=True)
def node_not_ready(sight: Sight) -> str:
    """The kubelet of its node does not report, or the Node is gone. The containers may run on, or not."""
    machine = sight.machine
    if sight.whole.observation.machines is None or not sight.seen.node:
        return ""
    if sight.whole.unready > FEW * len(sight.whole.slots):
        return ""
    if machine is None:
        return f"node {sight.seen.node} is gone"
    return f"node {machine.name} is not Ready: {machine.not_ready}" if machine.not_ready else ""


@signal("DX402", 0.3, "its node reports a problem")
def node_problem(sight: Sight) -> str:
    """A condition of its Node says so: memory, disk or PID pressure, no network, or a condition that a tool such as
    node-problem-detector sets (XID, ECC, NIC ...)."""
    problems = _of(sight, "problems")
    return f"node {sight.seen.node}: {', '.join(problems[:3])}" if problems else ""


@signal("DX403", 0.1, "its node is tainted or cordoned")
def node_tainted(sight: Sight) -> str:
    """Somebody or something has taken the node out of use: a taint that few of the other nodes have."""
    taints = _of(sight, "taints")
    return f"node {sight.seen.node} has {', '.join(taints[:3])}" if taints else ""


@signal("DX404", 0.15, "Warnings of the last hour")
def warned(sight: Sight) -> str:
    """Events of type Warning of the last hour on the Pod or its Node, such as failed probes, of a reason that at most
    a quarter of the Pods have Events of."""
    whole = sight.whole
    said = [each for each in events(whole.observation, sight.seen) if whole.few(f"event {each.partition(' ')[0]}")]
    return "; ".join(said[:2])


@signal("DX405", 0.4, "nothing answers in its container", enough=True)
def unreachable(sight: Sight) -> str:
    """The command that looks into a container did not come back from this one in time, and from most others it did: the
    kubelet or the container runtime of its node hangs, or the container's processes cannot be started."""
    if not sight.seen.unreachable or not sight.whole.few("unreachable"):
        return ""
    return f"no answer from its container: {sight.seen.look_error}"


@signal("DX406", 0.4, "its kubelet is late")
def kubelet_late(sight: Sight) -> str:
    """The kubelet of its node has not renewed its Lease in kube-node-lease for 25 s and more; it does every 10 s. The
    Node is called not Ready only after some 50 s. Told where few of the nodes are late."""
    whole, machine = sight.whole, sight.machine
    machines, late = whole.machines, whole.late
    if machine is None or machine.name not in late or len(late) > max(1.0, ODD * len(machines)) or len(machines) < 2:
        return ""
    return f"the kubelet of node {machine.name} was last heard of {late[machine.name]:.0f} s ago"


def _of(sight: Sight, what: str) -> list[str]:
    """What this node says and at most a quarter of the nodes do."""
    machines = sight.whole.machines
    if not machines or sight.machine is None:
        return []
    mine: list[str] = getattr(sight.machine, what)
    counts = sight.whole.told_of_machines[what]
    return [each for each in mine if counts[each] <= max(1.0, ODD * len(machines)) and len(machines) > 1]
