"""What an operation cost: the time for which Pods and their devices did not work, and what was spent of budgets.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, structs

from jobset_restart.events import Budget

Amount = Annotated[float, Meta(ge=0, le=1e15)]
"""Seconds, summed over Pods: far more than any cluster can lose, and far from where sums of floats end."""


class Cost(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`pod_seconds` is for how long slots were down, summed over them; `resource_seconds` the same of each extended
    resource that their Pods ask for, times how many of it. `budgets` are those that something was spent of."""

    pod_seconds: Amount = 0.0
    resource_seconds: dict[str, Amount] = {}
    budgets: tuple[Budget, ...] = ()

    def and_then(self, later: Cost) -> Cost:
        """Both together: what one client spent, and what another did that carried its operation on."""
        found = {budget.name: budget for budget in self.budgets}
        for budget in later.budgets:
            first = found.get(budget.name, budget)
            found[budget.name] = structs.replace(budget, before=first.before)
        devices = dict(self.resource_seconds)
        for name, number in later.resource_seconds.items():
            devices[name] = round(devices.get(name, 0.0) + number, 3)
        return Cost(
            pod_seconds=round(self.pod_seconds + later.pod_seconds, 3),
            resource_seconds=devices,
            budgets=tuple(found.values()),
        )


def is_gpu(resource: str) -> bool:
    """Whether a resource is a GPU or a part of one, by its name: nvidia.com/gpu, amd.com/gpu, gpu.intel.com/xe,
    nvidia.com/mig-1g.10gb."""
    return "gpu" in resource.lower() or resource.startswith("nvidia.com/mig-")


def money(resource_seconds: Mapping[str, float], gpu_hour_price: float) -> float:
    """What the GPUs among these cost at this price for an hour of one, in its currency."""
    gpus = sum(seconds for name, seconds in resource_seconds.items() if is_gpu(name))
    return round(gpus / 3600 * gpu_hour_price, 4)
