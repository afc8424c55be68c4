"""Keeping credentials out of every message. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
SHORTEST = 6
"""What is shorter is no secret worth the name, and would hide half the words of a message."""

_PLAIN = re.compile(
    r"[A-Za-z]{1,15}('[a-z]{1,2})?"  # a word
    r"|[A-Za-z]{1,10}-[A-Za-z]{1,4}|[a-z]{1,4}-[a-z]{1,10}"
    r"|--?[a-z][a-z-]{0,20}"  # an option
    r"|\d{1,6}|v?\d{1,3}(\.\d{1,4}){1,3}"  # a number, a version
)
_TELLING = re.compile(r"token|passw|secret|bearer|basic|credential|authorization|key", re.IGNORECASE)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def plain_words(text: str) -> str:
    """What a foreign program said, reduced to what cannot be a credential: plain words, options, small numbers. What
    stands behind a word like "token" together with = or : is hidden as well."""
    said: list[str] = []
    guarded = False
    for word in text.split():
        core = word.strip("'\"()[]{}<>.,:;!?`")
        fine = not core or (_PLAIN.fullmatch(core) is not None and not guarded)
        said.append(word if fine else HIDDEN)
        guarded = bool(_TELLING.search(core)) and core.isalnum() and word.endswith((":", "="))
    return re.sub(rf"{re.escape(HIDDEN)}( {re.escape(HIDDEN)})+", HIDDEN, " ".join(said))
