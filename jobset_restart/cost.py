"""What an operation cost: the time for which Pods did not work, and what was spent of budgets. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from jobset_restart.events import Budget

Amount = Annotated[float, Meta(ge=0, le=1e15)]
"""Seconds, summed over Pods: far more than any cluster can lose, and far from where sums of floats end."""


class Cost(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`pod_seconds` is for how long slots were down, summed over them. `budgets` are those that something was spent
    of."""

    pod_seconds: Amount = 0.0
    budgets: tuple[Budget, ...] = ()

    def and_then(self, later: Cost) -> Cost:
        """Both together: what one client spent, and what another did that carried its operation on."""
        found = {budget.name: budget for budget in self.budgets}
        for budget in later.budgets:
            first = found.get(budget.name, budget)
            found[budget.name] = structs.replace(budget, before=first.before)
        return Cost(pod_seconds=round(self.pod_seconds + later.pod_seconds, 3), budgets=tuple(found.values()))
