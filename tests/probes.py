"""What the probe prints: /proc/1/status, /proc/1/stat and the children's PIDs as Linux 6 writes them, cut to what may
differ."""

from __future__ import annotations

STATUS = """\
Name:\t{escaped}
Umask:\t0022
State:\tS (sleeping)
Tgid:\t1
Ngid:\t0
Pid:\t1
PPid:\t0
TracerPid:\t0
Uid:\t0\t0\t0\t0
Groups:\t
VmPeak:\t   16788 kB
Threads:\t1
SigQ:\t6/96365
SigPnd:\t0000000000000000
ShdPnd:\t0000000000000000
SigBlk:\t0000000000000000
SigIgn:\t0000000001001000
SigCgt:\t{caught:016x}
CapInh:\t0000000000000000
Speculation_Store_Bypass:\tvulnerable
Cpus_allowed_list:\t0-1
voluntary_ctxt_switches:\t1
nonvoluntary_ctxt_switches:\t142
"""
STAT = (
    "1 ({name}) S 0 1 1 0 -1 4194560 890 0 0 0 {user} {system} 0 0 20 0 1 0 354536 2322432 385 18446744073709551615 "
    "4198400 5785993 140727944351216 0 0 0 0 4 81922 1 0 0 17 0 0 0 0 0 0 6141704 6178576 433418240 140727944355443 "
    "140727944355505 140727944355505 140727944355824 0\n"
)


def answer(
    name: str = "python3",
    caught: int = 0x4002,
    user: str = "11",
    system: str = "4",
    children: tuple[int, ...] = (),
    prlimit: str = "",
) -> str:
    """What the probe command prints of such a PID 1. The kernel ends a child's PID with a blank and no line."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    text = STATUS.format(escaped=escaped, caught=caught) + STAT.format(name=name, user=user, system=system)
    return text + "".join(f"{child} " for child in children) + (f"{prlimit}\n" if prlimit else "")
