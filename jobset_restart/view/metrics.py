"""What came of a restart as metrics in the text format of Prometheus. Pure.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from jobset_restart.progress import Quantiles
from jobset_restart.report import ResultReport

FIRST_LINE = "# HELP jsr_restart_"
"""How every such file begins."""
Sample = tuple[Mapping[str, str], float]


class Attempt(Struct, frozen=True, kw_only=True):
    """A restart as it was asked for, and how it ended: `time` is seconds since the epoch. `result` is None where it was
    refused, or failed before there was any."""

    kind: str
    namespace: str
    name: str
    exit_code: int
    time: float
    result: ResultReport | None = None
    phases: Mapping[str, Quantiles] = {}


def metrics(attempt: Attempt) -> str:
    """The whole file. Every sample names the workload; all are gauges of the last restart."""
    about = {"kind": attempt.kind, "namespace": attempt.namespace, "name": attempt.name}
    lines: list[str] = []
    for name, text, samples in (*_always(attempt), *(_of(attempt.result) if attempt.result else ()), *_phases(attempt)):
        found = list(samples)
        if not found:
            continue
        full = f"jsr_restart_{name}"
        lines += [f"# HELP {full} {_help(text)}", f"# TYPE {full} gauge"]
        lines += [f"{full}{{{_labels({**about, **labels})}}} {_number(value)}" for labels, value in found]
    return "\n".join(lines) + "\n"


Family = tuple[str, str, Iterable[Sample]]


def _always(attempt: Attempt) -> Iterator[Family]:
    yield "exit_code", "The exit code of the last jsr restart.", [({}, attempt.exit_code)]
    yield "success", "Whether every slot came back.", [({}, attempt.exit_code == 0)]
    yield "timestamp_seconds", "When the last jsr restart ended.", [({}, attempt.time)]


def _of(result: ResultReport) -> Iterator[Family]:
    how = {"operation": result.operation, "strategy": result.strategy, "trigger": result.trigger}
    yield "info", "Which operation it was, and how it restarted.", [(how, 1)]
    yield "duration_seconds", "How long it took.", [({}, result.seconds)]
    yield "writes", "How many writes the API server accepted.", [({}, result.writes)]
    yield "slots", "Slots by outcome.", [({"outcome": what}, number) for what, number in result.outcomes.items()]
    yield "rounds", "How many rounds it took.", [({}, max(1, len(result.rounds)))]
    rounds = [
        (
            {"round": str(each.round), "strategy": each.strategy, "trigger": each.trigger, "rung": each.rung},
            each,
        )
        for each in result.rounds
    ]
    yield "round_seconds", "How long each round took.", [(labels, each.seconds) for labels, each in rounds]
    yield (
        "round_slots",
        "Slots by round and outcome.",
        [({**labels, "outcome": o}, number) for labels, each in rounds for o, number in each.outcomes.items()],
    )
    rungs: dict[str, int] = {}
    for slot in result.slots:
        if slot.rung:
            rungs[slot.rung] = rungs.get(slot.rung, 0) + 1
    yield "rung_slots", "Slots by the rung that it took.", [({"rung": rung}, n) for rung, n in rungs.items()]
    yield "pod_down_seconds", "For how long slots were down, summed over them.", [({}, result.pod_seconds)]
    yield (
        "resource_down_seconds",
        "The same of each extended resource, times how many of it the Pods ask for.",
        [({"resource": name}, number) for name, number in result.resource_seconds.items()],
    )
    if result.gpu_cost is not None:
        yield "gpu_cost", "What it cost that GPUs were down, at the price given.", [({}, result.gpu_cost)]
    yield "budget_used", "What is used of a budget now.", [({"budget": b.name}, b.after) for b in result.budgets]
    yield "budget_limit", "What a budget allows.", [({"budget": b.name}, b.limit) for b in result.budgets]


def _phases(attempt: Attempt) -> Iterator[Family]:
    yield (
        "phase_seconds",
        "How long slots took by phase: quantiles.",
        [
            ({"phase": phase.replace(" ", "_"), "quantile": quantile}, value)
            for phase, found in attempt.phases.items()
            for quantile, value in (("0.5", found.p50), ("0.9", found.p90), ("1", found.most))
        ],
    )


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_value(value)}"' for name, value in labels.items())


def _value(text: str) -> str:
    harmless = text.encode("utf-8", "replace").decode()  # half of a surrogate pair is no UTF-8
    return harmless.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
