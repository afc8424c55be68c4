"""The kinds of workload by name: how the API serves them, what people call them, and what their Pods carry. Pure."""

from __future__ import annotations

import shlex

from msgspec import Struct

JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"


class WorkloadKind(Struct, frozen=True, kw_only=True):
    """One kind of workload as the API serves it.

    `names` are what people type besides the kind and the plural: the shortest first, and last the one that messages
    use. `label` is the label that its Pods carry with its name as the value: it finds them, and proves nothing.
    `install` says how a cluster gets the API.
    """

    kind: str
    group: str
    version: str
    plural: str
    names: tuple[str, ...]
    label: str
    install: str = ""

    @property
    def api_version(self) -> str:
        """ "batch/v1": what objects of this kind call their apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str | None) -> str:
        """The API path of the objects of a namespace, or of all (None)."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """The API path of one object."""
        return f"{self.collection(namespace)}/{name}"

    @property
    def resource(self) -> str:
        """The name that no other kind has: "jobsets.jobset.x-k8s.io" (kubectl's fully qualified resource)."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def word(self) -> str:
        """What commands in messages call it, kubectl's included: "jobset", "vcjob"."""
        return self.names[-1]

    def called(self, name: str) -> bool:
        """Whether kubectl would take `name` for this kind: its kind, plural or short names in any case, alone or
        qualified by group ("job.batch") or by version and group ("jobs.v1.batch")."""
        word, _, rest = name.lower().partition(".")
        if word not in {self.kind.lower(), self.plural, *self.names}:
            return False
        return rest in ({"", self.group, f"{self.version}.{self.group}"} if self.group else {"", self.version})


POD = WorkloadKind(kind="Pod", group="", version="v1", plural="pods", names=("po", "pod"), label="")
"""Pods themselves, chosen by their labels. No workload, so not among the WORKLOAD_KINDS."""
LEASE = WorkloadKind(
    kind="Lease", group="coordination.k8s.io", version="v1", plural="leases", names=("lease",), label=""
)
"""What carries the claim where Pods belong to no object together. Nobody restarts one."""

JOBSET = WorkloadKind(
    kind="JobSet",
    group="jobset.x-k8s.io",
    version="v1alpha2",
    plural="jobsets",
    names=("js", "jobset"),
    label=JOBSET_NAME,
    install="kubectl apply --server-side -f "
    "https://github.com/kubernetes-sigs/jobset/releases/latest/download/manifests.yaml",
)
JOB = WorkloadKind(
    kind="Job",
    group="batch",
    version="v1",
    plural="jobs",
    names=("job",),
    label="batch.kubernetes.io/job-name",
)
LEADER_WORKER_SET = WorkloadKind(
    kind="LeaderWorkerSet",
    group="leaderworkerset.x-k8s.io",
    version="v1",
    plural="leaderworkersets",
    names=("leaderworkerset", "lws"),
    label="leaderworkerset.sigs.k8s.io/name",
    install="kubectl apply --server-side -f "
    "https://github.com/kubernetes-sigs/lws/releases/latest/download/manifests.yaml",
)
RAY_CLUSTER = WorkloadKind(
    kind="RayCluster",
    group="ray.io",
    version="v1",
    plural="rayclusters",
    names=("ray", "raycluster"),
    label="ray.io/cluster",
    install="helm install kuberay-operator kuberay/kuberay-operator",
)
RAY_JOB = WorkloadKind(
    kind="RayJob",
    group="ray.io",
    version="v1",
    plural="rayjobs",
    names=("rayjob",),
    label="ray.io/cluster",
    install=RAY_CLUSTER.install,
)
TRAIN_JOB = WorkloadKind(
    kind="TrainJob",
    group="trainer.kubeflow.org",
    version="v1alpha1",
    plural="trainjobs",
    names=("tj", "trainjob"),
    label=JOBSET_NAME,
    install="kubectl apply --server-side -k "
    "https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=master",
)
VOLCANO_JOB = WorkloadKind(
    kind="Job",
    group="batch.volcano.sh",
    version="v1alpha1",
    plural="jobs",
    names=("vj", "vcjobs", "vcjob"),
    label="volcano.sh/job-name",
    install="kubectl apply -f https://raw.githubusercontent.com/volcano-sh/volcano/master/installer/volcano-development.yaml",
)

WORKLOAD_KINDS = (JOBSET, JOB, LEADER_WORKER_SET, RAY_CLUSTER, RAY_JOB, TRAIN_JOB, VOLCANO_JOB)
"""Where a name fits more than one, as "job" fits the Jobs of batch and of Volcano, the first is meant."""


def reference(kind: str, group: str, name: str) -> str:
    """What a command line names a workload by, quoted for a shell: "lws/serving", "pods -l app=web"; a JobSet, and what
    is of no known kind, by its name."""
    if (kind, group) == (POD.kind, POD.group):
        return shlex.join((POD.plural, "-l", name))
    found = next((each for each in WORKLOAD_KINDS if (each.kind, each.group) == (kind, group)), JOBSET)
    return shlex.quote(name if found is JOBSET else f"{found.word}/{name}")


def title(kind: str, group: str) -> str:
    """How lists call a kind: with its group where a kind before it is called the same, "Job.batch.volcano.sh"."""
    first = next((each for each in WORKLOAD_KINDS if each.kind == kind), None)
    return f"{kind}.{group}" if first is not None and first.group != group and group else kind


def kind_called(name: str) -> WorkloadKind | None:
    """The kind that people call so, None where there is none."""
    return next((kind for kind in WORKLOAD_KINDS if kind.called(name)), None)
