"""The options for what a restart is said to cost, and where that is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from jobset_restart.errors import UsageError

MOST_PRICE = 1e6


@dataclass(frozen=True, kw_only=True)
class GpuPrice:
    """What an hour of a GPU costs."""

    gpu_hour_price: Annotated[
        float | None, typer.Option(metavar="PRICE", help="Say what it costs that GPUs are down, at PRICE for an hour.")
    ] = None

    def check(self) -> None:
        """Raises UsageError."""
        price = self.gpu_hour_price
        if price is not None and not (math.isfinite(price) and 0 <= price <= MOST_PRICE):
            raise UsageError(f"--gpu-hour-price {price:g} is not a price", "write what an hour of one GPU costs: 2.5")


@dataclass(frozen=True, kw_only=True)
class Accounting(GpuPrice):
    """What it costs, and a file that says so."""

    metrics_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write what came out to this file, for Prometheus.")
    ] = None
