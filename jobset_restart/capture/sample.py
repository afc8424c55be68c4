"""Which slots a capture has, the odd ones first, and what is had of each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from jobset_restart.capture.paths import safe
from jobset_restart.diagnose.nodes import problems
from jobset_restart.objects import ContainerStatus, Pod
from jobset_restart.pods import agent, node_ready, sidecars, statuses, waits_for
from jobset_restart.slots import Slot
from jobset_restart.workloads.workload import SlotState

What = Literal["pod", "events", "log", "previous log", "stacks"]


class Odd(Struct, frozen=True, order=True):
    """Something that others of its kind do not show: the more it says, the greater `weight` (0 to 100)."""

    weight: int
    text: str


class Chosen(Struct, frozen=True):
    """A slot of the capture, and why it was chosen: what is odd about it, the oddest first; empty for one that stands
    for the others."""

    state: SlotState
    odd: tuple[str, ...] = ()


class Item(Struct, frozen=True):
    """One file of a slot: what it holds, and of which container."""

    what: What
    file: str
    container: str = ""


def choose(
    states: Iterable[SlotState], most: int, suspects: Mapping[Slot, str], scope: Collection[Slot]
) -> list[Chosen]:
    """At most `most` slots, in the order in which they are looked at: those that are to be restarted (`scope`) before
    all others, then the odder first; the rest spread evenly, with the first of every group. `suspects` has what a
    diagnosis says of some."""
    ranked: dict[bool, list[tuple[int, Slot, Chosen]]] = {True: [], False: []}
    plain: dict[bool, list[SlotState]] = {True: [], False: []}
    for state in states:
        found, inside = oddities(state, suspects.get(state.slot, "")), state.slot in scope
        if found:
            ranked[inside].append((-found[0].weight, state.slot, Chosen(state, tuple(each.text for each in found))))
        elif state.expected:
            plain[inside].append(state)
    result: list[Chosen] = []
    for inside in (True, False):
        result += [chosen for *_, chosen in sorted(ranked[inside], key=lambda each: each[:2])]
        result += [Chosen(state) for state in spread(plain[inside], most - len(result))]
    return result[: max(0, most)]


def spread(states: list[SlotState], most: int) -> list[SlotState]:
    """At most `most` of them: the first of every group, where launchers and leaders are, then evenly over the rest."""
    groups: dict[str, list[SlotState]] = defaultdict(list)
    for state in sorted(states, key=lambda each: each.slot):
        groups[state.slot.group].append(state)
    firsts = [each[0] for each in groups.values()][: max(0, most)]
    rest = [state for each in groups.values() for state in each[1:]]
    left = min(max(0, most) - len(firsts), len(rest))
    return firsts + [rest[number * len(rest) // left] for number in range(left)]


def oddities(state: SlotState, suspected: str = "") -> list[Odd]:
    """What is odd about a slot, the oddest first. Nothing for one where no Pod is to run."""
    found = [Odd(100, f"suspected: {suspected}")] if suspected else []
    if not state.expected and not found:
        return []
    pod = state.pod
    if pod is None:
        return [*found, Odd(60, "there is no Pod")]
    if pod.metadata.deletion_timestamp:
        found.append(Odd(80, "its Pod is being deleted"))
    found += _of_containers(pod)
    if not state.ready and state.expected:
        waits = waits_for(pod, statuses(pod)).removeprefix("not Ready")
        found.append(Odd(70, f"not Ready: {waits}" if waits else "not Ready"))
    found += _of_node(state)
    return sorted(found, key=lambda each: -each.weight)


def _of_containers(pod: Pod) -> list[Odd]:
    found = []
    for status in statuses(pod):
        waiting, ended = status.state.waiting, status.last_state.terminated
        if waiting and waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            found.append(Odd(90, f"container {status.name} waits: {waiting.reason}"))
        if ended and ended.reason == "OOMKilled":
            found.append(Odd(75, f"container {status.name} was OOMKilled"))
        if status.restart_count:
            found.append(Odd(50, f"container {status.name} was restarted {status.restart_count:,} times"))
    return found


def _of_node(state: SlotState) -> list[Odd]:
    node = state.node
    if node is None:
        return []
    if not node_ready(node):
        return [Odd(95, f"node {state.node_name} is not Ready")]
    said = [Odd(65, f"node {state.node_name}: {each}") for each in problems(node.status.conditions)]
    return [*said, Odd(20, f"node {state.node_name} is cordoned")] if node.spec.unschedulable else said


def items(pod: Pod, folder: str) -> list[Item]:
    """What is to be had of a Pod: itself, its Events, and of every container that has run its log, the log of the one
    before it, and where its processes stand if it runs. A restart agent only waits, and has no shell."""
    found = [Item("pod", f"{folder}/pod.json"), Item("events", f"{folder}/events.json")]
    status = {each.name: each for each in statuses(pod)}
    restarter = agent(pod.spec)
    lasting = {each.name for each in (*pod.spec.containers, *sidecars(pod.spec)) if each is not restarter}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        now = status.get(container.name, ContainerStatus())
        name = f"{folder}/{safe(container.name)}"
        if now.state.running or now.state.terminated or now.last_state.terminated:
            found.append(Item("log", f"{name}.log", container.name))
        if now.restart_count or now.last_state.terminated:
            found.append(Item("previous log", f"{name}.previous.log", container.name))
        if now.state.running and container.name in lasting:
            found.append(Item("stacks", f"{name}.stacks.txt", container.name))
    return found
