"""What a workload is to everything above it: a name, a claim, Pods in slots, an order, an end of its own. Pure.

Nothing above these modules asks of what kind a workload is; what differs between the kinds is asked of the workload.
Kueue's GenericJob is the model (sigs.k8s.io/kueue, pkg/controller/jobframework/interface.go).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from jobset_restart.objects import Job, JobSet, Node, Pod, PodSpec, WorkloadMeta
from jobset_restart.order import Step, in_roles
from jobset_restart.places import indexed
from jobset_restart.pods import pod_ready
from jobset_restart.slots import Slot, Unit
from jobset_restart.vocabulary import TriggerName
from jobset_restart.workloads.kinds import WorkloadKind, reference
from jobset_restart.writes import Write

MOST_SLOTS = 200_000
"""More than any cluster runs: Kubernetes is built for 150,000 Pods (its large-cluster guide), and an Indexed Job may
have 100,000 at once (Job API validation). A workload that asks for more is a slip of the pen, or is meant to exhaust
memory."""


class SlotState(Struct, frozen=True):
    """One slot with what fills it. `pod` is the Pod that counts, `leftovers` other Pods of the slot that are not over
    yet. Where none is alive, `pod` is what the Job keeps of the last one. `completed`: its index is complete;
    `surplus`: its Pods are going, and nothing wants one here now.

    `job` is the Job that runs the slot's Pods. It is None between the deletion of a Job and its return, and in a
    workload that is not made of Jobs. `node` is None where the Node is unknown or cannot be seen.
    """

    slot: Slot
    job: Job | None = None
    pod: Pod | None = None
    node: Node | None = None
    leftovers: list[Pod] = []
    completed: bool = False
    surplus: bool = False

    @property
    def expected(self) -> bool:
        """Whether a Pod is to run here now."""
        return not (self.completed or self.surplus)

    @property
    def ready(self) -> bool:
        return self.pod is not None and pod_ready(self.pod)

    @property
    def node_name(self) -> str:
        return self.pod.spec.node_name if self.pod else ""


class Ending(Struct, frozen=True):
    """That a workload is over for good, in the words of its controller. `again` says how it is made to run again, where
    it need not be created again for that."""

    state: Literal["Completed", "Failed"]
    reason: str = ""
    message: str = ""
    again: str = ""


class Single(Struct, frozen=True):
    """One object to GET and WATCH: its collection's API path, its name, and the Struct it is read as. `otherwise`
    stands for it where it is not there and is made when it is needed; None where it has to be there."""

    collection: str
    name: str
    type: type[Any]
    otherwise: Any = None

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.name}"


class Several(Struct, frozen=True):
    """Objects to LIST and WATCH: their collection's API path, the Struct each is read as, and a label selector."""

    collection: str
    type: type[Any]
    labels: str


class Sources(Struct, frozen=True):
    """Where a workload is read from. `itself` is the object that carries the claim, `parts` are single objects it
    consists of besides, `children` the objects between it and its Pods. `part_refused`, `child_refused` and
    `pod_refused` are field selectors of the Events by which a controller says that it could not create a part, a child
    or a Pod."""

    itself: Single
    pods: Several
    parts: tuple[Single, ...] = ()
    children: tuple[Several, ...] = ()
    child_refused: str = ""
    pod_refused: str = ""
    part_refused: str = ""

    @property
    def refusals(self) -> tuple[str, ...]:
        """All of them, for this workload alone."""
        named = (selector for selector in (self.child_refused, self.part_refused) if selector)
        mine = (f"{selector},involvedObject.name={self.itself.name}" for selector in named)
        return tuple(filter(None, (self.pod_refused, *mine)))


class Filling(Struct, frozen=True):
    """The slots of a workload with what fills them. `jobs` are its own Jobs; `ended` its Pods that are over and that
    their Job keeps, by Job UID; `strangers` names objects that carry its name and are not its own."""

    slots: dict[Slot, SlotState]
    jobs: list[Job] = []
    ended: dict[str, list[Pod]] = field(default_factory=dict)
    strangers: list[str] = []


class Workload(Protocol):
    """One workload as it was read. It never changes: `renewed` gives another."""

    # ------------------------------------------------------------ who it is

    @property
    @abstractmethod
    def kind(self) -> WorkloadKind:
        """Its kind."""

    @property
    def carrier(self) -> WorkloadKind:
        """The kind of the object that carries the claim."""
        return self.kind

    @property
    @abstractmethod
    def metadata(self) -> WorkloadMeta:
        """Of the object that carries the claim."""

    @property
    @abstractmethod
    def sources(self) -> Sources: ...

    @abstractmethod
    def renewed(self, newer: Any) -> Workload:
        """The workload with a newer version of the object that carries the claim, or of one of its parts."""

    def without(self, part: Single) -> Workload:  # noqa: ARG002
        """The workload after one of its parts was deleted."""
        return self

    def version(self, single: Single) -> str:  # noqa: ARG002
        """The resourceVersion of the object that carries the claim, or of one of the parts, as it was read; "" where it
        was not there."""
        return self.metadata.resource_version

    @property
    def parts(self) -> tuple[Workload, ...]:
        """The single objects it consists of, as the workloads that they would be alone."""
        return ()

    @property
    def lacking(self) -> str:
        """What it consists of and is not there, "" where nothing is missing."""
        return ""

    @property
    def unheeding(self) -> str:
        """Which part is not suspended though the whole is, "" where none is."""
        return ""

    @property
    def parent_uid(self) -> str:
        """The UID of the object that creates its children, or its Pods where there are none."""
        return self.metadata.uid

    @property
    def jobset(self) -> JobSet | None:
        """The JobSet that it is or consists of; None where there is none."""
        return None

    @property
    def job(self) -> Job | None:
        """The Job that it is; None where it is none."""
        return None

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def title(self) -> str:
        """ "JobSet demo": how sentences speak of it."""
        return f"{self.kind.kind} {self.name}"

    @property
    def owners(self) -> str:
        """What makes its Pods, in words: "the JobSet and its Jobs"."""
        return f"the {self.kind.kind}"

    @property
    def path(self) -> str:
        """The API path of the object that carries the claim."""
        return self.carrier.path(self.namespace, self.metadata.name)

    def changed(self, body: dict[str, Any], *, resource_version: str = "") -> Write:
        """The write that merges this into the object that carries the claim. With `resource_version` it fails with
        Conflict where the object has another."""
        uid = self.metadata.uid
        return Write(verb="patch", path=self.path, body=body, uid=uid, resource_version=resource_version)

    @property
    def reference(self) -> str:
        """What a command line names it by: "lws/serving"; a JobSet needs no kind."""
        return reference(self.kind.kind, self.kind.group, self.name)

    # ------------------------------------------------------------ what it does

    @property
    @abstractmethod
    def suspended(self) -> bool:
        """Whether it is suspended (spec.suspend)."""

    @property
    def managed_by(self) -> str:
        """The controller that manages it in place of the usual one, "" where none does."""
        return ""

    @property
    def attempt(self) -> int:
        """The in-place restart attempt that all its Pods have reached (JobSet, status.currentInPlaceRestartAttempt)."""
        return (self.jobset.status.current_in_place_restart_attempt or 0) if self.jobset else 0

    @property
    def restarting(self) -> bool:
        """Whether its controller is restarting it."""
        return False

    @property
    @abstractmethod
    def triggers(self) -> tuple[TriggerName, ...]:
        """The names of the triggers that can restart it, the best first."""

    @property
    def answers_restarts(self) -> str:
        """What makes its controller answer a restarted container by making Pods anew, "" where nothing does."""
        return ""

    @abstractmethod
    def over(self) -> Ending | None:
        """How it ended, None where it has not."""

    def replaced(self, newer: Workload) -> str:  # noqa: ARG002
        """Why `newer`, the same object later, tells of another restart than ours, "" where it does not."""
        return ""

    # ------------------------------------------------------------ its Pods

    @property
    def made_of_jobs(self) -> bool:
        """Whether Jobs run its Pods."""
        return True

    @property
    def jobs_wanted(self) -> dict[str, int]:
        """How many Jobs each group should have, empty where none are made for it."""
        return {}

    @property
    def shares_its_pods(self) -> bool:
        """Whether its Pods are other workloads' as well, which may be restarted on their own."""
        return False

    def program(self, state: SlotState) -> str:
        """What runs in the slot: those with the same answer were made from one template."""
        return state.slot.group

    def owns(self, job: Job) -> bool:  # noqa: ARG002
        """Whether the Job is one of its own, by UID."""
        return False

    def unit_of(self, job: Job) -> Unit:
        """Where one of its Jobs stands."""
        return job.metadata.name, ()

    def seated(self, state: SlotState) -> bool:
        """Whether the slot is a seat: its Pod carries no index, and which seat is whose is told by the others alone."""
        return state.job is not None and not indexed(state.job)

    def has_index(self, index: int) -> bool:  # noqa: ARG002
        """Whether this is an index of its own, be there a Pod or not, where the first index of a slot counts no
        Jobs."""
        return False

    @abstractmethod
    def fill(self, children: Sequence[Any], pods: Iterable[Pod]) -> Filling:
        """Its slots, filled with its Pods. What belongs to whom is told by controller references and UIDs alone.

        Raises TooLarge where it asks for more than MOST_SLOTS Pods."""

    @property
    @abstractmethod
    def groups(self) -> dict[str, PodSpec]:
        """The groups of its slots in their own order, each with the Pod template it starts from."""

    # ------------------------------------------------------------ its order

    @property
    def ordered(self) -> bool:
        """Whether its slots have to start in an order."""
        return False

    def steps(self, slots: Iterable[Slot]) -> list[Step]:
        """These slots in the order in which they have to start."""
        return in_roles(slots, lambda slot: (0, slot.group))

    def held_back(self, group: str) -> str:  # noqa: ARG002
        """Why nothing of this group is created yet, "" where nothing holds it back."""
        return ""
