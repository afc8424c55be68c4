"""What a Pod asks of its node beyond CPU and memory: GPUs and other extended resources. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jobset_restart.objects import PodSpec

MOST = 1e9
"""More of a resource than any node has; what says more is no quantity."""
_QUANTITY = re.compile(r"\+?([0-9]{1,15}(?:\.[0-9]{0,9})?)(?:([kMGTPE])|([KMGTPE]i)|[eE]\+?([0-9]{1,2}))?", re.ASCII)
_DECIMAL = {letter: 1000.0 ** (power + 1) for power, letter in enumerate("kMGTPE")}
_BINARY = {f"{letter}i": 1024.0 ** (power + 1) for power, letter in enumerate("KMGTPE")}


def quantity(text: object) -> float:
    """The number that a quantity of an extended resource stands for (apimachinery, resource.Quantity); 0 for what is
    none, or no possible number of devices."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return 0.0
    number, decimal, binary, exponent = found.groups()
    value = float(number) * _DECIMAL.get(decimal, 1.0) * _BINARY.get(binary, 1.0) * 10.0 ** int(exponent or 0)
    return value if value <= MOST else 0.0


def extended(name: str) -> bool:
    """Whether a resource is an extended one: with a domain, and not Kubernetes' own (component-helpers,
    IsExtendedResourceName)."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def requested(spec: PodSpec, containers: Collection[str] = ()) -> dict[str, float]:
    """The extended resources that a Pod is scheduled for, by name; of these containers alone where any are named.

    Containers and sidecars run side by side; an init container beside the sidecars that come before it; what counts is
    the larger of the two, and the Pod's overhead (component-helpers, resource.PodRequests)."""
    if containers:
        named = (c for c in (*spec.containers, *spec.init_containers) if c.name in containers)
        return _sum(_extended(c.resources.requests) for c in named)
    sidecars: dict[str, float] = {}
    most: dict[str, float] = {}
    for each in spec.init_containers:
        own = _extended(each.resources.requests)
        if each.restart_policy == "Always":
            sidecars = _sum((sidecars, own))
            own = {}
        most = _larger(most, _sum((sidecars, own)))
    running = _sum((sidecars, *(_extended(c.resources.requests) for c in spec.containers)))
    return _sum((_larger(most, running), _extended(spec.overhead)))


def _extended(requests: Mapping[str, Any]) -> dict[str, float]:
    found = ((name, quantity(value)) for name, value in requests.items() if extended(name))
    return {name: number for name, number in found if number}


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0.0) + number
    return total


def _larger(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: max(one.get(name, 0.0), other.get(name, 0.0)) for name in {**one, **other}}
