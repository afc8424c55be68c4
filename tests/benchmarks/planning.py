"""`python -m tests.benchmarks.planning [PODS ...]`: what planning, tracking, carrying on and showing cost per Pod,
without a cluster. Linear: the time per Pod stays about the same as the number of Pods grows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from jobset_restart import claim
from jobset_restart.case import Evidence
from jobset_restart.claim import Record
from jobset_restart.objects import Job, JobSet, Pod
from jobset_restart.plan import Plan, Request, Selection, make
from jobset_restart.report.jobset import jobset_report, line_report
from jobset_restart.resume import carry_on
from jobset_restart.snapshot import Snapshot, take
from jobset_restart.track import Tracker
from jobset_restart.workloads.jobset import JobSetWorkload
from tests import build

SIZES = (1_000, 5_000, 20_000)
LATER = "2026-01-01T01:00:05Z"
Shape = tuple[JobSet, list[Job], list[Pod]]


def one_job(size: int) -> Shape:
    """All Pods in one Indexed Job."""
    of = build.jobset(pods=size, restart_policy="OnFailure", backoff_limit=10**9)
    return of, [build.job(of)], [build.pod(i, node=f"node-{i % 50}") for i in range(size)]


def many_jobs(size: int) -> Shape:
    """As many Jobs of one Pod each."""
    of = build.jobset(replicas=size, pods=1, restart_policy="OnFailure", backoff_limit=10**9)
    jobs = [build.job(of, i) for i in range(size)]
    return of, jobs, [build.pod(0, job=i, node=f"node-{i % 50}") for i in range(size)]


def without_indexes(size: int) -> Shape:
    """All Pods in one NonIndexed Job."""
    of = build.jobset(job_spec={"completionMode": "NonIndexed", "parallelism": size, "completions": None})
    pods = [build.pod(0, name=f"pod-{i}") for i in range(size)]
    for pod in pods:
        pod.metadata.labels.completion_index = ""
    return of, [build.job(of)], pods


SHAPES = {"one Job": one_job, "Jobs of one Pod": many_jobs, "one Job without indexes": without_indexes}


def look(shape: Shape) -> Snapshot:
    nodes = {f"node-{i}": build.node(f"node-{i}") for i in range(50)}
    jobset, jobs, pods = shape
    return take(JobSetWorkload(jobset), jobs, pods, nodes, build.NOW)


def plan(snapshot: Snapshot, via: str, **request: object) -> Plan:
    allow = ("JSR202", "JSR206", "JSR401", "JSR402", "JSR405")
    return make(snapshot, Request(via=via, allow=allow, **request), "op1", Evidence())  # type: ignore[arg-type]


def lost(snapshot: Snapshot) -> Plan:
    """All Pods on machines declared down."""
    return plan(snapshot, "image", node_down=tuple(f"node-{i}" for i in range(50)))


def named(snapshot: Snapshot) -> Plan:
    """Every Pod by its name."""
    pods = frozenset(s.pod.metadata.name for s in snapshot.slots.values() if s.pod)
    return plan(snapshot, "image", selection=Selection(pods=pods))


def resumed(snapshot: Snapshot) -> Plan:
    record = Record(id="0123abcd", owner="ann", trigger="pods", strategy="recreate", state="detached")
    record.started = claim.timestamp(build.NOW)
    return carry_on(snapshot, record, allow=("JSR202",))


def tracked(shape: Shape) -> None:
    """A suspend restart: every Pod goes, every Pod comes."""
    _, jobs, pods = shape
    tracker = Tracker(plan(look(shape), "suspend"), build.NOW)
    tracker.sent_all(build.NOW)
    for pod in pods:
        tracker.observe(pod, build.NOW + 1, deleted=True)
    for number, pod in enumerate(pods):
        new = build.pod(0, name=f"new-{number}", job_uid=pod.metadata.owner_references[0].uid, created=LATER)
        new.metadata.labels.completion_index = pod.metadata.labels.completion_index
        tracker.observe(new, build.NOW + 2)
        if number % 100 == 0:
            tracker.observe_child(jobs[min(number, len(jobs) - 1)], build.NOW + 2)
            tracker.tick(build.NOW + 2)
    assert tracker.done


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(name: str, size: int) -> dict[str, float]:
    """CPU seconds of each kind of work for so many Pods of this shape."""
    shape = SHAPES[name](size)
    snapshot = look(shape)
    return {
        "snapshot": seconds(lambda: look(shape)),
        "plan, image": seconds(lambda: plan(snapshot, "image")),
        "plan, pods": seconds(lambda: plan(snapshot, "pods")),
        "plan, jobs": seconds(lambda: plan(snapshot, "jobs")),
        "plan, machines down": seconds(lambda: lost(look(shape))),
        "plan, Pods by name": seconds(lambda: named(snapshot)),
        "resume, pods": seconds(lambda: resumed(look(shape))),
        "report": seconds(lambda: jobset_report(snapshot)),
        "line of a list": seconds(lambda: line_report(JobSetWorkload(shape[0]), shape[1], build.NOW)),
        "tracking, suspend": seconds(lambda: tracked(shape)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pods", type=int, nargs="*", default=SIZES)
    sizes = parser.parse_args().pods
    print("CPU seconds, and microseconds per Pod in brackets")
    for name in SHAPES:
        found = {size: measure(name, size) for size in sizes}
        print(f"{name:<26}" + "".join(f"{size:>20,}" for size in sizes))
        for work in found[sizes[0]]:
            cells = (f"{found[size][work]:.3f} ({found[size][work] / size * 1e6:.0f})" for size in sizes)
            print(f"  {work:<24}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
