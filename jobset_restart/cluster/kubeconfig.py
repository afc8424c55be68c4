"""Kubeconfig files: which ones, how several become one, and what a context of them says. Sends nothing, runs nothing.

The rules are kubectl's (client-go, tools/clientcmd): ClientConfigLoadingRules.Load for the merge, ResolveLocalPaths for
relative paths, api/v1 Config for the fields and their types.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import Any

import msgspec
from msgspec import Struct

from jobset_restart.cluster import files, limits
from jobset_restart.errors import AccessError
from jobset_restart.names import suggestion

ENV_KUBECONFIG = "KUBECONFIG"
DEFAULT_KUBECONFIG = "~/.kube/config"
EXEC_EXTENSION = "client.authentication.k8s.io/exec"


class _Fields(Struct, rename="kebab", kw_only=True):
    """Fields that are not known are left out, as kubectl does; those that are have the API's types, or null."""


class NamedExtension(_Fields):
    name: str
    extension: Any = None


class Cluster(_Fields):
    server: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None
    extensions: list[NamedExtension] | None = None


class EnvVar(Struct):
    name: str
    value: str | None = None


class ExecConfig(Struct, rename="camel", kw_only=True):
    """A credential plugin (client.authentication.k8s.io)."""

    command: str
    api_version: str
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class AuthProvider(_Fields):
    name: str
    config: dict[str, str] | None = None


class User(_Fields):
    token: str | None = None
    token_file: str | None = msgspec.field(name="tokenFile", default=None)
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    username: str | None = None
    password: str | None = None
    exec: ExecConfig | None = None
    auth_provider: AuthProvider | None = None
    as_: str | None = msgspec.field(name="as", default=None)
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class Context(_Fields):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class _NamedCluster(_Fields):
    name: str
    cluster: Cluster | None = None


class _NamedUser(_Fields):
    name: str
    user: User | None = None


class _NamedContext(_Fields):
    name: str
    context: Context | None = None


class _File(_Fields):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


class Config(Struct):
    """Several files as one. `shown` names them in messages."""

    shown: str
    clusters: dict[str, Cluster]
    users: dict[str, User]
    contexts: dict[str, Context]
    current_context: str = ""


class Chosen(Struct, frozen=True):
    """One context with what it refers to; paths are absolute, or relative to the working directory."""

    name: str
    where: str
    cluster: Cluster
    user: User
    user_name: str
    namespace: str


def paths(given: str | None) -> str | None:
    """The kubeconfig files to use, a list joined as in KUBECONFIG; None inside a Pod without one.

    Raises AccessError where there is none and this is no Pod.
    """
    if given:
        return given
    if os.environ.get(ENV_KUBECONFIG):
        return os.environ[ENV_KUBECONFIG]
    default = os.path.expanduser(DEFAULT_KUBECONFIG)
    if os.path.exists(default):
        return default
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    raise AccessError(
        f"no kubeconfig: KUBECONFIG is not set and {default} does not exist",
        "name one with --kubeconfig, or run inside a Pod with a service account",
    )


def load(paths: str) -> Config:
    """The files as one: of every named entry, and of current-context, the first definition holds; files that do not
    exist are passed over (client-go, ClientConfigLoadingRules.Load).

    Raises AccessError naming the file that is bad, or when none exists.
    """
    names = dict.fromkeys(os.path.expanduser(path) for path in paths.split(os.pathsep) if path)
    found: list[tuple[str, _File]] = []
    for name in names:
        try:
            found.append((name, _read(name)))
        except FileNotFoundError:
            continue
    shown = ", ".join(names) or paths
    if not found:
        raise AccessError(f"kubeconfig {shown} does not exist")
    config = Config(shown, {}, {}, {})
    for name, file in found:
        folder = os.path.dirname(os.path.abspath(name))
        for cluster in file.clusters or ():
            config.clusters.setdefault(cluster.name, _placed(cluster.cluster or Cluster(), folder))
        for user in file.users or ():
            config.users.setdefault(user.name, _user_placed(user.user or User(), folder))
        for context in file.contexts or ():
            config.contexts.setdefault(context.name, context.context or Context())
        config.current_context = config.current_context or (file.current_context or "")
    if not (config.clusters or config.users or config.contexts):
        raise AccessError(f"kubeconfig {shown} is empty")
    return config


def choose(config: Config, wanted: str | None) -> Chosen:
    """The context `wanted`, or the current one. Raises AccessError, with near names as the hint."""
    name = wanted or config.current_context
    known = sorted(config.contexts)
    if not name:
        raise AccessError(
            f"{config.shown} names no current context", f"choose one with --context: {', '.join(known) or 'none'}"
        )
    if name not in config.contexts:
        raise AccessError(f"there is no context {name!r} in {config.shown}", suggestion(name, known) or "it has none")
    context, where = config.contexts[name], f"context {name!r} of {config.shown}"
    if (context.cluster or "") not in config.clusters:
        raise AccessError(f"{where} cannot be used: there is no cluster {context.cluster or ''!r}")
    if context.user and context.user not in config.users:
        raise AccessError(f"{where} cannot be used: there is no user {context.user!r}")
    namespace = context.namespace or "default"
    check_namespace(namespace, where)
    user = config.users[context.user] if context.user else User()
    return Chosen(name, where, config.clusters[context.cluster or ""], user, context.user or "", namespace)


def check_namespace(namespace: str, where: str) -> None:
    """Raises AccessError: a namespace becomes part of every path (RFC 1123 label, as the API server wants it)."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", namespace):
        raise AccessError(f"{where} names a namespace that cannot exist: {namespace[:80]!r}", "correct it, or give -n")


def decoded(data: str, what: str) -> bytes:
    """The bytes of a field that holds base64. Raises AccessError."""
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise AccessError(f"{what} is not base64") from None


# ---------------------------------------------------------------- one file


def _read(path: str) -> _File:
    content = _plain(files.read(path, limits.KUBECONFIG_BYTES, "kubeconfig"), path)
    if content is None:
        return _File()
    if not isinstance(content, dict):
        raise AccessError(f"kubeconfig {path} is not a kubeconfig: it holds no mapping")
    try:
        file = msgspec.convert(content, _File)
    except (msgspec.ValidationError, RecursionError) as error:
        raise AccessError(f"kubeconfig {path} is not a kubeconfig: {_sentence(error)}") from None
    for kind, entries in (("clusters", file.clusters), ("users", file.users), ("contexts", file.contexts)):
        names = [entry.name for entry in entries or ()]
        if len(names) != len(set(names)):
            twice = next(name for name in names if names.count(name) > 1)
            raise AccessError(f"kubeconfig {path} cannot be used: {kind} has two entries named {twice!r}")
    return file


def _plain(data: bytes, path: str) -> Any:
    """YAML as plain data. Raises AccessError also for aliases that lead back to themselves or grow without end."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(data.decode())
        node = loader.get_single_node()
        if node is None:
            return None
        if _grown(node, {}) > limits.KUBECONFIG_NODES:
            raise AccessError(f"kubeconfig {path} cannot be used: its aliases grow without end")
        return loader.construct_document(node)
    except AccessError:
        raise
    except UnicodeError:
        raise AccessError(f"kubeconfig {path} cannot be read: it is not UTF-8 text") from None
    except RecursionError:
        raise AccessError(f"kubeconfig {path} cannot be read: it is nested too deeply") from None
    except Exception as error:
        # The constructors of tagged scalars ("!!int x") raise whatever int and friends do.
        raise AccessError(f"kubeconfig {path} cannot be read: {_where(error)}") from None
    finally:
        loader.dispose()


def _grown(node: Any, known: dict[int, int]) -> int:
    """How many nodes this one is when every alias is replaced by what it stands for. Raises UnicodeError for text that
    no UTF-8 stands for: YAML's escapes can write half a character."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise ValueError("an alias leads back to itself")
        return known[id(node)]
    known[id(node)] = 0
    count = 1
    if isinstance(node.value, list):
        for child in node.value:
            pair = child if isinstance(child, tuple) else (child,)
            count += sum(_grown(each, known) for each in pair)
    else:
        node.value.encode()
    known[id(node)] = count
    return count


def _where(error: Exception) -> str:
    """What is wrong and in which line, without the line itself: it may hold a credential."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem:
        return f"{_sentence_of(str(problem))}, line {mark.line + 1}"
    return str(error) if type(error) is ValueError and str(error).startswith("an alias") else "it is not valid YAML"


def _sentence_of(problem: str) -> str:
    """The parser's words quote what it found, but for single characters that is of no use to anybody else."""
    return re.sub(r"'[^']{2,}'", "a value", problem)


def _sentence(error: BaseException) -> str:
    return str(error).replace("`$.", "`")


def _placed(cluster: Cluster, folder: str) -> Cluster:
    return msgspec.structs.replace(cluster, certificate_authority=_at(cluster.certificate_authority, folder))


def _user_placed(user: User, folder: str) -> User:
    plugin = user.exec
    if plugin is not None and os.sep in plugin.command:
        plugin = msgspec.structs.replace(plugin, command=_at(plugin.command, folder))
    return msgspec.structs.replace(
        user,
        client_certificate=_at(user.client_certificate, folder),
        client_key=_at(user.client_key, folder),
        token_file=_at(user.token_file, folder),
        exec=plugin,
    )


def _at(path: str | None, folder: str) -> str | None:
    """A relative path is relative to the file that names it (client-go, ResolveLocalPaths)."""
    return os.path.normpath(os.path.join(folder, path)) if path else path
