"""Files that containers make, look for and remove: that there is one is all that is known of it.

A file lives as long as what it is in: a hostPath volume as its node, an emptyDir as its Pod, anything else as its
container. Containers meet where they mount the same: one that waits for another's file can so be played.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobset_restart.simulator.store import Obj


class Act(NamedTuple):
    """What a command does with files: ``touch``, ``rm``, or ``test``, which fails where one of them is missing."""

    verb: str
    paths: tuple[str, ...]


def act(words: Sequence[str]) -> Act | None:
    """The act of a simple command (``touch F...``, ``rm -f F...``, ``test -f F``, ``[ -f F ]``), None of any other."""
    name, rest = words[0].rpartition("/")[2], tuple(words[1:])
    if name == "[" and rest[-1:] == ("]",):
        name, rest = "test", rest[:-1]
    if name == "test":
        return Act("test", rest[1:]) if len(rest) == 2 and rest[0] in ("-f", "-e") else None
    if name not in ("touch", "rm"):
        return None
    paths = tuple(word for word in rest if not word.startswith("-"))
    return Act(name, paths) if paths else None


class Mount(NamedTuple):
    """A directory of a container: what it is in, and which directory of that it is."""

    path: str
    where: str
    base: str


def mounts(pod: Obj, spec: Obj, container: str, node: str) -> tuple[Mount, ...]:
    """Where the files of the container with this id are, the deepest directory first."""
    volumes = {each["name"]: each for each in pod["spec"].get("volumes") or ()}
    found = [Mount("", f"{container}/", "")]
    for each in spec.get("volumeMounts") or ():
        source = volumes.get(each["name"], {}).get("hostPath")
        where, base = (f"{node}/", source["path"]) if source else (f"{pod['metadata']['uid']}/{each['name']}", "")
        found.append(Mount(each["mountPath"].rstrip("/"), where, base.rstrip("/")))
    return tuple(sorted(found, key=lambda each: -len(each.path)))


class Files:
    """The files of every container there is."""

    def __init__(self) -> None:
        self._present: dict[str, set[str]] = {}

    def do(self, what: Act, mounted: Sequence[Mount]) -> bool:
        """Carry out an act in a container with these mounts; returns whether it succeeded."""
        places = [_place(path, mounted) for path in what.paths]
        if what.verb == "test":
            return all(path in self._present.get(where, ()) for where, path in places)
        for where, path in places:
            if what.verb == "touch":
                self._present.setdefault(where, set()).add(path)
            elif where in self._present:
                self._present[where].discard(path)
        return True

    def forget(self, owner: str) -> None:
        """A container or a Pod, by id or uid, is gone, and its own files with it."""
        for where in [each for each in self._present if each.startswith(f"{owner}/")]:
            del self._present[where]


def _place(path: str, mounted: Sequence[Mount]) -> tuple[str, str]:
    mount = next(each for each in mounted if f"{path}/".startswith(f"{each.path}/") or not each.path)
    return mount.where, mount.base + path.removeprefix(mount.path)
