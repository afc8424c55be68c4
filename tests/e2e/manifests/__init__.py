"""The JobSets of the scenarios, built from few words.

Only images that every test cluster has are used; JSR_TEST_IMAGE and JSR_TEST_AGENT_IMAGE name others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

IMAGE = os.environ.get("JSR_TEST_IMAGE") or "docker.io/library/busybox:1.36"
AGENT_IMAGE = os.environ.get("JSR_TEST_AGENT_IMAGE") or "docker.io/library/agent:1"
UNLIMITED = 2**31 - 1

IGNORES_TERM = ["sleep", "infinity"]


def handles_term(exit_code: int = 143) -> list[str]:
    """A PID 1 that ends with this code when it is told to."""
    return ["sh", "-c", f"trap 'exit {exit_code}' TERM; while :; do date; sleep 1 & wait $!; done"]


def exits(exit_code: int, after: int) -> list[str]:
    """A PID 1 that ends by itself after so many seconds."""
    return ["sh", "-c", f"sleep {after}; exit {exit_code}"]


def container(name: str = "worker", command: list[str] | None = None, **more: Any) -> Manifest:
    return {"name": name, "image": IMAGE, "command": command or handles_term(), **more}


def replicated_job(
    name: str = "workers",
    *containers: Manifest,
    jobs: int = 1,
    pods: int = 2,
    restart_policy: str = "Never",
    backoff_limit: int = 0,
    grace: int = 2,
    node: str = "",
    job: Manifest | None = None,
    pod: Manifest | None = None,
) -> Manifest:
    """`jobs` Jobs of `pods` Pods each. `grace` is seconds; `node` binds the Pods to a node; `job` and `pod` are more
    fields of the two specs."""
    placed = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    pod_spec = {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "containers": list(containers) or [container()],
        **placed,
        **(pod or {}),
    }
    job_spec = {
        "parallelism": pods,
        "completions": pods,
        "completionMode": "Indexed",
        "backoffLimit": backoff_limit,
        "template": {"spec": pod_spec},
        **(job or {}),
    }
    return {"name": name, "replicas": jobs, "template": {"spec": job_spec}}


def jobset(name: str, *replicated_jobs: Manifest, max_restarts: int = 3, **spec: Any) -> Manifest:
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": {"maxRestarts": max_restarts},
            "replicatedJobs": list(replicated_jobs) or [replicated_job()],
            **spec,
        },
    }


def native(
    name: str, *, driver_node: str = "", workers_node: str = "", workers: int = 3, max_restarts: int = 100
) -> Manifest:
    """A JobSet that restarts in place through its own controller: a driver and workers, agents as sidecars."""
    restart_all = {"action": "RestartAllContainers"}
    agent = {
        "name": "agent",
        "image": AGENT_IMAGE,
        "restartPolicy": "Always",
        "restartPolicyRules": [{**restart_all, "exitCodes": {"operator": "In", "values": [1]}}],
        "env": [
            _from_field("JOBSET_NAME", "metadata.annotations['jobset.sigs.k8s.io/jobset-name']"),
            _from_field("POD_NAME", "metadata.name"),
        ],
        "startupProbe": {
            "httpGet": {"path": "/barrier-is-down", "port": 8081},
            "failureThreshold": 600,
            "periodSeconds": 1,
        },
    }
    worker = container(
        restartPolicy="Never",
        restartPolicyRules=[{**restart_all, "exitCodes": {"operator": "NotIn", "values": [0]}}],
    )
    pod = {"serviceAccountName": "agent", "automountServiceAccountToken": True, "initContainers": [agent]}
    job = {"podReplacementPolicy": "Failed"}

    def part(part_name: str, pods: int, node: str) -> Manifest:
        return replicated_job(part_name, worker, pods=pods, backoff_limit=UNLIMITED, node=node, job=job, pod=pod)

    manifest = jobset(name, part("driver", 1, driver_node), part("workers", workers, workers_node))
    manifest["spec"]["failurePolicy"] = {"maxRestarts": max_restarts, "restartStrategy": "InPlaceRestart"}
    return manifest


def _from_field(name: str, field: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}


def access(name: str) -> list[Manifest]:
    """A ServiceAccount, a Role and their RoleBinding, from the file of that name beside this one."""
    return documents(name)


def documents(name: str) -> list[Manifest]:
    """The objects of the file of that name beside this one."""
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


def job(name: str, *containers: Manifest, **fields: Any) -> Manifest:
    """A plain Job; `fields` are those of `replicated_job`."""
    template = replicated_job(name, *containers, **fields)["template"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, **template}
