"""Versions of Kubernetes that the cluster can stand for: what differs between them, as data.

Each as it comes, with the feature gates at their defaults (pkg/features/kube_features.go), and what was measured on it.
"""

from __future__ import annotations

from typing import NamedTuple

RULES, RESTART_ALL = "ContainerRestartRules", "RestartAllContainersOnContainerExits"


class Version(NamedTuple):
    """``gates``: those of ``RULES`` and ``RESTART_ALL`` that are on. ``declared``: what nodes declare as features."""

    git: str
    gates: frozenset[str]
    declared: tuple[str, ...]

    @property
    def minor(self) -> str:
        return self.git.split(".")[1]


_BOTH = frozenset({RULES, RESTART_ALL})
_RESIZING = ("InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers")
VERSIONS = {
    "1.33": Version("v1.33.13", frozenset(), ()),
    "1.35": Version("v1.35.4", frozenset({RULES}), ()),
    "1.36": Version("v1.36.2", _BOTH, ("ExtendWebSocketsToKubelet", RESTART_ALL)),
    "1.37": Version("v1.37.2", _BOTH, ("ExtendWebSocketsToKubelet", *_RESIZING, RESTART_ALL)),
}
DEFAULT = "1.36"
