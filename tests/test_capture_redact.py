"""What a capture does not write: values of environment variables, and whatever looks like a credential."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.capture.redact import HIDDEN, redacted, scrubbed, sensitive

SECRET = "Zq7-4hunter2-Xy"
NAMES = st.text("ABCDEFGHIJ_", min_size=1, max_size=8)
WORDS = st.text("abcdefghij", min_size=1, max_size=8)


@st.composite
def environments(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    plain = [{"name": name, "value": f"{draw(WORDS)}{SECRET}"} for name in names]
    field = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "my-secret", "key": "api-key"}}}
    return [*plain, *draw(st.lists(st.sampled_from([field, secret]), max_size=2))]


@st.composite
def objects(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """An object with containers at any depth, as every kind of workload nests its Pod templates differently."""
    found: dict[str, Any] = {word: draw(WORDS) for word in draw(st.lists(WORDS, max_size=3))}
    if draw(st.booleans()):
        container = {"name": draw(WORDS), "image": "app:1", "env": draw(environments())}
        found[draw(st.sampled_from(["containers", "initContainers", "sidecars"]))] = [container]
    if draw(st.booleans()):
        found[draw(st.sampled_from(["env", "extraEnv", "env_vars", "runtimeEnv", "envVars"]))] = draw(
            st.one_of(
                st.just({"A": SECRET}),
                st.just([f"A={SECRET}"]),
                st.just({"deep": {"B": SECRET}}).map(lambda each: {"C": SECRET} if depth else each["deep"]),
            )
        )
    if depth and draw(st.booleans()):
        inner = draw(objects(depth=depth - 1))
        found[draw(WORDS)] = draw(st.sampled_from([inner, [inner]]))
    return found


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def shape(value: Any) -> Any:
    """The object without its words."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


@given(objects())
def test_no_value_of_an_environment_is_left_and_every_name_is(found: dict[str, Any]) -> None:
    result = redacted(found)
    assert not any(SECRET in text for text in texts(result))
    assert shape(result) == shape(found)
    assert "my-secret" in [*texts(result)] or "my-secret" not in [*texts(found)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_whatever_an_object_holds_it_keeps_its_shape(value: Any) -> None:
    if "managedFields" not in str(value):
        assert shape(redacted(value)) == shape(value)


@given(objects())
def test_to_hide_twice_is_to_hide_once(found: dict[str, Any]) -> None:
    assert redacted(redacted(found)) == redacted(found)


@pytest.mark.parametrize(
    "words",
    [
        ["--hf-token", SECRET],
        [f"--hf-token={SECRET}"],
        [f"--password='{SECRET} with more'"],
        ["sh", "-c", f"WANDB_API_KEY={SECRET} exec python train.py"],
        ["sh", "-c", f"python train.py --api-key {SECRET} --steps 10"],
        ["sh", "-c", f'curl -H "Authorization: Bearer {SECRET}" https://example.com'],
        ["python", "-c", f"login(token='{SECRET}')"],
        [f"s3://user:{SECRET}@host/bucket"],
        [f"postgresql+psycopg://u:{SECRET}@db/x?y=z"],
        [f'{{"aws_secret_access_key": "{SECRET}"}}'],
        [f'{{\\"client_secret\\": \\"{SECRET}\\"}}'],
        [f"https://host/?access_token={SECRET}&x=1"],
        ["--redis-password", f"-{SECRET}"],
        [f'--secret="{SECRET}'],
    ],
    ids=" ".join,
)
def test_a_credential_in_a_command_line_goes(words: list[str]) -> None:
    result = redacted({"args": words})["args"]
    assert SECRET not in " ".join(result)
    assert HIDDEN in " ".join(result)
    assert SECRET not in scrubbed(" ".join(words))


@pytest.mark.parametrize(
    "word",
    [
        "hf_" + "aB3" * 11,
        "ghp_" + "aB3" * 12,
        "glpat-" + "a1" * 10,
        "AKIA" + "ABCD1234" * 2,
        "xoxb-123456789012-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "sk-" + "a1" * 16,
    ],
)
def test_a_credential_of_a_known_form_goes_wherever_it_is(word: str) -> None:
    assert scrubbed(f"pulled with {word} from there") == f"pulled with {HIDDEN} from there"


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --max-tokens 4096 --tokenizer gpt2 --lr 1e-4",
        'secret "foo" not found',
        "Back-off restarting failed container worker in pod train-0",
        "https://registry.example.com/app@sha256:0123",
        "torchrun --rdzv-endpoint=train-0:29500 --nnodes 4",
        "keys: 3, passed: 4",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert scrubbed(text) == text
    assert redacted({"args": text.split()})["args"] == text.split()


def test_a_pod_keeps_what_tells_something() -> None:
    pod = {
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": f'{{"env":"{SECRET}"}}',
                "example.com/api-token": SECRET,
                "batch.kubernetes.io/job-completion-index": "0",
            },
            "managedFields": [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:x": SECRET}}],
        },
        "spec": {
            "serviceAccountName": "train",
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [
                {"name": "s", "secret": {"secretName": "keys", "items": [{"key": "token", "path": "token"}]}},
                {"name": "d", "csi": {"driver": "d", "volumeAttributes": {"anything": SECRET}}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
            "containers": [
                {
                    "name": "worker",
                    "image": "app:1",
                    "envFrom": [{"secretRef": {"name": "all"}}],
                    "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "X", "value": SECRET}]}},
                    "resources": {"limits": {"nvidia.com/gpu": "8"}},
                }
            ],
        },
        "status": {"phase": "Running", "containerStatuses": [{"name": "worker", "restartCount": 3}]},
    }
    result = redacted(pod)
    assert SECRET not in str(result)
    assert result["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "0"
    assert result["metadata"]["managedFields"] == [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z"}]
    spec, before = result["spec"], pod["spec"]
    assert spec["volumes"][0] == before["volumes"][0]  # type: ignore[index]
    assert spec["volumes"][2] == before["volumes"][2]  # type: ignore[index]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "all"}}]
    assert spec["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert result["status"] == pod["status"]


def test_a_ray_cluster_keeps_its_password_to_itself() -> None:
    found = {
        "rayStartParams": {"redis-password": SECRET, "num-cpus": "4"},
        "runtimeEnvYAML": f"env_vars:\n  A: {SECRET}\n",
        "secretName": "a",
    }
    result = redacted(found)
    assert SECRET not in str(result)
    assert (result["rayStartParams"]["num-cpus"], result["secretName"]) == ("4", "a")


@pytest.mark.parametrize(("name", "is_one"), [("HF_TOKEN", True), ("max_tokens", False), ("secretName", False)])
def test_names_of_secrets(name: str, is_one: bool) -> None:
    assert sensitive(name) is is_one


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "-" * 300_000, "token=" * 50_000, 'secret="' * 40_000, "eyJ-" * 70_000, "x://" * 70_000]
)
def test_hostile_words_take_no_time(text: str) -> None:
    began = time.process_time()
    scrubbed(text)
    assert time.process_time() - began < 20
