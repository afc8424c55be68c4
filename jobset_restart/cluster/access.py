"""Where the API server is and how to speak to it: a kubeconfig or a Pod's service account, read and read again."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
import time
from typing import Any
from urllib.parse import quote

from multidict import CIMultiDict
from yarl import URL

from jobset_restart.cluster import files, kubeconfig, limits, plugin, tls
from jobset_restart.cluster.files import Signature
from jobset_restart.cluster.kubeconfig import Chosen, Cluster, User
from jobset_restart.cluster.plugin import Credential
from jobset_restart.cluster.proxy import Proxy, proxy_for
from jobset_restart.cluster.secret import hide
from jobset_restart.cluster.tls import Tls
from jobset_restart.errors import AccessError

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ENV_SERVICE_ACCOUNT = "JSR_SERVICE_ACCOUNT_DIR"
FILES_SECONDS = 60.0
"""How old a token file's content may grow, whatever its times say (client-go, transport/token_source.go: a minute)."""
PLUGIN_SECONDS = 10.0
"""The least time between two runs of a program that gives credentials."""

Headers = CIMultiDict[str]


class Access:
    """One user's way to one API server. `load` reads everything; call it first, and again when `stale` or refused.

    Attributes, fixed by the first load: server (URL), context, namespace (default of the context), user, proxy (None
    for none). `ssl` (one SSLContext, None for plain HTTP) is another object only when the certificates are others.
    """

    def __init__(self, kubeconfig_paths: str | None, context: str | None, impersonate: str | None) -> None:
        """Reads nothing. Raises AccessError where `impersonate` cannot be sent."""
        self._paths, self._wanted, self._impersonate = kubeconfig_paths, context, impersonate
        self.server = self.context = self.user = ""
        self.namespace = "default"
        self.proxy: Proxy | None = None
        self.ssl: ssl.SSLContext | None = None
        self.tls: Tls | None = None
        self.reload_seconds = 1.0
        self._headers: Headers = CIMultiDict()
        self._secrets: tuple[str, ...] = ()
        self._given: Credential | None = None
        self._files: dict[str, Signature | None] = {}
        self._tried = 0.0

    async def load(self, *, refused: bool = False) -> None:
        """Reads everything anew; `refused` also runs a plugin again whose credential has not expired.

        Raises AccessError with what is wrong and where; what was loaded before stays in use then.
        """
        self._tried = time.monotonic()
        seen, self._files = self._files, {}
        if refused:
            self._given = None
        try:
            paths = kubeconfig.paths(self._paths)
            if paths is None:
                await asyncio.to_thread(self._load_in_cluster)
            else:
                config = await asyncio.to_thread(kubeconfig.load, paths)
                await self._load_context(kubeconfig.choose(config, self.context or self._wanted))
        except AccessError:
            self._files = {path: files.signature(path) for path in {**seen, **self._files}}
            raise

    @property
    def stale(self) -> bool:
        """Whether the credentials have to be read again before the next request: one of their files was written, or
        was read a minute ago, or what a plugin gave has expired."""
        age = time.monotonic() - self._tried
        if self._given is not None and _expired(self._given):
            return age >= PLUGIN_SECONDS
        if not self._files:
            return False
        return age >= FILES_SECONDS or any(files.signature(path) != was for path, was in self._files.items())

    def headers(self) -> Headers:
        """The authentication headers as they are now."""
        return self._headers.copy()

    def hide(self, text: str) -> str:
        """The text without any of the credentials in use."""
        return hide(text, self._secrets)

    # ------------------------------------------------------------ sources

    def _load_in_cluster(self) -> None:
        """As client-go's InClusterConfig: files in a known folder, the address from the environment."""
        folder = os.environ.get(ENV_SERVICE_ACCOUNT, SERVICE_ACCOUNT)
        where = f"the service account in {folder}"
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host or not port:
            raise AccessError(f"{where} cannot be used: KUBERNETES_SERVICE_HOST or _PORT is not set")
        server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        token = self._token_of(f"{folder}/token", where)
        authority = self._file(f"{folder}/ca.crt", where, limits.CERTIFICATE_BYTES)
        try:
            namespace = files.read(f"{folder}/namespace", limits.KIB, "namespace").decode(errors="replace").strip()
        except (FileNotFoundError, AccessError):
            namespace = ""
        if namespace:
            kubeconfig.check_namespace(namespace, where)
        self._settle(server, where, "in-cluster", namespace or "default", "the Pod's service account", Cluster())
        self._use(Credential(token=token), Tls(authority=authority), User())

    async def _load_context(self, chosen: Chosen) -> None:
        cluster, user, where = chosen.cluster, chosen.user, chosen.where
        self._settle((cluster.server or ""), where, chosen.name, chosen.namespace, chosen.user_name, cluster)
        authority = await asyncio.to_thread(self._authority, cluster, where)
        credential = await self._credential(chosen, authority)
        self._use(
            credential,
            Tls(
                authority=authority,
                certificate=credential.certificate,
                key=credential.key,
                verify=not cluster.insecure_skip_tls_verify,
                name=cluster.tls_server_name or "",
            ),
            user,
        )

    def _settle(self, server: str, where: str, context: str, namespace: str, user_name: str, cluster: Cluster) -> None:
        """What the first load fixes. A kubeconfig that is rewritten meanwhile must not turn us to another cluster."""
        server = server.rstrip("/")
        check_server(server, where)
        if self.server and server != self.server:
            raise AccessError(f"{where} now names another server than when this command began")
        if not self.server:
            self.proxy = proxy_for(URL(server), cluster.proxy_url or "", os.environ)
            self.server, self.context, self.namespace, self.user = server, context, namespace, user_name

    def _use(self, credential: Credential, material: Tls, user: User) -> None:
        """Takes over what was read."""
        authorization = f"Bearer {credential.token}" if credential.token else _basic(user)
        headers: Headers = CIMultiDict({"Authorization": authorization} if authorization else {})
        headers.extend(impersonation(user, self._impersonate))
        for name, value in headers.items():
            check_header(name, value)
        if not self.server.startswith("https:"):
            self.ssl = self.tls = None
        elif material != self.tls:
            self.ssl = tls.context(material, self.server)
            self.tls = material
        self._headers = headers
        proxy = self.proxy.secrets if self.proxy else ()
        self._secrets = (*authorization.split(" ", 1)[1:], credential.token, user.password or "", *proxy)

    # ------------------------------------------------------------ what a context refers to

    async def _credential(self, chosen: Chosen, authority: bytes) -> Credential:
        """Who we are, by kubectl's precedence: token file, token, user and password, then plugin and provider
        (client-go, getUserIdentificationPartialConfig and transport.HTTPWrappersForConfig)."""
        user, where = chosen.user, chosen.where
        certificate, key = await asyncio.to_thread(self._client_certificate, user, where)
        token = user.token or ""
        if user.token_file:
            token = await asyncio.to_thread(self._token_of, user.token_file, where)
        if token or user.username:
            return Credential(token, certificate, key)
        if user.exec is None and user.auth_provider is None:
            return Credential("", certificate, key)
        self.reload_seconds = PLUGIN_SECONDS
        if self._given is None or _expired(self._given):
            if user.exec is not None:
                info = _cluster_info(chosen.cluster, authority)
                self._given = await plugin.run(user.exec, chosen.user_name, info)
            else:
                self._given = await asyncio.to_thread(_provided, chosen)
        return self._given

    def _client_certificate(self, user: User, where: str) -> tuple[bytes, bytes]:
        certificate, key = (
            self._content(data, path, f"{what} of {where}")
            for data, path, what in (
                (user.client_certificate_data, user.client_certificate, "client-certificate"),
                (user.client_key_data, user.client_key, "client-key"),
            )
        )
        if bool(certificate) != bool(key):
            raise AccessError(f"{where} cannot be used: it has only one of client-certificate and client-key")
        return certificate, key

    def _authority(self, cluster: Cluster, where: str) -> bytes:
        what = f"certificate-authority of {where}"
        return self._content(cluster.certificate_authority_data, cluster.certificate_authority, what)

    def _content(self, data: str | None, path: str | None, what: str) -> bytes:
        if data:
            return kubeconfig.decoded(data, f"{what} (-data)")
        return self._file(path, what, limits.CERTIFICATE_BYTES) if path else b""

    def _token_of(self, path: str, where: str) -> str:
        return self._file(path, where, limits.TOKEN_BYTES).decode("utf-8", "replace").strip()

    def _file(self, path: str, where: str, most: int) -> bytes:
        """The content of a file that is looked at again from now on."""
        self._files[path] = files.signature(path)
        try:
            content = files.read(path, most, f"{where}: file")
        except FileNotFoundError:
            raise AccessError(f"{where} cannot be used: file {path} does not exist") from None
        if not content.strip():
            raise AccessError(f"{where} cannot be used: file {path} is empty")
        return content


def check_server(server: str, where: str) -> None:
    """Raises AccessError, without the URL where it holds a password."""
    try:
        url = URL(server)
        usable = url.scheme in ("https", "http") and bool(url.host) and bool(url.port)
        if url.raw_user or url.raw_password or "@" in server:
            raise AccessError(f"the server URL of {where} holds a user name or password", "put it under users")
        usable = usable and not url.raw_query_string and not url.raw_fragment and "?" not in server
    except ValueError:
        usable = False
    if not usable or any(not 32 < ord(character) < 127 for character in server):
        raise AccessError(f"{where} has no usable server URL: {server.rpartition('@')[2][:200]!r}")


def check_header(name: str, value: str) -> None:
    """Raises AccessError for what would end the header, or could not be sent in one."""
    what = "the token or password" if name == "Authorization" else f"the impersonated identity ({name})"
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise AccessError(f"{what} holds a line break or another control character")
    if name == "Authorization" and not (value.isascii() and " " not in value.partition(" ")[2]):
        raise AccessError(f"{what} holds characters that cannot be part of one")


def impersonation(user: User, given: str | None) -> Headers:
    """The headers of `as`, `as-uid`, `as-groups` and `as-user-extra`; `given` (--as) comes before `as`."""
    name = given or user.as_
    headers: Headers = CIMultiDict()
    if name:
        headers.add("Impersonate-User", name)
        if user.as_uid:
            headers.add("Impersonate-Uid", user.as_uid)
        for group in user.as_groups or ():
            headers.add("Impersonate-Group", group)
        for key, values in (user.as_user_extra or {}).items():
            for value in values:
                headers.add(f"Impersonate-Extra-{quote(key, safe='')}", value)
    return headers


def _expired(credential: Credential) -> bool:
    """As client-go's exec plugin: to the second it names."""
    return credential.expires is not None and time.time() >= credential.expires


def _basic(user: User) -> str:
    if not user.username:
        return ""
    pair = f"{user.username}:{user.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _cluster_info(cluster: Cluster, authority: bytes) -> dict[str, Any]:
    """spec.cluster of an ExecCredential."""
    known = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "proxy-url": cluster.proxy_url,
        "config": next((e.extension for e in cluster.extensions or () if e.name == kubeconfig.EXEC_EXTENSION), None),
    }
    return {key: value for key, value in known.items() if value}


def _provided(chosen: Chosen) -> Credential:
    """The token of an auth-provider, refreshed where it has expired, by the official client's loader."""
    from kubernetes.client.configuration import Configuration
    from kubernetes.config import kube_config

    provider = chosen.user.auth_provider
    assert provider is not None
    where = f"the auth-provider {provider.name!r} of user {chosen.user_name!r}"
    if provider.name != "oidc":
        raise AccessError(f"{where} is not supported", "use its credential plugin (exec), as kubectl since 1.26 wants")
    user = {"auth-provider": {"name": provider.name, "config": dict(provider.config or {})}}
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {}}],
        "users": [{"name": "u", "user": user}],
    }
    quiet = logging.getLogger()
    level, quiet.level = quiet.level, logging.CRITICAL + 1
    try:
        loader = kube_config.KubeConfigLoader(config_dict=config, active_context="c")
        loader.load_and_set(Configuration())
        token = str(getattr(loader, "token", ""))
    except Exception as error:
        # Its words may hold the refresh token or the client's secret.
        raise AccessError(f"{where} gave no token ({type(error).__name__})", "log in again") from None
    finally:
        quiet.level = level
        kube_config._cleanup_temp_files()  # an authority of the provider, which it writes to a file
    if not token:
        raise AccessError(f"{where} gave no token", "log in again")
    return Credential(token.removeprefix("Bearer "))


def contexts(given: str | None) -> list[str]:
    """The names of all contexts, for completion. Raises AccessError."""
    paths = kubeconfig.paths(given)
    return sorted(kubeconfig.load(paths).contexts) if paths else []
