"""Who is named, and who is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobset_restart.diagnose.commands import LOOK, TAIL_BYTES, log_request
from jobset_restart.diagnose.judge import Diagnosis, judge
from jobset_restart.diagnose.logs import Tail, read_tail, step_pattern
from jobset_restart.diagnose.nodes import (
    LabelledMeta,
    LabelledNode,
    LabelledSpec,
    LabelledStatus,
    Taint,
    machine,
    warnings,
)
from jobset_restart.diagnose.observation import Machine, Observation, Seen, clocks, progress
from jobset_restart.diagnose.past import restarted_before
from jobset_restart.diagnose.processes import Look, read_look
from jobset_restart.diagnose.signals import SIGNALS
from jobset_restart.diagnose.stacks import is_collective
from jobset_restart.objects import Condition, Event, ObjectMeta, ObjectReference
from jobset_restart.slots import Slot
from tests.hanging import (
    COMPUTING,
    LOADING,
    LOCKED,
    MAIN,
    NOW,
    READING,
    WAITING,
    dump,
    loading,
    log,
    look,
    observation,
    process,
    steps,
    waiting,
    without_py_spy,
)


def named(found: Diagnosis | Observation) -> list[int]:
    """The last indexes of the suspects, best first."""
    diagnosis = found if isinstance(found, Diagnosis) else judge(found)
    return [suspect.slot.indexes[-1] for suspect in diagnosis.suspects]


def ids(seen: Observation, index: int) -> set[str]:
    """The signals against the Pod of this index."""
    return {reason.id for each in judge(seen).suspects if each.slot.indexes[-1] == index for reason in each.reasons}


def one_of(culprit: int, odd: Look | None, others: Look) -> Observation:
    return observation(look_of=lambda n: odd if n == culprit else others)


# ---------------------------------------------------------------- healthy


def test_what_advances_between_two_looks_is_healthy() -> None:
    seen = observation(tail_of=lambda _: steps(NOW - 0.2))
    for each in seen.slots.values():
        each.before = steps(NOW - 3.2, last=106)
    assert judge(seen).verdict == "Healthy"


def test_what_is_within_its_rhythm_is_healthy() -> None:
    """A line every 30 s, and the newest is 35 s old."""
    seen = observation(tail_of=lambda _: steps(NOW - 35, every=30.0), look_of=lambda _: None)
    assert judge(seen).verdict == "Healthy"


def test_a_silence_is_looked_at_until_it_is_decided() -> None:
    young = progress(observation(tail_of=lambda _: steps(NOW - 12), look_of=lambda _: None))
    assert young.advance != "stands"
    assert 0 < young.wait < 30
    assert progress(observation(tail_of=lambda _: steps(NOW - 0.5))).wait == 0


def test_ranks_that_print_nothing_are_not_silent() -> None:
    """Only the first rank prints steps; the others printed when they began."""
    start = read_tail(log(NOW - 4000, ["hello", "loading the model", "ready"], every=0.1))
    seen = observation(tail_of=lambda n: steps(NOW - 0.2) if n == 0 else start)
    first = next(iter(seen.slots.values()))
    first.before = steps(NOW - 3.2, last=106)
    assert judge(seen).verdict == "Healthy"


def test_lines_that_tell_no_step_do_not_hide_that_the_steps_stand() -> None:
    """A thread prints the temperature of the GPU whatever the training does."""
    text = [*(f"step {n}" for n in range(5)), *(f"gpu {n} C" for n in range(5))]
    tails = [read_tail(log(NOW - ago, text, every=15.0)) for ago in (3, 0)]
    seen = observation(tail_of=lambda _: tails[1])
    for each in seen.slots.values():
        each.before = tails[0]
    assert progress(seen).advance == "advances"
    text = [*(f"step {n}" for n in range(5)), *(f"gpu {n} C" for n in range(30))]
    assert progress(observation(tail_of=lambda _: read_tail(log(NOW, text, every=15.0)))).advance == "stands"


def test_a_clock_that_is_off_makes_no_healthy_job_stand_still() -> None:
    """Steps of 5 s, written by a clock 30 s behind: the newest line looks 33 s old."""
    seen = observation(tail_of=lambda _: steps(NOW - 33, every=5.0), look_of=lambda _: None)
    found = progress(seen)
    assert found.advance != "stands"
    assert found.wait > 0


def test_a_rhythm_with_a_pause_in_it_does_not_make_the_others_go_on() -> None:
    """An earlier hang is in the logs of all but the one that was restarted then."""
    late = log(NOW - 80, ["step 108", "step 109"])
    paused = read_tail(log(NOW - 121, [f"step {n}" for n in range(100, 108)]) + late)
    seen = observation(
        tail_of=lambda n: read_tail(late) if n == 5 else paused, look_of=lambda _: look(process(), dump(1, COMPUTING))
    )
    assert progress(seen).advance == "stands"
    assert named(seen) == []


# ---------------------------------------------------------------- one Pod


def test_the_one_the_others_wait_for_is_named() -> None:
    found = judge(one_of(5, loading(), waiting()))
    assert (found.verdict, named(found)) == ("Suspects", [5])
    assert "load_batch" in found.suspects[0].reasons[0].text


@pytest.mark.parametrize("state", ["S", "D", "R", "T"])
def test_it_is_named_without_py_spy_as_well(state: str) -> None:
    odd = look(process(state=state, kernel=("", "running") if state == "R" else LOCKED), spy=False)
    assert named(one_of(5, odd, waiting())) == [5]
    assert named(one_of(5, odd, without_py_spy(waiting()))) == [5]


@pytest.mark.parametrize(
    ("sizes", "odd"),
    [
        ((57, 7), 7),  # the ranks of one node
        ((48, 16), 16),  # a rack
        ((32, 32, 30, 2), 2),  # stages of a pipeline, of which the last has lost two
        ((40, 22, 2), 2),
        ((32, 32), 0),
        ((24, 22, 18), 0),
        ((30, 5, 5, 5, 5, 5, 5, 4), 0),  # no majority: where anybody should be is not known
    ],
)
def test_the_few_beside_large_groups_are_named_by_where_the_kernel_has_them(sizes: tuple[int, ...], odd: int) -> None:
    places = [n for n, size in enumerate(sizes) for _ in range(size)]

    def seen(n: int) -> Look:
        return look(process(state="D" if places[n] % 2 else "S", kernel=(f"wchan_{places[n]}", "0")), spy=False)

    pods = sum(sizes)
    assert sorted(named(observation(pods, look_of=seen))) == list(range(pods - odd, pods))


def test_a_pod_without_py_spy_that_waits_as_the_others_do_is_not_named() -> None:
    assert named(one_of(5, without_py_spy(waiting()), waiting())) == []
    seen = observation(look_of=lambda n: {2: loading(), 5: without_py_spy(waiting())}.get(n, waiting()))
    assert named(seen) == [2]


def test_a_pod_that_does_not_say_where_it_is_is_named_only_where_nobody_else_is_left() -> None:
    hidden = look(process(kernel=("", "")), "=py-spy 1\nError: Permission denied (os error 13)\n=exit 1\n")
    alone = one_of(5, hidden, waiting())
    assert ids(alone, 5) == {"DX203"}
    seen = observation(look_of=lambda n: {2: loading(), 5: hidden}.get(n, waiting()))
    assert named(seen) == [2]


def test_a_pod_that_cannot_be_looked_into_is_named_where_all_others_wait() -> None:
    assert named(one_of(5, None, waiting())) == [5]
    assert named(one_of(5, None, look(process(), dump(1, COMPUTING)))) == []


def test_one_rank_of_several_in_a_pod() -> None:
    """A launcher, four ranks and their data loaders, which run the same program."""

    def pod(hung: bool) -> Look:
        parts = [process(1, name="torchrun"), dump(1, ("sleep", "<module> (torchrun:8)"))]
        for rank in range(4):
            where = LOADING if hung and rank == 2 else WAITING
            parts += [process(10 + rank), dump(10 + rank, where)]
        parts += [process(20, name="pt_data_worker"), dump(20, ("get (queues.py:1)", *MAIN_OF_A_LOADER))]
        return look(*parts)

    assert named(observation(look_of=lambda n: pod(n == 3))) == [3]
    assert named(observation(look_of=lambda _: pod(False))) == []


MAIN_OF_A_LOADER = ("_worker_loop (worker.py:1)", "<module> (train.py:39)")


def test_a_rank_that_is_gone_is_missed() -> None:
    """Its launcher is there, and the rank is a zombie."""

    def pod(gone: bool) -> Look:
        launcher = process(1, name="sh", kernel=("do_wait", "61"))
        refused = "=py-spy 1\nError: Failed to find python version from target process\n=exit 1\n"
        rank = process(7, state="Z") if gone else process(7)
        return look(launcher, rank, refused, "" if gone else dump(7, WAITING))

    assert ids(observation(look_of=lambda n: pod(n == 4)), 4) == {"DX201", "DX302"}


def test_py_spy_that_fails_for_one_rank_does_not_make_it_a_suspect() -> None:
    failed = "=py-spy 7\nError: Permission denied\n=exit 1\n"
    odd = look(process(6), process(7), dump(6, WAITING), failed)
    good = look(process(6), process(7), dump(6, WAITING), dump(7, WAITING))
    assert 5 not in named(one_of(5, odd, good)) or ids(one_of(5, odd, good), 5) == {"DX203"}


def test_a_leader_in_a_group_of_its_own_is_compared_with_what_runs_the_same_program() -> None:
    def group(n: int) -> str:
        return "leader" if n == 0 else "workers"

    assert named(observation(look_of=lambda n: loading() if n == 0 else waiting(), group_of=group)) == [0]


def test_a_driver_that_trains_nothing_is_not_named() -> None:
    driver = look(process(name="sleep", kernel=("do_nanosleep", "35")))

    def group(n: int) -> str:
        return "driver" if n == 0 else "workers"

    seen = observation(look_of=lambda n: driver if n == 0 else waiting(), group_of=group)
    assert named(seen) == []
    python = look(process(), dump(1, ("select (selectors.py:1)", "<module> (driver.py:3)")))
    assert named(observation(look_of=lambda n: python if n == 0 else waiting(), group_of=group)) == []


def test_a_container_that_came_after_the_standstill_is_not_the_cause() -> None:
    """It waits for the others at the rendezvous, and these for the one that hangs."""
    rendezvous = look(process(), dump(1, ("_create_c10d_store (rendezvous.py:1)", *LOADING[-2:])))
    seen = observation(look_of=lambda n: {2: loading(), 6: rendezvous}.get(n, waiting()))
    slots = list(seen.slots)
    seen.slots[slots[6]].started, seen.slots[slots[6]].restarts = NOW - 60, 1
    assert named(seen) == [2]
    seen.slots[slots[6]].started = NOW - 300
    assert set(named(seen)) == {2, 6}


def test_a_container_that_was_restarted_a_minute_ago_and_waits_is_not_named() -> None:
    seen = one_of(5, loading(), waiting())
    other = seen.slots[list(seen.slots)[2]]
    other.started, other.restarts = NOW - 360, 1
    assert named(seen) == [5]


def test_many_that_could_not_be_seen_do_not_hide_the_one_that_was() -> None:
    """Half of the Pods are on a node that is away."""
    seen = observation(4, look_of=lambda n: {1: loading(), 2: None, 3: None}.get(n, waiting()))
    assert seen.machines
    seen.machines["node-1"].not_ready = "NodeStatusUnknown"
    for each in list(seen.slots.values())[2:]:
        each.ready, each.unreachable = False, True
    assert named(seen) == [1]


def test_a_rank_that_came_back_is_named_after_who_cannot_be_looked_into() -> None:
    rendezvous = look(process(), dump(1, ("_create_c10d_store (torch/distributed/rendezvous.py:1)", *LOADING[-2:])))
    seen = observation(look_of=lambda n: {2: None, 3: None, 6: rendezvous}.get(n, waiting()), tail_of=lambda _: Tail())
    assert seen.machines
    seen.machines["node-1"].not_ready = "NodeStatusUnknown"
    assert named(seen) == [2, 3, 6]


def test_what_was_seen_comes_before_what_could_not_be_seen() -> None:
    """A node is away with a Pod that may well be waiting."""
    seen = observation(look_of=lambda n: {2: loading(), 6: None, 7: None}.get(n, waiting()))
    assert seen.machines
    seen.machines["node-3"].not_ready = "NodeStatusUnknown"
    assert named(seen)[0] == 2


def test_a_pod_that_waits_is_not_named_for_its_node() -> None:
    seen = one_of(5, loading(), waiting())
    assert seen.machines
    seen.machines["node-0"].not_ready = "NodeStatusUnknown"
    seen.machines["node-1"].problems = ["XidError (79)"]
    assert named(seen) == [5]


# ---------------------------------------------------------------- many, all, none


@pytest.mark.parametrize("stack", [WAITING, READING, COMPUTING])
def test_where_all_are_alike_nobody_is_named(stack: tuple[str, ...]) -> None:
    found = judge(observation(look_of=lambda _: look(process(state="D"), dump(1, stack))))
    assert (found.verdict, named(found)) == ("NoSuspects", [])
    assert found.doubt


def test_where_most_read_and_some_wait_already_nobody_is_named() -> None:
    """A storage outage."""
    seen = observation(64, look_of=lambda n: waiting() if n % 8 == 0 else look(process(state="D"), dump(1, READING)))
    assert judge(seen).verdict == "NoSuspects"


def test_where_most_sleep_in_storage_a_straggler_is_not_to_blame() -> None:
    straggler = look(process(), dump(1, COMPUTING))
    seen = observation(64, look_of=lambda n: straggler if n < 4 else look(process(state="D"), dump(1, READING)))
    assert judge(seen).verdict == "NoSuspects"


def test_where_every_stack_is_another_nobody_is_named() -> None:
    seen = observation(64, look_of=lambda n: look(process(), dump(1, (f"f{chr(97 + n)} (x.py:1)", *WAITING[1:]))))
    assert judge(seen).verdict == "NoSuspects"


def test_a_rack_is_named_as_what_they_share() -> None:
    seen = observation(
        64,
        look_of=lambda n: loading() if 16 <= n < 32 else waiting(),
        labels_of=lambda n: {"rack": f"r{n // 8}", "zone": "a", "kubernetes.io/hostname": f"node-{n}"},
    )
    found = judge(seen)
    assert sorted(named(found)) == list(range(16, 32))
    assert [(each.key, each.value, each.suspects, each.others) for each in found.common] == [("rack", "r1", 16, 0)]


def test_a_node_is_named_as_what_its_ranks_share() -> None:
    found = judge(observation(16, look_of=lambda n: loading() if n in (4, 5) else waiting()))
    assert sorted(named(found)) == [4, 5]
    assert [(each.key, each.value) for each in found.common] == [("node", "node-2")]


def test_the_one_that_stopped_while_others_go_on() -> None:
    seen = observation(look_of=lambda n: None, tail_of=lambda n: steps(NOW - 300, 20) if n == 5 else steps(NOW - 0.1))
    for each in seen.slots.values():
        each.before = each.tail if each.slot.indexes[-1] == 5 else steps(NOW - 3.1, 106)
    assert ids(seen, 5) >= {"DX101"}
    assert named(seen) == [5]


def test_without_stacks_the_one_whose_step_is_behind_is_named() -> None:
    seen = observation(look_of=lambda _: None, tail_of=lambda n: steps(NOW - 300, 100 if n == 5 else 109))
    assert named(seen) == [5]
    assert named(observation(look_of=lambda _: None)) == []


def test_a_step_behind_does_not_count_where_stacks_say_who_it_is() -> None:
    seen = observation(
        look_of=lambda n: loading() if n == 2 else waiting(), tail_of=lambda n: steps(NOW - 300, 108 if n == 5 else 109)
    )
    assert named(seen) == [2]


def test_clocks_are_compared_in_the_containers() -> None:
    """The logs of node-2 are written 5 s ahead of the others', and end at the same moment."""
    seen = observation(
        look_of=lambda n: waiting(NOW + 5 if n // 2 == 2 else NOW),
        tail_of=lambda n: steps(NOW - 300 + (5 if n // 2 == 2 else 0)),
    )
    assert clocks(seen)["node-2"] == pytest.approx(5, abs=1)
    assert max(progress(seen).silent.values()) - min(progress(seen).silent.values()) < 1.5


def test_clocks_are_compared_by_steps_where_nothing_else_tells() -> None:
    seen = observation(look_of=lambda _: None, tail_of=lambda n: steps(NOW - 300 - (5 if n // 2 == 2 else 0)))
    assert clocks(seen)["node-2"] == pytest.approx(-5)
    assert max(progress(seen).silent.values()) - min(progress(seen).silent.values()) < 0.1


def test_without_logs_stacks_tell_and_what_moves_is_healthy() -> None:
    def silent(odd: Look) -> Observation:
        return observation(look_of=lambda n: odd if n == 5 else waiting(), tail_of=lambda _: Tail(error="no log"))

    stuck, moving = silent(loading()), silent(loading())
    for each in stuck.slots.values():
        each.again = each.look
    for each in moving.slots.values():
        each.again = look(process(), dump(1, COMPUTING))
    assert named(stuck) == [5]
    assert judge(moving).verdict == "Healthy"


# ---------------------------------------------------------------- signals one by one


@dataclass
class Mark:
    """What makes one signal speak of Pod 5, beside whatever makes it a suspect."""

    id: str
    look: Look | None = None
    machine: Machine | None = None
    seen: dict[str, object] | None = None


MARKS = [
    Mark("DX103"),
    Mark("DX104"),
    Mark("DX301", look(process(state="D"), dump(1, READING))),
    Mark("DX303", look(process(state="T"), dump(1, LOADING))),
    Mark("DX304", read_look(f"=jsr 1\nnow {int(NOW)}\ncgroup oom_kill 2\n" + process() + dump(1, LOADING) + "=end\n")),
    Mark("DX305", seen={"state": "CrashLoopBackOff", "ready": False, "look": None}),
    Mark("DX306", seen={"restarts": 3}),
    Mark(
        "DX307",
        read_look("=jsr 1\ncgroup nr_periods 900\ncgroup nr_throttled 400\n" + process() + dump(1, LOADING) + "=end\n"),
    ),
    Mark("DX308", seen={"again": look(process(kernel=LOCKED, cpu=1.0), dump(1, LOADING), clock=NOW + 1)}),
    Mark("DX401", machine=Machine(name="node-2", not_ready="NodeStatusUnknown")),
    Mark("DX402", machine=Machine(name="node-2", problems=["XidError (79)"])),
    Mark("DX403", machine=Machine(name="node-2", taints=["been cordoned"])),
    Mark("DX404"),
    Mark("DX405", seen={"look": None, "unreachable": True}),
    Mark("DX406", machine=Machine(name="node-2", lease_age=33.0)),
    Mark("DX501"),
]


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.id)
def test_each_signal_speaks_where_it_should_and_only_there(mark: Mark) -> None:
    seen = one_of(5, mark.look or loading(), waiting())
    assert mark.id not in ids(one_of(5, loading(), waiting()), 5)
    slot = list(seen.slots)[5]
    pod = seen.slots[slot]
    for name, value in (mark.seen or {}).items():
        setattr(pod, name, value)
    if mark.machine:
        assert seen.machines
        seen.machines["node-2"] = mark.machine
    if mark.id == "DX103":
        pod.tail = pod.before = steps(NOW - 330)
    if mark.id == "DX104":
        pod.tail = pod.before = read_tail(log(NOW - 300, ["step 1", "step 2", "RuntimeError: CUDA error: lost"]))
    if mark.id == "DX404":
        seen.events = {("Pod", pod.pod): ["Unhealthy 40 s ago: Readiness probe failed"]}
    if mark.id == "DX501":
        seen.earlier = restarted_before([("workers/0/4-5",), (), ("nonsense/x",), ("workers/0/0-7",)], seen.slots)
    if mark.id == "DX308":
        for each in list(seen.slots.values())[:3]:
            each.again = waiting(NOW + 1)
    assert mark.id in ids(seen, 5)


def test_cpu_is_throttled_now_though_not_since_the_start() -> None:
    def held(periods: int, back: int) -> Look:
        return look(f"cgroup nr_periods {periods}\ncgroup nr_throttled {back}\n", process(), dump(1, LOADING))

    seen = one_of(5, held(90_000, 100), waiting())
    assert "DX307" not in ids(seen, 5)
    list(seen.slots.values())[5].again = held(90_020, 118)
    assert "DX307" in ids(seen, 5)


def test_a_kubelet_is_not_late_for_the_clock_of_its_node() -> None:
    seen = one_of(5, loading(NOW - 40), waiting())
    assert seen.machines
    seen.machines["node-2"].lease_age = 44.0
    list(seen.slots.values())[4].look = waiting(NOW - 40)
    assert "DX406" not in ids(seen, 5)


def test_the_last_step_may_come_out_after_the_error_that_ended_it() -> None:
    """Standard error has no buffer. What goes on after an error was not ended by it."""
    words = ["step 1", "step 2", "Traceback (most recent call last):", "RuntimeError: it is lost"]
    assert read_tail(log(NOW, [*words, "step 3"])).complaint
    assert not read_tail(log(NOW, [*words, "step 3", "step 4"])).complaint


def test_one_whose_log_ends_in_an_error_is_named_though_the_kernel_has_it_where_the_others_wait() -> None:
    seen = one_of(5, without_py_spy(waiting()), waiting())
    assert named(seen) == []
    pod = list(seen.slots.values())[5]
    pod.tail = pod.before = read_tail(log(NOW - 300, ["step 108", "step 109", "RuntimeError: CUDA error: lost"]))
    assert ids(seen, 5) == {"DX104"}
    pod.look = waiting()
    assert named(seen) == []


def test_one_that_came_back_and_is_behind_does_not_hide_who_stands_elsewhere() -> None:
    """By the kernel alone, as its container has no py-spy."""
    meeting = ("_create_c10d_store (torch/distributed/rendezvous.py:1)", *MAIN)
    computes = look(process(state="R", kernel=("", "running")), dump(1, WAITING))
    back, odd = look(process(), dump(1, meeting)), look(process(kernel=("wait_woken", "45")), spy=False)
    seen = observation(16, look_of=lambda n: {2: back, 5: odd}.get(n, computes))
    assert 5 not in named(seen)
    list(seen.slots.values())[2].started = NOW - 60
    assert named(seen) == [5]


def test_where_no_step_is_seen_and_nobody_moves_all_that_wait_stand_still() -> None:
    start = read_tail(log(NOW - 4000, ["hello"]))
    driver = [read_tail(log(NOW - ago, ["Mon", "Tue", "Wed"])) for ago in (3, 0)]
    sleeping = look(process(name="sleep"), spy=False)

    def seen(again: Look, first: Look | None = None) -> Observation:
        found = observation(
            tail_of=lambda n: driver[1] if n == 7 else start,
            group_of=lambda n: "driver" if n == 7 else "workers",
            look_of=lambda n: sleeping if n == 7 else first or waiting(),
        )
        for n, each in enumerate(found.slots.values()):
            each.before, each.again = driver[0] if n == 7 else start, sleeping if n == 7 else again
        return found

    assert judge(seen(waiting())).verdict == "NoSuspects"
    reads = look(process(state="D"), dump(1, READING))
    assert judge(seen(reads, reads)).verdict == "NoSuspects"
    assert judge(seen(waiting(), reads)).verdict == "Healthy"
    dead = seen(waiting())
    assert dead.machines
    dead.machines["node-1"].not_ready = "NodeStatusUnknown"
    for each in list(dead.slots.values())[2:4]:
        each.look, each.again = None, None
    assert sorted(named(dead)) == [2, 3]
    assert judge(seen(look(process(), dump(1, COMPUTING)))).verdict == "Healthy"


def test_what_only_computes_tells_nothing_of_whether_it_moves() -> None:
    """py-spy is denied, and no step is seen: a few that are loading at one moment are not where they were before."""
    running, hidden = (
        look(process(state="R", kernel=("", "running")), spy=False),
        look(process(kernel=("", "")), spy=False),
    )
    chatter = read_tail(log(NOW, [f"gpu {n} C" for n in range(10)], every=15.0))
    seen = observation(32, tail_of=lambda _: chatter, look_of=lambda n: hidden if n in (3, 9) else running)
    for n, each in enumerate(seen.slots.values()):
        each.again = hidden if n in (5, 11) else running
    assert judge(seen).verdict == "Healthy"


def test_steps_of_two_kinds_are_slower_than_the_fast_ones() -> None:
    times = [0.8, 0.8, 10, 10, 10, 10]
    at = [NOW + sum(times[:n]) for n in range(len(times) + 1)]
    tail = read_tail(b"".join(log(each, [f"step {n}"]) for n, each in enumerate(at)))
    assert tail.slowed(0.0)


def test_every_signal_has_a_weight_a_title_and_a_text() -> None:
    tested = {"DX101", "DX102", "DX201", "DX202", "DX203", "DX302"} | {mark.id for mark in MARKS}
    assert set(SIGNALS) == tested
    for each in SIGNALS.values():
        assert 0 <= each.weight < 1
        assert each.title
        assert len(each.text) > 60


def test_the_documentation_has_every_signal_as_it_is() -> None:
    page = (Path(__file__).parents[1] / "docs" / "diagnose.md").read_text()
    rows = [
        row.strip("| ").split(" | ")
        for row in page.partition("<!-- signals -->")[2].splitlines()[3:]
        if row[:4] == "| DX"
    ]
    assert rows == [
        [each.id, f"{each.weight:g}", "yes" if each.enough else "-", each.title, " ".join(each.text.split())]
        for each in SIGNALS.values()
    ]


def test_where_few_stand_elsewhere_without_anybody_waiting() -> None:
    """The collective runs in another thread, and the main thread of all is in backward."""
    main = ("_engine_run_backward (graph.py:1)", "backward (tensor.py:2)", *WAITING[1:])
    assert ids(one_of(5, loading(), look(process(), dump(1, main))), 5) == {"DX202"}


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("step 107", 107),
        ("[2026-11-28] Step: 107/1000 loss 0.5", 107),
        ("global_step=12, lr=0.1", 12),
        ('{"loss": 2.1, "step": 12}', 12),
        ("iter 12 took 0.3s", 12),
        ("iteration       20/  100 | consumed samples: 80", 20),
        ("Epoch 3 [batch 12]", 12),
        (" 12%|#### | 120/1000 [00:12<01:28,  9.9it/s]", 120),
        ("\r 11%| | 119/1000 [\r 12%| | 120/1000 [", 120),
        ("\x1b[31mstep 7\x1b[0m", 7),
        ("stepped on 4 mines", None),
        ("step 99999999999999999999999", None),
        ("loss 0.3", None),
        ("timestep_x 3", None),
    ],
)
def test_the_step_of_a_line(line: str, step: int | None) -> None:
    assert read_tail(log(NOW, [line])).step == step


def test_the_step_of_a_pattern_of_ones_own() -> None:
    assert read_tail(log(NOW, ["done 5 of 9"]), step_pattern(r"done (\d+)")).step == 5
    assert read_tail(log(NOW, ["#12"]), step_pattern(r"\d+")).step == 12


def test_lines_with_a_loss_mark_an_advance_without_a_step() -> None:
    tail = read_tail(log(NOW, [f"{{'loss': 0.{n}, 'epoch': 0.1}}" for n in range(5)]))
    assert (tail.step, tail.marks, tail.steps) == (None, 5, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"failed to try resolving symlinks in path /var/log/pods: no such file",
        b"\xff\xfe\x00\x01",
        b"2026-13-45T99:99:99Z step 1\n",
        b"x" * TAIL_BYTES,
    ],
)
def test_what_is_no_log_is_an_error(body: bytes) -> None:
    assert read_tail(body).newest is None
    assert read_tail(body).error


def test_a_line_of_a_megabyte_without_an_end() -> None:
    tail = read_tail(log(NOW, ["step 1", "step 2 " + "x" * 1_000_000])[:-1])
    assert tail.newest == pytest.approx(NOW)
    assert (tail.step, len(tail.text)) == (2, 200)


@given(st.binary(max_size=4000))
def test_any_bytes_are_read(body: bytes) -> None:
    read_tail(body)
    read_tail(log(NOW, ["step 1"]) + body)


@given(
    st.lists(
        st.sampled_from(
            [
                *LOOK.split("\n"),
                process(1),
                process(7, state="Z"),
                dump(1, WAITING),
                "=more",
                "=end",
                "=hangs 1",
                "Thread x",
            ]
        )
        | st.text(max_size=60),
        max_size=30,
    )
)
def test_any_answer_of_a_container_is_read(parts: list[str]) -> None:
    found = read_look("\n".join(parts))
    assert len(found.processes) <= 16
    judge(one_of(5, found, waiting()))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["wait", "load", "read", "none", "hidden", "odd"]), min_size=2, max_size=24), st.booleans()
)
def test_never_more_than_half_are_named(kinds: list[str], advancing: bool) -> None:
    """And nobody in what advances."""
    looks = {
        "wait": waiting(),
        "load": loading(),
        "read": look(process(state="D"), dump(1, READING)),
        "none": None,
        "hidden": look(process(kernel=("", "")), spy=False),
        "odd": look(process(kernel=("pipe_read", "0")), spy=False),
    }
    ends = NOW - 0.2 if advancing else NOW - 300
    seen = observation(len(kinds), look_of=lambda n: looks[kinds[n]], tail_of=lambda _: steps(ends))
    if advancing:
        for each in seen.slots.values():
            each.before = steps(NOW - 3.2, 106)
    found = judge(seen)
    assert len(found.suspects) <= len(kinds) / 2
    assert (found.verdict == "Healthy") == advancing
    assert bool(found.suspects) == (found.verdict == "Suspects")
    assert advancing or all(kinds[each.slot.indexes[-1]] != "wait" for each in found.suspects)


@pytest.mark.parametrize(
    "frame",
    [
        "all_reduce (train.py)",
        "all_gather_into_tensor (torch/distributed/distributed_c10d.py)",
        "_reduce_scatter_base (torch/distributed/distributed_c10d.py)",
        "barrier (torch/distributed/distributed_c10d.py)",
        "ncclGroupEnd (libnccl.so.2)",
        "c10d::ProcessGroupNCCL::WorkNCCL::wait (libtorch_cuda.so)",
        "gloo::transport::tcp::UnboundBuffer::waitRecv (libgloo.so)",
        "MPI_Allreduce (libmpi.so)",
        "Comm.Allreduce (mpi4py/MPI.pyx)",
        "recv (torch/distributed/distributed_c10d.py)",
        "send_backward_recv_forward (p2p_communication.py)",
        "synchronize (horovod/torch/mpi_ops.py)",
        "block_until_ready (jax/_src/api.py)",
        "_value (jax/_src/array.py)",
    ],
)
def test_calls_that_wait_for_others(frame: str) -> None:
    assert is_collective(frame)


@pytest.mark.parametrize(
    "frame",
    [
        "load_batch (train.py)",
        "Condition.wait (threading.py)",
        "recv (socket.py)",
        "broadcast_shapes (numpy/lib/stride_tricks.py)",
        "reduce (functools.py)",
        "synchronize (torch/cuda/__init__.py)",
        "init_process_group (torch/distributed/distributed_c10d.py)",
        "forward (torch/distributed/fsdp/fully_sharded_data_parallel.py)",
        "_invoke_run (torch/distributed/elastic/agent/server/api.py)",
        "gather_files (data.py)",
    ],
)
def test_calls_that_do_not(frame: str) -> None:
    assert not is_collective(frame)


def test_the_log_is_asked_for_in_bounds() -> None:
    path, query = log_request("a", "b", "c")
    assert path == "/api/v1/namespaces/a/pods/b/log"
    assert query == {"container": "c", "tailLines": "10", "limitBytes": "16384", "timestamps": "true"}


def test_what_a_node_says_of_itself() -> None:
    node = LabelledNode(
        metadata=LabelledMeta(name="a", labels={"rack": "7"}),
        spec=LabelledSpec(unschedulable=True, taints=[Taint(key="gpu", value="bad", effect="NoSchedule")]),
        status=LabelledStatus(
            conditions=[
                Condition(type="Ready", status="Unknown", reason="NodeStatusUnknown"),
                Condition(type="MemoryPressure", status="False"),
                Condition(type="XidError", status="True", message="79"),
                Condition(type="GpuHealthy", status="False", reason="Fallen"),
            ]
        ),
    )
    found = machine(node)
    assert found.not_ready == "NodeStatusUnknown"
    assert found.problems == ["XidError (79)", "GpuHealthy (Fallen)"]
    assert found.taints == ["the taint gpu=bad:NoSchedule", "been cordoned"]


def test_events_of_the_last_hour() -> None:
    from datetime import UTC, datetime

    def event(name: str, ago: float) -> Event:
        about = ObjectReference(kind="Pod", name=name)
        at = datetime.fromtimestamp(NOW - ago, UTC)
        return Event(
            metadata=ObjectMeta(), involved_object=about, reason="Unhealthy", message="x\ny", last_timestamp=at
        )

    assert warnings([event("a", 60), event("b", 7200)], NOW) == {("Pod", "a"): ["Unhealthy 60 s ago: x y"]}


def test_slots_without_a_log_or_a_look_are_no_reason_to_fail() -> None:
    slot = Slot("workers", (0, 0))
    assert judge(Observation(slots={slot: Seen(slot=slot)})).verdict == "NoSuspects"
    assert judge(Observation()).verdict == "NoSuspects"
