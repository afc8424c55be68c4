"""Kubeconfigs, plugins, proxies and certificates: what is made of them, and what is said where they are wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pathlib
import sys
import tempfile
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from jobset_restart.cluster import HttpCluster, access, connect, kubeconfig
from jobset_restart.cluster.proxy import bypassed, proxy_for
from jobset_restart.cluster.secret import plain_words
from jobset_restart.errors import AccessError, JsrError, Unreachable
from jobset_restart.objects import Pod
from jobset_restart.writes import Exec, pod_path
from tests import apiserver
from tests.apiserver import certificates, exec_answer, json_answer, serving, until

POD = pod_path("ns", "p")
ANSWER = json_answer({"metadata": {"name": "p", "namespace": "ns"}})
CANARY = "c4n4ry-0123456789abcdef"


def load(*paths: pathlib.Path | str, context: str | None = None) -> kubeconfig.Chosen:
    return kubeconfig.choose(kubeconfig.load(os.pathsep.join(map(str, paths))), context)


def config(name: str, *, current: bool = True, **user: Any) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443"}}],
            "users": [{"name": name, "user": user or {"token": f"token-of-{name}"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            **({"current-context": name} if current else {}),
        }
    )


# ---------------------------------------------------------------- several kubeconfigs


def test_the_first_file_that_names_a_current_context_wins(tmp_path: pathlib.Path) -> None:
    none, one, two = (tmp_path / name for name in ("none", "one", "two"))
    none.write_text(config("none", current=False))
    one.write_text(config("one"))
    two.write_text(config("two"))
    assert load(one, two).name == "one"
    assert load(two, one).name == "two"
    assert load(none, two, one).name == "two"
    assert load(one, two, context="two").cluster.server == "https://two.example:6443"


def test_the_first_definition_of_a_name_wins_and_missing_files_are_passed_over(tmp_path: pathlib.Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(config("same", token="first"))
    two.write_text(config("same", token="second"))
    assert load(tmp_path / "missing", one, two).user.token == "first"
    assert load(two, one).user.token == "second"
    with pytest.raises(AccessError, match="does not exist"):
        load(tmp_path / "missing")


def test_relative_paths_are_relative_to_the_file_that_names_them(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    user: dict[str, Any] = {
        "tokenFile": "token",
        "client-key": "/abs/key",
        "exec": {"apiVersion": "v1", "command": "./bin/plugin"},
    }
    (tmp_path / "a" / "config").write_text(config("one"))
    (tmp_path / "b" / "config").write_text(config("two", **user))
    chosen = load(tmp_path / "a" / "config", tmp_path / "b" / "config", context="two")
    assert chosen.user.token_file == str(tmp_path / "b" / "token")
    assert chosen.user.client_key == "/abs/key"
    assert chosen.user.exec is not None
    assert chosen.user.exec.command == str(tmp_path / "b" / "bin" / "plugin")
    (tmp_path / "b" / "config").write_text(config("two", exec={"apiVersion": "v1", "command": "aws"}))
    chosen = load(tmp_path / "b" / "config")
    assert chosen.user.exec is not None
    assert chosen.user.exec.command == "aws"


def test_the_connection_is_made_by_the_first_current_context(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text(config("one"))
    (tmp_path / "two").write_text(config("two"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'two'}")
    cluster = asyncio.run(connect())
    assert (cluster.context, cluster.server) == ("one", "https://one.example:6443")


def test_an_unknown_context_names_those_that_are_near(tmp_path: pathlib.Path) -> None:
    path = apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9")
    with pytest.raises(AccessError) as caught:
        asyncio.run(connect(path, context="tset"))
    assert "tset" in caught.value.message
    assert "test" in caught.value.hint


# ---------------------------------------------------------------- kubeconfigs that are none

ENTRIES = "contexts: [{name: test, context: {cluster: c, user: u}}]\ncurrent-context: test\n"
CLUSTER = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
USER = "users: [{name: u, user: {}}]\n"
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))

HOSTILE = {
    "empty": "",
    "not YAML": "a: [b",
    "a list": "- a\n- b\n",
    "binary": "\x00\x01\x02",
    "contexts of another shape": "contexts: 5\n",
    "entries without names": "clusters: [{}]\n",
    "a context without a cluster": "contexts: [{name: test, context: {user: u}}]\ncurrent-context: test\n",
    "a user that is not there": ENTRIES + CLUSTER,
    "two entries of one name": ENTRIES + CLUSTER + "users: [{name: u, user: {}}, {name: u}]\n",
    "a server that is no URL": ENTRIES + USER + "clusters: [{name: c, cluster: {server: nonsense}}]\n",
    "a server with a password": (
        ENTRIES + USER + f"clusters: [{{name: c, cluster: {{server: 'https://me:{CANARY}@h.example'}}}}]\n"
    ),
    "a server with a query": ENTRIES + USER + "clusters: [{name: c, cluster: {server: 'https://h.example/?a=b#c'}}]\n",
    "a port that is none": ENTRIES + USER + "clusters: [{name: c, cluster: {server: 'https://h.example:99999'}}]\n",
    "a server that is a number": ENTRIES + USER + "clusters: [{name: c, cluster: {server: 5}}]\n",
    "a plugin that is not there": (
        ENTRIES + CLUSTER + "users: [{name: u, user: {exec: {apiVersion: v1, command: /no/such/plugin}}}]\n"
    ),
    "a plugin of another shape": ENTRIES
    + CLUSTER
    + "users: [{name: u, user: {exec: {apiVersion: v1, command: [a]}}}]\n",
    "a token that is a number": ENTRIES + CLUSTER + "users: [{name: u, user: {token: 5}}]\n",
    "a token with a line break": ENTRIES + CLUSTER + f'users: [{{name: u, user: {{token: "{CANARY}\\r\\nX: y"}}}}]\n',
    "an identity with a line break": ENTRIES + CLUSTER + 'users: [{name: u, user: {token: t, as: "a\\r\\nX: y"}}]\n',
    "certificates that are no base64": ENTRIES + CLUSTER + "users: [{name: u, user: {client-certificate-data: '%'}}]\n",
    "certificates that are none": (
        ENTRIES
        + USER
        + "clusters: [{name: c, cluster: {server: 'https://h.example', certificate-authority-data: aGk=}}]"
    ),
    "a certificate without its key": ENTRIES + CLUSTER + "users: [{name: u, user: {client-certificate-data: aGk=}}]\n",
    "a token file without end": ENTRIES + CLUSTER + "users: [{name: u, user: {tokenFile: /dev/urandom}}]\n",
    "an auth-provider of old": ENTRIES + CLUSTER + "users: [{name: u, user: {auth-provider: {name: gcp}}}]\n",
    "a namespace that leads elsewhere": (
        "contexts: [{name: test, context: {cluster: c, user: u, namespace: '../../x?#'}}]\ncurrent-context: test\n"
        + CLUSTER
        + USER
    ),
    "half a character": 'clusters: "\\ud800"\n',
    "aliases that lead back": "a: &a [*a]\nclusters: &c [*c]\n",
    "aliases that grow without end": BOMB + ENTRIES + CLUSTER + USER,
    "nesting without end": "[" * 100_000,
    "a number without end": "a: " + "1" * 5000,
    "a tag that does not fit": "a: !!int x\nb: !!timestamp y",
    "a SOCKS proxy": ENTRIES
    + USER
    + "clusters: [{name: c, cluster: {server: 'https://h.example', proxy-url: 'socks5://p:1'}}]",
    "a proxy that is none": (
        ENTRIES
        + USER
        + f"clusters: [{{name: c, cluster: {{server: 'https://h.example', proxy-url: 'ftp://u:{CANARY}@p'}}}}]"
    ),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_kubeconfig_that_is_none_is_one_clear_line(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(AccessError) as caught:
        asyncio.run(connect(str(path)))
    said = caught.value.message + caught.value.hint
    assert caught.value.message
    assert all(character.isprintable() for character in said)
    assert CANARY not in said


@pytest.mark.parametrize("path", ["/dev/urandom", "/dev/null", "/", "/proc/self/mem", "a\0b"])
def test_what_is_no_file_is_no_kubeconfig(path: str) -> None:
    with pytest.raises(AccessError):
        asyncio.run(connect(path))


def test_a_kubeconfig_may_come_through_a_pipe(tmp_path: pathlib.Path) -> None:
    apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9")
    read, write = os.pipe()
    os.write(write, (tmp_path / "config").read_bytes())
    os.close(write)
    try:
        assert load(f"/dev/fd/{read}").name == "test"
    finally:
        os.close(read)


@given(st.binary(max_size=300))
def test_no_bytes_make_a_kubeconfig_crash(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with pytest.raises(AccessError):
            asyncio.run(connect(file.name))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = {
    "cluster": ["server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "extensions"],
    "user": [
        "token",
        "username",
        "password",
        "client-certificate-data",
        "client-key-data",
        "as",
        "as-uid",
        "as-groups",
    ],
    "context": ["namespace", "cluster", "user"],
}


@given(
    st.fixed_dictionaries(
        {kind: st.dictionaries(st.sampled_from(names), values, max_size=3) for kind, names in FIELDS.items()}
    )
)
def test_whatever_a_field_holds_it_loads_or_says_why(drawn: dict[str, dict[str, Any]]) -> None:
    """And what it says is one line that repeats no value of a user."""
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9", **drawn["cluster"]}}],
        "users": [{"name": "u", "user": drawn["user"]}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", **drawn["context"]}}],
        "current-context": "test",
    }
    with tempfile.NamedTemporaryFile("w") as file:
        yaml.safe_dump(content, file)
        file.flush()
        try:
            asyncio.run(connect(file.name))
        except AccessError as error:
            said = error.message + error.hint
            assert all(character.isprintable() for character in said)
            if CANARY not in str(drawn["context"]) + str(drawn["cluster"]):
                assert CANARY not in said


# ---------------------------------------------------------------- credentials


def test_an_exec_plugin_gives_the_token_and_impersonation_is_sent(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with serving() as server:
            plugin = plugin_that(tmp_path, f"echo '{credential(token='t-of-plugin')}'")
            user = {"exec": plugin, "as-groups": ["a", "b"], "as-user-extra": {"some/key": ["v"]}}
            path = apiserver.kubeconfig(tmp_path / "config", server.url, user)
            server.on("GET", POD, ANSWER)
            async with await connect(path, impersonate="jane") as cluster:
                await cluster.get(POD, Pod)
            headers = server.requests[0].headers
            assert (headers["Authorization"], headers["Impersonate-User"]) == ("Bearer t-of-plugin", "jane")
            assert headers.getall("Impersonate-Group") == ["a", "b"]
            assert headers["Impersonate-Extra-some%2Fkey"] == "v"

    asyncio.run(main())


def plugin_that(folder: pathlib.Path, script: str) -> dict[str, Any]:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})


def test_a_plugin_runs_again_when_its_credential_has_expired_and_not_for_every_request(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with serving() as server:
            runs = tmp_path / "runs"
            answer = credential(token="t", expirationTimestamp="2020-01-01T00:00:00Z")
            plugin = plugin_that(tmp_path, f"echo x >> {runs}; echo '{answer}'")
            server.on("GET", POD, ANSWER)
            async with await connect(
                apiserver.kubeconfig(tmp_path / "config", server.url, {"exec": plugin})
            ) as cluster:
                for _ in range(5):
                    await cluster.get(POD, Pod)
            assert len(runs.read_text().split()) == 1

    asyncio.run(main())


def test_a_credential_that_has_expired_is_replaced_on_the_same_connection(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "PLUGIN_SECONDS", 0.0)

    async def main() -> None:
        async with serving() as server:
            runs = tmp_path / "runs"
            answer = credential(token="token-RUN", expirationTimestamp="2020-01-01T00:00:00Z")
            count = f"echo x >> {runs}; echo '{answer}' | sed s/RUN/$(wc -l < {runs})/"
            user = {"exec": plugin_that(tmp_path, count)}
            server.on("GET", POD, ANSWER)
            async with await connect(apiserver.kubeconfig(tmp_path / "config", server.url, user)) as cluster:
                for _ in range(3):
                    await cluster.get(POD, Pod)
            assert [r.headers["Authorization"] for r in server.requests] == [f"Bearer token-{n}" for n in (2, 3, 4)]
            assert len(server.connections) == 1

    asyncio.run(main())


SPOILT = {
    "exit code 3": f"echo {CANARY}; echo token={CANARY} {CANARY} >&2; exit 3",
    "did not print an ExecCredential": f"echo 'token: {CANARY}'",
    "another API version": f"echo '{credential(token=CANARY).replace('/v1', '/v9')}'",
    "gave no credentials": f"echo '{credential()}'",
    "only one of": f"echo '{credential(clientKeyData=CANARY)}'",
    "is not a time": f"echo '{credential(token=CANARY, expirationTimestamp='soon')}'",
    "more than 1 MiB": "yes | head -c 3000000",
    "line break": f"cat <<'END'\n{credential(token=CANARY + chr(10) + 'X: y')}\nEND",
}


@pytest.mark.parametrize("words", SPOILT)
def test_what_a_plugin_did_wrong_is_said_without_what_it_printed(tmp_path: pathlib.Path, words: str) -> None:
    user = {"exec": plugin_that(tmp_path, SPOILT[words])}
    with pytest.raises(AccessError) as caught:
        asyncio.run(connect(apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9", user)))
    assert words in caught.value.message
    assert CANARY not in caught.value.message + caught.value.hint


def test_what_a_plugin_says_in_plain_words_is_passed_on(tmp_path: pathlib.Path) -> None:
    user = {"exec": plugin_that(tmp_path, "echo 'Your session has expired, run: aws sso login' >&2; exit 1")}
    with pytest.raises(AccessError, match="session has expired, run: aws sso login"):
        asyncio.run(connect(apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9", user)))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Your session has expired, run: aws sso login", "Your session has expired, run: aws sso login"),
        (f"bad token {CANARY}: sign in", "bad token *** sign in"),
        (f"token={CANARY}: sign in", "*** sign in"),
        ("password: hunter now", "password: *** now"),
        ("eyJhbGciOi.eyJzdWIi.c2ln and QWxhZGRpbjpvcGVuc2VzYW1l", "*** and ***"),
        ("use gke-gcloud --auth-mode 2.1.0 (exit 3)", "use gke-gcloud --auth-mode 2.1.0 (exit 3)"),
    ],
)
def test_plain_words(said: str, shown: str) -> None:
    assert plain_words(said) == shown


def test_a_plugin_that_hangs_ends_with_whoever_waited_for_it(tmp_path: pathlib.Path) -> None:
    """The shell and what it started."""
    pids = tmp_path / "pids"
    user = {"exec": plugin_that(tmp_path, f"sleep 1000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")}
    path = apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9", user)

    async def main() -> None:
        connecting = asyncio.create_task(connect(path))
        await until(pids.exists)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        for pid in pids.read_text().split():
            await until(lambda pid=pid: not alive(pid))  # type: ignore[misc]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_plugin_whose_start_is_cancelled_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    """At whatever moment of its start: each time a little later."""

    async def main() -> None:
        for moment in range(40):
            pids = tmp_path / f"pids-{moment}"
            user = {"exec": plugin_that(tmp_path, f"sleep 1000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")}
            path = apiserver.kubeconfig(tmp_path / "config", "http://127.0.0.1:9", user)
            connecting = asyncio.create_task(connect(path))
            await asyncio.sleep(moment * 0.001)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            for pid in pids.read_text().split() if pids.exists() else ():
                await until(lambda pid=pid: not alive(pid))  # type: ignore[misc]

    asyncio.run(asyncio.wait_for(main(), 60))


def alive(pid: str) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------- certificates


def test_certificates_and_keys_are_never_in_a_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary file can be made, a kubeconfig with everything inside it works all the same."""

    async def main() -> None:
        tls, _ = certificates(tmp_path)
        data = {
            name: base64.b64encode((tmp_path / f"tls.{kind}").read_bytes()).decode()
            for name, kind in (("client-certificate-data", "crt"), ("client-key-data", "key"))
        }
        trusted = {"certificate-authority-data": data["client-certificate-data"]}
        async with serving(tls) as server:
            server.on("GET", POD, ANSWER)
            config = apiserver.kubeconfig(tmp_path / "config", server.url, data, cluster=trusted)
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
            async with await connect(config) as cluster:
                await cluster.get(POD, Pod)

    asyncio.run(main())


async def refusal(config: str) -> JsrError:
    async with await connect(config) as cluster:
        with pytest.raises(JsrError) as caught:
            await cluster.get(POD, Pod)
    return caught.value


def test_ways_not_to_reach_a_server_are_told_apart(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        folder, other = tmp_path / "a", tmp_path / "b"
        folder.mkdir()
        other.mkdir()
        tls, authority = certificates(folder)
        _, stranger = certificates(other)
        async with serving(tls) as server, serving() as plain:
            path = tmp_path / "config"
            trusted: dict[str, Any] = {"certificate-authority": authority}
            strange: dict[str, Any] = {"certificate-authority": stranger}
            wrong = await refusal(apiserver.kubeconfig(path, server.url, cluster=strange))
            assert "certificate" in wrong.message
            renamed = {**trusted, "tls-server-name": "other.example"}
            named = await refusal(apiserver.kubeconfig(path, server.url, cluster=renamed))
            assert "certificate" in named.message
            no_tls = await refusal(apiserver.kubeconfig(path, plain.url.replace("http:", "https:"), cluster=trusted))
            assert "no TLS" in no_tls.message
            assert not any(error.passing for error in (wrong, named, no_tls))
            down = await refusal(apiserver.kubeconfig(path, "http://127.0.0.1:9"))
            assert "Connection refused" in down.message
            unknown = await refusal(apiserver.kubeconfig(path, "http://no-such-host.invalid"))
            assert "Unknown error" not in unknown.message
            assert "no-such-host.invalid" in unknown.message
            assert down.passing
            assert unknown.passing
            assert all(isinstance(e, Unreachable) and e.hint for e in (wrong, named, no_tls, down, unknown))

    asyncio.run(main())


def test_tls_server_name_is_what_the_certificate_is_checked_against(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        tls, authority = certificates(tmp_path, "api.example")
        async with serving(tls) as server:
            server.on("GET", POD, ANSWER)
            server.on("GET", f"{POD}/exec", exec_answer("v5.channel.k8s.io", b'\x03{"status":"Success"}'))
            options: dict[str, Any] = {"certificate-authority": authority, "tls-server-name": "api.example"}
            async with await connect(apiserver.kubeconfig(tmp_path / "config", server.url, cluster=options)) as cluster:
                await cluster.get(POD, Pod)
                assert (await cluster.execute(Exec(path=POD, container="c", command=("x",)))).exit_code == 0

    asyncio.run(main())


# ---------------------------------------------------------------- proxies

API = URL("https://api.example:6443")


def shown(server: str, given: str = "", **environment: str) -> str:
    proxy = proxy_for(URL(server), given, environment)
    return proxy.shown if proxy else ""


def test_which_proxy_is_used() -> None:
    assert shown("https://api.example", HTTPS_PROXY="http://p:3128") == "http://p:3128"
    assert shown("https://api.example", https_proxy="p:3128") == "http://p:3128"
    assert shown("http://api.example", HTTPS_PROXY="http://p:3128") == ""
    assert shown("http://api.example", HTTP_PROXY="http://p:3128") == "http://p:3128"
    assert shown("https://api.example", ALL_PROXY="http://p:3128") == "http://p:3128"
    assert shown("https://api.example", "http://q:1", HTTPS_PROXY="http://p:3128") == "http://q:1"
    assert shown("https://api.example", HTTPS_PROXY="http://p:3128", NO_PROXY="example") == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_loopback_is_not_proxied_by_the_environment(host: str) -> None:
    assert shown(f"https://{host}:6443", HTTPS_PROXY="http://p:3128", ALL_PROXY="socks5://s:1") == ""
    assert shown(f"https://{host}:6443", "http://given:1") == "http://given:1"


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "expected"),
    [
        ("api.example", 6443, "*", True),
        ("api.example", 6443, "example", True),
        ("api.example", 6443, ".example", True),
        ("example", 6443, ".example", False),
        ("notexample", 6443, "example", False),
        ("api.example", 6443, "other, API.Example ", True),
        ("api.example", 6443, "api.example:6443", True),
        ("api.example", 6443, "api.example:443", False),
        ("api.example", 6443, "*.example", True),
        ("10.1.2.3", 6443, "10.0.0.0/8", True),
        ("11.1.2.3", 6443, "10.0.0.0/8", False),
        ("10.1.2.3", 6443, "10.1.2.3", True),
        ("10.1.2.3", 6443, "10.1.2.3:80", False),
        ("fd00::1", 6443, "fd00::/8", True),
        ("fd00::1", 6443, "[fd00::1]:6443", True),
        ("api.example", 6443, "", False),
        ("api.example", 6443, ",:, /8", False),
    ],
)
def test_no_proxy(host: str, port: int, no_proxy: str, expected: bool) -> None:
    assert bypassed(host, port, no_proxy) is expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_proxy_is_used_or_refused_by_name(value: str, no_proxy: str) -> None:
    said = "HTTPS_PROXY"
    try:
        proxy_for(API, "", {"HTTPS_PROXY": value, "NO_PROXY": no_proxy})
    except AccessError as error:
        said = error.message
    assert "HTTPS_PROXY" in said


@pytest.mark.parametrize("option", ["HTTPS_PROXY", "ALL_PROXY", "all_proxy", "proxy-url"])
def test_a_socks_proxy_is_refused_by_the_name_of_the_option(option: str) -> None:
    proxy = f"socks5h://me:{CANARY}@proxy.example:1080"
    with pytest.raises(AccessError, match=r"SOCKS proxy .* not supported") as caught:
        proxy_for(API, proxy if option == "proxy-url" else "", {option: proxy})
    assert option in caught.value.message
    assert CANARY not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("proxy", ["http://me:{0}@127.0.0.1:9", "http://me:{0}@no-such-proxy.invalid:3128"])
def test_a_proxy_that_does_not_answer_is_blamed_itself_and_its_password_is_not_shown(
    tmp_path: pathlib.Path, proxy: str
) -> None:
    path = apiserver.kubeconfig(tmp_path / "config", "https://api.example", cluster={"proxy-url": proxy.format(CANARY)})
    error = asyncio.run(refusal(path))
    assert error.message.startswith("the proxy http://")
    assert "proxy-url" in error.message
    assert CANARY not in error.message + error.hint


def test_a_proxy_that_refuses_is_blamed_itself(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with serving() as proxy:
            address = proxy.url.replace("http://", f"http://me:{CANARY}@")
            path = apiserver.kubeconfig(tmp_path / "config", "https://api.example", cluster={"proxy-url": address})
            error = await refusal(path)
            assert "the proxy" in error.message
            assert CANARY not in error.message + error.hint

    asyncio.run(main())


def test_everything_is_closed_at_the_end(tmp_path: pathlib.Path) -> None:
    """Nothing of the library complains on stderr when a token was wrong."""
    script = (
        "import asyncio\nfrom jobset_restart.cluster import connect\nfrom jobset_restart.objects import Pod\n"
        "async def main():\n"
        f"    async with await connect({str(tmp_path / 'config')!r}) as cluster:\n"
        f"        try: await cluster.get({POD!r}, Pod)\n"
        "        except Exception as error: print(error)\n"
        "asyncio.run(main())\n"
    )

    async def main() -> None:
        tls, authority = certificates(tmp_path)
        async with serving(tls) as server:
            server.on("GET", POD, apiserver.failing(401, "Unauthorized"))
            options: dict[str, Any] = {"certificate-authority": authority}
            apiserver.kubeconfig(tmp_path / "config", server.url, {"token": "wrong-token"}, cluster=options)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-X",
                "dev",
                "-c",
                script,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert b"refused the credentials" in out
            assert b"Unclosed" not in err
            assert b"ResourceWarning" not in err

    asyncio.run(main())


def test_the_service_account_of_a_pod_is_used_where_there_is_no_kubeconfig(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, authority = certificates(tmp_path)

    async def main() -> None:
        async with serving(tls) as server:
            for name, value in apiserver.service_account(tmp_path / "account", server.url, authority).items():
                monkeypatch.setenv(name, value)
            server.on("GET", POD, ANSWER)
            async with await connect() as cluster:
                assert isinstance(cluster, HttpCluster)
                await cluster.get(POD, Pod)
                assert (cluster.namespace, cluster.context) == ("from-the-pod", "in-cluster")
            assert server.requests[0].headers["Authorization"] == "Bearer pod-token"

    asyncio.run(main())
