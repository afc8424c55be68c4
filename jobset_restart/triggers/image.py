"""The `image` trigger: another reference to the image a container runs already.

The kubelet takes it for a changed definition, kills the container with the Pod's grace period and starts it again,
whatever the restart policy (kubelet, computePodActions and containerChanged). It keeps a back-off for each reference a
container was restarted with (kubelet, doBackOff and GetBackoffKey: forgotten after 10 minutes), so the reference has
to be one that the Pod has not had before: a tag with the operation's id, beside the digest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from jobset_restart.case import Case, Trigger
from jobset_restart.containers import containers_in_scope, mark_of, marked, status_of
from jobset_restart.durations import asking_registries, in_place, starting, stopping, waited
from jobset_restart.earlier import Earlier, came_since, identity_before
from jobset_restart.objects import Container, ContainerStatus, Pod
from jobset_restart.pods import Identity
from jobset_restart.snapshot import Snapshot
from jobset_restart.spans import Part
from jobset_restart.stages import Drawn, Stage
from jobset_restart.triggers.steps import step_by_step
from jobset_restart.workloads.workload import SlotState
from jobset_restart.writes import STRATEGIC_MERGE_PATCH, Action, Write, pod_path

Form = Literal["tagged", "plain"]
"""How a reference is pinned: "repo:TAG@DIGEST", or "repo@DIGEST", which can be new to a Pod only once."""

MOST_CHARACTERS = 1024
MOST_TAG = 128
MOST_ID = 64
REFUSALS = frozenset(
    {
        "InvalidImageName",
        "ImageInspectError",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "CreateContainerError",
        "CreateContainerConfigError",
    }
)
"""Reasons of a waiting container that tell of an image that cannot be used (kubelet, pkg/kubelet/images/types.go,
kuberuntime_container.go)."""

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_OWN_TAG = re.compile(r"(?:^|-)jsr-[A-Za-z0-9_.]*$")
_CRI_O = re.compile(r"cri-o://([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})(?![0-9])")


class ImageReference(Struct, frozen=True):
    """A container image reference taken apart: "host:5000/team/app:v1@sha256:..."."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def canonical_repository(self) -> str:
        """The repository with the parts that short names leave out: "busybox", "docker.io/busybox" and
        "index.docker.io/library/busybox" are docker.io/library/busybox (distribution/reference, splitDockerDomain)."""
        first, slash, rest = self.repository.partition("/")
        if not slash:
            return f"docker.io/library/{first}"
        is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
        host, name = (first, rest) if is_host else ("docker.io", self.repository)
        if host not in ("docker.io", "index.docker.io"):
            return self.repository
        return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


@lru_cache(maxsize=256)
def parse(text: str) -> ImageReference | None:
    """The parts of an image reference, None for what is none (distribution/reference grammar; a digest is of one of
    the algorithms that the OCI image specification registers and runtimes know: sha256, sha512)."""
    found = _REFERENCE.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    return ImageReference(found["name"], found["tag"] or "", found["digest"] or "") if found else None


def running_digest(container: Container, status: ContainerStatus | None) -> str:
    """The digest that pins what the container runs now, empty where the API does not tell it.

    A digest already in the spec is the one that was resolved. Else imageID must be of the same repository: an image
    loaded by hand shows a bare config digest, one pulled elsewhere may not exist in this repository.
    """
    reference = parse(container.image)
    if reference is None or reference.digest or status is None:
        return reference.digest if reference else ""
    scheme, separator, rest = status.image_id.partition("://")
    running = parse(rest if separator else scheme)
    same = running is not None and running.canonical_repository == reference.canonical_repository
    return running.digest if running is not None and same else ""


def fresh(image: str, digest: str, operation: str, template: str = "") -> str:
    """A reference to the same image that no other operation has used: "repo:1.36-jsr-OPERATION@DIGEST".

    With a digest present the tag is not resolved. `template` is the image in the Job's template, whose tag the new one
    begins with, so that a reader still knows the image by it. The same operation gets the same reference again, so
    sending it twice restarts once.
    """
    now, told = _parts(image), parse(template)
    known_as = _OWN_TAG.sub("", told.tag if told else now.tag)
    mine = "jsr-" + re.sub(r"[^A-Za-z0-9_.]", "_", operation)[:MOST_ID]
    tag = f"{known_as[: MOST_TAG - len(mine) - 1]}-{mine}" if known_as else mine
    return str(ImageReference(now.repository, tag, digest))


def plain(image: str, digest: str) -> str:
    """The reference without a tag, which every runtime takes: "repo@DIGEST"."""
    return str(ImageReference(_parts(image).repository, "", digest))


def known_as(image: str) -> str:
    """The image as its author called it: without a digest, and without what an operation added to the tag."""
    found = parse(image)
    return str(ImageReference(found.repository, _OWN_TAG.sub("", found.tag))) if found else image


def _parts(image: str) -> ImageReference:
    found = parse(image)
    if found is None:
        raise ValueError(f"{image!r} is not an image reference")
    return found


# ---------------------------------------------------------------- what runtimes take


@lru_cache(maxsize=256)
def takes_tag_and_digest(runtime: str) -> bool | None:
    """Whether this container runtime takes a reference with tag and digest, None where that is not known.

    `runtime` is status.nodeInfo.containerRuntimeVersion of the Node. containerd drops the tag (distribution/reference,
    ParseDockerRef). CRI-O refuses the two together in 1.31.0 (cri-o/cri-o#8603, mended by #8605) and before 1.18
    (cri-o/cri-o#3060).
    """
    if runtime.startswith("containerd://"):
        return True
    version = _CRI_O.match(runtime)
    if version and ((1, 0, 0) <= tuple(map(int, version.groups())) < (1, 18, 0) or version[0].endswith("//1.31.0")):
        return False
    return None


class Forms:
    """Which form of reference each slot gets, and where it is not known whether its runtime takes it.

    What is known of a runtime comes from its version, and from what containers of this JobSet show: one that runs such
    a reference proves it, one that waits with a reason of REFUSALS tells against it, unless another runs."""

    def __init__(self, states: Iterable[SlotState]) -> None:
        self._seen: dict[str, bool] = {}
        for state in states:
            runtime = runtime_of(state)
            shown = _shown(state) if takes_tag_and_digest(runtime) is None else None
            if shown is not None:
                self._seen[runtime] = shown or self._seen.get(runtime, False)

    @property
    def refused(self) -> bool:
        """Whether a container waits that could not be started with tag and digest."""
        return not all(self._seen.values())

    def known(self, state: SlotState) -> bool | None:
        """Whether the slot's runtime takes tag and digest together, None where nothing tells."""
        runtime = runtime_of(state)
        takes = takes_tag_and_digest(runtime)
        return self._seen.get(runtime) if takes is None else takes

    def of(self, state: SlotState) -> Form:
        return "plain" if self.known(state) is False else "tagged"


def runtime_of(state: SlotState) -> str:
    """The container runtime of the slot's Node, empty where it cannot be seen."""
    return state.node.status.node_info.container_runtime_version if state.node else ""


def _shown(state: SlotState) -> bool | None:
    """Whether the slot's Pod runs (True) or could not start (False) a container with tag and digest."""
    pod = state.pod
    if pod is None:
        return None
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        reference, status = parse(container.image), status_of(pod, container.name)
        if reference is None or not (reference.tag and reference.digest) or status is None:
            continue
        if status.state.waiting and status.state.waiting.reason in REFUSALS:
            return False
        before = mark_of(pod)[1]
        patched = container.name in before and "jsr-" in reference.tag
        if status.state.running and (not patched or status.restart_count > before[container.name]):
            return True
    return None


# ---------------------------------------------------------------- the PATCH


def image(
    states: Iterable[SlotState],
    names: Sequence[str],
    operation: str,
    form: Callable[[SlotState], Form] = lambda _: "tagged",
) -> Drawn[Write]:
    """One PATCH per Pod that gives every container in scope another reference to the image it runs.

    The digest of each must be known (finding JSR301). Raises ValueError for an image that is no reference.
    """
    return Drawn(states, lambda state: _patch(state, names, operation, form(state)))


def _patch(state: SlotState, names: Sequence[str], operation: str, form: Form) -> Write:
    pod = state.pod
    assert pod is not None
    template = state.job.spec.template.spec if state.job else pod.spec
    in_template = {c.name: c.image for c in (*template.init_containers, *template.containers)}
    main = {c.name for c in pod.spec.containers}
    spec: dict[str, list[dict[str, str]]] = {}
    for container in containers_in_scope(pod, names):
        digest = running_digest(container, status_of(pod, container.name))
        other = (
            plain(container.image, digest)
            if form == "plain"
            else fresh(container.image, digest, operation, in_template.get(container.name, ""))
        )
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


# ---------------------------------------------------------------- the trigger


@dataclass(frozen=True, kw_only=True, eq=False)
class Image(Trigger):
    def stages(self, case: Case, operation: str) -> list[Stage]:
        forms = Forms(case.snapshot.slots.values())

        def bare(state: SlotState) -> Form:
            return "tagged" if forms.known(state) else "plain"

        def otherwise(states: Sequence[SlotState]) -> Sequence[Action]:
            unsure = any(forms.known(state) is None for state in states)
            return image(states, case.containers, operation, bare) if unsure else ()

        def patches(states: Sequence[SlotState]) -> Sequence[Action]:
            return image(states, case.containers, operation, forms.of)

        return step_by_step(case, "trigger", patches, otherwise, careful=forms.refused)

    def takes(self, case: Case, back_off: float) -> list[Part]:
        return [stopping(case), asking_registries(case), starting(case), in_place(case), waited(back_off)]

    def unproven(self, case: Case) -> dict[str, list[SlotState]]:
        """The registry where a pull is needed (imagePullPolicy Always), one for each image; and the form of the
        reference where it is not known whether the container runtime takes it."""
        found: dict[str, list[SlotState]] = {}
        forms = Forms(case.snapshot.slots.values())
        for state, pod in case.pods():
            containers = containers_in_scope(pod, case.containers)
            for pulled in sorted({known_as(c.image) for c in containers if c.image_pull_policy == "Always"}):
                found.setdefault(f"the pull of {pulled}", []).append(state)
            if forms.known(state) is None:
                runtime = runtime_of(state) or "a container runtime that cannot be seen"
                found.setdefault(f"a reference with tag and digest on {runtime}", []).append(state)
        return found

    def begun(self, state: SlotState, earlier: Earlier, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """A Pod that came since, for a slot whose turn it was or in place of one that failed, runs anew already."""
        return state.pod is None or mark_of(state.pod)[0] == earlier.id or came_since(state.pod, earlier)

    def before(self, pod: Pod, earlier: Earlier) -> Identity:
        """By the restartCounts that the mark tells."""
        operation, counts = mark_of(pod)
        if operation == earlier.id:
            return Identity(pod.metadata.uid, {name: ("", count) for name, count in counts.items()})
        return identity_before(pod, earlier.began)

    def through(self, pod: Pod, earlier: Earlier) -> bool:
        """What has neither the mark nor come since was not restarted by this operation."""
        marked_so = mark_of(pod)[0] == earlier.id
        return came_since(pod, earlier) or (marked_so and super().through(pod, earlier))


IMAGE = Image(
    name="image",
    strategy="in-place",
    reach="pod",
    why="another reference to the same image restarts the container whatever its restart policy",
    survives=("Pods, nodes, IPs", "volumes, emptyDir included", "containers that are not in scope"),
    lost=("the file systems of the restarted containers",),
    marks=True,
)
