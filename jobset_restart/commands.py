"""Commands for the person to type, as hints and results name them. Pure.

They name the context: whoever copies one into another terminal, or minutes later, must not act on another cluster.
"""

from __future__ import annotations

import shlex


def jsr(verb: str, name: str, namespace: str, context: str, *more: str) -> str:
    """`jsr VERB NAME` for this workload, with `more` after it. `name` is its reference, which is quoted already.
    `context` is the kubeconfig's, "" or "in-cluster" where there is none to choose."""
    chosen = () if context in ("", "in-cluster") else ("--context", context)
    return f"jsr {verb} {name} {shlex.join(('-n', namespace, *chosen, *more))}"
