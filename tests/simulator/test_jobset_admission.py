"""Defaults and refusals of JobSets; the messages are a real API server's and JobSet v0.12's."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from jobset_restart.simulator.patch import merge
from jobset_restart.simulator.store import Obj, StoreError
from jobset_restart.simulator.validation.jobset import admit_jobset
from jobset_restart.simulator.validation.jobset_pod import with_priority_label

WEBHOOK = 'admission webhook "vjobset.kb.io" denied the request: '
INVALID = 'JobSet.jobset.x-k8s.io "train" is invalid: '
CUT_SHORT = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
    "existing errors to complete validation"
)
DNS_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def manifest(**spec: Any) -> Obj:
    """A JobSet as somebody writes it."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "busybox"}]}
    job = {"parallelism": 2, "completions": 2, "backoffLimit": 0, "template": {"spec": pod}}
    replicated_jobs = [{"name": "workers", "template": {"spec": job}}]
    body = {"failurePolicy": {"maxRestarts": 3}, "replicatedJobs": replicated_jobs, **spec}
    return {"metadata": {"name": "train", "namespace": "default"}, "spec": body}


def changed(path: tuple[str | int, ...], value: Any, base: Obj | None = None) -> Obj:
    """A JobSet with one field set, or (None) removed."""
    new = deepcopy(base or manifest())
    at: Any = new
    for part in path[:-1]:
        at = at[part]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return new


def refusal(new: Obj, old: Obj | None = None) -> StoreError:
    with pytest.raises(StoreError) as caught:
        admit_jobset(new, old)
    return caught.value


FIRST = ("spec", "replicatedJobs", 0)
JOB = (*FIRST, "template", "spec")
POD = (*JOB, "template", "spec")


# Defaults


def test_defaults_of_the_schema_and_the_webhook() -> None:
    made = admit_jobset(
        changed(POD, {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}), None
    )
    assert made["spec"] == {
        "failurePolicy": {"maxRestarts": 3, "restartStrategy": "Recreate"},
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
        "successPolicy": {"operator": "All"},
        "replicatedJobs": [
            {
                "name": "workers",
                "groupName": "default",
                "replicas": 1,
                "template": {
                    "metadata": {},
                    "spec": {
                        "backoffLimit": 0,
                        "completionMode": "Indexed",
                        "completions": 2,
                        "parallelism": 2,
                        "template": {
                            "metadata": {},
                            "spec": {
                                "restartPolicy": "OnFailure",
                                "containers": [
                                    {
                                        "name": "c",
                                        "image": "i",
                                        "resources": {},
                                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                                    }
                                ],
                            },
                        },
                    },
                },
            }
        ],
    }


def test_webhook_with_nothing_to_add_leaves_no_traces() -> None:
    given = manifest(
        successPolicy={"operator": "All"},
        startupPolicy={"startupPolicyOrder": "AnyOrder"},
        network={"enableDNSHostnames": True, "publishNotReadyAddresses": True},
    )
    given = changed((*JOB, "completionMode"), "Indexed", given)
    template = admit_jobset(given, None)["spec"]["replicatedJobs"][0]["template"]
    assert "metadata" not in template
    assert "resources" not in template["spec"]["template"]["spec"]["containers"][0]


def test_rules_get_names() -> None:
    rules = [{"action": "FailJobSet", "name": "first"}, {"action": "RestartJobSet"}]
    made = admit_jobset(changed(("spec", "failurePolicy", "rules"), rules), None)
    assert [each["name"] for each in made["spec"]["failurePolicy"]["rules"]] == ["first", "failurePolicyRule1"]


def test_status_sent_on_create_is_dropped_and_nulls_are_not_there() -> None:
    given = changed((*FIRST, "template", "metadata"), {"creationTimestamp": None, "labels": {"a": "b"}})
    made = admit_jobset({**given, "status": {"restarts": 7}}, None)
    assert "status" not in made
    assert made["spec"]["replicatedJobs"][0]["template"]["metadata"] == {"labels": {"a": "b"}}


def test_what_comes_in_is_not_touched() -> None:
    given = manifest()
    before = deepcopy(given)
    admit_jobset(given, None)
    assert given == before


def test_jobset_without_a_spec_is_one_without_jobs() -> None:
    made = admit_jobset({"metadata": {"name": "train"}}, None)
    assert set(made["spec"]) == {"network", "startupPolicy", "successPolicy"}


# Refused on create


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            changed(("spec", "failurePolicy", "restartStrategy"), "Foo"),
            'spec.failurePolicy.restartStrategy: Unsupported value: "Foo": supported values: "Recreate", '
            '"BlockingRecreate", "InPlaceRestart"',
        ),
        (
            changed((*FIRST, "template"), None),
            'spec.replicatedJobs[0].template.spec.template.spec.containers: Invalid value: "null": '
            'spec.replicatedJobs[0].template.spec.template.spec.containers in body must be of type array: "null"',
        ),
        (
            changed((*FIRST, "dependsOn"), [{"name": "workers"}]),
            'spec.replicatedJobs[0].dependsOn[0].status: Unsupported value: "": supported values: "Ready", "Complete"',
        ),
    ],
)
def test_what_the_schema_refuses(new: Obj, message: str) -> None:
    error = refusal(new)
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == f"{INVALID}[{message}, {CUT_SHORT}]"


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            manifest(ttlSecondsAfterFinished=-1),
            "spec.ttlSecondsAfterFinished: Invalid value: -1: spec.ttlSecondsAfterFinished in body should be greater "
            "than or equal to 0",
        ),
        (
            manifest(replicatedJobs=manifest()["spec"]["replicatedJobs"] * 2),
            'spec.replicatedJobs[1]: Duplicate value: {"name":"workers"}',
        ),
        (
            manifest(
                startupPolicy={"startupPolicyOrder": "InOrder"},
                replicatedJobs=[
                    *manifest()["spec"]["replicatedJobs"],
                    {
                        **manifest()["spec"]["replicatedJobs"][0],
                        "name": "two",
                        "dependsOn": [{"name": "workers", "status": "Ready"}],
                    },
                ],
            ),
            "spec: Invalid value: StartupPolicy and DependsOn APIs are mutually exclusive",
        ),
    ],
)
def test_what_else_the_crd_refuses(new: Obj, message: str) -> None:
    assert refusal(new).message == INVALID + message


def test_wrong_type_does_not_get_past_the_mutating_webhook() -> None:
    error = refusal(changed(("spec", "failurePolicy", "maxRestarts"), "3"))
    assert error.code == 400
    assert error.message == (
        'admission webhook "mjobset.kb.io" denied the request: json: cannot unmarshal string into Go struct field '
        "FailurePolicy.spec.failurePolicy.maxRestarts of type int32"
    )


def test_unknown_fields_are_refused_as_strict_decoding_does() -> None:
    error = refusal(changed((*POD, "foo"), 1))
    assert error.code == 400
    assert error.message == (
        'JobSet in version "v1alpha2" cannot be handled as a JobSet: strict decoding error: unknown field '
        '"spec.replicatedJobs[0].template.spec.template.spec.foo"'
    )


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            changed((*FIRST, "dependsOn"), [{"name": "workers", "status": "Ready"}]),
            "<nil>: Internal error: DependsOn can't be set for the first ReplicatedJob",
        ),
        (
            changed(("metadata", "name"), "1bad"),
            f'spec.replicatedJobs[0].name: Invalid value: "1bad-workers-0": {DNS_1035}',
        ),
        (
            manifest(managedBy="foo"),
            'spec.managedBy: Invalid value: "foo": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
        (
            changed((*FIRST, "groupName"), "Big"),
            f'spec.replicatedJobs[0].groupName: Invalid value: "Big": {DNS_1035}',
        ),
        (
            manifest(successPolicy={"operator": "All", "targetReplicatedJobs": ["nope"]}),
            "<nil>: Internal error: invalid replicatedJob name 'nope' does not appear in .spec.ReplicatedJobs",
        ),
        (
            changed(("spec", "failurePolicy", "rules"), [{"action": "RestartJob", "name": "a"}]),
            "<nil>: Internal error: RestartJob and RestartJobAndIgnoreMaxRestarts failure policy actions are not "
            "allowed when RestartJob feature gate is disabled",
        ),
        (
            changed(("spec", "failurePolicy", "rules"), [{"action": "FailJobSet", "name": "a"}] * 2),
            "<nil>: Internal error: rule names are not unique, rules with indices [0 1] all have the same name 'a'",
        ),
        (
            manifest(coordinator={"replicatedJob": "workers", "jobIndex": 9}),
            "<nil>: Internal error: coordinator job index 9 is invalid for replicatedJob workers",
        ),
    ],
)
def test_what_the_validating_webhook_denies(new: Obj, message: str) -> None:
    error = refusal(new)
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == f'{WEBHOOK}JobSet.jobset.x-k8s.io "{new["metadata"]["name"]}" is invalid: {message}'


def test_long_names_are_denied_for_jobs_and_pods() -> None:
    message = refusal(changed(("metadata", "name"), "a" * 60)).message
    for what in ("job", "pod"):
        assert f"JobSet name is too long, {what} names generated for this JobSet will exceed 63 characters" in message


def test_restart_in_place_wants_its_limits() -> None:
    """facts.md: backoffLimit 2147483647, podReplacementPolicy Failed, completions == parallelism."""
    policy = {"maxRestarts": 3, "restartStrategy": "InPlaceRestart"}
    error = refusal(changed((*JOB, "completions"), 1, manifest(failurePolicy=policy)))
    path = "spec.replicatedJobs[0].template.spec"
    assert error.message == (
        f"{WEBHOOK}{INVALID}[{path}.backoffLimit: Invalid value: 0: replicatedJob workers: must be set to 2147483647 "
        f"(MaxInt32) when in-place restart is enabled, {path}.podReplacementPolicy: Invalid value: null: replicatedJob "
        f"workers: must be set to Failed when in-place restart is enabled, {path}.completions: Invalid value: 1: "
        "replicatedJob workers: completions and parallelism must be set and equal to each other when in-place restart "
        "is enabled]"
    )
    assert [each["reason"] for each in error.details["causes"]] == ["FieldValueInvalid"] * 3


def test_restart_policy_always_is_taken() -> None:
    """Trap 5: it is the Job that is refused."""
    admit_jobset(changed((*POD, "restartPolicy"), "Always"), None)


@pytest.mark.parametrize(
    "new",
    [
        manifest(volumeClaimPolicies=[{"templates": []}]),
        changed(("metadata", "annotations"), {"alpha.jobset.sigs.k8s.io/exclusive-topology": "rack"}),
        changed((*JOB, "successPolicy"), {"rules": [{"succeededCount": 1}]}),
    ],
)
def test_what_is_not_modelled_is_refused(new: Obj) -> None:
    error = refusal(new)
    assert error.code == 422
    assert "the embedded cluster does not model" in error.message


# Updates


@pytest.fixture
def old() -> Obj:
    return admit_jobset(manifest(), None)


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize(
    ("field", "value", "while_suspended"),
    [
        ("nodeSelector", {"pool": "a"}, True),
        ("tolerations", [{"key": "gpu"}], True),
        ("schedulingGates", [{"name": "a"}], True),
        ("serviceAccountName", "other", False),
    ],
)
def test_pod_templates_may_change_a_little_while_suspended(
    old: Obj, field: str, value: Any, while_suspended: bool, suspended: bool
) -> None:
    new = changed((*POD, field), value, old)
    new["spec"]["suspend"] = suspended
    if suspended and while_suspended:
        assert admit_jobset(new, old)["spec"] == new["spec"]
    else:
        message = refusal(new, old).message
        assert message.startswith(f"{WEBHOOK}{INVALID}spec.replicatedJobs: Invalid value: [")
        assert message.endswith("]: field is immutable")


def test_labels_of_pod_templates_may_change_while_suspended(old: Obj) -> None:
    new = changed((*JOB, "template", "metadata"), {"labels": {"a": "b"}}, old)
    refusal(new, old)
    admit_jobset(merge(new, {"spec": {"suspend": True}}), old)


@pytest.mark.parametrize("field", ["failurePolicy", "network", "successPolicy", "startupPolicy"])
def test_policies_are_immutable_but_may_go(old: Obj, field: str) -> None:
    different = {
        "failurePolicy": {"maxRestarts": 5},
        "network": {"subdomain": "x"},
        "successPolicy": {"operator": "Any"},
        "startupPolicy": {"startupPolicyOrder": "InOrder"},
    }[field]
    error = refusal(merge(old, {"spec": {field: different}}), old)
    assert error.message == f"{INVALID}spec.{field}: Invalid value: Value is immutable"
    assert field not in admit_jobset(merge(old, {"spec": {field: None}}), old)["spec"]


def test_suspend_ttl_and_coordinator_are_free(old: Obj) -> None:
    change = {"suspend": True, "ttlSecondsAfterFinished": 9, "coordinator": {"replicatedJob": "nope"}}
    assert admit_jobset(merge(old, {"spec": change}), old)["spec"] == old["spec"] | change


def test_manager_is_immutable(old: Obj) -> None:
    message = refusal(merge(old, {"spec": {"managedBy": "a.b/c"}}), old).message
    assert message == f'{WEBHOOK}{INVALID}spec.managedBy: Invalid value: "a.b/c": field is immutable'


def test_replicated_jobs_may_not_go(old: Obj) -> None:
    message = refusal(merge(old, {"spec": {"replicatedJobs": None}}), old).message
    assert message == f"{WEBHOOK}{INVALID}spec.replicatedJobs: Invalid value: null: field is immutable"


def test_metadata_alone_is_not_looked_at(old: Obj) -> None:
    new = merge(old, {"metadata": {"annotations": {"a": "b"}}})
    assert admit_jobset(new, old) is new


def test_status_has_types_and_bounds(old: Obj) -> None:
    def with_status(**status: Any) -> Obj:
        return {**old, "status": status}

    assert admit_jobset(with_status(previousInPlaceRestartAttempt=0), old)["status"] == {
        "previousInPlaceRestartAttempt": 0
    }
    assert refusal(with_status(currentInPlaceRestartAttempt=-1), old).message == (
        f"{INVALID}status.currentInPlaceRestartAttempt: Invalid value: -1: currentInPlaceRestartAttempt in body should "
        "be greater than or equal to 0"
    )
    wrong = 'status.restarts: Invalid value: "string": restarts in body must be of type integer: "string"'
    assert refusal(with_status(restarts="a"), old).message == f"{INVALID}[{wrong}, {CUT_SHORT}]"


# Pods


def test_pods_of_jobsets_get_their_priority_as_a_label() -> None:
    meta = {"name": "p", "annotations": {"jobset.sigs.k8s.io/jobset-name": "train"}, "labels": {"a": "b"}}
    made = with_priority_label({"metadata": meta, "spec": {"priority": 0}})
    assert made["metadata"]["labels"] == {"a": "b", "jobset.sigs.k8s.io/priority": "0"}
    other = {"metadata": {"name": "p"}, "spec": {"priority": 0}}
    assert with_priority_label(other) is other
