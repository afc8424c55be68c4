"""The `signal` trigger: make PID 1 of a container exit, from inside.

The kernel drops default-action signals that a process of the same PID namespace sends to PID 1 (pid_namespaces(7)):
without a handler neither TERM nor KILL does anything. So the means is chosen by what PID 1 is, and the command that
sends it looks again before it does.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from jobset_restart.objects import Pod
from jobset_restart.snapshot import SlotState
from jobset_restart.triggers import containers_in_scope
from jobset_restart.writes import Exec, pod_path

NOT_CAUGHT = 97
REFUSALS = ((NOT_CAUGHT, "PID 1 does not handle the signal"),)
SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"})
CLOCK_TICKS = 100

PROBE_COMMAND = (
    "sh",
    "-c",
    'while read -r k v; do case "$k" in Name:) n=$v;; SigCgt:) c=$v;; esac; done </proc/1/status; '
    "read -r s </proc/1/stat; set -- ${s##*) }; t=$((${12} + ${13})); m=0; "
    'for f in /proc/[0-9]*/stat; do read -r s <"$f" 2>/dev/null || continue; set -- ${s##*) }; '
    '[ "$2" = 1 ] && m=$((m + 1)); done; '
    "command -v prlimit >/dev/null 2>&1 && p=1 || p=0; "
    'echo "jsr-probe caught=$c ticks=$t children=$m prlimit=$p name=$n"',
)


class Probe(Struct, frozen=True, kw_only=True):
    """What was found in a container. `error` is set where it could not be looked into (no shell, exec refused).

    `caught` is the mask of signals PID 1 handles (SigCgt of /proc/1/status), `cpu` the seconds it has computed,
    `children` how many processes it has.
    """

    name: str = ""
    caught: int = 0
    cpu: float = 0.0
    children: int = 0
    prlimit: bool = False
    error: str = ""

    def catches(self, signal: str) -> bool:
        return bool(self.caught >> (number(signal) - 1) & 1)


class Means(Struct, frozen=True):
    """How PID 1 is made to exit: a signal it catches ("TERM"), "children" or "cpu"; and the exit code to expect."""

    how: str
    exit_code: int


def number(signal: str) -> int:
    """The number of a signal by name ("TERM", "SIGTERM") or number. Raises ValueError where there is none."""
    try:
        if signal.isascii() and signal.isdecimal():
            return int(signals.Signals(int(signal[:9])))
        return int(signals.Signals["SIG" + signal.upper().removeprefix("SIG")])
    except (KeyError, ValueError):
        raise ValueError(f"{signal!r} is not a signal") from None


def read_probe(stdout: str) -> Probe:
    """What the probe command printed. An answer that is not its own becomes a Probe with an error."""
    line = next((line for line in stdout.splitlines() if line.startswith("jsr-probe ")), "")
    fields = dict(word.partition("=")[::2] for word in line.split()[1:])
    try:
        return Probe(
            name=fields["name"],
            caught=int(fields["caught"], 16),
            cpu=int(fields["ticks"]) / CLOCK_TICKS,
            children=int(fields["children"]),
            prlimit=fields["prlimit"] == "1",
        )
    except (KeyError, ValueError):
        return Probe(error="the container's shell did not answer the probe")


def means(probe: Probe, wanted: str = "") -> Means | None:
    """The means that makes this PID 1 exit, None where there is none.

    A wanted signal is taken if it is caught. Else TERM, INT (Python catches it by default; a shell catches it too, but
    does not die of it), the death of a shell's children, then the kernel's own KILL through a CPU limit, which only a
    PID 1 that computes meets.
    """
    if probe.error:
        return None
    if wanted:
        return Means(wanted.upper().removeprefix("SIG"), 128 + number(wanted)) if probe.catches(wanted) else None
    shell = probe.name in SHELLS
    for name in ("TERM",) if shell else ("TERM", "INT"):
        if probe.catches(name):
            return Means(name, 128 + number(name))
    if shell and probe.children:
        return Means("children", 137)
    if probe.prlimit and probe.cpu > 1:
        return Means("cpu", 137)
    return None


def command(chosen: Means) -> tuple[str, ...]:
    """The command that applies the means. It exits with NOT_CAUGHT, having done nothing, where PID 1 no longer
    catches the signal."""
    if chosen.how == "children":
        return ("sh", "-c", "kill -9 -1")
    if chosen.how == "cpu":
        return ("prlimit", "--pid", "1", "--cpu=1:1")
    bit = number(chosen.how) - 1
    return (
        "sh",
        "-c",
        'while read -r k v; do [ "$k" = SigCgt: ] && c=$v; done </proc/1/status; '
        f"[ $((0x$c >> {bit} & 1)) = 1 ] || exit {NOT_CAUGHT}; kill -{number(chosen.how)} 1",
    )


def probe(pod: Pod, container: str) -> Exec:
    """The exec that looks at PID 1 of the container."""
    path = pod_path(pod.metadata.namespace, pod.metadata.name)
    return Exec(path=path, container=container, command=PROBE_COMMAND)


def signal(states: Iterable[SlotState], names: Sequence[str], chosen: Mapping[tuple[str, str], Means]) -> list[Exec]:
    """One exec per container in scope for which `chosen` has a means, by (ReplicatedJob, container). Without one there
    is nothing to send (findings JSR303, JSR304)."""
    actions = []
    for state in states:
        pod = state.pod
        assert pod is not None
        for container in containers_in_scope(pod, names):
            by = chosen.get((state.slot.replicated_job, container.name))
            path = pod_path(pod.metadata.namespace, pod.metadata.name)
            if by is not None:
                slot, what = str(state.slot), command(by)
                actions.append(Exec(path=path, container=container.name, command=what, slot=slot, refusals=REFUSALS))
    return actions
