"""Which processes stand at the same place, and which of them wait for others.

Processes are compared by their main thread. What runs the same program, by its outermost frame, is of one kind: the
ranks are not compared with their launcher, whatever ReplicatedJob they are of.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from statistics import median_low

from msgspec import Struct

from jobset_restart.diagnose.processes import Look, Process, Stack, alike
from jobset_restart.slots import Slot

COMMON = 0.5
"""A place that at least this share of the Pods stands at is where one is expected to stand."""
SHARED = 0.1
"""A place that so many Pods share is no place of its own: stages of a pipeline stand at several."""
FEW = 0.5
"""Those that others wait for can be up to half of them: a rack, a pipeline stage."""
ODD = 0.25
"""Where nobody is known to wait, only a small minority is odd."""
ALIKE = 0.5
"""How much smaller than the smallest of the large groups another of them may be."""
PRESENT = 0.75
"""What so many Pods of a group run, every one of them should."""
LEAST_PEERS = 3
"""Of two that differ, neither is the odd one."""

_COLLECTIVE = re.compile(
    r"_?(?:a?sync_?)?(?:all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|barrier)"
    r"(?:_into_tensor|_tensor|_single|_coalesced|_object|_object_list|_multigpu|_base|v|w|_async_?|_hook|_grads?)*"
    r"|recv_(?:forward|backward)\w*|send_(?:forward|backward)\w*|_communicate|_?batch_p2p_ops|_p2p_ops"
    r"|monitored_barrier|store_based_barrier|_store_based_barrier|batch_isend_irecv|sync_global_devices"
    r"|nccl\w+|pncc\w+|(?:c10d::)?ProcessGroup\w*(?:::\w+)*|(?:c10d::)?Work\w*::(?:wait|synchronize)\w*"
    r"|gloo::\w+(?:::\w+)*|P?MPI_\w+|(?:Comm\.)?(?:I?[Aa]llreduce|I?[Bb]arrier|I?[Bb]cast|I?[Aa]llgatherv?|I?[Aa]lltoallv?)"
    r"|block_until_ready|hvd\.\w+|horovod\w*|wait_for_everyone|synchronize_ranks",
    re.ASCII,
)
"""Functions of torch.distributed, NCCL, Gloo, MPI, Horovod and JAX that end only when all ranks have come."""
_FILE = re.compile(
    r"(?:^|/)(?:torch/distributed/(?:distributed_c10d|_functional_collectives)\.py|horovod/\w+/mpi_ops\.py|mpi4py/.*"
    r"|jax/_src/array\.py)$",
    re.ASCII,
)
"""Files whose functions wait for other ranks, but for those that prepare it."""
_MEETS = re.compile(
    r"(?:init_process_group|_?\w*rendezvous\w*|_create_c10d_store) \(|init \(horovod/|initialize \(jax/", re.ASCII
)
"""Where ranks meet at their start."""
_PREPARES = re.compile(r"init\w*|_?new_\w+|\w*rendezvous\w*|\w*store\w*|\w*rank\w*|__\w+__", re.ASCII)

Place = tuple[str, ...]
"""Where a process stands, as it is compared."""
RUNNING: Place = ("running",)


@lru_cache(maxsize=16_384)
def is_collective(frame: str) -> bool:
    """Whether this frame, as "all_reduce (train.py)", is a call that waits for other ranks."""
    name, _, file = frame.partition(" (")
    last = name.rpartition(".")[2] if not name.startswith("hvd.") else name
    if _COLLECTIVE.fullmatch(name) or _COLLECTIVE.fullmatch(last):
        return True
    return bool(_FILE.search(file.rstrip(")")) and not _PREPARES.fullmatch(last))


@lru_cache(maxsize=16_384)
def prepares(frame: str) -> bool:
    """Whether this frame is a call by which ranks find one another at their start."""
    return bool(_MEETS.match(frame))


@lru_cache(maxsize=1024)
def within_collective(stack: Stack) -> int | None:
    """The position of the outermost frame that waits for other ranks; whatever it does within is waiting. None where
    there is none."""
    at = None
    for position, frame in enumerate(stack):
        if is_collective(frame):
            at = position
    return at


def place(process: Process) -> Place:
    """Where the process stands: its stack, from the collective on where it is in one; else what the kernel tells."""
    if process.stack:
        at = within_collective(process.stack)
        return alike(process.stack if at is None else process.stack[at:])
    return kernel_place(process)


def kernel_place(process: Process) -> Place:
    """Where the process stands by the kernel alone. One that computes is at no place of its own."""
    if process.state == "R":
        return RUNNING
    return (process.state, process.wchan, process.syscall)


class Standing(Struct, kw_only=True):
    """Where the processes of one Pod stand. `waiting` are those in a collective; `behind` is how many fewer of its
    processes wait than in the other Pods; `odd` are those at a place that few others stand at, `known` tells that its
    processes could be compared with others at all. `missing` tells that the program the others run is not there."""

    waiting: list[Process] = []
    behind: int = 0
    odd: list[Process] = []
    known: bool = False
    missing: bool = False
    by_kernel: bool = False

    @property
    def shown(self) -> Process | None:
        """The process that says most."""
        return next(iter(self.odd or self.waiting), None)


class Group(Struct, kw_only=True):
    """Pods whose processes stand at one place."""

    stack: Stack
    waiting: bool
    pods: int
    examples: list[Slot]


class Standings(Struct, kw_only=True):
    """All of them. `collective` tells that most Pods wait for others, `all_wait` that every Pod of whose ranks that can
    be told does; `ranks` are the names of the processes that wait, `groups_waiting` the groups they are of."""

    of: dict[Slot, Standing]
    groups: list[Group]
    collective: bool = False
    all_wait: bool = False
    ranks: frozenset[str] = frozenset()
    groups_waiting: frozenset[str] = frozenset()


def program(process: Process) -> str:
    """What it runs: its outermost frame, or its name."""
    return alike(process.stack[-1:])[0] if process.stack else alike((process.name,))[0]


def compare(looks: Mapping[Slot, Look]) -> Standings:
    """Where the processes of each Pod stand, in comparison with the others'."""
    standings = {slot: Standing() for slot in looks}
    seen = {slot: [each for each in look.processes if each.state != "Z"] for slot, look in looks.items()}
    by_stack = _by_program(seen, with_stack=True)
    for peers in by_stack.values():
        _judge_peers(peers, looks, standings)
    _judge_by_kernel(seen, standings)
    _missing(seen, looks, standings)
    groups_waiting = frozenset(slot.group for slot, standing in standings.items() if standing.waiting)
    some = [standing for slot, standing in standings.items() if standing.known and slot.group in groups_waiting]
    collective = sum(1 for s in some if s.waiting) >= max(2, COMMON * len(some))
    return Standings(
        of=standings,
        groups=_groups(standings, seen),
        collective=collective,
        all_wait=collective and all(s.waiting and not s.behind for s in some),
        ranks=frozenset(alike((p.name,))[0] for s in some for p in s.waiting),
        groups_waiting=groups_waiting,
    )


Peers = dict[Slot, list[Process]]


def _by_program(seen: Mapping[Slot, list[Process]], *, with_stack: bool) -> dict[str, Peers]:
    found: dict[str, Peers] = defaultdict(lambda: defaultdict(list))
    for slot, processes in seen.items():
        for process in processes:
            if bool(process.stack) == with_stack:
                found[program(process)][slot].append(process)
    return found


def _judge_peers(peers: Peers, looks: Mapping[Slot, Look], standings: dict[Slot, Standing]) -> None:
    """Processes that run one program."""
    waiting = {slot: [p for p in some if within_collective(p.stack) is not None] for slot, some in peers.items()}
    many = sum(1 for some in waiting.values() if some)
    if len(peers) < 2:
        for slot, some in waiting.items():
            standings[slot].waiting += some
        return
    if many >= max(2, COMMON * len(peers)) or (many == 1 and len(peers) == 2):
        _judge_behind(peers, waiting, looks, standings)
        return
    common = _common(peers, place)
    for slot, some in peers.items():
        mine = standings[slot]
        mine.waiting += waiting[slot]
        mine.known = mine.known or bool(common)
        if common:
            mine.odd += [p for p in some if place(p) not in common and within_collective(p.stack) is None]


def _judge_behind(
    peers: Peers, waiting: Mapping[Slot, list[Process]], looks: Mapping[Slot, Look], standings: dict[Slot, Standing]
) -> None:
    """Most Pods wait in a collective: which of them with fewer processes than the others? What could not be read may
    be waiting as well. Data loaders run the rank's program too, so those that do not wait are not counted."""
    usual = median_low([len(some) for some in waiting.values() if some])
    others = {slot: [p for p in some if p not in waiting[slot]] for slot, some in peers.items()}
    common = _common(others, place)
    names = {alike((p.name,)) for some in waiting.values() for p in some}
    for slot, some in waiting.items():
        mine, look = standings[slot], looks[slot]
        mine.known = True
        mine.waiting += some
        unread = sum(1 for p in look.processes if p.error and alike((p.name,)) in names)
        behind = min(usual - len(some) - unread, len(others[slot])) if look.whole else 0
        if behind > 0:
            mine.behind += behind
            mine.odd = sorted(others[slot], key=lambda p: place(p) in common) + mine.odd


def _common(peers: Mapping[Slot, Sequence[Process]], where: Callable[[Process], Place]) -> set[Place]:
    """The places where most Pods have a process: the largest that together have all but a small minority, and any that
    is not much smaller than those: in a pipeline each stage waits at a place of its own. None where there is no
    majority."""
    if len(peers) < LEAST_PEERS:
        return set()
    at: dict[Place, set[Slot]] = defaultdict(set)
    for slot, some in peers.items():
        for process in some:
            at[where(process)].add(slot)
    found, covered, smallest = set[Place](), set[Slot](), len(peers)
    for each, slots in sorted(at.items(), key=lambda item: -len(item[1])):
        least = max(min(LEAST_PEERS, COMMON * len(peers)), SHARED * len(peers))
        enough = len(covered) >= (1 - ODD) * len(peers)
        if len(slots) < least or (enough and len(slots) < ALIKE * smallest):
            break
        found.add(each)
        covered |= slots
        smallest = len(slots)
    return found if len(covered) >= (1 - ODD) * len(peers) else set()


def _missing(seen: Mapping[Slot, list[Process]], looks: Mapping[Slot, Look], standings: dict[Slot, Standing]) -> None:
    """Pods that have no process of the name that ranks have in the others of their group: it ended there. Ranks are
    what waits; where nothing is seen to wait, what every other Pod has."""
    groups: dict[str, dict[Slot, set[str]]] = defaultdict(dict)
    for slot, some in seen.items():
        if looks[slot].whole and not looks[slot].more:
            groups[slot.group][slot] = {alike((p.name,))[0] for p in some}
    for pods in groups.values():
        counts = Counter(name for names in pods.values() for name in names)
        waiting = {alike((p.name,))[0] for slot in pods for p in standings[slot].waiting}
        if len(pods) < LEAST_PEERS:
            continue
        usual = {
            name for name, many in counts.items() if many >= PRESENT * len(pods) and (name in waiting or not waiting)
        }
        for slot, names in pods.items():
            if usual - names and not standings[slot].waiting:
                standings[slot].missing = standings[slot].known = True


def _judge_by_kernel(seen: Mapping[Slot, list[Process]], standings: dict[Slot, Standing]) -> None:
    """Processes without a stack, compared by what the kernel tells with all others of the same group and name."""
    peers: dict[tuple[str, str], Peers] = defaultdict(lambda: defaultdict(list))
    for slot, some in seen.items():
        for process in some:
            peers[slot.group, alike((process.name,))[0]][slot].append(process)
    for each in peers.values():
        blind = [slot for slot, some in each.items() if not any(p.stack for p in some)]
        if not blind:
            continue
        waits = _places_of_the_waiting(each, standings)
        common = _common(each, kernel_place) | waits
        if not common:
            continue
        for slot in blind:
            mine = standings[slot]
            told = [p for p in each[slot] if not _hidden(p) or _differs(p, common)]
            mine.waiting += [p for p in told if kernel_place(p) in waits]
            mine.odd += [p for p in told if kernel_place(p) not in common]
            mine.known = mine.known or bool(told)
            mine.by_kernel = mine.by_kernel or bool(told)


def _hidden(process: Process) -> bool:
    """Whether the kernel may not say where the process sleeps."""
    return process.state == "S" and not process.wchan and not process.syscall


def _differs(process: Process, common: set[Place]) -> bool:
    """Whether its state alone tells it from all the others."""
    return not any(each[0] == process.state for each in common)


def _places_of_the_waiting(peers: Peers, standings: dict[Slot, Standing]) -> set[Place]:
    """Where the kernel has those that are seen to wait."""
    return {kernel_place(p) for slot, some in peers.items() for p in some if p in standings[slot].waiting}


def _groups(standings: Mapping[Slot, Standing], seen: Mapping[Slot, list[Process]]) -> list[Group]:
    """The Pods by the place of the process that says most of each, the large groups first."""
    found: dict[Place, Group] = {}
    for slot, standing in standings.items():
        process = standing.shown or next(iter(seen[slot]), None)
        if process is None:
            continue
        key = place(process)
        group = found.get(key)
        if group is None:
            stack = process.stack or tuple(each for each in (process.name, *kernel_place(process)) if each)
            group = found[key] = Group(stack=stack, waiting=process in standing.waiting, pods=0, examples=[])
        group.pods += 1
        if len(group.examples) < LEAST_PEERS:
            group.examples.append(slot)
    return sorted(found.values(), key=lambda group: -group.pods)
