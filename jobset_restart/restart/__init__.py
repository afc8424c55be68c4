"""Restarting: decide on a plan with evidence from the cluster, rehearse it on the server, carry it out."""

from jobset_restart.restart.evidence import decide, rehearse
from jobset_restart.restart.outline import carry_on_command
from jobset_restart.restart.planning import Asked, planned, planned_again, refusal
from jobset_restart.restart.tenure import Options, Tenure

__all__ = [
    "Asked",
    "Options",
    "Tenure",
    "carry_on_command",
    "decide",
    "planned",
    "planned_again",
    "refusal",
    "rehearse",
]
