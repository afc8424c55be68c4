"""What is asked of a Pod: its newest log lines, and one read-only command in its container."""

from __future__ import annotations

from jobset_restart.writes import Exec, pod_path

TAIL_LINES = 10
"""Enough to know how often a container prints, and to find a step behind a few other lines."""
TAIL_BYTES = 16 * 1024
"""Ten lines of a progress log are 1 KB. The API server counts from the first of them: an answer of this size has been
cut off, and the newest line alone is asked for."""
DEEP_LINES = 1000
DEEP_BYTES = 256 * 1024
"""The same where none of the last lines has a step."""

LOOK = """\
exec 2>/dev/null
LC_ALL=C
echo "=jsr 1"
date +"now %s"
read -r l < /proc/uptime && echo "uptime $l"
for f in /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/memory.events \
/sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/memory/memory.oom_control; do
  [ -r $f ] && while read -r k v; do echo "cgroup $k $v"; done < $f
done
many= all= level=1
while [ "$level" ]; do
  next=
  for p in $level; do
    [ -r /proc/$p/status ] || continue
    case $many in xxxxxxxxxx) echo "=more"; next=; break;; esac
    many=x$many all="$all $p" state=
    echo "=process $p"
    while read -r k v; do
      case $k in State:) state=$v;; esac
      case $k in Name:|State:|PPid:|Uid:|Threads:) echo "$k $v";; esac
    done < /proc/$p/status
    l=; read -r l < /proc/$p/stat; echo "stat $l"
    l=; read -r l < /proc/$p/wchan; echo "wchan $l"
    l=; read -r l < /proc/$p/syscall; echo "syscall $l"
    while read -r l; do echo "kernel $l"; done < /proc/$p/stack
    threads=
    for t in /proc/$p/task/*; do
      c=; read -r c < $t/children; next="$next $c"
      case $threads in xxxxxxxxxxxxxxxxxxxxxxxx) continue;; esac
      threads=x$threads
      l=; read -r l < $t/stat; w=; read -r w < $t/wchan
      echo "thread ${w:--} ${l%% -1 *}"
    done
    case $state in Z*) all=${all% *};; esac
  done
  set -- $next
  level="$*"
done
command -v py-spy >/dev/null || { echo "=no py-spy"; all=; }
for p in $all; do
  echo "=py-spy $p"
  py-spy dump --nonblocking --pid $p 2>&1 &
  spy=$! many=
  sleep 0.03
  while kill -0 $spy; do
    case $many in xxxxxxxxxxxxxxx) kill -9 $spy; echo; echo "=hangs $p"; all=; break;; esac
    many=x$many
    sleep 0.2
  done
  wait $spy
  echo "=exit $?"
  [ "$all" ] || break
done
echo "=end"
"""
"""Reads; writes nothing and signals nothing but its own py-spy, where that hangs: it has
3 s for a process, and a dump takes 0.02 s.

First what the kernel tells of PID 1 and of its descendants, breadth first, at most 10 processes with 24 threads each:
so the ranks under a launcher come before their data loaders. Then a dump of each by py-spy where there is one.
`--nonblocking` never stops the process it looks at: one that stands still shows the same stack either way. No pipe and
no `timeout`: that of busybox leaves a process behind for PID 1 to reap, which a training program does not do.
"""


def look(namespace: str, pod: str, container: str) -> Exec:
    """The command that looks into a container."""
    return Exec(path=pod_path(namespace, pod), container=container, command=("sh", "-c", LOOK))


def log_request(
    namespace: str,
    pod: str,
    container: str,
    *,
    lines: int = TAIL_LINES,
    most: int = TAIL_BYTES,
    previous: bool = False,
) -> tuple[str, dict[str, str]]:
    """Path and query of the newest log lines of a container, or of the `previous` one of its name (core/v1
    PodLogOptions)."""
    query = {"container": container, "tailLines": str(lines), "limitBytes": str(most), "timestamps": "true"}
    if previous:
        query["previous"] = "true"
    return f"{pod_path(namespace, pod)}/log", query
