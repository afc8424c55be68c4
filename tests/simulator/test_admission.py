"""Defaults, and how bad objects are answered: the texts are those of Kubernetes 1.36."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jobset_restart.simulator.patch import merge
from jobset_restart.simulator.store import Obj, Store, StoreError
from jobset_restart.simulator.validation import admit

NOW = 1_800_000_000.0
CONTAINER = {"name": "c", "image": "busybox:1.36"}


@pytest.fixture
def store() -> Store:
    store = Store(admit)
    store.create("namespaces", {"metadata": {"name": "default"}}, NOW)
    return store


def make(store: Store, resource: str, name: str, meta: Obj | None = None, **body: Any) -> Obj:
    metadata = {"name": name, "namespace": "default", **(meta or {})}
    return store.create(resource, {"metadata": metadata, **body}, NOW)


def pod(store: Store, **spec: Any) -> Obj:
    return make(store, "pods", "p", spec={"containers": [CONTAINER], **spec})


def job(store: Store, pod_spec: Obj | None = None, name: str = "j", **spec: Any) -> Obj:
    inner = {"restartPolicy": "Never", "containers": [CONTAINER], **(pod_spec or {})}
    return make(store, "jobs", name, spec={"template": {"spec": inner}, **spec})


def change(store: Store, obj: Obj, **fields: Any) -> Obj:
    resource = {"Pod": "pods", "Job": "jobs"}[obj["kind"]]
    current = store.get(resource, "default", obj["metadata"]["name"])
    return store.update(resource, merge(current, fields), NOW)


def refusal(error: pytest.ExceptionInfo[StoreError]) -> str:
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    return error.value.message


# ---------------------------------------------------------------- Pods


def test_defaults_of_a_pod(store: Store) -> None:
    made = pod(store, automountServiceAccountToken=False)
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    tolerations = made["spec"].pop("tolerations")
    assert [(each["key"], each["effect"], each["tolerationSeconds"]) for each in tolerations] == [
        ("node.kubernetes.io/not-ready", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "NoExecute", 300),
    ]
    container = {
        **CONTAINER,
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    assert made["spec"] == {
        "automountServiceAccountToken": False,
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
    }


def test_token_is_mounted_where_nothing_else_is(store: Store) -> None:
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    own = {"name": "mine", "mountPath": path}
    made = pod(store, initContainers=[{**CONTAINER, "name": "i", "volumeMounts": [own]}])["spec"]
    [volume] = made["volumes"]
    assert re.fullmatch("kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}", volume["name"])
    assert volume["projected"]["sources"][0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    mount = {"name": volume["name"], "mountPath": path, "readOnly": True}
    assert made["containers"][0]["volumeMounts"] == [mount]
    assert made["initContainers"][0]["volumeMounts"] == [own]


def test_pods_have_tokens_of_their_own_and_keep_them(store: Store) -> None:
    made = pod(store)
    other = make(store, "pods", "q", spec={"containers": [CONTAINER]})
    assert made["spec"]["volumes"][0]["name"] != other["spec"]["volumes"][0]["name"]
    again = change(store, made, spec={"containers": [{**made["spec"]["containers"][0], "image": "busybox:2"}]})
    assert again["spec"]["volumes"] == made["spec"]["volumes"]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, {"emptyDir": {}}),
        ({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 420}}),
        ({"secret": {"secretName": "s", "defaultMode": 256}}, {"secret": {"secretName": "s", "defaultMode": 256}}),
    ],
)
def test_defaults_of_a_volume(store: Store, given: Obj, made: Obj) -> None:
    volumes = [{"name": "v", **given}]
    assert pod(store, volumes=volumes)["spec"]["volumes"][0] == {"name": "v", **made}
    template = job(store, {"volumes": volumes})["spec"]["template"]
    assert template["spec"]["volumes"] == [{"name": "v", **made}]


def test_service_account_that_says_no_for_all_its_pods_is_refused(store: Store) -> None:
    with pytest.raises(StoreError) as error:
        make(store, "serviceaccounts", "s", automountServiceAccountToken=False)
    assert "does not model ServiceAccounts that mount no token" in refusal(error)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("registry:5000/busybox", "Always"),
        ("registry:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:aa", "IfNotPresent"),
        ("busybox:latest@sha256:aa", "Always"),
    ],
)
def test_image_pull_policy_depends_on_the_tag(store: Store, image: str, policy: str) -> None:
    made = pod(store, containers=[{"name": "c", "image": image}])
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_defaults_of_a_probe(store: Store) -> None:
    probe = {"httpGet": {"port": 8081}, "periodSeconds": 1}
    made = pod(store, containers=[{**CONTAINER, "readinessProbe": probe}])
    assert made["spec"]["containers"][0]["readinessProbe"] == {
        "failureThreshold": 3,
        "httpGet": {"path": "/", "port": 8081, "scheme": "HTTP"},
        "periodSeconds": 1,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    }


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_quality_of_service(store: Store, resources: Obj, quality: str) -> None:
    assert pod(store, containers=[{**CONTAINER, "resources": resources}])["status"]["qosClass"] == quality


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [CONTAINER, CONTAINER]}, 'spec.containers[1].name: Duplicate value: "c"'),
        (
            {
                "containers": [
                    {**CONTAINER, "restartPolicyRules": [{"action": "Stop", "exitCodes": {"operator": "In"}}]}
                ]
            },
            "[spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are "
            'used, spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: '
            '"Restart", "RestartAllContainers"]',
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
        ),
    ],
)
def test_bad_pods(store: Store, spec: Obj, message: str) -> None:
    with pytest.raises(StoreError) as error:
        pod(store, **spec)
    assert refusal(error) == f'Pod "p" is invalid: {message}'
    assert all(cause["field"].startswith("spec.") for cause in error.value.details["causes"])


def test_what_may_change_in_a_pod(store: Store) -> None:
    made = pod(store, schedulingGates=[{"name": "g"}])
    image = change(store, made, spec={"containers": [{**made["spec"]["containers"][0], "image": "busybox@sha256:aa"}]})
    assert image["metadata"]["generation"] == 2
    change(store, made, spec={"activeDeadlineSeconds": 9})
    change(store, made, spec={"tolerations": [*made["spec"]["tolerations"], {"key": "k", "operator": "Exists"}]})
    change(store, made, spec={"schedulingGates": []})
    same = change(store, made, spec={"dnsPolicy": None})
    assert same["spec"]["dnsPolicy"] == "ClusterFirst"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"restartPolicy": "Never"}, "spec: Forbidden: pod updates may not change fields other than "),
        ({"nodeName": "node-0"}, "spec: Forbidden: pod updates may not change fields other than "),
        (
            {"containers": [{**CONTAINER, "command": ["sh"]}]},
            "spec: Forbidden: pod updates may not change fields other than ",
        ),
        (
            {"containers": [CONTAINER, {**CONTAINER, "name": "d"}]},
            "spec.containers: Forbidden: pod updates may not add",
        ),
        (
            {"containers": [{**CONTAINER, "image": "", "imagePullPolicy": "IfNotPresent"}]},
            "spec.containers[0].image: Required value",
        ),
        (
            {"containers": [{**CONTAINER, "image": " x:1"}]},
            'spec.containers[0].image: Invalid value: " x:1": must not have leading or trailing whitespace',
        ),
        ({"tolerations": [{"operator": "Exists"}]}, "spec.tolerations: Forbidden: existing toleration can not be mod"),
        (
            {"schedulingGates": [{"name": "g"}]},
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'",
        ),
    ],
)
def test_what_may_not_change_in_a_pod(store: Store, spec: Obj, message: str) -> None:
    made = pod(store, automountServiceAccountToken=False)
    with pytest.raises(StoreError) as error:
        change(store, made, spec=spec)
    assert refusal(error).startswith(f'Pod "p" is invalid: {message}')
    assert store.get("pods", "default", "p") == made


# ---------------------------------------------------------------- Jobs


def test_defaults_of_a_job(store: Store) -> None:
    made = job(store)
    spec, uid = made["spec"], made["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }
    assert spec["template"]["metadata"]["labels"] == made["metadata"]["labels"] == labels
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = spec.pop("template")["spec"]
    assert "tolerations" not in template
    assert template["terminationGracePeriodSeconds"] == 30
    del spec["selector"]
    assert spec == {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "completions": 1,
        "manualSelector": False,
        "parallelism": 1,
        "podReplacementPolicy": "TerminatingOrFailed",
        "suspend": False,
    }


def test_pods_are_replaced_only_when_failed_where_there_is_a_failure_policy(store: Store) -> None:
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    made = job(store, podFailurePolicy={"rules": rules})
    assert made["spec"]["podReplacementPolicy"] == "Failed"
    assert made["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"] == "True"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"backoffLimit": -1}, "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"completionMode": "Indexed", "parallelism": 2},
            "spec.completions: Required value: when completion mode is In",
        ),
        (
            {"podReplacementPolicy": "Always"},
            'spec.podReplacementPolicy: Unsupported value: "Always": supported values: "Failed", "TerminatingOrFailed"',
        ),
        ({"backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
        (
            {"completionMode": "Indexed", "completions": 2, "maxFailedIndexes": 1},
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
        ),
        ({"successPolicy": {"rules": []}}, "spec.successPolicy: Forbidden: the embedded cluster does not model"),
        ({"managedBy": "kueue.x-k8s.io/multikueue"}, "spec.managedBy: Forbidden: the embedded cluster does not model"),
    ],
)
def test_bad_jobs(store: Store, spec: Obj, message: str) -> None:
    with pytest.raises(StoreError) as error:
        job(store, **spec)
    assert refusal(error).startswith(f'Job.batch "j" is invalid: {message}')


@pytest.mark.parametrize("policy", ["Always", None])
def test_restart_policy_always_in_a_job_template_is_refused(store: Store, policy: str | None) -> None:
    with pytest.raises(StoreError) as error:
        job(store, {"restartPolicy": policy})
    where = "spec.template.spec.restartPolicy"
    assert refusal(error) == f'Job.batch "j" is invalid: {where}: Required value: valid values: "OnFailure", "Never"'


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completions": 3}, "spec.completions: Invalid value: 3: field is immutable"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector: Invalid value: "),
        ({"template": {"spec": {"restartPolicy": "OnFailure"}}}, "spec.template: Invalid value: "),
        ({"template": {"spec": {"nodeSelector": {"a": "b"}}}}, "spec.template: Invalid value: "),
    ],
)
def test_what_may_not_change_in_a_job(store: Store, spec: Obj, field: str) -> None:
    made = job(store)
    with pytest.raises(StoreError) as error:
        change(store, made, spec=spec)
    assert field in refusal(error)
    assert (
        change(store, made, spec={"suspend": True, "backoffLimit": 9, "parallelism": 4})["metadata"]["generation"] == 2
    )


def test_a_suspended_job_may_get_another_place_to_run(store: Store) -> None:
    made = job(store, suspend=True)
    changed = change(store, made, spec={"template": {"spec": {"nodeSelector": {"a": "b"}}}})
    assert changed["spec"]["template"]["spec"]["nodeSelector"] == {"a": "b"}
    affinity: Obj = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    change(store, made, spec={"template": {"spec": {"affinity": affinity}}})
    with pytest.raises(StoreError, match="field is immutable"):
        change(store, made, spec={"template": {"spec": {"restartPolicy": "OnFailure"}}})


# ---------------------------------------------------------------- names and labels

_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize("name", ["Bad_name", "-", "a/b", "\x1b[31m", "ä"])
def test_names_that_cannot_be(store: Store, name: str) -> None:
    with pytest.raises(StoreError) as error:
        make(store, "configmaps", name)
    assert f": {_SUBDOMAIN}" in refusal(error)


def test_names_that_are_too_long(store: Store) -> None:
    with pytest.raises(StoreError, match="must be no more than 253 bytes"):
        make(store, "configmaps", "x" * 254)
    with pytest.raises(StoreError, match="must be no more than 63 bytes"):
        store.create("namespaces", {"metadata": {"name": "x" * 64}}, NOW)
    with pytest.raises(StoreError, match=r"will not able to create pod with invalid DNS label: x*-0"):
        job(store, name="x" * 62, completions=1, completionMode="Indexed")


def test_labels_and_annotations(store: Store) -> None:
    with pytest.raises(StoreError) as error:
        make(store, "configmaps", "c", {"labels": {"a b": "c d"}})
    keys = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric char"
    assert f'metadata.labels: Invalid value: "a b": name part {keys}' in refusal(error)
    assert 'metadata.labels: Invalid value: "c d": a valid label must be an empty string' in refusal(error)
    with pytest.raises(StoreError, match=r"metadata\.annotations: Too long: may not be more than 262144 bytes"):
        make(store, "configmaps", "c", {"annotations": {"a": "x" * (256 << 10)}})
    make(store, "configmaps", "c", {"annotations": {"a": "\x1b[2J any text"}})


# ---------------------------------------------------------------- the rest


def test_what_a_binding_binds_cannot_change(store: Store) -> None:
    ref = {"kind": "Role", "name": "r"}
    made = make(store, "rolebindings", "b", roleRef=ref, subjects=[{"kind": "User", "name": "u"}])
    assert made["subjects"][0]["apiGroup"] == made["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    with pytest.raises(StoreError, match="cannot change roleRef"):
        store.update("rolebindings", {**made, "roleRef": {**ref, "name": "other"}}, NOW)


def test_only_headless_services(store: Store) -> None:
    made = make(store, "services", "s", spec={"clusterIP": "None", "selector": {"a": "b"}})
    assert made["spec"]["type"] == "ClusterIP"
    with pytest.raises(StoreError, match="does not model Services other than headless ones"):
        make(store, "services", "t", spec={"ports": [{"port": 80}]})


def test_secrets_take_plain_text(store: Store) -> None:
    made = make(store, "secrets", "s", stringData={"key": "text"})
    assert (made["data"], made["type"]) == ({"key": "dGV4dA=="}, "Opaque")
    assert "stringData" not in made


def test_no_taints_are_left_out(store: Store) -> None:
    assert "taints" not in store.create("nodes", {"metadata": {"name": "n"}, "spec": {"taints": []}}, NOW)["spec"]


def test_taints_are_unique(store: Store) -> None:
    taint = {"key": "k", "effect": "NoSchedule"}
    with pytest.raises(StoreError, match="taints must be unique by key and effect pair"):
        store.create("nodes", {"metadata": {"name": "n"}, "spec": {"taints": [taint, taint]}}, NOW)
