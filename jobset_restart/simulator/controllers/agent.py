"""The in-place-restart agent (sigs.k8s.io/jobset/cmd/in-place-restart-agent): what it decides, as a pure function.

A container is an agent's if its image's last part is ``agent`` or ``in-place-restart-agent``, or its environment has
JOBSET_NAME and POD_NAME. That its ServiceAccount may read JobSets and patch Pods is taken for granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from jobset_restart.simulator.controllers.environment import environment
from jobset_restart.simulator.controllers.images import last_part
from jobset_restart.simulator.controllers.programs import Program, Step
from jobset_restart.simulator.store import Obj

ATTEMPT = "jobset.sigs.k8s.io/in-place-restart-attempt"
DISABLE = "jobset.sigs.k8s.io/disable-in-place-restart"
JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
IMAGES = ("agent", "in-place-restart-agent")
PROGRAM = Program("agent", (Step(inf),), caught={2: 130, 15: 143})
_DIES = Program("agent", code=1)


@dataclass(slots=True)
class Agent:
    """A running agent. ``worker`` is its WORKER_COMMAND (main container mode), "" as a sidecar."""

    jobset: str
    worker: str
    exit_code: int
    path: str
    due: float
    """When it acts next; ``inf``: when its JobSet changes."""
    attempt: int | None = None
    lifted: bool = False


class Move(NamedTuple):
    """What an agent does now: annotate its Pod, exit, lift its barrier."""

    annotate: int | None = None
    exits: int | None = None
    lifts: bool = False


def is_agent(spec: Obj) -> bool:
    names = {each["name"] for each in spec.get("env") or ()}
    return {"JOBSET_NAME", "POD_NAME"} <= names or last_part(spec["image"]) in IMAGES


def agent(spec: Obj, pod: Obj, due: float) -> tuple[Agent | None, Program]:
    """The agent a container starts, and its process; without what it needs it exits 1 (``parseEnvOrDie``)."""
    env = environment(spec, pod)
    path, port = env.get("STARTUP_PROBE_PATH", ""), env.get("STARTUP_PROBE_PORT", "")
    worker, code = env.get("WORKER_COMMAND", ""), env.get("IN_PLACE_RESTART_EXIT_CODE", "") or "1"
    without_token = pod["spec"].get("automountServiceAccountToken") is False
    lacking = without_token or not env.get("JOBSET_NAME") or not env.get("POD_NAME")
    if lacking or not code.isdigit() or (worker and (path or port)):
        return None, _DIES
    return Agent(env["JOBSET_NAME"], worker, int(code), path or "/barrier-is-down", due), PROGRAM


def decide(agent: Agent, jobset: Obj | None) -> Move:
    """``InPlaceRestartAgent.Reconcile``."""
    if jobset is None:
        return Move()
    if relevant(jobset)[2]:
        return Move(lifts=not agent.lifted)
    current, previous, _ = relevant(jobset)
    annotate, attempt = None, agent.attempt
    if attempt is None:
        annotate = attempt = 0 if current is None else current + 1
    if previous is not None and attempt <= previous:
        return Move(annotate, exits=agent.exit_code)
    return Move(annotate, lifts=not agent.lifted and attempt == current)


def relevant(jobset: Obj) -> tuple[int | None, int | None, bool]:
    """What an agent looks at: current attempt, previous attempt, whether it is bypassed (``shouldBypassBarrier``)."""
    status = jobset.get("status") or {}
    policy = jobset["spec"].get("failurePolicy") or {}
    bypassed = DISABLE in (jobset["metadata"].get("annotations") or {})
    bypassed = bypassed or policy.get("restartStrategy") != "InPlaceRestart"
    return status.get("currentInPlaceRestartAttempt"), status.get("previousInPlaceRestartAttempt"), bypassed
