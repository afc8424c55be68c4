"""Owner references, propagation policies and namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from jobset_restart.simulator.controllers.garbage import ROOT_CA, GarbageController
from jobset_restart.simulator.profile import INSTANT
from jobset_restart.simulator.store import Obj, StoreError
from tests.simulator.stage import Stage


class Heap(Stage):
    """ConfigMaps that own each other."""

    def __init__(self) -> None:
        super().__init__(GarbageController(INSTANT))
        self.run()

    def make(self, name: str, *owners: Obj, blocks: bool = True, **meta: Any) -> Obj:
        refs = [_reference(owner, blocks) for owner in owners]
        metadata = {"name": name, "namespace": "default", "ownerReferences": refs, **meta}
        return self.store.create("configmaps", {"metadata": metadata}, self.now)

    def delete(self, name: str, propagation: str) -> None:
        self.store.delete("configmaps", "default", name, self.now, propagation=propagation)

    def release(self, name: str) -> None:
        """Take a stranger's finalizer off."""
        found = self.store.get("configmaps", "default", name)
        left = [each for each in found["metadata"]["finalizers"] if each != HOLD]
        self.store.update("configmaps", {**found, "metadata": {**found["metadata"], "finalizers": left}}, self.now)

    def names(self) -> list[str]:
        found = [each["metadata"]["name"] for each in self.store.list("configmaps", "default")]
        return [name for name in found if name != ROOT_CA]

    def going(self) -> list[str]:
        found = self.store.list("configmaps", "default")
        return [each["metadata"]["name"] for each in found if "deletionTimestamp" in each["metadata"]]


HOLD = "example.com/hold"


def _reference(owner: Obj, blocks: bool) -> Obj:
    meta = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
    return reference | {"controller": True, "blockOwnerDeletion": blocks}


def test_background_takes_the_owner_first_and_everything_below_it() -> None:
    world = Heap()
    top = world.make("a")
    middle = world.make("b", top)
    world.make("c", middle, finalizers=[HOLD])
    world.delete("a", "Background")
    assert world.names() == ["b", "c"]
    world.run()
    assert world.names() == ["c"]
    assert world.going() == ["c"]
    world.release("c")
    assert world.names() == []


def test_foreground_keeps_the_owners_until_everything_below_is_gone() -> None:
    world = Heap()
    top = world.make("a")
    middle = world.make("b", top)
    world.make("c", middle, finalizers=[HOLD])
    world.delete("a", "Foreground")
    world.run(60)
    assert world.going() == ["a", "b", "c"]
    assert world.store.get("configmaps", "default", "b")["metadata"]["finalizers"] == ["foregroundDeletion"]
    world.release("c")
    world.run()
    assert world.names() == []


def test_foreground_does_not_wait_for_dependents_that_do_not_block() -> None:
    world = Heap()
    world.make("b", world.make("a"), blocks=False, finalizers=[HOLD])
    world.delete("a", "Foreground")
    world.run()
    assert world.names() == ["b"]
    assert world.going() == ["b"]


def test_orphan_leaves_dependents_without_an_owner() -> None:
    world = Heap()
    world.make("b", world.make("a"))
    world.delete("a", "Orphan")
    world.run()
    assert world.names() == ["b"]
    assert "ownerReferences" not in world.store.get("configmaps", "default", "b")["metadata"]


def test_a_second_owner_keeps_its_dependent() -> None:
    world = Heap()
    one, two = world.make("a"), world.make("b")
    world.make("c", one, two)
    world.delete("a", "Foreground")
    world.run()
    assert world.names() == ["b", "c"]
    refs = world.store.get("configmaps", "default", "c")["metadata"]["ownerReferences"]
    assert [ref["name"] for ref in refs] == ["b"]


def test_a_dependent_that_comes_too_late_goes() -> None:
    world = Heap()
    owner = world.make("a")
    world.delete("a", "Background")
    world.make("late", owner)
    world.make("other", world.make("a"))  # same name, another UID
    world.run()
    assert world.names() == ["a", "other"]


def test_an_owner_of_an_unknown_kind_is_never_taken_for_gone() -> None:
    world = Heap()
    owner = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": "t", "uid": "u"}}
    world.make("a", owner)
    world.run(60)
    assert world.names() == ["a"]


def test_each_namespace_has_a_service_account_and_the_root_certificate() -> None:
    world = Heap()
    for resource, name in (("serviceaccounts", "default"), ("configmaps", ROOT_CA)):
        assert world.store.find(resource, "default", name)
        world.store.delete(resource, "default", name, world.now)
        world.run()
        assert world.store.find(resource, "default", name)


def test_a_namespace_stays_terminating_until_its_content_is_gone() -> None:
    world = Heap()
    made = world.store.create("namespaces", {"metadata": {"name": "mine"}}, world.now)
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}
    world.run()
    meta = {"name": "p", "namespace": "mine", "finalizers": [HOLD]}
    body = {"containers": [{"name": "c", "image": "i"}]}
    world.store.create("pods", {"metadata": meta, "spec": body}, world.now)
    world.store.create("secrets", {"metadata": {"name": "s", "namespace": "mine"}}, world.now)
    world.store.delete("namespaces", "", "mine", world.now)
    world.run(60)
    assert world.store.get("namespaces", "", "mine")["status"]["phase"] == "Terminating"
    assert [world.store.list(each, "mine") for each in ("secrets", "serviceaccounts", "configmaps")] == [[], [], []]
    with pytest.raises(StoreError, match="because it is being terminated"):
        world.store.create("secrets", {"metadata": {"name": "new", "namespace": "mine"}}, world.now)
    pod = world.store.get("pods", "mine", "p")
    assert "deletionTimestamp" in pod["metadata"]
    world.store.update("pods", {**pod, "metadata": {**pod["metadata"], "finalizers": []}}, world.now)
    world.run()
    assert world.store.find("namespaces", "", "mine") is None
    assert world.store.find("namespaces", "", "default")


def test_an_empty_namespace_goes() -> None:
    world = Heap()
    world.store.create("namespaces", {"metadata": {"name": "mine"}}, world.now)
    world.store.delete("namespaces", "", "mine", world.now)
    world.run()
    assert world.store.find("namespaces", "", "mine") is None
