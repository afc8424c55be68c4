"""Which workload the words of a command line mean: NAME, KIND/NAME or KIND NAME, as kubectl takes them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobset_restart.errors import UsageError
from jobset_restart.names import followed, suggestion
from jobset_restart.workloads.kinds import JOBSET, POD, WORKLOAD_KINDS, WorkloadKind, kind_called
from jobset_restart.workloads.pods import canonical
from jobset_restart.workloads.registry import READERS

WRITE = "write NAME for a JobSet, else KIND/NAME or KIND NAME, such as lws/serving"
HANDLED = frozenset(READERS)
"""The kinds that can be restarted and shown, by resource."""


@dataclass(frozen=True)
class Target:
    """A workload, or all of a kind where `name` is empty; of Pods `name` is their labels. `typed` tells whether the
    kind was given: a NAME alone is that of a JobSet."""

    kind: WorkloadKind
    name: str = ""
    typed: bool = True


def one(word: str, name: str | None = None, selector: str | None = None, *, part: bool = False) -> Target:
    """The one workload that is meant: `word` is its name, KIND/NAME, or its kind, with `name` after it. Pods are meant
    by `selector`, which goes with another workload only where a part of it may be meant (`part`). Raises UsageError."""
    if name is None and POD.called(word) and selector is not None:
        return pods(selector)
    if selector is not None and not part:
        raise _not_for_a_workload(selector)
    return _handled(_named(word, name))


def _not_for_a_workload(selector: str) -> UsageError:
    return UsageError("-l chooses Pods", f"write `pods -l {selector}`")


def pods(selector: str) -> Target:
    """The Pods with these labels. Raises UsageError where none are given: all Pods there are is never meant."""
    labels = canonical(selector)
    if not labels:
        raise UsageError("-l names no labels", "write -l a=b,c!=d,e")
    return Target(POD, labels)


def any_of(word: str | None, name: str | None = None, selector: str | None = None) -> Target | None:
    """What is to be shown: one workload, all of a kind, or everything (None). A word alone that is a kind means all of
    it; Pods are meant by `selector`. Raises UsageError."""
    if selector is not None:
        if word is None or name is not None or not POD.called(word):
            raise _not_for_a_workload(selector)
        return pods(selector)
    if word is None:
        return None
    kind = kind_called(word) if name is None else None
    return _handled(Target(kind) if kind else _named(word, name))


def _named(word: str, name: str | None) -> Target:
    kind, slash, after = word.partition("/")
    if name is None:
        target = Target(_kind(kind), after) if slash else Target(JOBSET, word, typed=False)
    elif slash:
        raise UsageError(f"{word} and {name} are two workloads", "give one at a time")
    else:
        target = Target(_kind(word), name)
    if target.kind is POD or (not target.typed and POD.called(word)):
        raise UsageError(
            "Pods are meant by their labels: add -l LABELS",
            "one Pod of a JobSet is restarted with `jsr restart JOBSET --pod NAME`",
        )
    check_name(target.kind.kind, target.name)
    return target


def _kind(word: str) -> WorkloadKind:
    kind = POD if POD.called(word) else kind_called(word)
    if kind is None:
        every = {name for kind in WORKLOAD_KINDS for name in (kind.kind.lower(), kind.plural, *kind.names)}
        plain = [kind.names[-1] for kind in WORKLOAD_KINDS]
        raise UsageError(
            f"{word!r} is not a kind of workload that jsr knows",
            followed(suggestion(word.lower(), every, plain), WRITE),
        )
    return kind


def _handled(target: Target) -> Target:
    if target.kind.resource not in HANDLED:
        raise UsageError(f"jsr does not handle {target.kind.kind}s ({target.kind.resource}) yet; nothing was changed")
    return target


def check_name(kind: str, name: str) -> None:
    """Raises UsageError for what cannot be the name of an object (RFC 1123)."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
        raise UsageError(
            f"{name!r} is not a possible name of a {kind}", "names are lower case letters, digits, '-' and '.'"
        )
