"""What a Pod asks of the node it runs on: selectors, affinity, taints (the scheduler's filter and score plugins)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from jobset_restart.simulator.selectors import Match, label_selector_object
from jobset_restart.simulator.store import Obj

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_HARD = "requiredDuringSchedulingIgnoredDuringExecution"
_SOFT = "preferredDuringSchedulingIgnoredDuringExecution"


class Term(NamedTuple):
    """A pod (anti-)affinity term: Pods of a namespace that match a selector, counted by a label of their node."""

    namespaces: tuple[str, ...]
    selector: str
    topology: str
    match: Match

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self[:3] == other[:3]

    def __hash__(self) -> int:
        return hash(self[:3])

    def selects(self, pod: Obj) -> bool:
        return pod["metadata"]["namespace"] in self.namespaces and self.match(pod)


class Wants(NamedTuple):
    """The pod affinity of a Pod, parsed."""

    near: tuple[Term, ...] = ()
    apart: tuple[Term, ...] = ()
    liked: tuple[tuple[Term, int], ...] = ()
    """Preferred terms with their weights; negative where Pods should be apart."""


def wants_of(pod: Obj) -> Wants:
    """The pod affinity and anti-affinity terms of a Pod."""
    affinity = pod["spec"].get("affinity") or {}
    near, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    if not near and not apart:
        return Wants()
    liked = [
        (_term(pod, each["podAffinityTerm"]), sign * each["weight"])
        for sign, terms in ((1, near), (-1, apart))
        for each in terms.get(_SOFT) or ()
    ]
    return Wants(
        tuple(_term(pod, each) for each in near.get(_HARD) or ()),
        tuple(_term(pod, each) for each in apart.get(_HARD) or ()),
        tuple(liked),
    )


def _term(pod: Obj, term: Obj) -> Term:
    selector = term.get("labelSelector")
    match: Match = label_selector_object(selector) if selector is not None else _nothing
    namespaces = tuple(sorted(term.get("namespaces") or (pod["metadata"]["namespace"],)))
    return Term(namespaces, repr(selector), term["topologyKey"], match)


def _nothing(_obj: Obj) -> bool:
    return False


def node_demands(pod: Obj) -> str:
    """Pods with the same text can go to the same nodes, as far as the nodes alone decide."""
    spec = pod["spec"]
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity")
    return repr((spec.get("nodeSelector"), node_affinity, spec.get("tolerations")))


def label_hint(pod: Obj) -> list[tuple[str, str]]:
    """Labels with values a node must have: an index finds the nodes by them."""
    return list((pod["spec"].get("nodeSelector") or {}).items())


def refusal(pod: Obj, node: Obj) -> str:
    """Why a Pod cannot go to a node, however empty, in the filter plugins' words and order; "" if it can."""
    spec, tolerations = node.get("spec") or {}, pod["spec"].get("tolerations") or ()
    if spec.get("unschedulable") and not tolerated(UNSCHEDULABLE, tolerations):
        return "node(s) were unschedulable"
    for taint in spec.get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(taint, tolerations):
            return "node(s) had untolerated taint(s)"
    return "" if _selected(pod["spec"], node) else "node(s) didn't match Pod's node affinity/selector"


def preference(pod: Obj, node: Obj) -> int:
    """How much a Pod likes a node: preferred node affinity, less a point for each PreferNoSchedule taint."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    score = sum(each["weight"] for each in affinity.get(_SOFT) or () if _matches(each["preference"], node))
    tolerations = pod["spec"].get("tolerations") or ()
    taints = (node.get("spec") or {}).get("taints") or ()
    soft = [taint for taint in taints if taint["effect"] == "PreferNoSchedule" and not tolerated(taint, tolerations)]
    return int(score) - len(soft)


def tolerated(taint: Obj, tolerations: Iterable[Obj]) -> bool:
    return any(tolerates(each, taint) for each in tolerations)


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """``Toleration.ToleratesTaint``."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _selected(spec: Obj, node: Obj) -> bool:
    """``RequiredNodeAffinity.Match``: nodeSelector and one of the required terms."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_HARD)
    return required is None or any(_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Obj, node: Obj) -> bool:
    """A NodeSelectorTerm; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    labels = node["metadata"].get("labels") or {}
    name = {"metadata.name": node["metadata"]["name"]}
    if not expressions and not fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(_holds(each, name) for each in fields)


def _holds(each: Obj, labels: dict[str, Any]) -> bool:
    """A NodeSelectorRequirement."""
    value, values, operator = labels.get(each["key"]), each.get("values") or [], each["operator"]
    if operator in ("Gt", "Lt"):
        if value is None or not str(value).lstrip("-").isdecimal():
            return False
        return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    answers = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return answers.get(operator, False)
