"""Trainings in the embedded cluster: what they print, what is seen of their processes, and how they stop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.diagnose.commands import LOOK
from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.store import StoreError
from jobset_restart.simulator.training import look
from jobset_restart.simulator.training.frameworks import FRAMEWORKS
from jobset_restart.simulator.training.gang import Gang, Stop
from jobset_restart.simulator.training.lines import FORMATS, printed
from jobset_restart.simulator.training.processes import processes
from jobset_restart.simulator.training.spec import Training, read
from jobset_restart.simulator.training.view import View
from tests.e2e.manifests import replicated_job
from tests.simulator.trainings import START, Played, manifest

SHELLS = [words for words in (["busybox", "sh"], ["dash"], ["bash"]) if shutil.which(words[0])]

# ---------------------------------------------------------------- steps in lockstep


@given(
    st.integers(2, 6),
    st.floats(0.1, 30),
    st.lists(st.tuples(st.floats(0, 400), st.integers(0, 5), st.sampled_from(["stop", "on", "again"])), max_size=8),
)
def test_ranks_step_together_and_never_back(ranks: int, step: float, happens: list[tuple[float, int, str]]) -> None:
    gang = Gang(Training(ranks=ranks, step=step))
    for rank in range(ranks):
        gang.joins(str(rank), (0, rank), START)
    for at, rank, what in sorted(happens):
        name = str(rank % ranks)
        if what == "stop":
            gang.stop(name, Stop("hang", 0.0), START + at)
        elif what == "on":
            gang.go_on(name, START + at)
        else:
            gang.joins(name, (0, int(name)), START + at)
    counts = [gang.steps(START + at) for at in range(0, 600, 7)]
    assert counts == sorted(counts)
    last = [printed(gang, str(rank), START, START + 600, 1)[0][1] for rank in range(ranks)]
    behind = gang.stretches and gang.stretches[-1].ends > START + 600
    assert len(set(last)) <= (2 if behind else 1), "where it stands still, all logs end at the same step"
    doing = [gang.doing(str(rank), START + 600).what for rank in range(ranks)]
    if gang.stops and not behind:
        assert {what for rank, what in enumerate(doing) if str(rank) in gang.stops} == {"stopped"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_time_on_the_cpu_only_grows(framework: str) -> None:
    gang = Gang(Training(ranks=2, framework=framework))
    for rank in range(2):
        gang.joins(str(rank), (0, rank), START)
    gang.stop("1", Stop("hang", 0.4), START + 50.3)
    for name in "01":
        used = [
            sum(each.cpu for each in processes(gang, name, ("python3", "a.py"), child=False, now=START + at / 3))
            for at in range(300)
        ]
        assert used == sorted(used)


# ---------------------------------------------------------------- what is to be seen


def test_one_rank_that_stops_keeps_the_others_waiting() -> None:
    play = Played(framework="threads", hang="/tmp/hang", cgroup=1).at(20)
    culprit = play.names[2]
    assert play.run(culprit, "touch", "/tmp/hang") == ("", "", 0)
    play.at(60)
    assert [play.stack(name) for name in play.names] == [
        "all_reduce (train.py:28)",
        "all_reduce (train.py:28)",
        "Condition.wait (threading.py:320)",
        "all_reduce (train.py:28)",
    ]
    assert [play.run(name, "cat", "/proc/1/wchan")[0] for name in play.names] == [
        *["hrtimer_nanosleep"] * 2,
        "futex_do_wait",
        "hrtimer_nanosleep",
    ]
    ends = [play.logs(name)[-1] for name in play.names]
    assert len({line for _, line in ends}) == 1
    assert all(20 < at < 22 for at, _ in ends)
    assert play.run(culprit, "rm", "/tmp/hang") == ("", "", 0)
    play.at(70)
    assert all(at > 68 for at, _ in (play.logs(name)[-1] for name in play.names))


def test_a_restarted_rank_goes_on_from_its_last_step() -> None:
    play = Played().at(20)
    before = play.logs(play.names[0])[-1]
    play.world.add_fault(Fault(kind="rank-hang", target=f"default/{play.names[0]}", lasts=1000))
    play.at(40)
    play.world.add_fault(Fault(kind="exit", target=f"default/{play.names[0]}", lasts=1))
    play.at(60)
    after = [play.logs(name)[-1] for name in play.names]
    assert len({line for _, line in after}) == 1
    assert all(at > 58 for at, _ in after), "a new process does not have the old one's deadlock"
    steps = [int(line.split()[1]) for _, line in (before, after[0])]
    assert steps[0] < steps[1] < steps[0] + 25


def test_faults_hit_by_the_name_of_a_pod_and_by_a_label_of_its_node() -> None:
    play = Played(framework="torch-gloo").at(20)
    node = play.node(play.names[1])
    play.world.add_fault(Fault(kind="rank-storage", target=f"kubernetes.io/hostname={node}", lasts=30))
    play.at(40)
    hit = [play.node(name) == node for name in play.names]
    states = [play.run(name, "cat", "/proc/1/status")[0].split("State:\t")[1][0] for name in play.names]
    assert [state == "D" for state in states] == hit
    assert 0 < sum(hit) < len(hit)
    play.at(60)
    assert all(at > 58 for at, _ in (play.logs(name)[-1] for name in play.names))


def test_a_slow_rank_is_waited_for_and_steps_go_on_slower() -> None:
    play = Played(framework="torch-gloo").at(20)
    play.world.add_fault(Fault(kind="rank-slow", target=f"default/{play.names[3]}", lasts=1000, seconds=9))
    play.at(65)
    found = play.logs(play.names[0])
    times = [at for at, _ in found]
    assert times[-1] - times[-2] == pytest.approx(10, abs=0.3)
    assert times[1] - times[0] == pytest.approx(1, abs=0.3)
    assert [play.stack(name).startswith("all_reduce") for name in play.names] == [True, True, True, False]


def test_storage_for_all_and_a_collective_that_does_not_end_leave_all_alike() -> None:
    for kind in ("rank-storage", "collective"):
        play = Played(framework="torch-nccl").at(20)
        play.world.add_fault(Fault(kind=kind, lasts=1000))
        play.at(60)
        assert len({play.stack(name) for name in play.names}) == 1


def test_a_rank_ends_and_its_launcher_stays() -> None:
    left = set()
    for seed in range(6):
        play = Played(seed=seed, command=["sh", "-c", "python3 /app/train.py; sleep infinity"]).at(20)
        # Which form it takes is drawn by the number of the fault.
        for _ in range(seed):
            play.world.add_fault(Fault(kind="rank-exit", target="default/nobody", lasts=1))
        play.world.add_fault(Fault(kind="rank-exit", target=f"default/{play.names[0]}", lasts=1000))
        play.at(60)
        seen = [play.run(name, "sh", "-c", LOOK)[0] for name in play.names[:2]]
        found = [re.findall(r"^=process (\d+)\nName: (\w+)\nState: (.)", each, re.MULTILINE) for each in seen]
        workers = [("40", "pt_data_worker", "S"), ("41", "pt_data_worker", "S")]
        assert found[1] == [("1", "sh", "S"), ("7", "python3", "S"), *workers], "the data loaders' are below"
        left.add(found[0][1][1:])
        assert play.world.store.get("pods", "default", play.names[0])["status"]["phase"] == "Running"
    assert left == {("python3", "Z"), ("sleep", "S")}


def test_clocks_of_nodes_differ_in_logs_and_in_containers() -> None:
    play = Played(framework="threads").at(5)
    ahead = play.node(play.names[0])
    play.world.add_fault(Fault(kind="clock", target=ahead, seconds=-5, lasts=1000))
    play.at(20)
    for name in play.names:
        shift = -5 if play.node(name) == ahead else 0
        assert play.logs(name)[-1][0] == pytest.approx(19.5 + shift, abs=1)
        now = re.search(r"^now (\d+)$", play.run(name, "sh", "-c", LOOK)[0], re.MULTILINE)
        assert now
        assert int(now[1]) == START + 20 + shift


@pytest.mark.parametrize(("pyspy", "said"), [("no", "=no py-spy"), ("denied", "Permission denied")])
def test_py_spy_may_be_missing_or_denied(pyspy: str, said: str) -> None:
    play = Played(pyspy=pyspy).at(20)
    out = play.run(play.names[0], "sh", "-c", LOOK)[0]
    assert said in out
    assert "MainThread" not in out


def test_py_spy_can_be_removed() -> None:
    play = Played().at(20)
    assert "MainThread" in play.run(play.names[0], "sh", "-c", LOOK)[0]
    assert play.run(play.names[0], "rm", "/usr/bin/py-spy") == ("", "", 0)
    assert "=no py-spy" in play.run(play.names[0], "sh", "-c", LOOK)[0]
    with pytest.raises(StoreError, match="executable file not found"):
        play.run(play.names[0], "py-spy", "dump", "--pid", "1")


def test_programs_that_train_nothing_are_looked_at_too() -> None:
    play = Played(command=["sh", "-c", "while :; do date; sleep 1; done"], container="other").at(20)
    out = play.run(play.names[0], "sh", "-c", LOOK)[0]
    assert re.findall(r"^Name: (\w+)$", out, re.MULTILINE) == ["sh", "sleep"]


# ---------------------------------------------------------------- as a real shell sees it


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("pyspy", ["yes", "no", "denied"])
@pytest.mark.parametrize("child", [False, True])
def test_what_is_answered_is_what_a_real_shell_prints(
    shell: list[str], pyspy: str, child: bool, tmp_path: Path
) -> None:
    for framework, kind in (("threads", "hang"), ("torch-nccl", "hang"), ("torch-gloo", "exit"), ("mpi", "storage")):
        gang = Gang(Training(ranks=2, framework=framework, pyspy=pyspy))
        for rank in range(2):
            gang.joins(str(rank), (0, rank), START)
        gang.stop("0", Stop(kind, 0.3), START + 10)  # type: ignore[arg-type]
        for cgroup in (1, 2):
            found = processes(
                gang, "0", ("sh", "-c", "python3 a.py; true") if child else ("python3", "a.py"), child, START + 60
            )
            view = View(found, age=60, caught={}, denied=pyspy == "denied", cgroup=cgroup)
            folder = tmp_path / f"{framework}-{cgroup}"
            _write(view, folder, pyspy != "no")
            text = LOOK.replace("/proc/", f"{folder}/proc/").replace("/sys/", f"{folder}/sys/")
            path = {"PATH": f"{folder}/bin:{_only_date(tmp_path)}"}
            done = subprocess.run(
                [shutil.which(shell[0]) or "", *shell[1:], "-c", text],
                capture_output=True,
                text=True,
                timeout=60,
                env=path,
                check=False,
            )
            assert _shown(done.stdout) == _shown(look.answer(view, START, pyspy != "no"))


def _shown(text: str) -> list[str]:
    """Without the time; the script's own wait for py-spy leaves nothing behind."""
    return [line for line in text.replace("\r", "").splitlines() if not line.startswith("now ")]


def _write(view: View, folder: Path, pyspy: bool) -> None:
    for path in view.paths():
        place = folder / path.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.write_text(view.read(path) or "")
        except PermissionError:
            place.write_text("")
    (folder / "bin").mkdir()
    if not pyspy:
        return
    cases = []
    for process in view.processes:
        out, err, code = view.dump(["--nonblocking", "--pid", str(process.pid)])
        (folder / f"dump-{process.pid}").write_text(out + err)
        cases.append(f"{process.pid}) cat {folder}/dump-{process.pid}; exit {code};;")
    script = folder / "bin" / "py-spy"
    script.write_text("#!/bin/sh\nPATH=/usr/bin:/bin\ncase $4 in\n" + "\n".join(cases) + "\nesac\n")
    script.chmod(0o755)


def _only_date(folder: Path) -> Path:
    """A directory of programs in which there is no py-spy."""
    place = folder / "programs"
    if not place.exists():
        place.mkdir()
        for name in ("date", "sleep", "kill"):
            os.symlink(shutil.which(name) or "", place / name)
    return place


# ---------------------------------------------------------------- what may be said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "it is no JSON"),
        ("[]", 'no JSON object with "ranks"'),
        ('{"ranks": 0}', "ranks is no number of 1 or more: 0"),
        ('{"ranks": true}', "ranks is no number"),
        ('{"ranks": 2, "step": "1"}', "step is no number"),
        ('{"ranks": 2, "steps": 1}', "unknown fields: steps"),
        ('{"ranks": 2, "log": "xml"}', "log is 'xml': there are plain"),
        ('{"ranks": 2, "hang": 1}', "hang is no text: 1"),
    ],
)
def test_an_annotation_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read(text)
    play = Played()
    pod = play.world.store.get("pods", "default", play.names[0])
    meta = {**pod["metadata"], "annotations": {"simulator.jobset-restart.io/training": text}}
    with pytest.raises(StoreError, match=re.escape(words)) as refused:
        play.world.store.update("pods", {**pod, "metadata": meta}, play.world.now)
    assert refused.value.code == 422


@pytest.mark.parametrize("log", FORMATS)
def test_every_format_says_something_new_each_step(log: str) -> None:
    play = Played(log=log, who="all").at(30)
    lines = [line for _, line in play.logs(play.names[0])]
    assert len(lines) == len(set(lines)) == 10
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)


def test_not_every_rank_prints_its_steps() -> None:
    assert [len(Played(who="first").at(30).logs(name, 1000)) for name in Played().names] == [30, 3, 3, 3]
    assert [len(Played(who="none").at(30).logs(name, 1000)) for name in Played().names] == [0] * 4
    assert all("telemetry" in Played(who="none", chatter=5).at(30).logs(name)[-1][1] for name in Played().names)


def test_ranks_are_counted_past_jobs_that_do_not_train() -> None:
    made = manifest(jobs=2, pods=2, who="last", log="tagged")
    made["spec"]["replicatedJobs"].insert(1, replicated_job("driver", pods=1))
    play = Played(made=made).at(30)
    steps = [name for name in play.names if "step=" in play.logs(name)[-1][1]] if play.logs(play.names[-1]) else []
    assert steps == [max(name for name in play.names if "-workers-" in name)]
    assert "[rank3]" in play.logs(steps[0])[-1][1]


def test_a_manifest_with_a_training_is_like_any_other() -> None:
    assert manifest()["kind"] == "JobSet"
