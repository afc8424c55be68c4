"""The scheduler's picture of nodes and the Pods on them, kept so that placing a Pod seldom looks at many nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from jobset_restart.simulator.controllers.constraints import (
    Term,
    Wants,
    label_hint,
    node_demands,
    preference,
    refusal,
    wants_of,
)
from jobset_restart.simulator.store import Key, Obj, key_of

SCORED = 100
"""Enough feasible nodes to choose the best of (minFeasibleNodesToFind)."""
_FULL = "Too many pods"
_NEAR = "node(s) didn't match pod affinity rules"
_APART = "node(s) didn't match pod anti-affinity rules"
_KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"
_CURABLE = (_FULL, _APART, _KEPT_AWAY)
"""What evicting Pods could change (Unschedulable and not UnschedulableAndUnresolvable)."""


@dataclass
class _Node:
    obj: Obj
    order: int
    room: int
    used: int = 0


@dataclass
class _Pool:
    """The nodes that Pods with the same demands can go to, best first: liked, then least allocated."""

    liking: dict[str, int]
    heap: list[tuple[int, int, int, str]] = field(default_factory=list)
    valid: dict[str, int] = field(default_factory=dict)
    """How full each node was when its entry in the heap was made; other entries are stale."""
    excuse: tuple[int, str] = (-1, "")
    """The index's epoch, and what was wrong then."""

    def push(self, name: str, node: _Node) -> None:
        self.valid[name] = node.used
        heappush(self.heap, (-self.liking[name], node.used, node.order, name))


class _Choice(NamedTuple):
    rank: tuple[int, int, int]
    name: str


class NodeIndex:
    """Nodes with their room; answers ``place``. Told of every change of nodes and of bound Pods."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._order = 0
        self._pods: dict[Key, Obj] = {}
        self._used: Counter[str] = Counter()
        self._labels: dict[tuple[str, str], dict[str, None]] = {}
        self._pools: dict[str, _Pool] = {}
        self._member: dict[str, list[_Pool]] = {}
        self._counts: dict[Term, Counter[str]] = {}
        self._apart: dict[Term, Counter[str]] = {}
        self._epoch = 0

    def set_node(self, name: str, obj: Obj | None) -> None:
        """A node is new, changed, or (None) gone."""
        before = self._nodes.pop(name, None)
        for label in _labels_of(before.obj) if before else ():
            self._labels[label].pop(name, None)
        if obj is not None:
            for label in _labels_of(obj):
                self._labels.setdefault(label, {})[name] = None
            self._order += before is None
            order = before.order if before else self._order
            room = int(obj.get("status", {}).get("allocatable", {}).get("pods", 0))
            self._nodes[name] = _Node(obj, order, room, self._used[name])
        self._epoch += 1
        self._pools.clear()
        self._member.clear()
        self._counts.clear()
        if self._apart:
            self._apart.clear()
            for pod in self._pods.values():
                self._own_terms(pod, 1)

    def occupy(self, pod: Obj) -> bool:
        """A Pod is on its node, perhaps in a new version. Whether it was not before."""
        key = key_of(pod)
        before = self._pods.get(key)
        self._pods[key] = pod
        if before is not None:
            if self._counts and before["metadata"].get("labels") != pod["metadata"].get("labels"):
                self._counts.clear()
            return False
        self._count(pod, 1)
        return True

    def release(self, key: Key) -> bool:
        """A Pod no longer takes room. Whether it did."""
        pod = self._pods.pop(key, None)
        if pod is None:
            return False
        self._count(pod, -1)
        name = pod["spec"]["nodeName"]
        node = self._nodes.get(name)
        for pool in self._member.get(name, ()) if node else ():
            if node and pool.valid.get(name, node.used + 1) > node.used:
                pool.push(name, node)
        return True

    def place(self, pod: Obj) -> tuple[str, str]:
        """(the best node, "") for a Pod, or ("", why there is none: the text of the FailedScheduling Event)."""
        pool, wants = self._pool(pod), wants_of(pod)
        away = [counts for term, counts in self._apart.items() if term.selects(pod)]
        plain = not (wants.near or wants.apart or wants.liked or self._apart)
        best: _Choice | None = None
        looked: list[str] = []
        feasible = 0
        while feasible < SCORED:
            name = self._next(pool)
            if not name:
                break
            looked.append(name)
            if not plain and self._unfit(pod, wants, name):
                continue
            feasible += 1
            score = sum(weight * self._near(term, name) for term, weight in wants.liked)
            node = self._nodes[name]
            choice = _Choice((-pool.liking[name] - score, node.used, node.order), name)
            best = min(best, choice) if best else choice
            if score == 0 and all(weight < 0 for _, weight in wants.liked):
                break
        for name in looked:
            pool.push(name, self._nodes[name])
        return (best.name, "") if best else ("", self._excuse(pod, wants, pool, plain and not away))

    def _next(self, pool: _Pool) -> str:
        """Takes the best node with room out of a pool's heap; "" when there is none."""
        while pool.heap:
            _, used, _, name = heappop(pool.heap)
            if pool.valid.get(name) != used:
                continue
            node = self._nodes[name]
            del pool.valid[name]
            if node.used != used and node.used < node.room:
                pool.push(name, node)
            elif node.used < node.room:
                return name
        return ""

    def _pool(self, pod: Obj) -> _Pool:
        demands = node_demands(pod)
        pool = self._pools.get(demands)
        if pool is None:
            found = [self._labels.get(label, {}) for label in label_hint(pod)]
            names = min(found, key=len) if found else self._nodes
            able = {name: self._nodes[name] for name in names if not refusal(pod, self._nodes[name].obj)}
            pool = self._pools[demands] = _Pool({name: preference(pod, node.obj) for name, node in able.items()})
            for name, node in able.items():
                pool.valid[name] = node.used
                pool.heap.append((-pool.liking[name], node.used, node.order, name))
                self._member.setdefault(name, []).append(pool)
            heapify(pool.heap)
        return pool

    def _unfit(self, pod: Obj, wants: Wants, name: str) -> str:
        """Why other Pods keep this one from a node (InterPodAffinity's Filter); "" if none does."""
        for term in wants.near:
            first = term.selects(pod) and not sum(self._counted(term).values())
            if not self._near(term, name) and not (first and self._domain(name, term)):
                return _NEAR
        if any(self._near(term, name) for term in wants.apart):
            return _APART
        for term, counts in self._apart.items():
            if counts[self._domain(name, term)] and term.selects(pod):
                return _KEPT_AWAY
        return ""

    def _excuse(self, pod: Obj, wants: Wants, pool: _Pool, lasting: bool) -> str:
        """``FitError.Error``: how many nodes fail for which reason, then what preemption has to say."""
        if not self._nodes:
            return "no nodes available to schedule pods"
        if lasting and pool.excuse[0] == self._epoch:
            return pool.excuse[1]
        reasons: Counter[str] = Counter()
        for name, node in self._nodes.items():
            why = refusal(pod, node.obj) or (_FULL if node.used >= node.room else "")
            reasons[why or self._unfit(pod, wants, name)] += 1
        curable = sum(reasons[why] for why in _CURABLE)
        cures = {
            "Preemption is not helpful for scheduling": len(self._nodes) - curable,
            "No preemption victims found for incoming pod": curable,
        }
        head = f"0/{len(self._nodes)} nodes are available: "
        text = f"{head}{_histogram(reasons)}. no new claims to deallocate, preemption: {head}{_histogram(cures)}."
        pool.excuse = (self._epoch, text) if lasting else pool.excuse
        return text

    def _count(self, pod: Obj, step: int) -> None:
        name = pod["spec"]["nodeName"]
        self._epoch += 1
        self._used[name] += step
        if name not in self._nodes:
            return
        self._nodes[name].used += step
        for term, counts in self._counts.items():
            if term.selects(pod):
                counts[self._domain(name, term)] += step
        self._own_terms(pod, step)

    def _own_terms(self, pod: Obj, step: int) -> None:
        """Required anti-affinity also keeps others away from where the Pod is."""
        name = pod["spec"]["nodeName"]
        for term in wants_of(pod).apart if name in self._nodes else ():
            domain = self._domain(name, term)
            if domain:
                self._apart.setdefault(term, Counter())[domain] += step

    def _counted(self, term: Term) -> Counter[str]:
        """How many Pods a term selects, by the value of its topology label."""
        if term not in self._counts:
            on = [pod["spec"]["nodeName"] for pod in self._pods.values() if term.selects(pod)]
            self._counts[term] = Counter(self._domain(name, term) for name in on if name in self._nodes)
        return self._counts[term]

    def _near(self, term: Term, name: str) -> int:
        domain = self._domain(name, term)
        return self._counted(term)[domain] if domain else 0

    def _domain(self, name: str, term: Term) -> str:
        return str((self._nodes[name].obj["metadata"].get("labels") or {}).get(term.topology, ""))


def _labels_of(node: Obj) -> list[tuple[str, str]]:
    return list((node["metadata"].get("labels") or {}).items())


def _histogram(reasons: dict[str, int]) -> str:
    return ", ".join(sorted(f"{number} {why}" for why, number in reasons.items() if number))
