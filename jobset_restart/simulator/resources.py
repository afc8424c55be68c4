"""The resources that the embedded cluster serves, and what the API says about each. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Resource(NamedTuple):
    """What the API says about one resource."""

    group: str
    version: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    has_generation: bool = False
    status_metadata: bool = True
    """Whether a write to /status may change labels, annotations and finalizers (custom resources: no)."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


_RBAC = "rbac.authorization.k8s.io"
RESOURCES: dict[str, Resource] = {
    "pods": Resource("", "v1", "Pod", has_status=True, has_generation=True),
    "nodes": Resource("", "v1", "Node", namespaced=False, has_status=True),
    "jobs": Resource("batch", "v1", "Job", has_status=True, has_generation=True),
    "jobsets": Resource(
        "jobset.x-k8s.io", "v1alpha2", "JobSet", has_status=True, has_generation=True, status_metadata=False
    ),
    "events": Resource("", "v1", "Event"),
    "namespaces": Resource("", "v1", "Namespace", namespaced=False, has_status=True),
    "services": Resource("", "v1", "Service", has_status=True),
    "serviceaccounts": Resource("", "v1", "ServiceAccount"),
    "configmaps": Resource("", "v1", "ConfigMap"),
    "secrets": Resource("", "v1", "Secret"),
    "roles": Resource(_RBAC, "v1", "Role"),
    "rolebindings": Resource(_RBAC, "v1", "RoleBinding"),
    "clusterroles": Resource(_RBAC, "v1", "ClusterRole", namespaced=False),
    "clusterrolebindings": Resource(_RBAC, "v1", "ClusterRoleBinding", namespaced=False),
    "resourcequotas": Resource("", "v1", "ResourceQuota", has_status=True),
    "leases": Resource("coordination.k8s.io", "v1", "Lease"),
}


def qualified(resource: str) -> str:
    """``jobs.batch``: how messages name a resource."""
    group = RESOURCES[resource].group
    return f"{resource}.{group}" if group else resource
