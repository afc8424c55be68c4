"""Where a capture is written: what is there is not touched, nobody else reads it, and it is whole at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobset_restart.capture.files import Archive, CannotWrite, Folder, Place, Writer, check, opened
from jobset_restart.errors import UsageError

FILES = {
    "a.txt": b"a" * 10,
    "pods/p/worker.log": os.urandom(70_000),
    "pods/p/empty.json": b"",
    f"pods/{'n' * 120}/x": b"x",
}


def read(path: Path) -> dict[str, bytes]:
    """What is in a capture, by anybody's tar."""
    if path.is_dir():
        return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with tarfile.open(path, "r:gz") as archive:
        members = [each for each in archive if each.isfile()]
        return {each.name.partition("/")[2]: archive.extractfile(each).read() for each in members}  # type: ignore[union-attr]


@pytest.fixture(params=["folder", "archive.tar.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@contextlib.contextmanager
def full_at(size: int) -> Iterator[None]:
    """As on a disk that is full: no file grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_added_is_there_after_every_file(path: Path) -> None:
    place = opened(str(path), "--to")
    assert read(path) == {}
    done: dict[str, bytes] = {}
    for name, data in FILES.items():
        place.add(name, data)
        done[name] = data
        assert read(path) == done
    assert place.take_back() == [*FILES][-1]
    del done[[*FILES][-1]]
    assert read(path) == done
    place.close()
    assert read(path) == done


def test_nobody_else_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        place = opened(str(path), "--to")
        place.add("pods/p/worker.log", b"x")
    finally:
        os.umask(before)
    for each in (path, *path.rglob("*")):
        mode = stat.S_IMODE(each.stat().st_mode)
        assert mode == (0o700 if each.is_dir() else 0o600), each


def test_an_archive_unpacks_into_a_folder_of_its_name(tmp_path: Path) -> None:
    for name in ("run 7.tar.gz", "run.tgz"):
        place = Archive(str(tmp_path / name))
        place.add("pods/p/x", b"x")
        with tarfile.open(tmp_path / name) as archive:
            (member,) = archive.getnames()
        assert member.startswith("run")
        assert member.endswith("/pods/p/x")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".x", "a\0"])
def test_no_name_leads_out_of_it(path: Path, name: str) -> None:
    place = opened(str(path), "--to")
    with pytest.raises(AssertionError):
        place.add(name, b"x")
    assert read(path) == {}


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = Folder(str(tmp_path / "folder"))
    (tmp_path / "folder" / "pods").symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        place.add("pods/x", b"x")
    (tmp_path / "folder" / "a").symlink_to(elsewhere / "a")
    with pytest.raises(FileExistsError):
        place.add("a", b"x")
    assert not list(elsewhere.iterdir())


# ---------------------------------------------------------------- before anything is done


def test_what_is_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a.tar.gz").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.tar.gz").symlink_to(tmp_path / "nowhere.tar.gz")
    wrong = ["file", "a.tar.gz", "full", "link", "link.tar.gz", "no/such/folder", "no/x.tar.gz", "a.zip", "a.tar", "\0"]
    for name in wrong:
        for do in (check, opened):
            with pytest.raises(UsageError, match="nothing was changed"):
                do(str(tmp_path / name), "--to")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar.gz", "file", "full", "link", "link.tar.gz"]
    assert (tmp_path / "a.tar.gz").read_text() == "mine"


def test_a_check_changes_nothing(path: Path) -> None:
    check(str(path), "--to")
    assert not path.exists()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    place = opened(str(tmp_path), "--to")
    place.add("x", b"x")
    assert read(tmp_path) == {"x": b"x"}


def test_where_there_is_no_room_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs(tmp_path)
    monkeypatch.setattr("jobset_restart.capture.files.LEAST_FREE", free.f_bavail * free.f_frsize * 2)
    with pytest.raises(UsageError, match="are free there"):
        check(str(tmp_path / "x"), "--to")


# ---------------------------------------------------------------- a disk that fills, or does not answer


def close(writer: Writer, last: bytes = b"the index") -> bool:
    return asyncio.run(writer.close("index.json", lambda: last))


def test_a_disk_that_fills_leaves_what_was_whole(path: Path) -> None:
    writer = Writer(opened(str(path), "--to"))
    asyncio.run(writer.write("first", os.urandom(10_000)))
    with full_at(30_000), pytest.raises(CannotWrite, match="written any more"):
        asyncio.run(writer.write("large", os.urandom(60_000)))
    with pytest.raises(CannotWrite):
        asyncio.run(writer.write("small", b"x"))
    assert sorted(read(path)) == ["first"]
    assert close(writer)
    assert sorted(read(path)) == ["first", "index.json"]
    assert (writer.bytes, writer.failed) == (10_000, "it cannot be written any more: File too large")


def test_the_index_takes_the_place_of_what_came_last(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    writer = Writer(opened(str(path), "--to"))
    for name in "abc":
        asyncio.run(writer.write(name, os.urandom(10_000)))
    with full_at(32_000):
        assert asyncio.run(writer.close("index.json", lambda: os.urandom(5_000)))
    assert sorted(read(path)) == sorted([*writer.written]) == ["a", "b", "index.json"]
    assert writer.failed


def test_where_not_even_the_index_fits_it_is_said(path: Path) -> None:
    writer = Writer(opened(str(path), "--to"))
    with full_at(100):
        assert not asyncio.run(writer.close("index.json", lambda: os.urandom(5_000)))
    assert writer.failed
    assert read(path) == {}


def test_there_is_a_most(path: Path) -> None:
    writer = Writer(opened(str(path), "--to"), most=2 << 20)
    asyncio.run(writer.write("a", bytes(1 << 20)))
    asyncio.run(writer.write("b", bytes(1 << 20)))
    with pytest.raises(CannotWrite, match="reached its most, 2 MiB"):
        asyncio.run(writer.write("c", b"x"))
    assert close(writer)
    assert sorted(read(path)) == ["a", "b", "index.json"]


class Stuck:
    """A disk that does not answer until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def add(self, name: str, data: bytes) -> None:
        self.let_go.wait(60)

    def take_back(self) -> str:
        return ""

    def close(self) -> None:
        pass


def test_a_disk_that_does_not_answer_holds_nobody_up() -> None:
    place: Place = Stuck()
    writer = Writer(place)

    async def run() -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await writer.write("a", b"x")
        return await writer.close("index.json", lambda: b"", within=0.05)

    assert not asyncio.run(run())
    assert "did not answer" in writer.failed
    place.let_go.set()  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.sampled_from(["add", "back"]), st.binary(max_size=3000)), max_size=12))
def test_any_order_of_adding_and_taking_back(steps: list[tuple[str, bytes]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar.gz"
        place = Archive(str(path))
        there: dict[str, bytes] = {}
        for number, (what, data) in enumerate(steps):
            if what == "add":
                place.add(f"f{number}", data)
                there[f"f{number}"] = data
            else:
                assert place.take_back() == (there.popitem()[0] if there else "")
            assert read(path) == there
        place.close()
