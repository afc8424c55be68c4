"""Image references, and which images are where (pkg/kubelet/images, and what containerd answers).

An image's digest follows from its repository and tag. Hosts below ``.invalid``, and ``missing.example``, have no
registry. Images of the host ``localhost`` were loaded by hand on every node: they show only a config digest and cannot
be pulled. Any registry can be away for a while (``Images.set_registry``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._/:-]*?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
MISSING = "missing.example"
_HUB = "docker.io"


class Image(NamedTuple):
    """A reference taken apart; ``digest`` is of what it stands for."""

    repository: str
    tag: str
    digest: str

    @property
    def host(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def by_hand(self) -> bool:
        return self.host == "localhost"

    @property
    def id(self) -> str:
        """imageID: a repository digest, or the bare config digest of an image loaded by hand."""
        return self.digest if self.by_hand else f"{self.repository}@{self.digest}"


@lru_cache(maxsize=4096)
def parse(reference: str) -> Image | None:
    """The image a reference stands for, None if it is no reference (``parsers.ParseImageName``)."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        return None
    name, tag, digest = found["name"], found["tag"] or "", found["digest"] or ""
    name = _normalized(name)
    if not digest:
        tag = tag or "latest"
        digest = "sha256:" + sha256(f"{name}:{tag}".encode()).hexdigest()
    return Image(name, tag, digest)


def _normalized(name: str) -> str:
    """The repository that a runtime shows for a name (``splitDockerDomain`` of distribution/reference): a first part
    that is no host belongs to docker.io, which has a second name, and what has one part only is in its library."""
    host, slash, path = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = _HUB, name
    if host == f"index.{_HUB}":
        host = _HUB
    return f"{host}/library/{path}" if host == _HUB and "/" not in path else f"{host}/{path}"


def last_part(reference: str) -> str:
    """``agent`` of ``registry.k8s.io/jobset/agent:v1@sha256:...``."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a container does not start: the reason and message its status shows."""

    reason: str
    message: str


class Images:
    """What each node has."""

    def __init__(self) -> None:
        self._present: dict[str, set[str]] = {}
        self._tags: dict[str, str] = {}
        self._away: set[str] = set()

    def set_registry(self, target: str, answers: bool) -> None:
        """Have pulls fail, or work again. ``target`` is a node's name, for what this node pulls, the host or the
        repository of images, for what anybody pulls of them, or "*" for all."""
        (self._away.discard if answers else self._away.add)(target)

    def present(self, node: str, image: Image) -> bool:
        return image.by_hand or image.digest in self._present.get(node, ())

    def pull(self, node: str, reference: str, image: Image) -> Failure | None:
        """Bring an image to a node. Returns what the registry has against it."""
        host, _, path = image.repository.partition("/")
        unknown = image.by_hand or host.partition(":")[0] == MISSING or host.endswith(".invalid")
        if unknown or self._away & {"*", node, host, image.repository}:
            what = image.digest if "@" in reference else image.tag
            address = f"https://{host}/v2/{path}/manifests/{what}"
            why = f"dial tcp: lookup {host}: " + ("no such host" if unknown else "i/o timeout")
            message = f'failed to resolve reference "{reference}": failed to do request: Head "{address}": {why}'
            return Failure("ErrImagePull", f'failed to pull and unpack image "{reference}": {message}')
        self._present.setdefault(node, set()).add(image.digest)
        return None

    def shown(self, reference: str, image: Image) -> str:
        """status.image: the first tag known for the content, whatever reference asked for it (containerd)."""
        named = f"{image.repository}:{image.tag}" if "@" not in reference else f"{image.repository}@{image.digest}"
        if "@" not in reference:
            return self._tags.setdefault(image.digest, named)
        return self._tags.get(image.digest, named)
