"""Views: what a person sees, from recorded events and reports."""

from __future__ import annotations

import io
import itertools
import json
import pathlib
import re
import unicodedata

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from jobset_restart.case import Evidence
from jobset_restart.events import (
    Claimed,
    Disconnected,
    Event,
    Failed,
    Finished,
    NextRound,
    Noticed,
    Phase,
    Planned,
    PlannedSlot,
    Ready,
    Reconnected,
    Retried,
    Starting,
    decode,
)
from jobset_restart.findings import look
from jobset_restart.harmless import plain
from jobset_restart.plan import Request, case_for, make
from jobset_restart.progress import Progress
from jobset_restart.report import (
    JobSetReport,
    JobSetReportList,
    NotReadyReport,
    ReplicatedJobReport,
    ResultReport,
    RoundReport,
    SlotResultReport,
)
from jobset_restart.report.jobset import jobset_report, unreadable
from jobset_restart.report.plan import plan_report
from jobset_restart.triggers.pods import PODS
from jobset_restart.view import summary, table
from jobset_restart.view.document import render
from jobset_restart.view.lines import LinesView
from jobset_restart.view.live import LiveView
from jobset_restart.view.replay import replay
from jobset_restart.view.text import duration
from jobset_restart.workloads.kinds import VOLCANO_JOB
from tests import build
from tests.picture import PICTURE, picture
from tests.test_plan import native_snapshot
from tests.test_progress import ANY_EVENT, NAMES, planned

DATA = pathlib.Path(__file__).parent / "data"


def recorded(name: str) -> list[Event]:
    return [decode(line) for line in (DATA / f"{name}.jsonl").read_bytes().splitlines()]


def console(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def drawn(events: list[Event], now: float, width: int = 80, height: int = 24) -> list[str]:
    view = LiveView(console(width, height))
    for event in events:
        view(event)
    paper = Console(file=io.StringIO(), width=width, color_system=None)
    paper.print(view.render(now))
    assert isinstance(paper.file, io.StringIO)
    return paper.file.getvalue().splitlines()


def lines(events: list[Event]) -> list[str]:
    written: list[str] = []
    replay(events, LinesView(written.append))
    return written


# ---------------------------------------------------------------- recorded runs


@pytest.mark.parametrize("name", ["native", "suspend", "pods", "trouble"])
def test_a_recorded_run_reads_as_it_always_did(name: str) -> None:
    events = recorded(name)
    moments = [events[: len(events) * part // 3] for part in (1, 2, 3)]
    screens = ["\n".join(drawn(moment, moment[-1].time)) for moment in moments]
    text = f"\n{'-' * 80}\n".join([*screens, "\n".join(lines(events))]) + "\n"
    assert text == (DATA / f"{name}.txt").read_text()


def test_a_replay_lets_the_recorded_time_pass() -> None:
    slept: list[float] = []
    seen: list[float] = []

    class Clock:
        def __call__(self, event: Event) -> None:
            seen.append(event.time)

        def tick(self, now: float) -> None:
            seen.append(now)

    events: list[Event] = [Noticed(time=time, message="") for time in (10.0, 13.0, 12.0, 12.5)]
    replay(events, Clock(), speed=2.0, sleep=slept.append)
    assert sum(slept) == pytest.approx(1.5)
    assert sorted({round(time, 1) for time in seen}) == [10, 10.4, 10.8, 11.2, 11.6, 12, 12.4, 12.5, 12.8, 13]


def test_a_replay_passes_over_any_silence() -> None:
    ticks: list[float] = []

    class Clock:
        def __call__(self, event: Event) -> None:
            pass

        def tick(self, now: float) -> None:
            ticks.append(now)

    replay([Noticed(time=0, message=""), Noticed(time=1e300, message="")], Clock())
    assert len(ticks) < 10_000


# ---------------------------------------------------------------- live


@given(st.lists(ANY_EVENT, max_size=60), st.integers(1, 40), st.integers(10, 160), st.integers(3, 50))
@settings(max_examples=150, deadline=None)
def test_the_screen_is_never_larger_than_the_terminal(events: list[Event], jobs: int, width: int, height: int) -> None:
    slots = [f"group-with-a-name-{number % jobs}/0/{number}" for number in range(60)]
    screen = drawn([planned(*NAMES, *slots), *events], 210.0, width, height)
    assert len(screen) <= height - 1
    assert all(cell_len(line) < width for line in screen)


def test_the_bars_of_all_replicated_jobs_are_equally_long() -> None:
    slots = ["driver/0/0", *(f"workers/0/{number}" for number in range(4999))]
    ready = [Ready(time=101, slot=slot) for slot in slots[:3000]]
    bars = drawn([planned(*slots), *ready], 102.0)[3:5]
    assert {len(bar) for bar in bars} == {79}
    assert bars[0].count("█") == sum(bars[1].count(mark) for mark in "█·")


def test_few_slots_are_all_shown_each_in_its_place() -> None:
    before = drawn([planned(*NAMES)], 101.0)
    after = drawn(
        [planned(*NAMES), Ready(time=102, slot=NAMES[2]), Failed(time=103, slot=NAMES[0], reason="OOM")], 104.0
    )
    rows = [
        [line.split() for line in screen[: screen.index("slots") + 9] if "  n  " in line] for screen in (before, after)
    ]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]] == NAMES
    assert [row[2:] for row in rows[1][:3]] == [["failed", "OOM"], ["waiting", "4s"], ["ready", "0s"]]


def test_what_fails_is_on_the_screen_however_many_are_slow() -> None:
    slots = [f"w/0/{number}" for number in range(500)]
    slow: list[Event] = [Starting(time=101, slot=slot) for slot in slots[:400]]
    screen = drawn([planned(*slots), *slow, Failed(time=150, slot=slots[450], reason="OOMKilled")], 160.0)
    assert any("w/0/450" in line and "OOMKilled" in line for line in screen)
    assert sum("starting" in line for line in screen) > 3


def test_the_same_from_many_slots_is_one_event() -> None:
    retries: list[Event] = [Retried(time=101 + n, request=f"PATCH {n}", reason="429", delay=1) for n in range(30)]
    screen = drawn([planned(*NAMES), Claimed(time=100.5, operation="op1", owner="me"), *retries], 140.0)
    assert any("PATCH 0 and 29 more tried again: 429" in line for line in screen)
    assert any("claimed" in line for line in screen)


def test_the_terminal_is_given_back_whatever_happens() -> None:
    screen = console()

    def fails() -> None:
        with LiveView(screen) as view:
            view(planned("a/0/0"))
            view.tick(100)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert shown(screen).rindex("\x1b[?25h") > shown(screen).rindex("\x1b[?25l")


def test_five_thousand_pods_in_forty_replicated_jobs_fit_80x24() -> None:
    many = planned(*(f"group-{number % 40}/0/{number}" for number in range(5000)))
    screen = drawn([many, Disconnected(time=101, reason="refused")], 110.0)
    assert len(screen) < 24
    assert any(line.startswith("and 33 more") and line.endswith("0/4,125") for line in screen)
    assert any("still trying" in line for line in screen)


def test_the_view_redraws_at_most_five_times_a_second() -> None:
    screen = console()
    with LiveView(screen) as view:
        view(planned("a/0/0"))
        for tick in range(1000):
            view.tick(100 + tick / 1000)
    assert shown(screen).count("ns/train") <= 6


def test_a_terminal_without_unicode_gets_ascii() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    view = LiveView(Console(file=Ascii(), width=50, height=24, color_system=None))
    view(planned(*NAMES, "name-that-is-far-too-long-for-any-column/0/0"))
    view(Failed(time=101, slot=NAMES[0], reason="wörkers \x1b[2J " * 9))
    paper = Console(file=io.StringIO(), width=50, color_system=None)
    paper.print(view.render(101.0))
    text = shown(paper)
    assert text.isascii()
    assert all(len(line) < 50 for line in text.splitlines())


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system="truecolor")
    with LiveView(screen) as view:
        view(planned(*NAMES))
        view(Failed(time=101, slot=NAMES[0], reason="OOM"))
        view.tick(102)
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?[349][0-9]", shown(screen))


# ---------------------------------------------------------------- lines


def test_five_thousand_pods_are_not_five_thousand_lines() -> None:
    slots = [f"w/0/{n}" for n in range(5000)]
    events: list[Event] = [planned(*slots)]
    for number, slot in enumerate(slots):
        reason = "gone" if number % 2 else f"reason {number}"
        events.append(Failed(time=101 + number / 1000, slot=slot, pod="p", node="n", reason=reason))
    events.append(Finished(time=107.0, operation="op1", exit_code=4, reason="5,000 slots did not come back"))
    written = lines(events)
    assert len(written) < 10
    assert sum(map(len, written)) < 5000
    assert "w/0/1 on n and" in written[1] + written[2]
    assert any("5,000 failed" in line for line in written)
    assert "did not come back" in written[-1]


@given(st.lists(ANY_EVENT, max_size=200).map(lambda events: sorted(events, key=lambda event: event.time)))
@settings(max_examples=60, deadline=None)
def test_there_is_at_most_one_line_a_second(events: list[Event]) -> None:
    times: list[float] = []
    now = 99.0
    view = LinesView(lambda _: times.append(now))
    for event in [planned(*NAMES), *events]:
        while now < event.time:
            now += 0.2
            view.tick(now)
        view(event)
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times))


def test_what_matters_is_said_in_its_order_and_nothing_is_lost_at_the_end() -> None:
    written = lines(
        [
            planned("a/0/0"),
            Phase(time=100.1, phase="suspending"),
            Disconnected(time=100.2, reason="refused"),
            Reconnected(time=100.3, seconds=0.1),
            Failed(time=100.4, slot="a/0/0", node="n", reason="OOMKilled"),
            Finished(time=100.5, operation="op1", exit_code=4, reason="1 slot did not come back"),
        ]
    )
    assert len(written) == 2
    words = ("suspending", "away: refused", "back after 0.1s", "a/0/0 on n failed: OOMKilled", "finished: 1 slot")
    places = [written[1].index(word) for word in words]
    assert places == sorted(places)


def test_when_nothing_moves_the_slot_waited_for_is_named() -> None:
    events: list[Event] = [planned(*NAMES), Starting(time=101, slot=NAMES[3], node="n7", reason="ImagePullBackOff")]
    written = lines([*events, Noticed(time=140, message="enough")])
    assert "driver/0/3 on n7: ImagePullBackOff" in written[1]
    assert any("longest: driver/0/3 on n7 starting for" in line for line in written)
    assert len(written) < 8


# ---------------------------------------------------------------- hostile text

HOSTILE = st.text(st.characters(categories=["Cc", "Cf", "Lu", "Zl", "Zp"]), min_size=1)


@given(HOSTILE)
def test_no_control_character_gets_through(text: str) -> None:
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in plain(text))


def test_hostile_pod_statuses_are_shown_as_text() -> None:
    evil = "\x1b]0;owned\x07[bold red]x[/] \x9b2J \u202egnp\n\rFAKE"
    report = JobSetReport(
        name="train",
        namespace="ns",
        state="Degraded",
        ready=0,
        expected=1,
        not_ready=[NotReadyReport(slot="w/0/0", state="not ready", reason=evil, message=evil, pod="p", node=evil)],
    )
    screen = console(200)
    table.show_status(screen, report)
    events: list[Event] = [
        Planned(
            time=1,
            operation="o",
            jobset=evil,
            namespace=evil,
            slots=[PlannedSlot(slot="w/0/0", node=evil, trigger="image")],
        ),
        Failed(time=2, slot="w/0/0", pod=evil, node=evil, reason=evil),
    ]
    everything = shown(screen) + "\n".join(drawn(events, 3.0)) + "\n".join(lines(events))
    assert "[bold red]" in everything
    assert not any(char in everything for char in "\x1b\x07\x9b\u202e\r")


@pytest.mark.parametrize("form", ["json", "yaml", "name"])
@given(text=HOSTILE)
def test_a_document_has_any_text_as_it_is_and_nothing_that_a_terminal_obeys(form: str, text: str) -> None:
    report = JobSetReport(name="train", namespace="ns", state="Degraded", ready=0, expected=1, notes=[text + "\x7f"])
    document = render(report, form)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in document.replace("\n", ""))
    if form == "json":
        assert json.loads(document)["notes"] == [text + "\x7f"]


def rounds() -> list[Event]:
    slots = [PlannedSlot(slot=f"workers/0/{n}", pod=f"p-{n}", node="n", trigger="image") for n in range(2)]
    return [
        Planned(time=0, operation="op1", jobset="t", namespace="ns", strategy="in-place", trigger="image", slots=slots),
        *(Failed(time=1.0, slot=each.slot, reason="forbidden") for each in slots),
        NextRound(time=2.0, operation="op1", round=2, strategy="recreate", trigger="suspend", slots=slots),
    ]


def test_the_live_view_shows_the_round_that_runs() -> None:
    screen = drawn(rounds(), 3.0)
    assert "recreate by suspend  round 2  operation op1" in screen[1]
    assert any("2 waiting" in line for line in screen)


def test_lines_say_that_a_round_begins() -> None:
    assert any("round 2: recreating 2 slots by suspend" in line for line in lines(rounds()))


# ---------------------------------------------------------------- tables and documents


def test_status_shows_what_a_person_needs_at_once() -> None:
    snapshot = native_snapshot()
    screen = console(200)
    table.show_status(screen, jobset_report(snapshot, make(snapshot, Request(), "op1")))
    text = shown(screen)
    for words in (
        "JobSet ns/train (context test): Running, 2/2 Pods ready",
        "in-place attempt 2",
        "BUDGET",
        "2/100",
        "by native",
    ):
        assert words in text


def test_status_says_why_a_pod_is_not_ready() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
    last = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:59:40Z"}}
    crashing = build.pod(
        0, ready=False, statuses=[build.status(restarts=3, ready=False, state=waiting, lastState=last)]
    )
    unscheduled = build.pod(1, ready=False, phase="Pending", node="", statuses=[])
    unscheduled.status.conditions = [
        type(unscheduled.status.conditions[0])(
            type="PodScheduled", status="False", reason="Unschedulable", message="no room"
        )
    ]
    snapshot = build.snapshot(build.jobset(pods=4), [crashing, unscheduled, build.pod(2)])
    rows = {row.slot: row for row in jobset_report(snapshot).not_ready}
    assert (rows["workers/0/0"].reason, rows["workers/0/0"].back_off) == ("CrashLoopBackOff", 20.0)
    assert (rows["workers/0/1"].state, rows["workers/0/1"].reason) == ("pending", "Unschedulable")
    assert rows["workers/0/3"].state == "missing"
    assert "workers/0/2" not in rows


def test_a_pod_on_a_dead_node_is_not_ready_whatever_its_containers_say() -> None:
    dead = [build.pod(index, ready=False) for index in (0, 1)]
    snapshot = build.snapshot(pods=dead, nodes=[build.node(ready=False)])
    report = jobset_report(snapshot)
    assert (report.ready, report.state) == (0, "Degraded")
    assert {row.state for row in report.not_ready} == {"node down"}


def test_documents_are_one_json_or_yaml_document_with_the_same_content() -> None:
    report = plan_report(make(build.snapshot(), Request(), "op1"))
    as_json = json.loads(render(report, "json"))
    assert as_json["apiVersion"] == "jobset-restart.io/v1"
    assert yaml.safe_load(render(report, "yaml")) == as_json
    assert render(report, "name") == "jobset.jobset.x-k8s.io/train"
    assert len(as_json["actions"]) == as_json["writes"] == 2


@given(
    st.one_of(st.text(), st.sampled_from(["12e45678", "00123456", "0o17", "1_0", "12:30:45", "on", "~", ".inf", "-"]))
)
def test_any_text_is_the_same_text_again_in_every_document(text: str) -> None:
    report = JobSetReport(name=text, namespace="ns", state="Running", ready=1, expected=1)
    as_yaml = render(report, "yaml")
    assert yaml.safe_load(as_yaml)["name"] == json.loads(render(report, "json"))["name"] == text
    assert as_yaml.replace("\n", "").isprintable()


@given(st.lists(st.text(max_size=20), max_size=5))
def test_names_for_scripts_are_names_alone(names: list[str]) -> None:
    rows = [JobSetReport(name=name, namespace="ns", state="Running", ready=1, expected=1) for name in names]
    printed = render(JobSetReportList(items=[*rows, unreadable("-", "-", "bad")]), "name")
    assert re.fullmatch(r"(jobset\.jobset\.x-k8s\.io/[a-z0-9][-a-z0-9.]*\n?)*", printed)


def test_an_operation_id_that_looks_like_a_number_is_quoted_whoever_reads_it() -> None:
    """YAML 1.2, which kubectl reads, knows 12e45678 as a float; YAML 1.1 does not."""
    result = ResultReport(jobset="train", namespace="ns", exit_code=0, operation="12e45678")
    assert 'operation: "12e45678"' in render(result, "yaml").splitlines()


def test_a_refused_plan_says_what_stands_against_it() -> None:
    screen = console(300)
    table.show_plan(screen, plan_report(make(build.snapshot(), Request(via="pods"), "op1")))
    text = shown(screen)
    assert "refused" in text
    assert "JSR202" in text
    assert "--via suspend" in text


def long_names() -> JobSetReport:
    message = "0/997 nodes are available: 996 Insufficient google.com/tpu"
    rows = [
        NotReadyReport(
            slot=f"workers/0/{index}",
            state="pending",
            reason="Unschedulable",
            message=message,
            pod=f"llama-405b-workers-0-{index}-x7k2p",
            node="gke-tpu-v5e-pool-7f3a9c1e-0007",
            age=312.0,
        )
        for index in range(30)
    ]
    rows[0].reason = "NodeStatusUnknown"
    return JobSetReport(name="llama-405b", namespace="training", state="Degraded", ready=0, expected=30, not_ready=rows)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_on_a_terminal_of_any_width_the_reason_of_a_slot_is_never_cut(width: int) -> None:
    screen = console(width)
    table.show_status(screen, long_names())
    text = shown(screen)
    assert (
        " ".join(text.split()).count("Unschedulable (0/997 nodes are available: 996 Insufficient google.com/tpu)") == 19
    )
    assert text.count("gke-tpu-v5e-pool-7f3a9c1e-0007") == 20
    assert "and 10 more" in text
    assert "Not ready: 29 Unschedulable, 1 NodeStatusUnknown" in " ".join(text.split())
    if width >= 60:
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
def test_a_list_of_any_width_names_every_jobset_and_its_state(width: int) -> None:
    screen = console(width)
    items = [long_names(), JobSetReport(name="n" * 50, namespace="ns", state="Running", ready=1, expected=1)]
    table.show_status(screen, JobSetReportList(items=items), namespaces=True)
    for words in ("llama-405b", "n" * 50, "Degraded", "Running", "0/30"):
        assert words in shown(screen)


def test_what_wide_was_asked_for_is_shown_on_a_narrow_terminal_too() -> None:
    screen = console(80)
    table.show_status(screen, long_names(), wide=True)
    assert all(f"llama-405b-workers-0-{index}-x7k2p" in shown(screen) for index in range(30))


def test_piped_every_slot_is_one_line_with_everything() -> None:
    pipe = Console(file=io.StringIO(), width=10_000)
    table.show_status(pipe, long_names(), wide=True)
    rows = [line.split("   ") for line in shown(pipe).splitlines() if line.startswith("workers/0/")]
    assert len(rows) == 30
    assert {row[1].strip() for row in rows} == {f"llama-405b-workers-0-{index}-x7k2p" for index in range(30)}


def test_a_result_says_how_many_it_does_not_name() -> None:
    slots = [SlotResultReport(slot=f"w/0/{n}", outcome="restarted" if n > 24 else "timed out") for n in range(5000)]
    outcomes = {"restarted": 4975, "timed out": 25}
    screen = console(200)
    table.show_result(screen, ResultReport(jobset="train", namespace="ns", exit_code=4, outcomes=outcomes, slots=slots))
    assert shown(screen).count("timed out") == 21
    assert "and 5 more, 4,975 that are back; -o wide shows all" in shown(screen)


def test_lines_say_in_which_round_an_operation_is_carried_on() -> None:
    slots = [PlannedSlot(slot="workers/0/0", trigger="suspend")]
    opened = Planned(time=0, operation="op1", jobset="t", namespace="ns", trigger="suspend", round=2, slots=slots)
    assert lines([opened])[0].endswith("by suspend, operation op1, carried on in round 2")


def test_a_result_tells_of_every_round() -> None:
    first = RoundReport(
        round=1, strategy="in-place", trigger="image", seconds=0.5, outcomes={"failed": 2}, reason="2 slots never left"
    )
    second = RoundReport(round=2, strategy="recreate", trigger="suspend", seconds=4.0, outcomes={"recreated": 2})
    screen = console(200)
    table.show_result(screen, ResultReport(jobset="train", namespace="ns", exit_code=0, rounds=[first, second]))
    assert "round 1, in-place by image: 2 failed in 0.5s: 2 slots never left" in shown(screen)
    assert "round 2, recreate by suspend: 2 recreated in 4.0s" in shown(screen)


def test_an_output_without_unicode_does_not_break_a_table() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    report = long_names()
    report.not_ready[0].reason = "kaputt \u2026 \u202e w\u00f6rker"
    table.show_status(Console(file=file, width=80), report)
    file.flush()
    assert b"kaputt ? ? w?rker" in raw.getvalue()


def test_the_summary_of_what_never_came_back_has_no_empty_tables() -> None:
    progress = Progress()
    for event in recorded("trouble"):
        if not isinstance(event, Ready):
            progress.apply(event)
    screen = console()
    summary.show_summary(screen, progress)
    assert "SLOWEST" not in shown(screen)


def test_the_summary_names_phases_the_slowest_and_what_was_spent() -> None:
    progress = Progress()
    for event in recorded("trouble"):
        progress.apply(event)
    screen = console()
    summary.show_summary(screen, progress)
    assert shown(screen) == (DATA / "trouble-summary.txt").read_text()


def lws_report(groups: list[ReplicatedJobReport]) -> JobSetReport:
    return JobSetReport(
        workload_kind="LeaderWorkerSet",
        workload_group="leaderworkerset.x-k8s.io",
        name="serving",
        namespace="ns",
        state="Running",
        ready=6,
        expected=6,
        replicated_jobs=groups,
    )


def test_a_list_has_a_column_of_kinds_where_there_is_more_than_one() -> None:
    jobset = JobSetReport(name="train", namespace="ns", state="Running", ready=1, expected=1, max_restarts=3)
    serving = lws_report([])
    volcano = unreadable("vj", "ns", "bad", VOLCANO_JOB)
    screen = console(300)
    table.show_status(screen, JobSetReportList(items=[jobset, serving, volcano], notes=["not shown: RayClusters"]))
    assert [line.split() for line in shown(screen).splitlines()[1:]] == [
        ["not", "shown:", "RayClusters"],
        ["KIND", "NAME", "READY", "STATE", "RESTARTS", "IN-PLACE", "AGE", "LAST", "RESTART"],
        ["JobSet", "train", "1/1", "Running", "0/3", "-", "-", "-"],
        ["LeaderWorkerSet", "serving", "6/6", "Running", "-", "-", "-", "-"],
        ["Job.batch.volcano.sh", "vj", "-", "Unreadable", "-", "-", "-", "cannot", "be", "read:", "bad"],
    ]
    screen = console(300)
    table.show_status(screen, JobSetReportList(items=[serving]))
    assert "KIND" not in shown(screen)


def test_a_page_counts_jobs_and_restarts_of_a_jobset_only_where_there_are_any() -> None:
    group = ReplicatedJobReport(name="serving", ready=6, expected=6, container_restarts=2, nodes=2)
    screen = console(200)
    table.show_status(screen, lws_report([group]))
    assert "GROUP     READY   CONTAINER RESTARTS   NODES" in shown(screen)
    assert "JobSet" not in shown(screen)
    group = ReplicatedJobReport(name="etl", ready=3, expected=3, jobs=1, expected_jobs=1, succeeded=2)
    job = structs.replace(lws_report([group]), workload_kind="Job", workload_group="batch", name="etl")
    screen = console(200)
    table.show_status(screen, job)
    assert "GROUP   READY   COMPLETE   CONTAINER RESTARTS   NODES" in shown(screen)


def test_an_empty_list_is_said_and_names_are_not_cut_when_piped() -> None:
    screen = console()
    table.show_status(screen, JobSetReportList())
    assert "no workloads found" in shown(screen)
    long = JobSetReport(name="n" * 200, namespace="ns", state="Running", ready=1, expected=1)
    piped = Console(file=io.StringIO(), width=10_000)
    table.show_status(piped, JobSetReportList(items=[long]), wide=True, namespaces=True)
    assert "n" * 200 in shown(piped)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.44, "0.4s"), (12.9, "12s"), (192, "3m12s"), (18240, "5h04m"), (266400, "3d2h")],
)
def test_durations_are_written_as_people_do(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_findings_are_sorted_blockers_first() -> None:
    case = case_for(build.snapshot(), Request(via="pods"), PODS, Evidence())
    severities = [f.severity for f in look(case)]
    assert severities == sorted(severities, key=["blocker", "warning", "note"].index)


def test_the_picture_in_the_readme_is_what_the_view_draws() -> None:
    assert picture() == PICTURE.read_text(encoding="utf-8"), "python -m tests.picture draws it anew"
