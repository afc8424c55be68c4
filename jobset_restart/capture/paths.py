"""Where a capture writes, and under which names. Pure.

The API server lets no name of an object be a path. A capture does not rely on that: a name becomes one part of a path,
whatever it is.
"""

from __future__ import annotations

import hashlib
import re

ARCHIVES = (".tar.gz", ".tgz")
MISTAKEN = (".tar", ".gz", ".zip", ".zst", ".xz", ".bz2", ".7z", ".json", ".txt", ".log")
"""How names end that hardly mean a folder."""
MOST_NAME = 100
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,149}\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVES)


def safe(name: str) -> str:
    """One part of a path for a name: itself where it can be one, else something like it, which no other name gets."""
    if _PART.match(name) and len(name) <= MOST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    start = _UNSAFE.sub("_", name)[:MOST_NAME].lstrip(".-") or "_"
    return f"{start}-{digest}"


def is_safe(path: str) -> bool:
    """Whether this is a path below a folder and stays there: a few parts, none hidden, none of them a way up."""
    parts = path.split("/")
    return len(parts) <= 4 and all(_PART.match(part) for part in parts)
