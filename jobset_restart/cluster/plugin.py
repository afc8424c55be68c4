"""Credential plugins of a kubeconfig: one run of the program (client.authentication.k8s.io, client-go's exec.go)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from jobset_restart.cluster import limits
from jobset_restart.cluster.kubeconfig import ExecConfig
from jobset_restart.cluster.secret import plain_words
from jobset_restart.errors import AccessError

SECONDS = 120.0
"""How long a plugin may take that nobody can answer a question of."""
HINT = "run it by hand to see why, or log in again"


class Credential(Struct, frozen=True):
    """What proves who we are: a token, or a client certificate and its key (PEM). `expires` is in seconds since the
    epoch, None where it is not said."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: float | None = None


class _Status(Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: str | None = None


class _ExecCredential(Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status | None = None


async def run(plugin: ExecConfig, user: str, cluster: dict[str, Any]) -> Credential:
    """Runs the plugin of `user` and reads what it prints; `cluster` is told to those that ask for it.

    A run that is cancelled or takes too long ends the program. Raises AccessError, which never repeats what the plugin
    printed: it may be the credential itself.
    """
    name = f"the credential plugin {plugin.command!r} of user {user!r}"
    interactive = _interactive(plugin, name)
    environment = {**os.environ, **{each.name: each.value or "" for each in plugin.env or ()}}
    environment["KUBERNETES_EXEC_INFO"] = _info(plugin, interactive, cluster)
    try:
        process = await _started(
            asyncio.create_subprocess_exec(
                plugin.command,
                *(plugin.args or ()),
                env=environment,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if interactive else asyncio.subprocess.PIPE,
                start_new_session=not interactive,
            ),
            whole_session=not interactive,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "its arguments cannot be passed on"
        raise AccessError(f"{name} failed: {why}", plain_words(plugin.install_hint or "") or HINT) from None
    try:
        async with asyncio.timeout(None if interactive else SECONDS):
            printed, said = await asyncio.gather(_read(process.stdout), _read(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise AccessError(f"{name} failed: it did not end within {SECONDS:.0f} s", HINT) from None
    finally:
        _end(process, whole_session=not interactive)
    if code != 0:
        words = plain_words(said.decode(errors="replace").strip().rpartition("\n")[2])
        raise AccessError(f"{name} failed: exit code {code}{': ' + words if words else ''}", HINT)
    return _credential(printed, plugin, name)


async def _started(
    starting: Coroutine[Any, Any, asyncio.subprocess.Process], *, whole_session: bool
) -> asyncio.subprocess.Process:
    """The program once it has been started. asyncio, cancelled half way, would kill it but not what it has started."""
    task = asyncio.ensure_future(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            _end(await task, whole_session=whole_session)
        raise


def _interactive(plugin: ExecConfig, name: str) -> bool:
    """Whether the plugin may ask the person (client-go, isInteractive)."""
    terminal = sys.stdin is not None and sys.stdin.isatty()
    match plugin.interactive_mode or "IfAvailable":
        case "Never":
            return False
        case "IfAvailable":
            return terminal
        case "Always":
            if not terminal:
                raise AccessError(f"{name} failed: it wants to ask something, and standard input is not a terminal")
            return True
        case _:
            raise AccessError(f"{name} failed: its interactiveMode is not Never, IfAvailable or Always")


def _info(plugin: ExecConfig, interactive: bool, cluster: dict[str, Any]) -> str:
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        spec["cluster"] = cluster
    return msgspec.json.encode({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}).decode()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """What the plugin prints, at most one byte more than is allowed; the rest is read and dropped, so that it ends."""
    kept = b""
    while stream is not None and (data := await stream.read(65536)):
        kept += data[: limits.PLUGIN_BYTES + 1 - len(kept)]
    return kept


def _end(process: asyncio.subprocess.Process, *, whole_session: bool) -> None:
    """Ends a program that is still there; in a session of its own, with all that it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            if whole_session:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


def _credential(printed: bytes, plugin: ExecConfig, name: str) -> Credential:
    if len(printed) > limits.PLUGIN_BYTES:
        raise AccessError(f"{name} failed: it printed more than {limits.PLUGIN_BYTES // limits.MIB} MiB", HINT)
    try:
        answer = msgspec.json.decode(printed, type=_ExecCredential)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise AccessError(f"{name} failed: it did not print an ExecCredential as JSON", HINT) from None
    if answer.api_version != plugin.api_version:
        raise AccessError(f"{name} failed: it speaks another API version than {plugin.api_version!r}", HINT)
    status = answer.status or _Status()
    certificate, key = status.client_certificate_data or "", status.client_key_data or ""
    if bool(certificate) != bool(key):
        raise AccessError(f"{name} failed: it gave only one of client certificate and key", HINT)
    if not (status.token or certificate):
        raise AccessError(f"{name} failed: it gave no credentials", HINT)
    try:
        expires = (
            datetime.fromisoformat(status.expiration_timestamp).timestamp() if status.expiration_timestamp else None
        )
    except (ValueError, OverflowError):
        raise AccessError(f"{name} failed: its expirationTimestamp is not a time", HINT) from None
    return Credential(status.token or "", certificate.encode(), key.encode(), expires)
