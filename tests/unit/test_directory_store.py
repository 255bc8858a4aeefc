"""The directory store: durable, safe between processes, and never fooled by a missing mount."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transport.directory_store import DirectoryStore
from transport.errors import (
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    store = DirectoryStore(os.fsencode(tmp_path / "store"))
    store.prepare()
    return store


def everything(store: DirectoryStore) -> list[object]:
    return [
        lambda: store.put_once("log/a/b", b"body"),
        lambda: store.put_once("log/a", b"body"),
        lambda: store.get("log/a", size_bytes_max=10),
        lambda: store.get_range("log/a", 0, 1),
        lambda: list(store.list_names("log/")),
        lambda: store.delete("log/a"),
    ]


@pytest.mark.parametrize("operation", range(6))
@pytest.mark.parametrize("exists", [True, False], ids=["unmounted", "missing"])
def test_a_store_that_is_not_there_is_refused_and_not_created(
    tmp_path: Path, operation: int, exists: bool
) -> None:
    root = tmp_path / "store"
    if exists:
        root.mkdir()
    with pytest.raises(StoreRefused, match="geosync init"):
        everything(DirectoryStore(os.fsencode(root)))[operation]()  # type: ignore[operator]
    assert not exists or list(root.iterdir()) == []
    assert exists or not root.exists()


def test_an_object_is_a_plain_file_of_its_name(store: DirectoryStore, tmp_path: Path) -> None:
    store.put_once("log/a/b/1", b"body")
    assert (tmp_path / "store/log/a/b/1").read_bytes() == b"body"
    assert list((tmp_path / "store/incoming").iterdir()) == []


def test_a_full_disk_is_unavailable_and_leaves_nothing(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.put_once("log/a", b"body")
    monkeypatch.undo()
    assert list((tmp_path / "store/incoming").iterdir()) == []
    with pytest.raises(ObjectNotVisible):
        store.get("log/a", size_bytes_max=10)


def test_a_name_that_is_a_directory_of_others_is_refused(store: DirectoryStore) -> None:
    store.put_once("log/a/b", b"body")
    store.put_once("log/c", b"body")
    with pytest.raises(StoreUnavailable, match="as a directory"):
        store.put_once("log/a", b"body")
    with pytest.raises(StoreRefused):
        store.put_once("log/c/d", b"body")
    with pytest.raises(ObjectNotVisible):
        store.get("log/a", size_bytes_max=10)


def test_foreign_files_are_left_out_of_a_listing(store: DirectoryStore, tmp_path: Path) -> None:
    area = tmp_path / "store/log"
    (area / "lost+found").mkdir()
    (area / "lost+found/a").touch()
    (area / "a b").touch()
    (area / os.fsdecode(b"\xff")).touch()
    store.put_once("log/a", b"body")
    assert list(store.list_names("log/")) == ["log/a"]


def test_a_directory_that_somebody_removed_is_made_again(
    store: DirectoryStore, tmp_path: Path
) -> None:
    store.put_once("log/a/b/1", b"body")
    store.delete("log/a/b/1")
    (tmp_path / "store/log/a/b").rmdir()
    (tmp_path / "store/log/a").rmdir()
    store.put_once("log/a/b/2", b"body")
    assert store.get("log/a/b/2", size_bytes_max=10) == b"body"


def test_each_object_and_each_new_directory_is_synced_before_success(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    root = str(tmp_path / "store")
    store.put_once("log/a/b/1", b"body")
    assert [path for path in synced if "incoming" not in path] == [
        f"{root}/log",
        f"{root}/log/a",
        f"{root}/log/a/b",
    ]
    assert len(synced) == 4
    synced.clear()
    DirectoryStore(os.fsencode(root)).put_once("log/a/b/1", b"body")
    assert synced[-1] == f"{root}/log/a/b"


WRITER = """
import os, sys
from transport.directory_store import DirectoryStore
from transport.errors import ObjectCollision
store = DirectoryStore(os.fsencode(sys.argv[1]))
sys.stdin.readline()
for number in range(200):
    try:
        store.put_once(f"log/{number // 20}/{number}", sys.argv[2].encode() * 1000)
        print(number)
    except ObjectCollision:
        pass
"""


def test_of_several_processes_exactly_one_wins_each_name(
    store: DirectoryStore, tmp_path: Path
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "store"), letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = {
        letter: [int(line) for line in writer.communicate(timeout=60)[0].split()]
        for letter, writer in zip("ab", writers, strict=True)
    }
    assert sorted(won["a"] + won["b"]) == list(range(200))
    for letter, numbers in won.items():
        for number in numbers:
            body = store.get(f"log/{number // 20}/{number}", size_bytes_max=1000)
            assert body == letter.encode() * 1000
