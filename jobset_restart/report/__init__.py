"""What `jsr` says of a workload, a plan and a result, as Structs: the one shape behind tables, JSON and YAML.

Ages and durations are seconds; times are RFC 3339 strings. Every text that came from the cluster is kept as it
came; the views make it harmless.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobset_restart.events import APIVERSION, Budget
from jobset_restart.spans import NOTHING, Prediction
from jobset_restart.workloads.kinds import JOBSET


class Report(Struct, rename="camel"):
    pass


class AboutWorkload(Report, kw_only=True):
    """What a document is about: its kind and API group ("" for the core API), as Kubernetes names them."""

    workload_kind: str = JOBSET.kind
    workload_group: str = JOBSET.group


class FindingReport(Report, kw_only=True):
    """`severity` is blocker, warning or note; `allowed` tells a blocker that `--allow` let through."""

    id: str
    severity: str
    summary: str
    objects: list[str] = []
    todo: str = ""
    source: str = ""
    allowed: bool = False


class ReplicatedJobReport(Report, kw_only=True):
    """`ready` and `expected` count Pods; `jobs` counts the Jobs that are there, `expected_jobs` those that should be;
    `succeeded` counts completed indexes."""

    name: str
    ready: int
    expected: int
    jobs: int = 0
    expected_jobs: int = 0
    succeeded: int = 0
    container_restarts: int = 0
    nodes: int = 0


class NotReadyReport(Report, kw_only=True):
    """A slot that is not ready and why.

    `age` is the time in this state, or since its creation was last refused; `back_off` what is left of a
    CrashLoopBackOff.
    """

    slot: str
    state: str
    reason: str
    pod: str = ""
    node: str = ""
    container: str = ""
    message: str = ""
    restarts: int = 0
    age: float | None = None
    back_off: float | None = None


class BudgetReport(Report, kw_only=True):
    """A limit Kubernetes holds against the workload. `headroom` is what can still be spent before the object fails."""

    name: str
    limit: int
    used: int
    headroom: int
    meaning: str = ""


class LeftNodeReport(Report, kw_only=True):
    """A slot whose Pod was to leave a node: `node` is where its Pod is now, "" where it is nowhere."""

    slot: str
    previous_node: str
    node: str = ""


class OperationReport(Report, kw_only=True):
    """The claim or last record on the workload. `state` is running, lapsed (its client is gone),
    detached (its client left it running) or finished; `done` of the `total` slots of this `round` are back.
    `replaced` are those whose Pods were to leave a node, `cordoned` the nodes that were to be cordoned for that. `rung`
    is how far the round goes for slots that had not come back."""

    id: str
    owner: str
    strategy: str
    trigger: str
    state: str
    started: str = ""
    deadline: str = ""
    heartbeat: str = ""
    ended: str = ""
    exit_code: int | None = None
    reason: str = ""
    outcomes: dict[str, int] = {}
    done: int = 0
    total: int = 0
    phase: str = ""
    round: int = 1
    replaced: list[LeftNodeReport] = []
    cordoned: list[str] = []
    rung: str = ""


class Advice(Report, kw_only=True):
    """What `jsr restart NAME` would do now and why. `trigger` is empty where it would be refused. `prediction` is
    how long it should take; `predicted` and `predicted_most` are its `likely` and `high`. `follow` is the command that
    follows an operation under way, or carries on one that its client left."""

    strategy: str
    trigger: str
    reason: str
    command: str
    slots: int = 0
    writes: int = 0
    predicted: float = 0.0
    predicted_most: float = 0.0
    prediction: Prediction = NOTHING
    findings: list[FindingReport] = []
    follow: str = ""


class JobSetReport(AboutWorkload, kw_only=True):
    """`state` is Running, Starting, Degraded, Restarting, Suspended, Completed, Failed or Deleting; in a list also
    NotReady (somebody who may not read Pods cannot tell Starting from Degraded) and Unreadable, where `notes` say
    why. `context` is the kubeconfig context, "" where there is none (inside a Pod)."""

    api_version: str = APIVERSION
    kind: str = "JobSetStatus"
    name: str
    namespace: str
    context: str = ""
    uid: str = ""
    state: str
    ready: int
    expected: int
    age: float | None = None
    restart_strategy: str = ""
    restarts: int = 0
    restarts_towards_max: int = 0
    max_restarts: int = 0
    previous_in_place_attempt: int | None = None
    current_in_place_attempt: int | None = None
    container_restarts: int = 0
    replicated_jobs: list[ReplicatedJobReport] = []
    not_ready: list[NotReadyReport] = []
    budgets: list[BudgetReport] = []
    operation: OperationReport | None = None
    advice: Advice | None = None
    notes: list[str] = []


class JobSetReportList(Report, kw_only=True):
    """The workloads of a namespace, or of all where `namespace` is empty. `notes` say what is not shown, and why."""

    api_version: str = APIVERSION
    kind: str = "JobSetStatusList"
    context: str = ""
    namespace: str = ""
    items: list[JobSetReport] = []
    notes: list[str] = []


class SlotPlanReport(Report, kw_only=True):
    slot: str
    trigger: str
    reason: str
    pod: str = ""
    node: str = ""


class RungReport(Report, kw_only=True):
    """A rung that may follow for slots that do not come back, at its worst: for all `slots`, by this `trigger`, with
    what would be spent of each budget by then, rungs before it included. `refused` says what would stand against it as
    of now, "" where nothing does."""

    rung: str
    trigger: str
    slots: int
    budgets: list[Budget] = []
    refused: str = ""


class EvidencePlanReport(Report, kw_only=True):
    """What --capture would write before anything is changed: to `path`, of `slots` of the `expected` slots, for at most
    `seconds`. `odd` has those that come first, as far as that is known without a diagnosis, with what is odd."""

    path: str
    slots: int
    expected: int
    seconds: float
    odd: dict[str, list[str]] = {}


class EvidenceReport(Report, kw_only=True):
    """What --capture wrote before anything was changed: to `path`, of `captured` of the `expected` slots. `missing`
    counts what could not be had, `reason` says what cut it short; the index there says more."""

    path: str
    captured: int = 0
    expected: int = 0
    missing: int = 0
    complete: bool = False
    reason: str = ""
    seconds: float = 0.0


class PlanReport(AboutWorkload, kw_only=True):
    """What would be done. `actions` are the requests as they would be sent, `writes` their count. `prediction` is
    how long it should take; `predicted` and `predicted_most` are its `likely` and `high`. `unfinished` is an operation
    that another client left or died in, and that this one would replace. `escalation` is what may follow,
    with --escalate. `predicted_pod_seconds` and what follows it are the same as in a result, as far as can be
    foreseen."""

    api_version: str = APIVERSION
    kind: str = "RestartPlan"
    jobset: str
    namespace: str
    context: str = ""
    strategy: str
    trigger: str
    reason: str
    refused: bool = False
    predicted: float = 0.0
    predicted_most: float = 0.0
    prediction: Prediction = NOTHING
    predicted_pod_seconds: float = 0.0
    predicted_resource_seconds: dict[str, float] = {}
    predicted_gpu_cost: float | None = None
    writes: int = 0
    by_trigger: dict[str, int] = {}
    slots: list[SlotPlanReport] = []
    findings: list[FindingReport] = []
    budgets: list[Budget] = []
    escalation: list[RungReport] = []
    survives: list[str] = []
    lost: list[str] = []
    actions: list[dict[str, Any]] = []
    server_dry_run: str = ""
    unfinished: OperationReport | None = None
    capture: EvidencePlanReport | None = None


class SlotResultReport(Report, kw_only=True):
    """`outcome` is restarted, recreated, unchanged, failed, timed out or gone, as of the last `round` that restarted
    the slot; `previous_node` is where its Pod was, where the new one is elsewhere; `rung` is how far that had to go, ""
    where what was asked for itself did."""

    slot: str
    outcome: str
    pod: str = ""
    node: str = ""
    previous_pod: str = ""
    previous_node: str = ""
    reason: str = ""
    seconds: float | None = None
    round: int = 1
    rung: str = ""


class RoundReport(Report, kw_only=True):
    """One round of an operation: a plan that was carried out, and what came of it. `started` is RFC 3339, `slots`
    counts those it was for, `rung` is how far it went for slots that had not come back; `prediction` is None where this
    client did not make the plan."""

    round: int
    strategy: str
    trigger: str
    rung: str = ""
    started: str = ""
    seconds: float = 0.0
    prediction: Prediction | None = None
    slots: int = 0
    outcomes: dict[str, int] = {}
    reason: str = ""


class PassedReport(Report, kw_only=True):
    """A rung that was allowed and not taken, and why."""

    rung: str
    reason: str


class ResultReport(AboutWorkload, kw_only=True):
    """The outcome of one operation, the document of `jsr restart -o json`. `follow` is the command that carries on
    what was left running. `prediction` is how long all rounds were expected to take. `strategy` and `trigger` are
    those of the last round; `rounds` tells of each where there was more than one, `passed` of rungs that were allowed
    and not taken. `cordoned` and `tainted` are the nodes that the operation left so. With --until-progress,
    `step_before` is the step it stood at, `step_after` the first that was seen beyond it, `progress_seconds` how long
    after the beginning that was.

    `pod_seconds` is for how long slots were down, summed over them: each from what was sent for it until it was back.
    `resource_seconds` is the same of each extended resource (GPUs), times how many of it the Pods ask for; `gpu_cost`
    that of GPUs at the price that was given."""

    api_version: str = APIVERSION
    kind: str = "RestartResult"
    jobset: str
    namespace: str
    context: str = ""
    operation: str = ""
    strategy: str = ""
    trigger: str = ""
    exit_code: int
    reason: str = ""
    seconds: float = 0.0
    prediction: Prediction | None = None
    follow: str = ""
    writes: int = 0
    outcomes: dict[str, int] = {}
    budgets: list[Budget] = []
    pod_seconds: float = 0.0
    resource_seconds: dict[str, float] = {}
    gpu_cost: float | None = None
    rounds: list[RoundReport] = []
    passed: list[PassedReport] = []
    cordoned: list[str] = []
    tainted: list[str] = []
    slots: list[SlotResultReport] = []
    step_before: int | None = None
    step_after: int | None = None
    progress_seconds: float | None = None
    capture: EvidenceReport | None = None
