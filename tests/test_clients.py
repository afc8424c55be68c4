"""Other people's clients on the embedded cluster: kubectl, and the official Python client.

What is expected here is what both print and raise on a real cluster, or how they report what is not modelled. kubectl
is the one that JSR_TEST_KUBECTL names, or the one in PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, watch
from kubernetes.stream import stream

from jobset_restart.simulator.clock import wall_time
from jobset_restart.simulator.server import Server
from jobset_restart.simulator.world import World
from tests.e2e.cluster import embedded
from tests.e2e.manifests import IMAGE, Manifest, container, exits, jobset, replicated_job

NAMESPACE = "clients"
KUBECTL = os.environ.get("JSR_TEST_KUBECTL") or shutil.which("kubectl")
JOBSETS = ("jobset.x-k8s.io", "v1alpha2", NAMESPACE, "jobsets")
WITHIN = 30


def job(name: str, *containers: Manifest) -> Manifest:
    """A Job of one index, its Pods labelled with its name."""
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": list(containers) or [container()],
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"completions": 1, "parallelism": 1, "completionMode": "Indexed", "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def pod(name: str, **spec: Any) -> Manifest:
    body = {"containers": [container()], "terminationGracePeriodSeconds": 1, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body}


def config_map(name: str, labels: dict[str, str], **data: Any) -> Manifest:
    meta = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster with a running Job `one` and a running JobSet `pair`, whose Pods have two containers."""
    with embedded(tmp_path_factory.mktemp("clients"), "instant") as cluster:
        api = config.new_client_from_config(cluster.kubeconfig)
        core = client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": NAMESPACE}})
        client.BatchV1Api(api).create_namespaced_job(NAMESPACE, job("one"))
        pair = jobset("pair", replicated_job("workers", container(), container("log", ["sleep", "infinity"])))
        client.CustomObjectsApi(api).create_namespaced_custom_object(*JOBSETS, pair)
        end = time.monotonic() + WITHIN
        while [each.status.phase for each in core.list_namespaced_pod(NAMESPACE).items] != ["Running"] * 3:
            assert time.monotonic() < end
            time.sleep(0.2)
        yield cluster.kubeconfig


class Kubectl:
    """kubectl in the namespace of the tests."""

    def __init__(self, kubeconfig: str) -> None:
        self._environment = {**os.environ, "KUBECONFIG": kubeconfig}

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        assert KUBECTL is not None
        return subprocess.Popen([KUBECTL, "-n", NAMESPACE, *words], env=self._environment, text=True, **more)

    def __call__(self, line: str, *words: str, sent: Any = "", code: int = 0, editor: str = "") -> str:
        """What it prints, standard error last. ``line`` is split at blanks, ``words`` are not."""
        self._environment["EDITOR"] = editor
        text = sent if isinstance(sent, str) else yaml.safe_dump_all(sent if isinstance(sent, list) else [sent])
        process = self.start(
            *line.split(), *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = process.communicate(text, timeout=WITHIN)
        finally:
            process.kill()
        assert process.returncode == code, out + err
        return out + err


@pytest.fixture(scope="module")
def kubectl(kubeconfig: str) -> Kubectl:
    if KUBECTL is None:
        pytest.skip("no kubectl in PATH, and JSR_TEST_KUBECTL names none")
    return Kubectl(kubeconfig)


POD_HEADER = r"NAME +READY +STATUS +RESTARTS +AGE"
WORKERS = "pod/pair-workers-0-0-.{5}\npod/pair-workers-0-1-.{5}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pods -l app=one", rf"{POD_HEADER}\none-0-\w{{5}} +1/1 +Running +0 +\d+\w*\n"),
        (
            "pods -l app=one -o wide",
            rf"{POD_HEADER} +IP +NODE +NOMINATED NODE.*\n.* 10\.\S+ +node-[01] +<none> +<none>\n",
        ),
        ("pods -A -l app=one", rf"NAMESPACE +{POD_HEADER}\n{NAMESPACE} +one-0-.*\n"),
        ("pods -l app=one -L app --no-headers", r"one-0-.* one\n"),
        ("pods -l jobset.sigs.k8s.io/jobset-name=pair --chunk-size=1 -o name", WORKERS),
        ("pods -l app!=one,jobset.sigs.k8s.io/jobset-name --sort-by=.metadata.name -o name", WORKERS),
        ("pods -l app=one -o jsonpath={.items[*].status.phase}", "Running"),
        ("pods -l app=one -o custom-columns=A:.metadata.labels.app,P:.status.phase", r"A +P\none +Running\n"),
        ("pods --field-selector status.phase=Failed", f"No resources found in {NAMESPACE} namespace.\n"),
        (
            "jobs one -o wide",
            r"NAME +STATUS +COMPLETIONS +DURATION +AGE +CONTAINERS.*\none +Running +0/1 +.* worker .*\n",
        ),
        ("jobsets", r"NAME +TERMINALSTATE +RESTARTS +COMPLETED +SUSPENDED +AGE\n(.*\n)*pair +0 +.*\n(.*\n)*"),
        (
            "nodes -o wide",
            r"NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP(.*\n)node-0 +Ready(.*\n)node-1 +Ready(.*\n)",
        ),
        (
            "all -l jobset.sigs.k8s.io/jobset-name=pair",
            r"NAME.*\n(pod/pair.*\n){2}\nNAME.*\njob.batch/pair-workers-0 .*\n",
        ),
        (
            "events --field-selector involvedObject.name=one",
            r"LAST SEEN.*\n.*SuccessfulCreate +job/one +Created pod.*\n",
        ),
    ],
)
def test_kubectl_gets(kubectl: Kubectl, line: str, expected: str) -> None:
    assert re.fullmatch(expected, kubectl(f"get {line}"))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_kubectl_gets_whole_objects(kubectl: Kubectl, form: str) -> None:
    found = yaml.safe_load(kubectl(f"get jobset pair -o {form}"))
    assert (found["kind"], found["spec"]["replicatedJobs"][0]["name"]) == ("JobSet", "workers")
    assert found["status"]["restarts"] == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pod -l app=one", r"Status: +Running\n(.*\n)*Containers:\n +worker:\n(.*\n)*Events:\n(.*\n)* .* Started .*\n"),
        (
            "job one",
            r"Completion Mode: +Indexed\n(.*\n)*Pods Statuses: +1 Active \(1 Ready\) / 0 Succeeded / 0 Failed\n",
        ),
        ("jobset pair", r"Replicated Jobs:\n(.*\n)* +Ready: +1\n"),
        ("node node-0", r"Ready +True .*\n(.*\n)*Non-terminated Pods: +\(\d+ in total\)\n"),
        (f"namespace {NAMESPACE}", r"Status: +Active\n"),
        ("sa default", r"Namespace: +clients\n"),
    ],
)
def test_kubectl_describes(kubectl: Kubectl, line: str, expected: str) -> None:
    assert re.search(expected, kubectl(f"describe {line}"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api-resources", r"jobsets +jobset.x-k8s.io/v1alpha2 +true +JobSet\n"),
        ("api-resources -o wide", r"pods +po +v1 +true +Pod +create,delete,\S+,watch +all\n"),
        ("api-versions", r"jobset.x-k8s.io/v1alpha2\n"),
        ("version", r"Server Version: v1\.36\.\d+\+jsr-simulator\n"),
        ("cluster-info", r"Kubernetes control plane.* is running at .*https://127.0.0.1:"),
        ("auth whoami", r"Username +admin\nGroups +\[system:masters system:authenticated\]"),
        ("auth can-i create pods/exec", r"^yes\n"),
        ("auth can-i --list", r"\*\.\* +\[\] +\[\] +\[\*\]\n"),
        ("explain jobset", r"KIND: +JobSet\nVERSION: +v1alpha2\n(.*\n)* +spec\s"),
        ("events --for job/one", r"Normal +SuccessfulCreate +Job/one +Created pod: one-0-"),
    ],
)
def test_kubectl_tells_what_there_is(kubectl: Kubectl, line: str, expected: str) -> None:
    assert re.search(expected, kubectl(line))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("get deployments", 'doesn\'t have a resource type "deployments"'),
        ("get pod nosuch", r'\(NotFound\): pods "nosuch" not found'),
        ("get pods --field-selector spec.foo=1", "field label not supported: spec.foo"),
        ("get pods -l a=(", "unable to parse requirement"),
        ("port-forward job/one :80", "the embedded cluster does not model pods/portforward"),
        ("attach job/one", "the embedded cluster does not model pods/attach"),
        ("scale job one --replicas=2", "the embedded cluster does not model jobs/scale"),
        ("top pods", "Metrics API not available"),
        ("rollout status job/one", "no status viewer has been implemented for Job"),
        ("exec job/one -- ls /", "the embedded cluster's containers cannot run this: ls"),
        ("exec job/one -- nosuch", 'exec: "nosuch": executable file not found in \\$PATH'),
        ("exec job/one -c nosuch -- true", "container nosuch is not valid for pod one-0-"),
        ("logs job/pair-workers-0 -c nosuch", "container nosuch is not valid for pod pair-workers-0-"),
        ("logs job/one --previous", 'previous terminated container "worker" in pod "one-0-.*" not found'),
        ("auth can-i list pods --as nobody", "^no"),
        ("get pods --as nobody", r'\(Forbidden\): pods is forbidden: User "nobody" cannot list resource "pods"'),
        ("create deployment d --image=x", "the server could not find the requested resource"),
        ("annotate jobset pair jobset.sigs.k8s.io/jobset-name=x --resource-version=1", "the object has been modified"),
        ("wait --for=condition=Complete job/one --timeout=1s", "timed out waiting for the condition on jobs/one"),
    ],
)
def test_kubectl_says_why_not(kubectl: Kubectl, line: str, why: str) -> None:
    assert re.search(why, kubectl(line, code=1))


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("spec", "paralelism"), 1, 'strict decoding error: unknown field "spec.paralelism"'),
        (("spec", "template", "spec", "containerz"), [], 'unknown field "spec.template.spec.containerz"'),
        (("spec", "template", "spec", "restartPolicy"), "Always", 'Required value: valid values: "OnFailure", "Never"'),
    ],
)
def test_kubectl_reports_mistakes_in_a_manifest(kubectl: Kubectl, path: list[str], value: Any, why: str) -> None:
    wrong = job("wrong")
    *way, last = path
    place = wrong
    for part in way:
        place = place[part]
    place[last] = value
    assert re.search(why, kubectl("create -f -", sent=wrong, code=1))
    kubectl("get job wrong", code=1)


def test_kubectl_exec_ends_like_the_command(kubectl: Kubectl) -> None:
    assert kubectl("exec job/one -- echo hi there") == "hi there\n"
    assert kubectl("exec job/one -- sh -c", "echo out; exit 3", code=3).startswith(
        "out\ncommand terminated with exit code 3"
    )
    assert kubectl("exec job/pair-workers-0 -c log -- cat /proc/1/status").startswith("Name:\tsleep\n")
    assert 'container "worker" out of: worker, log' in kubectl("exec job/pair-workers-0 -- true")
    assert "read nothing from stdin" in kubectl("exec -i job/one -- sh -c true", sent="data", code=1)


def test_kubectl_exec_and_logs_of_a_pod_that_has_no_node(kubectl: Kubectl) -> None:
    kubectl("create -f -", sent=pod("nowhere", nodeSelector={"no": "where"}))
    assert "pod nowhere does not have a host assigned" in kubectl("exec nowhere -- true", code=1)
    assert not kubectl("logs nowhere")
    assert re.search(r"Warning +FailedScheduling .* 0/2 nodes are available", kubectl("describe pod nowhere"))
    kubectl("delete pod nowhere")


def test_kubectl_exec_has_no_terminal(kubectl: Kubectl) -> None:
    master, slave = pty.openpty()
    try:
        process = kubectl.start("exec", "-it", "job/one", "--", "sh", stdin=slave, stdout=slave, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=WITHIN)
    finally:
        os.close(master)
        os.close(slave)
    assert (process.returncode, "the embedded cluster has no terminals" in err) == (1, True)


def test_kubectl_logs(kubectl: Kubectl) -> None:
    kubectl("create -f -", sent=job("talks", container(command=["sh", "-c", "echo one; sleep 3; echo two; sleep 1"])))
    kubectl("wait --for=jsonpath={.status.ready}=1 job/talks --timeout=20s")
    assert kubectl("logs job/talks") == "one\n"
    assert kubectl("logs -f job/talks") == "one\ntwo\n"
    assert kubectl("logs -l app=talks --tail=1 --prefix").endswith("/worker] two\n")
    assert kubectl("logs job/talks --limit-bytes=2") == "on"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z one\n(.*\n)", kubectl("logs job/talks --timestamps"))
    assert kubectl("logs job/talks --since=1s") in ("", "two\n")
    kubectl("wait --for=condition=Complete job/talks --timeout=20s")
    assert re.search(r"talks +Complete +1/1", kubectl("get job talks"))


def test_kubectl_watches(kubectl: Kubectl) -> None:
    process = kubectl.start(*["get", "pods", "-l", "app=seen", "-w", "--output-watch-events"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    end = threading.Timer(WITHIN, process.kill)
    end.start()
    try:
        kubectl("create -f -", sent=pod("seen"))
        kubectl("wait --for=condition=Ready pod/seen --timeout=20s")
        kubectl("delete pod seen")
        seen: list[str] = []
        while not seen or seen[-1] != "DELETED":
            seen.append(process.stdout.readline().partition(" ")[0])
    finally:
        end.cancel()
        process.kill()
        process.wait()
    assert (seen[:2], set(seen[2:-1])) == (["EVENT", "ADDED"], {"MODIFIED"})


def test_kubectl_patches(kubectl: Kubectl) -> None:
    kubectl("create -f -", sent=config_map("patched", {}, a="1"))
    assert kubectl("patch cm patched -p", '{"data":{"b":"2"}}') == "configmap/patched patched\n"
    kubectl("patch cm patched --type=merge -p", '{"data":{"a":null}}')
    kubectl("patch cm patched --type=json -p", '[{"op":"add","path":"/data/c","value":"3"}]')
    assert json.loads(kubectl("get cm patched -o jsonpath={.data}")) == {"b": "2", "c": "3"}
    assert kubectl("patch cm patched -p", '{"data":{"b":"2"}}') == "configmap/patched patched (no change)\n"
    refused = kubectl("patch jobset pair -p", '{"spec":{"suspend":true}}', code=1)
    assert "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml" in refused
    wrong = kubectl("patch jobset pair --type=merge -p", '{"spec":{"suspend":"yes"}}', code=1)
    assert '* spec.suspend: Invalid value: "string": spec.suspend in body must be of type boolean' in wrong
    name = kubectl("get pod -l app=one -o name").strip()
    change = '{"spec":{"containers":[{"name":"worker","image":"busybox:other"}]}}'
    assert (
        kubectl(f"patch {name} --dry-run=server -o", "jsonpath={.spec.containers[0].image}", "-p", change)
        == "busybox:other"
    )
    assert kubectl(f"get {name} -o", "jsonpath={.spec.containers[0].image}") == IMAGE
    kubectl(f"patch {name} --subresource=status --type=merge -p", '{"status":{"message":"hello"}}')
    assert kubectl(f"get {name} -o jsonpath={{.status.message}}") == "hello"


@pytest.mark.parametrize("how", ["", "--server-side"])
def test_kubectl_applies(kubectl: Kubectl, how: str) -> None:
    """What was applied before and is not any more goes; what others set stays."""
    name = f"applied{how}"
    kubectl(f"apply {how} -f -", sent=config_map(name, {"old": "1"}, a="1", b="1"))
    kubectl(f"label cm {name} other=1")
    kubectl(f"apply {how} -f -", sent=config_map(name, {"new": "1"}, a="2"))
    found = json.loads(kubectl(f"get cm {name} -o json"))
    assert (found["data"], found["metadata"]["labels"]) == ({"a": "2"}, {"new": "1", "other": "1"})


@pytest.mark.parametrize(("how", "generation"), [("", "2"), ("--server-side", "1")])
def test_kubectl_applies_a_jobset_again(kubectl: Kubectl, how: str, generation: str) -> None:
    """Without --server-side it sends a merge patch, which drops the defaults in lists; they are set anew."""
    small = jobset(f"again{how}", replicated_job(job={"suspend": True}), suspend=True)
    for _ in range(2):
        kubectl(f"apply {how} -f -", sent=small)
    assert kubectl(f"get jobset again{how} -o jsonpath={{.metadata.generation}}") == generation
    kubectl(f"delete jobset again{how} --cascade=foreground")


def test_kubectl_edits(kubectl: Kubectl) -> None:
    kubectl("create -f -", sent=config_map("edited", {"l": "1"}, a="before"))
    assert kubectl("edit cm edited", editor="sed -i s/before/after/") == "configmap/edited edited\n"
    whole = json.loads(kubectl("get cm edited -o json"))
    assert kubectl("replace -f -", sent=whole | {"data": {"a": "3"}}) == "configmap/edited replaced\n"
    assert "the object has been modified" in kubectl("replace -f -", sent=whole, code=1)
    assert kubectl("annotate cm edited x=1") == "configmap/edited annotated\n"
    assert "'x' already has a value (1)" in kubectl("annotate cm edited x=2", code=1)
    kubectl("annotate cm edited x=2 --overwrite")
    kubectl("label cm edited l- m=1")
    found = json.loads(kubectl("get cm edited -o json"))
    assert (found["metadata"]["annotations"]["x"], found["metadata"]["labels"]) == ("2", {"m": "1"})


def test_kubectl_takes_a_node_out(kubectl: Kubectl) -> None:
    kubectl("create -f -", sent=[pod("leaves", nodeName="node-1"), pod("stays", nodeName="node-1")])
    kubectl("wait --for=condition=Ready pod/leaves pod/stays --timeout=20s")
    try:
        assert "evicting pod clients/leaves" in kubectl("drain node-1 --pod-selector=app=leaves --force")
        assert re.search(r"node-1 +Ready,SchedulingDisabled ", kubectl("get nodes"))
    finally:
        assert kubectl("uncordon node-1") == "node/node-1 uncordoned\n"
    kubectl("get pod leaves", code=1)
    kubectl("taint node node-1 test=x:PreferNoSchedule")
    assert "already has test taint(s) with same effect(s)" in kubectl(
        "taint node node-1 test=x:PreferNoSchedule", code=1
    )
    assert kubectl("taint node node-1 test-") == "node/node-1 untainted\n"
    assert kubectl("delete pod stays --grace-period=0 --force").startswith('pod "stays" force deleted')
    kubectl("get pod stays", code=1)


@pytest.mark.parametrize(("how", "left"), [("background", ""), ("foreground", ""), ("orphan", "Running")])
def test_kubectl_deletes(kubectl: Kubectl, how: str, left: str) -> None:
    name = f"deleted-{how}"
    kubectl("create -f -", sent=job(name))
    kubectl(f"wait --for=jsonpath={{.status.ready}}=1 job/{name} --timeout=20s")
    assert kubectl(f"delete job {name} --cascade={how}").startswith(f'job.batch "{name}" deleted')
    if how == "background":
        kubectl(f"wait --for=delete pod -l app={name} --timeout=20s")
    assert kubectl(f"get pods -l app={name} -o jsonpath={{.items[*].status.phase}}") == left
    kubectl(f"delete pods -l app={name}")
    assert kubectl(f"get pods -l app={name}").startswith("No resources found")


def test_kubectl_deletes_without_waiting_and_creates_again(kubectl: Kubectl) -> None:
    """The Pods of the first Job go, although another one has its name by then."""
    kubectl("create -f -", sent=job("twice"))
    kubectl("wait --for=jsonpath={.status.ready}=1 job/twice --timeout=20s")
    old = kubectl("get pods -l app=twice -o name").strip()
    kubectl("delete job twice --wait=false")
    kubectl("create -f -", sent=job("twice"))
    kubectl(f"wait --for=delete {old} --timeout=20s")
    kubectl("wait --for=jsonpath={.status.ready}=1 job/twice --timeout=20s")
    kubectl("delete job twice")


def test_kubectl_creates(kubectl: Kubectl) -> None:
    """These go as protobuf, and there is no other way to ask."""
    for line in (
        "configmap made --from-literal=a=b",
        "secret generic made --from-literal=a=b",
        "sa made",
        "role made --verb=get --resource=pods --resource-name=x",
        "rolebinding made --role=made --serviceaccount=clients:made",
        f"job made --image={IMAGE} -- sleep 1",
    ):
        assert re.match(r"\S+/made created\n", kubectl(f"create {line}"))
    assert kubectl("run ran --restart=Never --image", IMAGE, "--", "true") == "pod/ran created\n"
    assert kubectl("create token made").count(".") == 2
    assert kubectl("auth can-i get pods/x --as=system:serviceaccount:clients:made") == "yes\n"
    assert kubectl("auth can-i get pods/y --as=system:serviceaccount:clients:made", code=1) == "no\n"
    assert kubectl("get secret made -o jsonpath={.data.a}") == "Yg=="
    kubectl("wait --for=condition=Complete job/made --timeout=20s")
    assert kubectl("delete -f - --ignore-not-found", sent=pod("nosuch")) == ""


# The official Python client


@pytest.fixture(scope="module")
def api(kubeconfig: str) -> client.ApiClient:
    return config.new_client_from_config(kubeconfig)


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture
def name(core: client.CoreV1Api) -> str:
    """The Pod of the Job `one`."""
    return str(core.list_namespaced_pod(NAMESPACE, label_selector="app=one").items[0].metadata.name)


def test_client_lists_by_pages(core: client.CoreV1Api) -> None:
    whole = core.list_namespaced_pod(NAMESPACE, label_selector="jobset.sigs.k8s.io/jobset-name=pair")
    names = [each.metadata.name for each in whole.items]
    first = core.list_namespaced_pod(NAMESPACE, limit=1, label_selector="jobset.sigs.k8s.io/jobset-name=pair")
    more = {"limit": 1, "_continue": first.metadata._continue}
    second = core.list_namespaced_pod(NAMESPACE, **more)
    assert [each.metadata.name for each in (*first.items, *second.items)] == names
    with pytest.raises(client.ApiException) as gone:
        core.list_namespaced_pod(NAMESPACE, resource_version="1", resource_version_match="Exact")
    assert (gone.value.status, json.loads(gone.value.body)["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/strategic-merge-patch+json", {"metadata": {"annotations": {"kind": "x"}}}),
        ("application/merge-patch+json", {"metadata": {"annotations": {"kind": "x"}}}),
        ("application/json-patch+json", [{"op": "add", "path": "/metadata/annotations/kind", "value": "x"}]),
    ],
)
def test_client_patches(core: client.CoreV1Api, name: str, kind: str, body: Any) -> None:
    core.patch_namespaced_pod(name, NAMESPACE, {"metadata": {"annotations": {"kind": None}}})
    found = core.patch_namespaced_pod(name, NAMESPACE, body, _content_type=kind)
    assert (found.metadata.annotations["kind"], found.spec.containers[0].name) == ("x", "worker")


def test_client_reports_conflicts(core: client.CoreV1Api) -> None:
    body = config_map("conflict", {}, a="1")
    made = core.create_namespaced_config_map(NAMESPACE, body)
    with pytest.raises(client.ApiException) as twice:
        core.create_namespaced_config_map(NAMESPACE, body)
    core.patch_namespaced_config_map("conflict", NAMESPACE, {"data": {"a": "2"}})
    with pytest.raises(client.ApiException) as late:
        core.replace_namespaced_config_map("conflict", NAMESPACE, made)
    reasons = [json.loads(each.value.body)["reason"] for each in (twice, late)]
    assert (reasons, twice.value.status, late.value.status) == (["AlreadyExists", "Conflict"], 409, 409)


def test_client_resumes_a_watch(core: client.CoreV1Api, name: str) -> None:
    before = core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    core.patch_namespaced_pod(name, NAMESPACE, {"metadata": {"annotations": {"watched": before}}})
    changes = watch.Watch().stream(
        core.list_namespaced_pod, NAMESPACE, label_selector="app=one", resource_version=before, timeout_seconds=1
    )
    seen = [(each["type"], each["object"].metadata.annotations.get("watched")) for each in changes]
    assert ("MODIFIED", before) in seen
    assert {kind for kind, _ in seen} == {"MODIFIED"}


def test_client_is_told_that_its_version_is_too_old(tmp_path: Path) -> None:
    """By a cluster that remembers five changes."""
    loop, ready, path = asyncio.new_event_loop(), threading.Event(), tmp_path / "kubeconfig"

    async def serve() -> None:
        world = World(window=5, start=wall_time())
        for number in range(20):
            world.load([config_map(f"c{number}", {})])
        server = Server(world)
        await server.start()
        path.write_text(yaml.safe_dump(server.kubeconfig()))
        ready.set()
        await over.wait()
        await server.stop()

    over = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert ready.wait(WITHIN)
        core = client.CoreV1Api(config.new_client_from_config(str(path)))
        with pytest.raises(client.ApiException, match="too old resource version: 1") as gone:
            list(watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version="1"))
        assert gone.value.status == 410
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def test_client_execs(core: client.CoreV1Api, name: str) -> None:
    def execute(*command: str, **more: Any) -> Any:
        flags = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
        return stream(core.connect_get_namespaced_pod_exec, name, NAMESPACE, command=list(command), **flags, **more)

    assert execute("echo", "hi") == "hi\n"
    ended = execute("sh", "-c", "echo out; exit 3", _preload_content=False)
    ended.run_forever(timeout=WITHIN)
    assert (ended.read_stdout(), ended.returncode) == ("out\n", 3)
    with pytest.raises(client.ApiException, match="container nosuch is not valid for pod"):
        execute("true", container="nosuch")


def test_client_follows_a_log(core: client.CoreV1Api, name: str) -> None:
    log, lines = watch.Watch(), []
    for line in log.stream(core.read_namespaced_pod_log, name, NAMESPACE, tail_lines=1, follow=True):
        lines.append(line)
        if len(lines) == 3:
            log.stop()
    assert len(set(lines)) == 3
    assert all(" UTC 20" in line for line in lines)


def test_client_handles_jobsets_as_custom_objects(api: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(api)
    custom.create_namespaced_custom_object(*JOBSETS, jobset("custom", replicated_job(), suspend=True))
    changed = custom.patch_namespaced_custom_object(*JOBSETS, "custom", {"metadata": {"labels": {"a": "b"}}})
    assert changed["metadata"]["labels"] == {"a": "b"}
    assert "custom" in {each["metadata"]["name"] for each in custom.list_namespaced_custom_object(*JOBSETS)["items"]}
    custom.delete_namespaced_custom_object(*JOBSETS, "custom", propagation_policy="Foreground")
    last = ""
    changes = watch.Watch().stream(custom.list_namespaced_custom_object, *JOBSETS, timeout_seconds=WITHIN)
    for each in changes if _there(custom, "custom") else ():
        if each["object"]["metadata"]["name"] == "custom" and (last := each["type"]) == "DELETED":
            break
    assert not _there(custom, "custom"), last


def test_client_is_told_what_is_wrong_with_a_jobset(api: client.ApiClient) -> None:
    custom, number = client.CustomObjectsApi(api), {"metadata": {"annotations": {"a": 1}}}
    with pytest.raises(client.ApiException, match="DNS-1035") as wrong:
        custom.create_namespaced_custom_object(*JOBSETS, jobset("wrong", replicated_job("A")))
    assert wrong.value.status == 422
    with pytest.raises(client.ApiException, match="cannot unmarshal number into Go struct field ObjectMeta") as wrong:
        custom.create_namespaced_custom_object(*JOBSETS, jobset("wrong", replicated_job()) | number)
    assert wrong.value.status == 400
    with pytest.raises(client.ApiException, match="cannot unmarshal number into Go struct field ObjectMeta") as wrong:
        custom.patch_namespaced_custom_object(*JOBSETS, "pair", number)
    assert wrong.value.status == 422


def _there(custom: client.CustomObjectsApi, name: str) -> bool:
    try:
        return bool(custom.get_namespaced_custom_object(*JOBSETS, name))
    except client.ApiException as error:
        if error.status == 404:
            return False
        raise


def test_client_deletes_as_told(api: client.ApiClient, core: client.CoreV1Api) -> None:
    batch = client.BatchV1Api(api)
    for policy, left in (("Orphan", 1), ("Foreground", 0)):
        batch.create_namespaced_job(NAMESPACE, job("client", container(command=exits(0, 60))))
        end = time.monotonic() + WITHIN
        while not batch.read_namespaced_job_status("client", NAMESPACE).status.ready:
            assert time.monotonic() < end
            time.sleep(0.1)
        batch.delete_namespaced_job("client", NAMESPACE, propagation_policy=policy)
        while "client" in {each.metadata.name for each in batch.list_namespaced_job(NAMESPACE).items}:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert len(core.list_namespaced_pod(NAMESPACE, label_selector="app=client").items) == left
        core.delete_collection_namespaced_pod(NAMESPACE, label_selector="app=client", grace_period_seconds=0)


def test_client_asks_what_it_may(api: client.ApiClient) -> None:
    what = {"verb": "patch", "group": "jobset.x-k8s.io", "resource": "jobsets", "namespace": NAMESPACE}
    review = {"spec": {"resourceAttributes": what}}
    authorization = client.AuthorizationV1Api(api)
    assert authorization.create_self_subject_access_review(review).status.allowed
    api.set_default_header("Impersonate-User", "nobody")
    try:
        assert not authorization.create_self_subject_access_review(review).status.allowed
    finally:
        del api.default_headers["Impersonate-User"]


def test_dynamic_client(api: client.ApiClient) -> None:
    known = dynamic.DynamicClient(api).resources
    jobsets = known.get(api_version="jobset.x-k8s.io/v1alpha2", kind="JobSet")
    assert jobsets.get(name="pair", namespace=NAMESPACE).spec.replicatedJobs[0].name == "workers"
    assert "pair" in {each["object"].metadata.name for each in jobsets.watch(namespace=NAMESPACE, timeout=1)}
    config_maps = known.get(api_version="v1", kind="ConfigMap")
    body = config_map("dynamic", {}, a="1", b="1")
    config_maps.server_side_apply(namespace=NAMESPACE, body=body, field_manager="test")
    body["data"] = {"a": "2"}
    found = config_maps.server_side_apply(namespace=NAMESPACE, body=body, field_manager="test")
    assert dict(found.data) == {"a": "2"}
