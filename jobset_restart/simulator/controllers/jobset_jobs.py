"""The Jobs and the Service a JobSet asks for: ``constructJob`` and ``createHeadlessSvcIfNecessary``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha1

from jobset_restart.simulator.controllers.jobset_children import JOBSET_NAME, REPLICATED_JOB, RESTARTS
from jobset_restart.simulator.store import Obj, Objs

EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
NODE_SELECTOR = "alpha.jobset.sigs.k8s.io/node-selector"
_PREFIX = "jobset.sigs.k8s.io/"


def job_name(jobset: Obj, replicated_job: Obj, index: int) -> str:
    """``GenJobName``."""
    return f"{jobset['metadata']['name']}-{replicated_job['name']}-{index}"


def subdomain_of(jobset: Obj) -> str:
    """``GetSubdomain``."""
    return str((jobset["spec"].get("network") or {}).get("subdomain") or jobset["metadata"]["name"])


def hostnames_enabled(jobset: Obj) -> bool:
    """``dnsHostnamesEnabled``."""
    return bool((jobset["spec"].get("network") or {}).get("enableDNSHostnames"))


def coordinator_endpoint(jobset: Obj) -> str:
    """``CoordinatorEndpoint``."""
    pod = jobset["spec"]["coordinator"]
    where = f"{pod.get('jobIndex', 0)}-{pod.get('podIndex', 0)}"
    return f"{jobset['metadata']['name']}-{pod['replicatedJob']}-{where}.{subdomain_of(jobset)}"


def owner_reference(jobset: Obj) -> Obj:
    """``SetControllerReference``."""
    owner = {"apiVersion": jobset["apiVersion"], "kind": "JobSet"}
    owner |= {"name": jobset["metadata"]["name"], "uid": jobset["metadata"]["uid"]}
    return owner | {"controller": True, "blockOwnerDeletion": True}


def headless_service(jobset: Obj) -> Obj:
    """The Service that gives the Pods their host names."""
    meta = jobset["metadata"]
    publish = (jobset["spec"].get("network") or {}).get("publishNotReadyAddresses", True)
    return {
        "metadata": {
            "name": subdomain_of(jobset),
            "namespace": meta["namespace"],
            "ownerReferences": [owner_reference(jobset)],
        },
        "spec": {
            "clusterIP": "None",
            "selector": {JOBSET_NAME: meta["name"]},
            "publishNotReadyAddresses": publish,
        },
    }


def construct_jobs(jobset: Obj, replicated_job: Obj, indexes: Iterable[int], restarts: int) -> Iterator[Obj]:
    """The Jobs of a ReplicatedJob with these indexes (``constructJob``, ``labelAndAnnotateObject``)."""
    meta, spec, template = jobset["metadata"], jobset["spec"], replicated_job["template"]
    before, in_group, shared = _shared_labels(jobset, replicated_job, restarts)
    exclusive = _exclusive_annotations(jobset, template)
    own = template.get("metadata") or {}
    for index in indexes:
        name = job_name(jobset, replicated_job, index)
        labels = shared | {
            f"{_PREFIX}job-index": str(index),
            f"{_PREFIX}job-key": sha1(f"{meta['namespace']}/{name}".encode()).hexdigest(),  # noqa: S324 - upstream's
            f"{_PREFIX}job-global-index": str(before + index),
            f"{_PREFIX}job-group-index": str(in_group + index),
        }
        annotations = labels | exclusive
        pod = template["spec"]["template"]
        pod_meta = pod.get("metadata") or {}
        marked = {"labels": (pod_meta.get("labels") or {}) | labels}
        marked["annotations"] = (pod_meta.get("annotations") or {}) | annotations
        job_annotations = (own.get("annotations") or {}) | annotations
        pod_spec = _pod_spec(jobset, pod["spec"], name, job_annotations)
        yield {
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": (own.get("labels") or {}) | labels,
                "annotations": job_annotations,
                "ownerReferences": [owner_reference(jobset)],
            },
            "spec": {
                **template["spec"],
                "suspend": bool(spec.get("suspend")),
                "template": {**pod, "metadata": {**pod_meta, **marked}, "spec": pod_spec},
            },
        }


def _shared_labels(jobset: Obj, replicated_job: Obj, restarts: int) -> tuple[int, int, dict[str, str]]:
    """(Jobs before this ReplicatedJob, the same within its group, labels all its Jobs share)."""
    replicated_jobs: Objs = jobset["spec"]["replicatedJobs"]
    place = next(at for at, each in enumerate(replicated_jobs) if each["name"] == replicated_job["name"])
    group = replicated_job.get("groupName", "")
    mates = [each for each in replicated_jobs if each.get("groupName", "") == group]
    earlier = replicated_jobs[:place]
    labels = {
        JOBSET_NAME: jobset["metadata"]["name"],
        f"{_PREFIX}jobset-uid": jobset["metadata"]["uid"],
        REPLICATED_JOB: replicated_job["name"],
        RESTARTS: str(restarts),
        f"{_PREFIX}replicatedjob-replicas": str(replicated_job["replicas"]),
        f"{_PREFIX}global-replicas": str(_replicas(replicated_jobs)),
        f"{_PREFIX}group-name": group,
        f"{_PREFIX}group-replicas": str(_replicas(mates)),
    }
    if jobset["spec"].get("coordinator"):
        labels[f"{_PREFIX}coordinator"] = coordinator_endpoint(jobset)
    return _replicas(earlier), _replicas([each for each in earlier if each in mates]), labels


def _replicas(replicated_jobs: Objs) -> int:
    return sum(each["replicas"] for each in replicated_jobs)


def _exclusive_annotations(jobset: Obj, template: Obj) -> dict[str, str]:
    """Exclusive placement asked for by the JobSet or, which wins, by the ReplicatedJob."""
    found: dict[str, str] = {}
    for source in (jobset, template):
        annotations = (source.get("metadata") or {}).get("annotations") or {}
        if EXCLUSIVE in annotations:
            found |= {key: annotations[key] for key in (EXCLUSIVE, NODE_SELECTOR) if key in annotations}
    return found


def _pod_spec(jobset: Obj, spec: Obj, name: str, annotations: dict[str, str]) -> Obj:
    """The Pod's spec with what the JobSet adds: subdomain, and the node selector of exclusive placement."""
    new = dict(spec)
    if hostnames_enabled(jobset):
        new["subdomain"] = subdomain_of(jobset)
    if EXCLUSIVE in annotations and NODE_SELECTOR in annotations:
        namespaced = f"{jobset['metadata']['namespace']}_{name}"
        new["nodeSelector"] = (spec.get("nodeSelector") or {}) | {"alpha.jobset.sigs.k8s.io/namespaced-job": namespaced}
        toleration = {"key": "alpha.jobset.sigs.k8s.io/no-schedule", "operator": "Exists", "effect": "NoSchedule"}
        new["tolerations"] = [*(spec.get("tolerations") or ()), toleration]
    return new


def resumed(job: Obj, pod_template: Obj) -> Obj:
    """A suspended Job set going, with what may have changed in its Pod template meanwhile (``resumeJob``)."""
    template = job["spec"]["template"]
    meta, spec = dict(template.get("metadata") or {}), dict(template["spec"])
    source = pod_template.get("metadata") or {}
    for field in ("labels", "annotations"):
        meta[field] = (meta.get(field) or {}) | (source.get(field) or {})
    selector = (spec.get("nodeSelector") or {}) | (pod_template["spec"].get("nodeSelector") or {})
    spec.pop("nodeSelector", None)
    if selector:
        spec["nodeSelector"] = selector
    for field in ("tolerations", "schedulingGates"):
        merged = _merged(spec.pop(field, None) or [], pod_template["spec"].get(field) or [])
        if merged:
            spec[field] = merged
    new_template = {**template, "metadata": meta, "spec": spec}
    return {**job, "spec": {**job["spec"], "suspend": False, "template": new_template}}


def _merged(old: Objs, new: Objs) -> Objs:
    """``MergeSlices``. It compares tolerationSeconds by address, so a toleration that has it comes in once more."""
    return [*old, *(each for each in new if each not in old or "tolerationSeconds" in each)]
