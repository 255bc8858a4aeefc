"""Programs save, move and remove files while geosync works: one history, nothing lost."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator

import pytest

from conflict.operations import Delete, Operation, Place, Put
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from tests.support.recording_store import let_pass
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Two]:
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        bari.write(b"file", b"first version")
        settle(bari, cnaf)
        yield bari, cnaf


def written_since(site: LocalSite, store: MemoryStore, before: int) -> list[Operation]:
    """Returns what a site has published after its first operations."""
    return operations_of(site, store)[before:]


# How programs save


def write_and_rename(site: LocalSite, content: bytes) -> None:
    site.write(b".file.swp", content)
    os.rename(site.path(b".file.swp"), site.path(b"file"))


def delete_and_create(site: LocalSite, content: bytes) -> None:
    os.unlink(site.path(b"file"))
    site.write(b"file", content)


def truncate_and_write(site: LocalSite, content: bytes) -> None:
    os.truncate(site.path(b"file"), 0)
    site.write(b"file", content)


def backup_and_rename(site: LocalSite, content: bytes) -> None:
    os.rename(site.path(b"file"), site.path(b"file~"))
    site.write(b"file", content)
    os.unlink(site.path(b"file~"))


def backup_by_hard_link(site: LocalSite, content: bytes) -> None:
    os.link(site.path(b"file"), site.path(b"file~"))
    write_and_rename(site, content)
    os.unlink(site.path(b"file~"))


@pytest.mark.parametrize(
    "save",
    [
        write_and_rename,
        delete_and_create,
        truncate_and_write,
        backup_and_rename,
        backup_by_hard_link,
    ],
)
def test_however_a_program_saves_it_is_one_new_version_and_no_deletion(
    sites: Two, store: MemoryStore, save: Callable[[LocalSite, bytes], None]
) -> None:
    bari, cnaf = sites
    before = len(operations_of(bari, store))
    save(bari, b"second version")
    settle(*sites)
    written = written_since(bari, store, before)
    assert [type(o) for o in written if isinstance(o, Put | Delete)] == [Put]
    assert cnaf.read(b"file") == b"second version"
    assert not cnaf.engine.conflicts()


@pytest.mark.parametrize("pause_s", [0, 0.05, 0.15, 0.2, 0.25, 0.5, 1, 3, 5, 61])
def test_a_file_that_is_removed_and_replaced_after_any_pause_is_there_in_the_end(
    sites: Two, pause_s: float
) -> None:
    """The pauses lie around every delay of the engine."""
    bari, _ = sites
    bari.write(b"bar", b"from bar")
    settle(*sites)
    os.unlink(bari.path(b"file"))
    for _ in range(2):
        for site in sites:
            site.engine.cycle({(): True})
        bari.time.advance(pause_s / 2)
    os.rename(bari.path(b"bar"), bari.path(b"file"))
    settle(*sites)
    for site in sites:
        assert list(disk_tree(site.root)) == [b"file"]
        assert site.read(b"file") == b"from bar"
        assert not site.engine.conflicts()


def test_a_file_made_moved_and_renamed_before_anybody_looked_has_its_last_name(
    sites: Two, store: MemoryStore
) -> None:
    bari, cnaf = sites
    before = len(operations_of(bari, store))
    bari.write(b"new", b"content")
    os.mkdir(bari.path(b"directory"))
    os.rename(bari.path(b"new"), bari.path(b"directory/new"))
    os.rename(bari.path(b"directory/new"), bari.path(b"directory/final"))
    settle(*sites)
    assert set(disk_tree(cnaf.root)) == {b"file", b"directory", b"directory/final"}
    assert cnaf.read(b"directory/final") == b"content"
    written = written_since(bari, store, before)
    assert not any(isinstance(operation, Delete) for operation in written)


def test_an_edit_that_keeps_size_and_time_is_no_prey_of_a_change_from_elsewhere(sites: Two) -> None:
    """As `touch -r` or `cp -p` leave it: only the change time tells."""
    bari, cnaf = sites
    bari.write(b"file", b"by bari")
    settle(bari)
    seen = os.stat(cnaf.path(b"file"))
    cnaf.write(b"file", b"FIRST VERSION")
    os.utime(cnaf.path(b"file"), ns=(seen.st_atime_ns, seen.st_mtime_ns))
    cnaf.engine.cycle({})  # nobody told the engine of the edit
    settle(*sites)
    for site in sites:
        assert {b"by bari", b"FIRST VERSION"} <= contents_of(site.root)
        (conflict,) = site.engine.conflicts()
        assert conflict.path == (b"file",)


def test_a_version_that_goes_back_to_an_older_content_and_time_is_brought(sites: Two) -> None:
    bari, cnaf = sites
    first = os.stat(bari.path(b"file"))
    bari.write(b"file", b"second version")
    settle(*sites)
    bari.write(b"file", b"first version")
    os.utime(bari.path(b"file"), ns=(first.st_atime_ns, first.st_mtime_ns))
    settle(*sites)
    assert cnaf.read(b"file") == b"first version"
    assert os.stat(cnaf.path(b"file")).st_mtime_ns == first.st_mtime_ns
    assert not cnaf.engine.conflicts()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Report.txt", b"report.txt"),
        (
            unicodedata.normalize("NFC", "é").encode(),
            unicodedata.normalize("NFD", "é").encode(),
        ),
    ],
)
def test_a_rename_to_the_same_letters_written_otherwise_is_a_rename(
    sites: Two, store: MemoryStore, old: bytes, new: bytes
) -> None:
    bari, cnaf = sites
    bari.write(old, b"content")
    settle(*sites)
    before = len(operations_of(bari, store))
    os.rename(bari.path(old), bari.path(new))
    settle(*sites)
    assert set(disk_tree(cnaf.root)) == {b"file", new}
    assert [type(operation) for operation in written_since(bari, store, before)] == [Place]


# Deletions and transfers that cross


def test_a_file_that_is_deleted_while_its_content_is_on_the_way_never_appears(
    sites: Two, store: MemoryStore
) -> None:
    bari, cnaf = sites

    def no_packs(method: str, name: str) -> None:
        if name.startswith("packs/"):
            raise StoreUnavailable(f"{method} {name}: comes later")

    os.mkdir(bari.path(b"directory"))
    bari.write(b"directory/large", os.urandom(100_000))
    settle(bari)
    cnaf.link.before = no_packs
    run(cnaf, rounds=3)
    assert (b"directory", b"large") in cnaf.engine.waiting()
    os.unlink(bari.path(b"directory/large"))
    os.rmdir(bari.path(b"directory"))
    settle(bari)
    cnaf.link.before = let_pass
    settle(*sites)
    assert list(disk_tree(cnaf.root)) == [b"file"]
    assert not os.listdir(cnaf.path(b".geosync/stage"))
    assert not cnaf.engine.conflicts()


# What costs little


def test_new_times_and_modes_of_all_files_send_no_content(sites: Two, store: MemoryStore) -> None:
    bari, cnaf = sites
    for number in range(30):
        bari.write(b"directory/%d" % number, b"content %d" % number)
    settle(*sites)
    before = len(operations_of(bari, store))
    for number in range(30):
        os.utime(bari.path(b"directory/%d" % number), ns=(0, 10**18 + number))
        os.chmod(bari.path(b"directory/%d" % number), 0o640)
    settle(*sites)
    for number in range(30):
        there = os.stat(cnaf.path(b"directory/%d" % number))
        assert (there.st_mtime_ns, there.st_mode & 0o7777) == (10**18 + number, 0o640)
    written = written_since(bari, store, before)
    assert not any(isinstance(operation, Put | Delete) for operation in written)
