"""What a seed stands for: a JobSet, a command line, what goes wrong, what others do, how the client dies, and what
comes after."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

from msgspec import Struct, structs

from jobset_restart.simulator.faults import Fault
from jobset_restart.simulator.store import Obj
from tests.e2e import manifests as make
from tests.simulation.cluster import DEEDS, NAME
from tests.simulation.program import Death

LASTS = 150.0
"""Everything that goes wrong is over so many seconds after the first client began."""
TIMEOUT = 900
STEP_TIMEOUT = 20

REQUEST_FAULTS = (
    "unauthorized",
    "forbidden",
    "throttled",
    "error",
    "unavailable",
    "reset",
    "lost",
    "hang",
    "slow",
    "stale",
)
WATCH_FAULTS = ("watch-cut", "watch-stall", "watch-expired", "watch-error", "watch-doubled")
EXEC_FAULTS = ("exec-refused", "exec-cut", "exec-hang")
POD_FAULTS = ("exit", "crash", "stuck", "pull", "pull-error")


class Deed(Struct, frozen=True):
    """Somebody else does something to the JobSet, `at` seconds after the client began."""

    at: float
    what: str


class Scenario(Struct, frozen=True, kw_only=True):
    """`trouble` is what kinds of things go wrong. `rotates` is when the token is replaced, `skew` how much the client's
    clock is ahead, both in seconds. `resumes` says whether an unfinished operation is carried on with --resume or the
    restart is begun again. `falls_back`: what is sent in place is refused, and a second round recreates. `at_once` is
    how much may be down at once, "" for all. `replaces`: the Pods of a node leave it while the others restart in
    place. `escalates`: how far it may go for a slot that does not come back for
    long, or ever, "" where there is none such."""

    seed: int
    kind: str
    manifest: Obj
    nodes: int
    age: float
    options: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    deeds: tuple[Deed, ...] = ()
    death: Death | None = None
    rotates: float | None = None
    skew: float = 0.0
    resumes: bool = True
    falls_back: bool = False
    at_once: str = ""
    replaces: bool = False
    escalates: str = ""

    @property
    def allowed(self) -> tuple[str, ...]:
        """The options that allow more than what is asked for, which who carries on has to say again."""
        if self.falls_back:
            return ("--fallback", "recreate")
        if self.replaces:
            return ("--cordon",)
        return ("--escalate", self.escalates, "--step-timeout", f"{STEP_TIMEOUT}s") if self.escalates else ()

    @property
    def touches_pods(self) -> bool:
        """Whether Pods fail or stand still without the restart having to do with it."""
        return any(fault.group in ("pod", "node") for fault in self.faults)

    @property
    def only_transport(self) -> bool:
        """Whether only the way to the API server, or the client itself, was disturbed."""
        return not self.touches_pods and not self.deeds

    @property
    def moves(self) -> bool:
        """Whether Pods come and go by themselves."""
        return self.kind == "waves"

    @property
    def reference(self) -> str:
        """What the command line names the workload by."""
        return f"job/{NAME}" if self.manifest["kind"] == "Job" else NAME

    def title(self) -> str:
        faults = [f"{f.kind} {f.target} x{f.share:g} at {f.at:.1f}s for {f.lasts:.1f}s" for f in self.faults]
        deeds = [f"somebody {deed.what} it at {deed.at:.1f}s" for deed in self.deeds]
        end = [str(self.death)] if self.death else []
        more = [f"token rotated at {self.rotates:.1f}s"] if self.rotates is not None else []
        more += [f"clock {self.skew:+.0f}s"] if self.skew else []
        then = "then --resume" if self.resumes else "then again"
        command = " ".join(["jsr restart", self.reference, *self.options, *(self.allowed if self.escalates else ())])
        return f"{self.kind}, {command}; {'; '.join([*faults, *deeds, *more, *end, then])}"


def from_seed(seed: int) -> Scenario:
    """The scenario of a seed: the same for the same seed, as long as this file does not change."""
    return _paced(_as_a_job(_escalating(_replacing(_falling_back(_drawn(seed))))))


def _paced(scenario: Scenario) -> Scenario:
    """One in four: no more than so much is down at once."""
    draw = random.Random(f"pace {scenario.seed}")
    at_once = draw.choice(["1", "1", "2", "30%", "60%"])
    order = draw.choice([(), (), ("--order", draw.choice(["index", "job", "node", "replicated-job"]))])
    more = (*order, *draw.choice([(), (), ("--keep-going",), ("--canary", "1")]))
    fixed = scenario.falls_back or scenario.escalates or scenario.moves or {"native", "suspend"} & {*scenario.options}
    if draw.random() > 0.25 or fixed or (scenario.replaces and scenario.kind == "native"):
        return scenario
    at_once = "60%" if "pods" in scenario.options else at_once  # each Pod makes its Job wait for longer
    options = (*scenario.options, "--max-unavailable", at_once, *more)
    return structs.replace(scenario, options=options, at_once=at_once)


def _falling_back(scenario: Scenario) -> Scenario:
    """One in nine: everything that is sent in place is refused, and the client may die in the round that recreates."""
    draw = random.Random(f"fallback {scenario.seed}")
    if draw.random() > 0.11 or scenario.kind == "native":
        return scenario
    refused = Fault(kind="forbidden", at=0.0, lasts=draw.choice([LASTS, 10_000.0]), target="patch pods default/*")
    death = scenario.death
    if death is None and draw.random() < 0.6:
        death = Death(kind=draw.choice(["kill", "kill", "interrupt", "twice"]), at=draw.uniform(0.0, 8.0))
    options = ("--in-place", *draw.choice([(), (), ("--replicated-job", "workers")]), "--fallback", "recreate")
    more = {"options": options, "faults": (*scenario.faults, refused), "death": death, "falls_back": True}
    return structs.replace(scenario, **more)


def _replacing(scenario: Scenario) -> Scenario:
    """One in seven that may go in place: the Pods of a node leave it, which is cordoned for that."""
    draw = random.Random(f"replace {scenario.seed}")
    elsewhere = {"--recreate", "suspend", "jobs", "pods"} & {*scenario.options}
    if draw.random() > 0.15 or elsewhere or scenario.falls_back:
        return scenario
    via = "signal" if scenario.kind == "onfailure" and draw.random() < 0.5 else "image"
    kept = ("--in-place",) if scenario.kind == "native" else ("--in-place", "--via", via)
    options = (*kept, "--replace-node", draw.choice(["node-0", "node-1"]), "--cordon")
    if draw.random() < 0.85:
        for each in scenario.manifest["spec"]["replicatedJobs"]:
            job = each["template"]["spec"]
            job["backoffLimit"] = max(job["backoffLimit"], 20)  # with fewer the plan may be right to refuse
    return structs.replace(scenario, options=options, resumes=True, replaces=True, nodes=max(3, scenario.nodes))


def _escalating(scenario: Scenario) -> Scenario:
    """One in seven: containers of one place do not start, for a while or for ever, or none stops when it is told to.
    The restart may go on by itself. Of what else goes wrong only the way to the API server and the client's death are
    left, so that whatever is spent is spent by the restart."""
    draw = random.Random(f"escalate {scenario.seed}")
    if draw.random() > 0.15 or scenario.falls_back or scenario.replaces or scenario.moves:
        return scenario
    faults = [f for f in scenario.faults if f.group in ("request", "watch", "apiserver")]
    manifest = scenario.manifest
    if scenario.kind in ("never", "ordered", "groups") and draw.random() < 0.35:
        manifest = _deaf(manifest)
    else:
        names = [each["name"] for each in manifest["spec"]["replicatedJobs"]]
        target = f"default/{NAME}-{draw.choice(names)}-0-0-*"
        lasts = draw.choice([15.0, 25.0, 60.0, 100.0, 10_000.0])
        faults.append(Fault(kind="stuck", at=0.0, lasts=lasts, target=target))
    death = scenario.death
    if death is None and draw.random() < 0.5:
        kind = draw.choice(["kill", "kill", "interrupt", "twice"])
        death = Death(kind=kind, at=draw.choice([draw.uniform(0.0, 30.0), draw.uniform(18.0, 90.0)]))
    level = draw.choice(["force", "pod", "job", "workload", "workload"])
    more = {"faults": tuple(faults), "deeds": (), "death": death, "escalates": level}
    return structs.replace(scenario, manifest=manifest, **more)


def _deaf(manifest: Obj) -> Obj:
    """The same where programs do not notice that they are told to stop, with minutes to do so."""
    manifest = copy.deepcopy(manifest)
    for part in manifest["spec"]["replicatedJobs"]:
        spec = part["template"]["spec"]["template"]["spec"]
        spec["terminationGracePeriodSeconds"] = 120
        for container in spec["containers"]:
            container["command"] = ["sh", "-c", "trap '' TERM; sleep 100000; exit 3"]
    return manifest


def _as_a_job(scenario: Scenario) -> Scenario:
    """One in four where there is one ReplicatedJob: its Job, with nothing above it."""
    parts = scenario.manifest["spec"]["replicatedJobs"]
    draw = random.Random(f"job {scenario.seed}")
    if draw.random() > 0.25 or scenario.kind == "native" or len(parts) > 1:
        return scenario
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": NAME}, **parts[0]["template"]}
    words = " ".join(scenario.options).replace("--via jobs", "--via pods")
    part = "" if scenario.falls_back else "--job-index 0"  # a part can't be recreated where no failure is to spare
    words = words.replace("--replicated-job workers", part)
    faults = (replace(f, target=f.target.replace("jobsets", "jobs")) for f in scenario.faults)
    return structs.replace(scenario, manifest=manifest, options=tuple(words.split()), faults=tuple(faults))


def _drawn(seed: int) -> Scenario:
    draw = random.Random(f"scenario {seed}")
    kind = draw.choice(["never", "never", "onfailure", "native", "ordered", "groups", "waves"])
    manifest = _manifest(draw, kind)
    faults, deeds, death, rotates, skew = list[Fault](), list[Deed](), None, None, 0.0
    troubles = draw.choices(
        ["requests", "watch", "exec", "away", "node", "pods", "deeds", "death", "token", "skew"],
        weights=[5, 5, 2, 2, 1, 2, 2, 5, 1, 1],
        k=draw.choice([0, 1, 1, 2, 2, 3, 4]),
    )
    for trouble in dict.fromkeys(troubles):
        match trouble:
            case "requests":
                faults += [_request_fault(draw) for _ in range(draw.randint(1, 4))]
            case "watch":
                faults += [_fault(draw, draw.choice(WATCH_FAULTS)) for _ in range(draw.randint(1, 2))]
            case "exec":
                faults.append(_fault(draw, draw.choice(EXEC_FAULTS)))
            case "away":
                faults.append(Fault(kind="apiserver", at=draw.uniform(0.0, 4.0), lasts=draw.choice([3.0, 10.0, 30.0])))
            case "node":
                faults.append(
                    Fault(
                        kind="node",
                        at=draw.uniform(0.0, 4.0),
                        lasts=draw.uniform(5, 50),
                        target=draw.choice(["node-0", "node-1"]),
                    )
                )
            case "pods":
                faults.append(_fault(draw, draw.choice(POD_FAULTS), share=draw.choice([0.3, 1.0])))
            case "deeds":
                deeds.append(Deed(draw.uniform(0.0, 5.0), draw.choice(sorted(DEEDS))))
            case "death":
                death = _death(draw)
            case "token":
                rotates = draw.uniform(0.0, 6.0)
            case "skew":
                skew = draw.choice([-3600.0, -40.0, 40.0, 3600.0])
    return Scenario(
        seed=seed,
        kind=kind,
        manifest=manifest,
        nodes=draw.randint(2, 4),
        age=draw.choice([5.0, 60.0, 700.0]),
        options=_options(draw, kind),
        faults=tuple(faults),
        deeds=tuple(deeds),
        death=death,
        rotates=rotates,
        skew=skew,
        resumes=draw.random() < 0.75,
    )


def _manifest(draw: random.Random, kind: str) -> Obj:
    if kind == "native":
        return make.native(NAME, workers=draw.randint(1, 4), max_restarts=draw.choice([3, 10, 100]))
    pulls = {"imagePullPolicy": "Always"} if draw.random() < 0.15 else {}
    command = draw.choice(
        [make.handles_term(), make.handles_term(1), make.IGNORES_TERM, make.IGNORES_TERM, ["python", "train.py"]]
    )
    policy = "OnFailure" if kind == "onfailure" else "Never"
    backoff = draw.choice([6, 100, make.UNLIMITED]) if policy == "OnFailure" else draw.choice([0, 0, 6])
    job: dict[str, Any] = {"podReplacementPolicy": draw.choice(["Failed", "TerminatingOrFailed"])}
    common: dict[str, Any] = {
        "restart_policy": policy,
        "backoff_limit": backoff,
        "grace": draw.choice([0, 2, 8, 8]),
        "job": job,
    }

    def part(name: str, most: int, jobs: int = 1) -> Obj:
        return make.replicated_job(
            name, make.container(command=command, **pulls), pods=draw.randint(1, most), jobs=jobs, **common
        )

    if kind == "waves":
        at_once, after = draw.randint(1, 3), draw.choice([20, 45, 90])
        job["completions"] = at_once * draw.randint(2, 3)
        ends = make.container(command=make.exits(0, after))
        return make.jobset(NAME, make.replicated_job("workers", ends, pods=at_once, **common))
    if kind == "ordered":
        order = {"startupPolicyOrder": "InOrder"}
        return make.jobset(NAME, part("broker", 1), part("workers", 4), startupPolicy=order)
    if kind == "groups":
        return make.jobset(NAME, part("driver", 1), part("workers", 2, jobs=draw.randint(2, 3)))
    return make.jobset(NAME, part("workers", 6))


def _options(draw: random.Random, kind: str) -> tuple[str, ...]:
    how = {
        "native": [(), ("--in-place",), ("--via", "native"), ("--recreate",), ("--via", "image"), ("--via", "jobs")],
        "onfailure": [
            (),
            ("--in-place",),
            ("--via", "signal"),
            ("--recreate",),
            ("--via", "jobs"),
            ("--via", "suspend"),
        ],
    }.get(
        kind,
        [
            (),
            ("--in-place",),
            ("--via", "image"),
            ("--recreate",),
            ("--via", "suspend"),
            ("--via", "jobs"),
            ("--via", "pods"),
        ],
    )
    options = draw.choice(how)
    if draw.random() < 0.15 and options != ("--recreate",) and "suspend" not in options and "native" not in options:
        options += ("--replicated-job", "workers")
    if draw.random() < 0.1:
        options += ("--min-ready-seconds", str(draw.choice([1, 5])))
    if draw.random() < 0.1:
        options += ("--concurrency", "1")
    return options


def _fault(draw: random.Random, kind: str, share: float | None = None) -> Fault:
    at = draw.choice([0.0, draw.uniform(0.0, 0.1), draw.uniform(0.0, 3.0), draw.uniform(0.0, 10.0)])
    lasts = draw.choice([0.3, 1.0, 3.0, 10.0, 30.0, 130.0 if kind == "watch-stall" else 45.0])
    return Fault(
        kind=kind, at=at, lasts=min(lasts, LASTS - at), share=draw.choice([0.3, 1.0]) if share is None else share
    )


def _request_fault(draw: random.Random) -> Fault:
    kind = draw.choice(REQUEST_FAULTS)
    target = draw.choice(["*", "*", "patch *", "delete *", "get *", "list *", "patch jobsets*", "create *", "watch *"])
    at = draw.choice([0.0, draw.uniform(0.0, 3.0), draw.uniform(0.0, 3.0), draw.uniform(0.0, 8.0)])
    lasts = draw.choice([0.5, 2.0, 10.0, 25.0, 45.0])
    share = draw.choice([0.2, 0.5, 1.0]) if kind != "unauthorized" else draw.choice([0.1, 0.3])
    return Fault(kind=kind, at=at, lasts=lasts, target=target, share=share, seconds=draw.choice([1.0, 3.0]))


def _death(draw: random.Random) -> Death:
    kind = draw.choice(["kill", "kill", "kill", "interrupt", "twice", "fault"])
    if kind != "fault" and draw.random() < 0.4:
        return Death(kind=kind, at=draw.choice([draw.uniform(0.0, 3.0), draw.uniform(0.0, 12.0)]))
    return Death(kind=kind, step=int(draw.lognormvariate(4.5, 1.0)) + 1)
