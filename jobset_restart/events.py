"""What happens during an operation, as a tagged union: the one thing the views, the event log and the tests are told.

Every event carries `time` in seconds since the epoch (server time where known). Slots are named "workers/0/3":
ReplicatedJob, job index, completion index. One event is one line of JSON in an event file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import msgspec
from msgspec import Struct

from jobset_restart.spans import Prediction

APIVERSION = "jobset-restart.io/v1"


class EventBase(
    Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower, rename="camel", omit_defaults=True
):
    time: float


class PlannedSlot(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A slot of the plan. `trigger` is empty where the plan leaves the slot alone."""

    slot: str
    pod: str = ""
    node: str = ""
    trigger: str = ""


class Planned(EventBase, frozen=True, kw_only=True):
    """The operation is about to begin, or to be carried on in this `round`. `jobset` is the name of the workload,
    `kind` and `group` say of what kind it is. `deadline` is seconds since the epoch, `predicted` the seconds
    expected, `prediction` the same as a range."""

    operation: str
    jobset: str
    kind: str = "JobSet"
    group: str = "jobset.x-k8s.io"
    namespace: str
    context: str = ""
    strategy: str = ""
    trigger: str = ""
    reason: str = ""
    deadline: float = 0.0
    predicted: float = 0.0
    prediction: Prediction | None = None
    writes: int = 0
    slots: list[PlannedSlot] = []
    round: int = 1


class NextRound(EventBase, frozen=True, kw_only=True):
    """What was planned did not bring every slot back, and another plan begins in the same operation, made from a fresh
    look: round 2 and so on. `rung` is how far it goes for slots that did not come back ("force", "pod", "job",
    "workload"), "" where it is none of these. `reason` is the plan's, `because` what came of the round before; the rest
    is as in Planned."""

    operation: str
    round: int
    strategy: str
    trigger: str
    rung: str = ""
    reason: str = ""
    because: str = ""
    predicted: float = 0.0
    prediction: Prediction | None = None
    writes: int = 0
    slots: list[PlannedSlot] = []


class Claimed(EventBase, frozen=True, kw_only=True):
    """The lock on the workload is held. `took_over` is the id of a dead client's operation whose claim had lapsed."""

    operation: str
    owner: str
    took_over: str = ""


class SlotEvent(EventBase, frozen=True, kw_only=True):
    slot: str
    pod: str = ""
    node: str = ""
    reason: str = ""


class Triggered(SlotEvent, frozen=True, kw_only=True):
    """The write or exec that restarts this slot was accepted (or the one write for the whole workload was). It
    comes again with a reason when something keeps the slot from going on, such as a machine that is down."""


class Stopping(SlotEvent, frozen=True, kw_only=True):
    """A container in scope ended, or the slot's Pod is being deleted. `reason` is what the kubelet said."""


class Starting(SlotEvent, frozen=True, kw_only=True):
    """A new container, or a new Pod, is there but not Ready. `reason` is what it waits for (ImagePullBackOff, ...)."""


class Ready(SlotEvent, frozen=True, kw_only=True):
    """The slot came back. `seconds` is from the trigger to here; `recreated` tells a new Pod from the same one, and
    `previous_node` where the one before was, if that was another node."""

    seconds: float = 0.0
    recreated: bool = False
    previous_node: str = ""


class Failed(SlotEvent, frozen=True, kw_only=True):
    """The slot will not come back by itself in this operation; `reason` says why."""


class Barrier(EventBase, frozen=True, kw_only=True):
    """Native only: how many Pods carry the new attempt, and the slots that hold the barrier (the first few)."""

    attempt: int
    arrived: int
    total: int
    held_by: list[str] = []


class Phase(EventBase, frozen=True, kw_only=True):
    """The whole operation moved on: "suspending", "suspended", "resuming", "resumed", "deleting jobs", ..."""

    phase: str
    reason: str = ""


class Retried(EventBase, frozen=True, kw_only=True):
    """A request is tried again after `delay` seconds."""

    request: str
    reason: str
    delay: float


class Disconnected(EventBase, frozen=True, kw_only=True):
    """The watch was lost; it is being resumed."""

    reason: str


class Reconnected(EventBase, frozen=True, kw_only=True):
    """The watch runs again; `seconds` is how long it was gone."""

    seconds: float


class Noticed(EventBase, frozen=True, kw_only=True):
    """A sentence for the person that fits no other event."""

    message: str


class Detached(EventBase, frozen=True, kw_only=True):
    """The client leaves while the operation runs on. `not_triggered` slots have not been touched."""

    operation: str
    not_triggered: int = 0
    follow: str = ""


class Budget(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is spent of a limit that Kubernetes holds against the workload: `name` ("Job backoffLimit workers-0")."""

    name: str
    limit: int
    before: int
    after: int


class Capturing(EventBase, frozen=True, kw_only=True):
    """Before anything is changed, evidence is written to `path`: of `slots` of the `total` slots, for at most `within`
    seconds."""

    path: str
    slots: int
    total: int
    within: float


class Captured(EventBase, frozen=True, kw_only=True):
    """The evidence is written: of so many slots, in `seconds`. `missing` counts what could not be had, `reason` says
    what cut it short, where something did."""

    path: str
    slots: int
    missing: int = 0
    seconds: float = 0.0
    reason: str = ""


class Finished(EventBase, frozen=True, kw_only=True):
    """The end. `outcomes` counts slots by outcome: restarted, recreated, unchanged, failed, timed out, gone."""

    operation: str
    exit_code: int
    outcomes: dict[str, int] = {}
    reason: str = ""
    seconds: float = 0.0
    writes: int = 0
    budgets: list[Budget] = []


Event = Union[  # noqa: UP007 msgspec reads the union at run time on Python 3.11
    Planned,
    NextRound,
    Claimed,
    Triggered,
    Stopping,
    Starting,
    Ready,
    Failed,
    Barrier,
    Phase,
    Retried,
    Disconnected,
    Reconnected,
    Noticed,
    Detached,
    Capturing,
    Captured,
    Finished,
]

Emit = Callable[[Event], None]

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """One line of an event file, without the newline."""
    return _encoder.encode(event)


def decode(line: bytes) -> Event:
    """The event of one line. Raises msgspec.DecodeError or msgspec.ValidationError where it is none."""
    return _decoder.decode(line)
