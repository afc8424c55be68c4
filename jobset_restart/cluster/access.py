"""Credentials, TLS and proxy: what the official Python client's loaders make of a kubeconfig or a service account."""

from __future__ import annotations

import difflib
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from jobset_restart.errors import AccessError

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ENV_SERVICE_ACCOUNT = "JSR_SERVICE_ACCOUNT_DIR"
ENV_KUBECONFIG = "KUBECONFIG"
DEFAULT_KUBECONFIG = "~/.kube/config"


class Access:
    """Where the API server is and how to speak to it. `load` reads everything anew; `refresh` what may expire.

    Attributes: server (URL), context, namespace (default of the context), user, ssl (one SSLContext, None for plain
    HTTP), proxy (URL or ""). `headers` gives the headers of the next request.
    """

    def __init__(self, kubeconfig: str | None, context: str | None, impersonate: str | None) -> None:
        self._kubeconfig, self._wanted_context, self._impersonate = kubeconfig, context, impersonate
        self.load()

    def load(self) -> None:
        """Raises AccessError with what is wrong and where."""
        from kubernetes.client.configuration import Configuration

        self._configuration = Configuration()
        self.context = self.user = ""
        self.namespace = "default"
        self._impersonation: dict[str, str] = {"Impersonate-User": self._impersonate} if self._impersonate else {}
        self._expires: Callable[[], bool] = lambda: False
        source = kubeconfig_paths(self._kubeconfig)
        if source is None:
            self._load_in_cluster()
        else:
            self._load_kubeconfig(source)
        self.server = str(self._configuration.host)
        self.ssl = self._ssl_context()
        self.proxy = self._proxy()
        self._token = self._read_token()

    # ------------------------------------------------------------ sources

    def _load_in_cluster(self) -> None:
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.incluster_config import InClusterConfigLoader

        folder = os.environ.get(ENV_SERVICE_ACCOUNT, SERVICE_ACCOUNT)
        try:
            InClusterConfigLoader(token_filename=f"{folder}/token", cert_filename=f"{folder}/ca.crt").load_and_set(
                self._configuration
            )
        except (ConfigException, OSError) as error:
            raise AccessError(f"the service account in {folder} cannot be used: {error}") from None
        self.context = "in-cluster"
        self.user = "the Pod's service account"
        self._expires = lambda: True
        try:
            with open(f"{folder}/namespace", encoding="utf-8") as file:
                self.namespace = file.read().strip() or "default"
        except OSError:
            pass

    def _load_kubeconfig(self, paths: str) -> None:
        from kubernetes.config.kube_config import KubeConfigLoader

        config = _merged(paths)
        name = self._wanted_context or config.get("current-context")
        contexts = _by_name(config, "contexts")
        if not name:
            raise AccessError(
                f"{_shown(paths)} names no current context",
                f"choose one with --context: {', '.join(contexts) or 'none'}",
            )
        if name not in contexts:
            near = difflib.get_close_matches(name, contexts, n=3) or sorted(contexts)[:8]
            raise AccessError(
                f"there is no context {name!r} in {_shown(paths)}", f"contexts: {', '.join(near) or 'none'}"
            )
        said = _Said()
        logging.getLogger().addHandler(said)
        try:
            loader = KubeConfigLoader(config_dict=_node(paths), active_context=name, config_base_path=None)
            loader.load_and_set(self._configuration)
        except Exception as error:
            raise AccessError(f"context {name!r} of {_shown(paths)} cannot be used: {_sentence(error)}") from None
        finally:
            logging.getLogger().removeHandler(said)
        context = contexts[name].get("context") or {}
        self.context = name
        self.namespace = context.get("namespace") or "default"
        self.user = context.get("user") or ""
        user = _by_name(config, "users").get(self.user, {}).get("user") or {}
        self._check_credentials(user, said.lines, loader)
        self._impersonate_as(user)
        self._check_server(str(self._configuration.host), f"context {name!r} of {_shown(paths)}")

    def _check_server(self, server: str, where: str) -> None:
        from yarl import URL

        try:
            usable = server.startswith(("https://", "http://")) and bool(URL(server).host)
        except ValueError:
            usable = False
        if not usable:
            raise AccessError(f"{where} has no server URL: {server!r}")

    def _check_credentials(self, user: Mapping[str, Any], said: list[str], loader: Any) -> None:
        """The loader only logs a failed exec plugin; without a word the server would see an anonymous user."""
        plugin = user.get("exec")
        if plugin and not (getattr(loader, "token", None) or getattr(loader, "cert_file", None)):
            command = plugin.get("command", "?") if isinstance(plugin, Mapping) else "?"
            why = "; ".join(said) or "it gave no credentials"
            raise AccessError(
                f"the credential plugin {command!r} of user {self.user!r} failed: {why}",
                "run it by hand to see why, or log in again",
            )
        if plugin or user.get("auth-provider"):
            from kubernetes.config.kube_config import _is_expired

            expiry = getattr(loader, "expiry", None)
            self._expires = lambda: expiry is not None and bool(_is_expired(expiry))

    def _impersonate_as(self, user: Mapping[str, Any]) -> None:
        if user.get("as") and "Impersonate-User" not in self._impersonation:
            self._impersonation["Impersonate-User"] = str(user["as"])

    # ------------------------------------------------------------ what requests need

    def headers(self) -> dict[str, str]:
        """The authentication headers as they are now."""
        return {**({"Authorization": self._token} if self._token else {}), **self._impersonation}

    @property
    def expired(self) -> bool:
        """Whether the credentials have to be read again before the next request."""
        return self._expires()

    def _read_token(self) -> str:
        settings = self._configuration.auth_settings().get("BearerToken")
        value = str(settings["value"]).strip() if settings else ""
        return "Bearer" + value[6:] if value.startswith("bearer ") else value

    def _ssl_context(self) -> ssl.SSLContext | None:
        configuration = self._configuration
        if not self.server.startswith("https"):
            return None
        context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.name = configuration.tls_server_name or None
        try:
            if configuration.ssl_ca_cert:
                context.load_verify_locations(cafile=configuration.ssl_ca_cert)
            else:
                context.load_default_certs()
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file)
        except (ssl.SSLError, OSError) as error:
            raise AccessError(f"the certificates for {self.server} cannot be used: {_sentence(error)}") from None
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _proxy(self) -> str:
        proxy, bypass = self._configuration.proxy, self._configuration.no_proxy
        if not proxy:
            return ""
        from requests.utils import should_bypass_proxies

        return "" if should_bypass_proxies(self.server, no_proxy=bypass) else str(proxy)


class _NamedContext(ssl.SSLContext):
    """Verifies and announces `name` instead of the URL's host on every connection, WebSockets included
    (kubeconfig: tls-server-name)."""

    name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)


class _Said(logging.Handler):
    """Collects what the loaders log instead of raising."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def kubeconfig_paths(given: str | None) -> str | None:
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


def contexts(kubeconfig: str | None) -> list[str]:
    """The names of all contexts, for completion. Raises AccessError."""
    paths = kubeconfig_paths(kubeconfig)
    return sorted(_by_name(_merged(paths), "contexts")) if paths else []


def _node(paths: str) -> Any:
    from kubernetes.config.kube_config import KubeConfigMerger

    return KubeConfigMerger(paths).config


def _merged(paths: str) -> dict[str, Any]:
    """The merged content of the kubeconfig files, as plain data. Raises AccessError naming the file that is bad."""
    import yaml

    files = [os.path.expanduser(path) for path in paths.split(os.pathsep) if path]
    present = [path for path in files if os.path.exists(path)]
    if not present:
        raise AccessError(f"kubeconfig {_shown(paths)} does not exist")
    for path in present:
        try:
            with open(path, encoding="utf-8") as file:
                content = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            raise AccessError(f"kubeconfig {path} cannot be read: {_sentence(error)}") from None
        _check_shape(path, content)
    try:
        node = _node(paths)
    except Exception as error:
        raise AccessError(f"kubeconfig {_shown(paths)} cannot be used: {_sentence(error)}") from None
    if node is None or not isinstance(node.value, dict):
        raise AccessError(f"kubeconfig {_shown(paths)} is empty")
    merged: dict[str, Any] = node.value
    return merged


def _check_shape(path: str, content: Any) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        raise AccessError(f"kubeconfig {path} is not a kubeconfig: it holds no mapping")
    for key in ("clusters", "users", "contexts"):
        entries = content.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(e, dict) and "name" in e for e in entries):
            raise AccessError(f"kubeconfig {path} is not a kubeconfig: {key} is not a list of named entries")


def _by_name(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The named entries; their values may be the loader's nodes, which hold the plain value in `.value`."""
    entries = config.get(key) or []
    plain = [getattr(entry, "value", entry) for entry in getattr(entries, "value", entries)]
    return {str(entry["name"]): entry for entry in plain}


def _shown(paths: str) -> str:
    return paths.replace(os.pathsep, ", ")


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
