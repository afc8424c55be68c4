"""Text from elsewhere (a cluster, a file, a server) made harmless for a terminal. Pure."""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """The text with everything a terminal would obey replaced: control characters (escape sequences begin with one),
    line breaks, and format characters such as those that turn the writing direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(char) for char in text)


def _harmless(char: str) -> str:
    if char in "\n\r\t":
        return " "
    return REPLACEMENT if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
