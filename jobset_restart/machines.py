"""The machines that the Pods of an operation are on: which are down, and what is said of it. A state machine without a
clock and without I/O.

A Pod on a dead machine looks as if it ran: nothing that is asked of it happens, and nothing about it says why. The
Node says it, but not at once and not always rightly: after an outage of the API server every Node is Unknown for 12 to
30 seconds while its kubelet lives. So a Node counts as down when it has not been Ready for DOWN_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobset_restart.health import dead
from jobset_restart.objects import Node, Pod, seconds
from jobset_restart.pods import condition, node_ready, ready_condition
from jobset_restart.slots import Slot
from jobset_restart.workloads.workload import SlotState

DOWN_SECONDS = 35.0
NOWHERE = Slot("")


class Machines:
    """Feed it Nodes and time. `names` are the Nodes that Pods were seen on, `down` those that are down, with their
    reason. `unwatched` tells that Nodes cannot be watched: then only Pods speak for them."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.down: dict[str, str] = {}
        self.unwatched = False
        self._unready: dict[str, Node] = {}

    def saw(self, pod: Pod) -> None:
        """A Pod is on a Node."""
        if pod.spec.node_name:
            self.names.add(pod.spec.node_name)

    def observe(self, node: Node) -> None:
        """A Node as it is now."""
        if node_ready(node):
            self._unready.pop(node.metadata.name, None)
        else:
            self._unready[node.metadata.name] = node

    def tick(self, now: float) -> list[str]:
        """What is to be said now: a sentence for each machine in use that turned out to be down, or is back."""
        if not self._unready and not self.down:
            return []
        gone = {name: node for name, node in self._unready.items() if name in self.names and _for_long(node, now)}
        back = [name for name in self.down if name not in gone]
        fresh = [name for name in gone if name not in self.down]
        self.down = {name: _reason(node) for name, node in gone.items()}
        return [
            *(f"Node {name} is Ready again" for name in back),
            *(f"Node {name} is down ({self.down[name]}): nothing that is asked of its Pods happens" for name in fresh),
        ]

    def why(self, pods: Iterable[Pod]) -> str:
        """Why nothing happens to these Pods, "" where their machines are not at fault."""
        for pod in pods:
            name = pod.spec.node_name
            if name in self.down and dead(SlotState(NOWHERE, pod=pod, node=self._unready[name])):
                return f"node {name} is down: {self.down[name]}"
            if self.unwatched and _abandoned(pod):
                return f"node {name} may be down: its Pod is not Ready though its containers are"
        return ""

    def way_out(self, resume: str) -> str:
        """What to do about the machines that are down, for the end of a sentence. `resume` is the command that carries
        the operation on."""
        names = sorted(self.down)
        if not names:
            return ""
        options = " ".join(f"--node-down {name}" for name in names)
        down = f"Node{'s' if len(names) > 1 else ''} {', '.join(names)} {'are' if len(names) > 1 else 'is'} down"
        return f"; {down}: repair what is only cut off; if the machine is really off, `{resume} {options}`"


def _for_long(node: Node, now: float) -> bool:
    """Whether the Node has not been Ready for so long that it counts."""
    ready = ready_condition(node.status.conditions)
    return ready is None or now - seconds(ready.last_transition_time) >= DOWN_SECONDS


def _reason(node: Node) -> str:
    ready = ready_condition(node.status.conditions)
    return (ready.reason or f"Ready is {ready.status}") if ready else "no Ready condition"


def _abandoned(pod: Pod) -> bool:
    """Whether the Pod was made unready while all its containers are ready: so the node lifecycle controller does it to
    the Pods of a silent kubelet (MarkPodsNotReady)."""
    containers = pod.status.container_statuses
    unready = condition(pod.status.conditions, "Ready", "False")
    return unready is not None and bool(containers) and all(status.ready for status in containers)
