"""Which slots a capture has: the odd ones first, and all groups."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.capture.paths import is_archive, is_safe, safe
from jobset_restart.capture.sample import choose, items, oddities
from jobset_restart.objects import Node, Pod
from jobset_restart.slots import Slot
from jobset_restart.workloads.workload import SlotState
from tests import build


def state(index: int, group: str = "workers", node: Node | None = None, **pod: Any) -> SlotState:
    made = build.pod(index, replicated_job=group, node=node.metadata.name if node else "node-0", **pod)
    return SlotState(Slot(group, (0, index)), pod=made, node=node or build.node())


def waiting(reason: str) -> list[dict[str, Any]]:
    return [build.status(state={"waiting": {"reason": reason}}, ready=False)]


def indexes(chosen: list[Any]) -> list[int]:
    return [each.state.slot.indexes[-1] for each in chosen]


def test_the_odder_come_first_and_the_rest_is_spread() -> None:
    states = [state(index) for index in range(100)]
    states[40] = state(40, statuses=[build.status(restarts=2)])
    states[50] = state(50, statuses=waiting("CrashLoopBackOff"), ready=False)
    states[60] = state(60, ready=False)
    states[70] = SlotState(Slot("workers", (0, 70)))
    found = choose(states, 12, {Slot("workers", (0, 80)): "waits for nobody"}, ())
    assert indexes(found)[:5] == [80, 50, 60, 70, 40]
    assert [each.odd[0] for each in found[:2]] == [
        "suspected: waits for nobody",
        "container worker waits: CrashLoopBackOff",
    ]
    rest = indexes(found)[5:]
    assert (len(rest), rest[0]) == (7, 0)
    assert max(after - before for before, after in zip(sorted(rest), sorted(rest)[1:], strict=False)) < 30


def test_every_group_has_one() -> None:
    states = [*(state(index) for index in range(50)), state(0, "driver"), state(0, "eval")]
    assert {each.state.slot.group for each in choose(states, 3, {}, ())} == {"workers", "driver", "eval"}


def test_what_is_restarted_comes_before_all_others() -> None:
    states = [state(index) for index in range(10)]
    states[9] = state(9, ready=False)
    scope = {Slot("workers", (0, 3)), Slot("workers", (0, 4))}
    assert indexes(choose(states, 3, {}, scope)) == [3, 4, 9]


@given(
    st.lists(st.sampled_from(["well", "unready", "missing", "restarted"]), max_size=40),
    st.integers(1, 50),
    st.sets(st.integers(0, 39)),
)
def test_as_many_as_there_are_and_never_more_than_asked_for(kinds: list[str], most: int, inside: set[int]) -> None:
    states = []
    for index, kind in enumerate(kinds):
        known: dict[str, dict[str, Any]] = {
            "unready": {"ready": False},
            "restarted": {"statuses": [build.status(restarts=1)]},
        }
        odd = known.get(kind, {})
        states.append(SlotState(Slot("workers", (0, index))) if kind == "missing" else state(index, **odd))
    found = indexes(choose(states, most, {}, {Slot("workers", (0, index)) for index in inside}))
    assert len(found) == len(set(found)) == min(most, len(kinds))
    first = [index in inside for index in found]
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (state(0), []),
        (SlotState(Slot("workers", (0, 0)), completed=True), []),
        (state(0, deleted=True), ["its Pod is being deleted", "not Ready"]),
        (state(0, node=build.node(ready=False)), ["node node-0 is not Ready"]),
        (state(0, ready=False), ["not Ready"]),
        (
            state(
                0,
                statuses=[build.status(restarts=1, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})],
            ),
            ["container worker was OOMKilled", "container worker was restarted 1 times"],
        ),
        (state(0, statuses=waiting("ContainerCreating"), ready=False), ["not Ready: ContainerCreating"]),
    ],
)
def test_what_is_odd(made: SlotState, said: list[str]) -> None:
    found = [each.text for each in oddities(made)]
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))
    assert not any("not Ready: not Ready" in text for text in found)


def test_conditions_of_a_node_are_odd() -> None:
    raw = msgspec.to_builtins(build.node())
    raw["status"]["conditions"].append(
        {"type": "MemoryPressure", "status": "True", "reason": "KubeletHasInsufficientMemory"}
    )
    found = oddities(state(0, node=msgspec.convert(raw, Node)))
    assert [each.text for each in found] == ["node node-0: MemoryPressure (KubeletHasInsufficientMemory)"]


def files(pod: Pod) -> list[str]:
    return [each.file for each in items(pod, "pods/p")]


def test_what_is_had_of_a_pod() -> None:
    base = ["pods/p/pod.json", "pods/p/events.json"]
    assert files(build.pod(0)) == [*base, "pods/p/worker.log", "pods/p/worker.stacks.txt"]
    crashed = {"terminated": {"exitCode": 1}}
    again = build.pod(0, statuses=[build.status(restarts=1, lastState=crashed)])
    assert files(again)[2:] == ["pods/p/worker.log", "pods/p/worker.previous.log", "pods/p/worker.stacks.txt"]
    waits = build.pod(0, statuses=[build.status(restarts=1, state={"waiting": {"reason": "X"}}, lastState=crashed)])
    assert files(waits)[2:] == ["pods/p/worker.log", "pods/p/worker.previous.log"]
    assert files(build.pod(0, statuses=[])) == base
    env = [{"name": "JOBSET_NAME"}, {"name": "POD_NAME"}]
    agent = build.container("agent", restartPolicy="Always", env=env)
    spec = {"initContainers": [agent]}
    seen = build.pod(0, spec=spec, statuses=[build.status(), build.status("agent")])
    assert files(seen)[2:] == ["pods/p/worker.log", "pods/p/worker.stacks.txt", "pods/p/agent.log"]


@given(st.text())
def test_any_name_becomes_one_part_of_a_path(name: str) -> None:
    part = safe(name)
    assert is_safe(f"pods/{part}/{part}.previous.log")
    assert part == name or part != safe(part + "x")


@given(st.text(), st.text())
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (one == other) == (safe(one) == safe(other))


@pytest.mark.parametrize(
    "path", ["../x", "a/../b", "/etc/passwd", "a//b", ".ssh/x", "a/b/c/d/e", "", "a\0b", "a/.", "a\n"]
)
def test_paths_that_lead_elsewhere(path: str) -> None:
    assert not is_safe(path)


@pytest.mark.parametrize(("path", "is_one"), [("a.tar.gz", True), ("A.TGZ", True), ("a.tar", False), ("a", False)])
def test_archives(path: str, is_one: bool) -> None:
    assert is_archive(path) is is_one
