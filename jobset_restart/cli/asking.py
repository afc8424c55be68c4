"""The question whether to go on, and the signals that end the run before anything is changed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MOST_BYTES = 4096


def on_leaving(do: Callable[[], Any]) -> None:
    """Has `do` called by the running loop when the person or the system wants this process to end. A signal that the
    caller has set to be ignored (nohup, a background job of a script) stays ignored."""
    loop = asyncio.get_running_loop()
    for each in LEAVING:
        if signal.getsignal(each) is not signal.SIG_IGN:
            loop.add_signal_handler(each, do)


async def agreed(question: str) -> bool:
    """Asks on stderr and reads the answer from stdin: yes, or anything else, which is no. So is the end of input
    (Ctrl-D) and a terminal that went away.

    No thread waits here, so that the task can be cancelled at any time: a thread in a read ends with the next line.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    typed = bytearray()
    source = sys.stdin.fileno()

    def take() -> None:
        try:
            more = os.read(source, MOST_BYTES)
        except OSError:
            more = b""
        typed.extend(more)
        if (not more or b"\n" in more or len(typed) > MOST_BYTES) and not answered.done():
            answered.set_result(None)

    print(question, end="", file=sys.stderr, flush=True)
    loop.add_reader(source, take)
    try:
        await answered
    finally:
        loop.remove_reader(source)
        if b"\n" not in typed:
            print(file=sys.stderr)
    return bytes(typed).split(b"\n")[0].strip().lower() in (b"y", b"yes")
