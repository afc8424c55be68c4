"""Commands for the person to type, as hints and results name them. Pure.

They name the context: whoever copies one into another terminal, or minutes later, must not act on another cluster.
"""

from __future__ import annotations

import shlex


def jsr(verb: str, name: str, namespace: str, context: str, *more: str) -> str:
    """`jsr VERB NAME` for this JobSet, with `more` after it. `context` is the kubeconfig's, "" or "in-cluster" where
    there is none to choose."""
    chosen = () if context in ("", "in-cluster") else ("--context", context)
    return shlex.join(("jsr", verb, name, "-n", namespace, *chosen, *more))
