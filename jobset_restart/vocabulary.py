"""The words for a restart that people type, and that documents and records hold."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["in-place", "recreate"]
"""What is asked for: the containers of the same Pods start again, or Pods are made anew."""

OrderName = Literal["replicated-job", "job", "index", "node"]
"""By what slots are put in order, where they are restarted one after another."""

TriggerName = Literal[
    "native", "image", "signal", "force", "suspend", "restart", "jobs", "group", "pods", "rollout", "requeue"
]
"""The ways to cause a restart, best first; each is an object in jobset_restart.triggers."""

Rung = Literal["force", "pod", "job", "workload"]
RUNGS: tuple[Rung, ...] = ("force", "pod", "job", "workload")
"""How far a restart may go by itself for slots that do not come back, least first: what can still be done inside a
container; a new Pod; a new unit of the workload (in a JobSet a Job); all of the workload anew."""
