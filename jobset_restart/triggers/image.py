"""The `image` trigger: another reference to the image a container runs already.

The kubelet takes it for a changed definition, kills the container with the Pod's grace period and starts it again,
whatever the restart policy (kubelet, computePodActions and containerChanged).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from msgspec import Struct

from jobset_restart.objects import Container, ContainerStatus
from jobset_restart.snapshot import SlotState
from jobset_restart.triggers import containers_in_scope, marked, status_of
from jobset_restart.writes import STRATEGIC_MERGE_PATCH, Write, pod_path


class ImageReference(Struct, frozen=True):
    """A container image reference taken apart: "host:5000/team/app:v1@sha256:..."."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def canonical_repository(self) -> str:
        """The repository with the parts that short names leave out ("busybox" is docker.io/library/busybox)."""
        first, _, rest = self.repository.partition("/")
        if not rest:
            return f"docker.io/library/{first}"
        if "." not in first and ":" not in first and first != "localhost":
            return f"docker.io/{self.repository}"
        return self.repository


@lru_cache(maxsize=256)
def parse(text: str) -> ImageReference:
    """The parts of an image reference: the tag follows the last colon after the last slash, the digest the at sign
    (distribution/reference grammar)."""
    name, _, digest = text.partition("@")
    head, slash, tail = name.rpartition("/")
    tail, _, tag = tail.partition(":")
    return ImageReference(head + slash + tail, tag, digest)


def running_digest(container: Container, status: ContainerStatus | None) -> str:
    """The digest that pins what the container runs now, empty where the API does not tell it.

    A digest already in the spec is the one that was resolved. Else imageID must be of the same repository: an image
    loaded by hand shows a bare config digest, one pulled elsewhere may not exist in this repository.
    """
    reference = parse(container.image)
    if reference.digest:
        return reference.digest
    if status is None or "@" not in status.image_id:
        return ""
    running = parse(status.image_id.partition("://")[2] or status.image_id)
    return running.digest if running.canonical_repository == reference.canonical_repository else ""


def rotated(image: str, digest: str, template: str = "") -> str:
    """Another reference to the same image: repo:tag -> repo:tag@D -> repo@D -> repo:tag@D ...

    With a digest present the tag is not resolved. `template` is the image in the Job's template, which still knows the
    tag where the Pod's own reference has lost it.
    """
    now = parse(image)
    if not now.digest:
        return str(ImageReference(now.repository, now.tag or "latest", digest))
    if now.tag:
        return str(ImageReference(now.repository, "", digest))
    return str(ImageReference(now.repository, parse(template).tag or "latest", digest))


def image(states: Iterable[SlotState], names: Sequence[str], operation: str) -> list[Write]:
    """One PATCH per Pod that gives every container in scope another reference to the image it runs.

    The digest of each must be known (finding JSR301).
    """
    return [_patch(state, names, operation) for state in states]


def _patch(state: SlotState, names: Sequence[str], operation: str) -> Write:
    pod = state.pod
    assert pod is not None
    template = state.job.spec.template.spec if state.job else pod.spec
    in_template = {c.name: c.image for c in (*template.init_containers, *template.containers)}
    main = {c.name for c in pod.spec.containers}
    spec: dict[str, list[dict[str, str]]] = {}
    for container in containers_in_scope(pod, names):
        digest = running_digest(container, status_of(pod, container.name))
        other = rotated(container.image, digest, in_template.get(container.name, ""))
        field = "containers" if container.name in main else "initContainers"
        spec.setdefault(field, []).append({"name": container.name, "image": other})
    return Write(
        verb="patch",
        path=pod_path(pod.metadata.namespace, pod.metadata.name),
        body={"metadata": {"annotations": marked(operation, pod)}, "spec": spec},
        content_type=STRATEGIC_MERGE_PATCH,
        uid=pod.metadata.uid,
        slot=str(state.slot),
    )
