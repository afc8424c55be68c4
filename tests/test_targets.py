"""Which workload the words of a command line mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.cli import targets
from jobset_restart.cli.targets import Target, any_of, one
from jobset_restart.errors import UsageError
from jobset_restart.workloads.kinds import JOB, JOBSET, LEADER_WORKER_SET, POD, TRAIN_JOB, WORKLOAD_KINDS, WorkloadKind


@pytest.fixture(autouse=True)
def every_kind_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    handled = frozenset(kind.resource for kind in (*WORKLOAD_KINDS, POD))
    monkeypatch.setattr(targets, "HANDLED", handled)


@pytest.mark.parametrize(
    "words",
    [
        ("jobset/train",),
        ("jobsets/train",),
        ("js/train",),
        ("JobSet/train",),
        ("jobset.jobset.x-k8s.io/train",),
        ("jobsets.v1alpha2.jobset.x-k8s.io/train",),
        ("jobset", "train"),
        ("JS", "train"),
    ],
)
def test_a_jobset_is_named_as_kubectl_names_it(words: tuple[str, ...]) -> None:
    assert one(*words) == any_of(*words) == Target(JOBSET, "train")


def test_a_name_alone_is_a_jobsets() -> None:
    assert one("train") == any_of("train") == Target(JOBSET, "train", typed=False)
    assert one("lws") == Target(JOBSET, "lws", typed=False)


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("lws/x",), LEADER_WORKER_SET), (("trainjob", "x"), TRAIN_JOB), (("job.batch/x",), JOB), (("jobs", "x"), JOB)],
)
def test_other_kinds(words: tuple[str, ...], kind: WorkloadKind) -> None:
    assert one(*words) == Target(kind, "x")


def test_what_is_shown_may_be_everything_or_all_of_a_kind() -> None:
    assert any_of(None) is None
    assert any_of("lws") == any_of("LeaderWorkerSets") == Target(LEADER_WORKER_SET)


def test_a_question_ends_by_itself() -> None:
    with pytest.raises(UsageError) as raised:
        one("lwss/x")
    assert raised.value.hint.startswith("did you mean lws? write NAME for a JobSet")


def test_pods_are_meant_by_their_labels() -> None:
    assert one("pods", None, "app=x") == one("po", None, "app=x") == Target(POD, "app=x")
    assert any_of("pod", None, "app=x") == Target(POD, "app=x")
    for word in (None, "train", "lws"):
        with pytest.raises(UsageError, match="-l chooses Pods"):
            any_of(word, None, "app=x")
    for word in ("train", "lws/x"):
        with pytest.raises(UsageError, match="-l chooses Pods"):
            one(word, None, "app=x")
        assert one(word, None, "app=x", part=True) == one(word)
    for words in (("pods",), ("pod/x",), ("pod", "x")):
        with pytest.raises(UsageError, match="add -l LABELS"):
            one(*words)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("jobst/x",), "'jobst' is not a kind", "did you mean jobset"),
        (("deploy", "x"), "'deploy' is not a kind", "there are job, jobset, "),
        (("trian", "serve"), "'trian' is not a kind", "write NAME for a JobSet"),
        (("/train",), "'' is not a kind", "KIND/NAME"),
        (("https://a/b",), "'https:' is not a kind", ""),
        (("js/a", "b"), "js/a and b are two workloads", "one at a time"),
        (("jobset/",), "'' is not a possible name of a JobSet", "lower case"),
        (("jobset/ns/train",), "'ns/train' is not a possible name", ""),
        (("lws", "A_b"), "'A_b' is not a possible name of a LeaderWorkerSet", ""),
    ],
)
def test_what_is_meant_by_no_words(words: tuple[str, ...], message: str, hint: str) -> None:
    for read in (one, any_of):
        with pytest.raises(UsageError) as raised:
            read(*words)
        assert raised.value.message.startswith(message)
        assert hint in raised.value.hint


@given(st.text(max_size=30), st.none() | st.text(max_size=10))
def test_any_words_name_something_possible_or_are_refused(word: str, name: str | None) -> None:
    try:
        target = one(word, name)
    except UsageError:
        return
    assert target.name
    assert "/" not in target.name
    assert target.typed == (name is not None or "/" in word)


@pytest.mark.parametrize("kind", WORKLOAD_KINDS, ids=lambda kind: kind.resource)
def test_a_kind_that_is_not_handled_yet_is_refused_in_words(
    kind: WorkloadKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "HANDLED", frozenset({"no such resource"}))
    with pytest.raises(UsageError, match=f"does not handle {kind.kind}s .* yet; nothing was changed"):
        one(f"{kind.resource}/x")
