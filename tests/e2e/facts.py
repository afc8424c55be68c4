"""What the tests of single facts share: triggers by hand, exec frame by frame, all that was seen meanwhile."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from kubernetes import config

from tests.e2e import picture
from tests.e2e.api import Answer, Object, path
from tests.e2e.cluster import Cluster
from tests.e2e.picture import ATTEMPT, slot_of
from tests.e2e.place import Place

STRATEGIC_PATCH = "application/strategic-merge-patch+json"
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR = range(4)
JOB_TRACKING = "batch.kubernetes.io/job-tracking"

# ---------------------------------------------------------------- what a Pod shows


def statuses(pod: Object) -> dict[str, Object]:
    """The container statuses by name, init containers and sidecars included."""
    status = pod.get("status", {})
    both = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return {each["name"]: each for each in both}


def restarts(pod: Object) -> dict[str, int]:
    """The restartCount of each container."""
    return {name: each["restartCount"] for name, each in statuses(pod).items()}


def running(pod: Object, container: str = "worker") -> bool:
    return "running" in state(pod, container)


def state(pod: Object, container: str = "worker") -> Object:
    found: Object = statuses(pod).get(container, {}).get("state", {})
    return found


def waiting(pod: Object, container: str = "worker") -> str:
    """The reason a container waits for, "" where it does not wait."""
    return str(state(pod, container).get("waiting", {}).get("reason", ""))


def last_exit(pod: Object, container: str = "worker") -> Object:
    """How the container's previous run ended."""
    found: Object = statuses(pod)[container]["lastState"]["terminated"]
    return found


def has_condition(thing: Object, kind: str) -> bool:
    return kind in picture.conditions(thing)


def condition(thing: Object, kind: str) -> Object:
    """The condition of that type; empty where there is none."""
    return next((each for each in thing.get("status", {}).get("conditions", ()) if each["type"] == kind), {})


def leaving(thing: Object) -> bool:
    return "deletionTimestamp" in thing["metadata"]


def by_slot(pods: Iterable[Object]) -> dict[str, Object]:
    return {slot_of(pod): pod for pod in pods}


# ---------------------------------------------------------------- triggers by hand


def references(pod: Object, container: str = "worker") -> tuple[str, str]:
    """`repo:tag@digest` and `repo@digest` of the image the container runs."""
    repository, _, digest = str(statuses(pod)[container]["imageID"]).rpartition("@")
    assert repository, f"no image from a registry: {statuses(pod)[container]['imageID']!r}"
    reference = next(each["image"] for each in pod["spec"]["containers"] if each["name"] == container)
    tagged = reference.partition("@")[0]
    return f"{tagged}@{digest}", f"{tagged.rpartition(':')[0]}@{digest}"


def patch_images(place: Place, pod: str, images: Mapping[str, str]) -> None:
    """One PATCH: another image for each of these containers."""
    body = {"spec": {"containers": [{"name": name, "image": image} for name, image in images.items()]}}
    place.api.request("PATCH", path("pods", place.namespace, pod), body, kind=STRATEGIC_PATCH)


def pin_images(place: Place, pod: Object, *containers: str) -> None:
    """One PATCH: the images that run (of all containers without names), by their digests."""
    names = containers or tuple(each["name"] for each in pod["spec"]["containers"])
    patch_images(place, pod["metadata"]["name"], {name: references(pod, name)[0] for name in names})


def write_attempt(place: Place, pod: str, attempt: int) -> None:
    """The native trigger by one Pod: its attempt differs from the others'. Where that Pod's own agent is the last to
    come back, the barrier has been lifted without it, and one more round follows."""
    place.api.patch("pods", place.namespace, pod, {"metadata": {"annotations": {ATTEMPT: str(attempt)}}})


def outdate_attempt(place: Place, attempt: int) -> None:
    """The native trigger by the JobSet's status: what the controller would write, so that nobody is ahead."""
    status = {"status": {"previousInPlaceRestartAttempt": attempt}}
    place.api.patch("jobsets", place.namespace, "train", status, "status")


def suspend(place: Place, name: str, on: bool) -> None:
    place.api.patch("jobsets", place.namespace, name, {"spec": {"suspend": on}})


def until_restarted(place: Place, pods: int, times: int = 1, container: str = "worker") -> dict[str, Object]:
    """Waits until this container runs again, restarted so often, in so many Pods of JobSet train; its Pods by slot."""

    def again(found: list[Object]) -> bool:
        return sum(running(pod, container) and restarts(pod)[container] == times for pod in found) == pods

    return by_slot(place.until_pods("train", again, f"restart {times} of {container} in {pods} Pods"))


def until_event(place: Place, about: str, told: Callable[[Object], bool], within: float = 20) -> Object:
    """Waits for an Event about the object of this name."""

    def found(events: Iterable[Object]) -> list[Object]:
        return [each for each in events if each["involvedObject"]["name"] == about and told(each)]

    events = place.api.until(
        "events", place.namespace, lambda seen: bool(found(seen.values())), within=within, what=f"the Event on {about}"
    )
    return found(events.values())[0]


def refusal(place: Place, manifest: Object) -> str:
    """What the API says to this manifest, which it must not take."""
    with pytest.raises(Answer) as refused:
        place.create(manifest)
    assert 400 <= refused.value.status < 500, str(refused.value)
    return str(refused.value)


# ---------------------------------------------------------------- what was seen on the way


class Seen:
    """Every version of some objects that a watch told of. `begin` is called once the watch has its starting point, so
    nothing that follows from it is missed."""

    def __init__(self, begin: Callable[[], object]) -> None:
        self._begin: Callable[[], object] | None = begin
        self._versions: dict[str, list[Object]] = {}
        self._order: list[Object] = []

    def until(self, reached: Callable[[list[Object]], bool]) -> Callable[[list[Object]], bool]:
        """`reached` for a wait; what it is asked about is kept."""

        def look(objects: list[Object]) -> bool:
            for each in objects:
                kept = self._versions.setdefault(each["metadata"]["uid"], [])
                if not kept or kept[-1]["metadata"]["resourceVersion"] != each["metadata"]["resourceVersion"]:
                    kept.append(each)
                    self._order.append(each)
            if self._begin is not None:
                begin, self._begin = self._begin, None
                begin()
                return False
            return reached(objects)

        return look

    @property
    def all(self) -> list[Object]:
        """All versions, in the order they were seen."""
        return self._order

    def of(self, uid: str) -> list[Object]:
        return self._versions[uid]


def assert_in_order(versions: Sequence[Object], **steps: Callable[[Object], bool]) -> None:
    """Each step was seen, none before the one it follows."""
    position = 0
    for name, step in steps.items():
        found = next((index for index in range(position, len(versions)) if step(versions[index])), None)
        story = json.dumps([each.get("status") for each in versions[position:]])
        assert found is not None, f"{name!r} was not seen; from there on: {story[:6000]}"
        position = found


# ---------------------------------------------------------------- exec


@dataclass
class Executed:
    """An exec as its frames told of it. `status` is the Status of the error channel, empty where none came (the
    container ended first)."""

    protocol: str
    output: dict[int, bytes] = field(default_factory=dict)

    @property
    def stdout(self) -> str:
        return self.output.get(STDOUT, b"").decode()

    @property
    def stderr(self) -> str:
        return self.output.get(STDERR, b"").decode()

    @property
    def status(self) -> Object:
        found: Object = json.loads(self.output.get(ERROR) or b"{}")
        return found

    @property
    def code(self) -> int:
        """The command's exit code, -1 where the command could not end."""
        if self.status.get("status") == "Success":
            return 0
        causes = self.status.get("details", {}).get("causes", ())
        return next((int(each["message"]) for each in causes if each.get("reason") == "ExitCode"), -1)


class Exec:
    """pods/exec of one cluster, as the WebSocket carries it."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        client: Any = config.new_client_from_config(cluster.kubeconfig)
        settings = client.configuration
        self._namespace = place.namespace
        self._server = str(settings.host).replace("https://", "wss://", 1).replace("http://", "ws://", 1)
        self._headers = {str(a["key"]): str(a["value"]) for a in settings.auth_settings().values()}
        self._tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            self._tls.load_cert_chain(settings.cert_file, settings.key_file)

    def __call__(
        self, pod: str, *command: str, container: str = "worker", protocols: Sequence[str] = (V5, V4)
    ) -> Executed:
        """Runs the command. Raises Answer where the API refuses."""
        return asyncio.run(self._run(pod, container, command, protocols))

    async def _run(self, pod: str, container: str, command: Sequence[str], protocols: Sequence[str]) -> Executed:
        query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", c) for c in command)]
        url = f"{self._server}{path('pods', self._namespace, pod, 'exec')}?{urlencode(query)}"
        try:
            async with (
                asyncio.timeout(30),
                aiohttp.ClientSession(headers=self._headers) as session,
                session.ws_connect(url, protocols=protocols, ssl=self._tls) as socket,
            ):
                done = Executed(socket.protocol or "")
                async for message in socket:
                    frame = message.data
                    assert isinstance(frame, bytes), message
                    done.output[frame[0]] = done.output.get(frame[0], b"") + frame[1:]
                return done
        except aiohttp.WSServerHandshakeError as error:
            raise Answer(error.status, error.message) from None


def catches(run: Exec, pod: str, number: int, container: str) -> bool:
    """Whether PID 1 has a handler for the signal, by its mask in /proc/1/status."""
    lines = run(pod, "cat", "/proc/1/status", container=container).stdout.splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)
