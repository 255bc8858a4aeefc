"""The sweeper: what a program writes to a file that was replaced under it is not lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.disk_tree import contents_of, disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]
WATCHED_ROUNDS = 25  # of 3.5 s


@pytest.fixture
def sites() -> Iterator[Two]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"file", b"first")
        settle(bari, cnaf)
        yield bari, cnaf


class Program:
    """A program that has opened a file and does not care what becomes of its name."""

    def __init__(self, site: LocalSite, path: bytes) -> None:
        self._reading = os.open(site.path(path), os.O_RDONLY)

    def write(self, content: bytes) -> None:
        """Opens the same inode for writing, and writes."""
        writing = os.open(f"/proc/self/fd/{self._reading}", os.O_WRONLY | os.O_TRUNC)
        os.write(writing, content)
        os.close(writing)

    def close(self) -> None:
        os.close(self._reading)


def _trash(site: LocalSite) -> list[bytes]:
    return os.listdir(site.path(b".geosync/trash"))


def test_a_late_write_to_a_replaced_file_becomes_a_conflict(sites: Two) -> None:
    bari, cnaf = sites
    program = Program(cnaf, b"file")
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    assert cnaf.read(b"file") == b"second, by bari"
    program.write(b"late, by cnaf")
    run(*sites, rounds=4)
    settle(*sites)
    for site in sites:
        assert {b"second, by bari", b"late, by cnaf"} <= contents_of(site.root)
        (conflict,) = site.engine.conflicts()
        assert conflict.path == (b"file",)
    program.close()


def test_a_late_write_to_a_deleted_file_brings_it_back(sites: Two) -> None:
    """Edit beats delete: the program did not know of the deletion."""
    bari, cnaf = sites
    program = Program(cnaf, b"file")
    os.unlink(bari.path(b"file"))
    settle(*sites)
    assert disk_tree(cnaf.root) == {}
    program.write(b"late, by cnaf")
    run(*sites, rounds=4)
    settle(*sites)
    assert bari.read(b"file") == b"late, by cnaf"
    assert cnaf.read(b"file") == b"late, by cnaf"
    program.close()


def test_each_of_several_late_writes_is_captured(sites: Two) -> None:
    """The later one replaces the one before, which the program had overwritten itself."""
    bari, cnaf = sites
    program = Program(cnaf, b"file")
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    for content in (b"late", b"later", b"latest"):
        program.write(content)
        run(*sites, rounds=4)
        assert content in contents_of(bari.root)
    assert len(bari.engine.conflicts()) == 1
    program.close()


def test_a_late_write_is_captured_after_a_restart(sites: Two) -> None:
    bari, cnaf = sites
    program = Program(cnaf, b"file")
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    program.write(b"late, by cnaf")
    cnaf.reopen()
    run(*sites, rounds=4)
    assert b"late, by cnaf" in contents_of(bari.root)
    program.close()


def test_a_file_that_nobody_writes_to_leaves_the_trash(sites: Two) -> None:
    bari, cnaf = sites
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    assert len(_trash(cnaf)) == 1
    run(*sites, rounds=WATCHED_ROUNDS)
    assert _trash(cnaf) == []
    assert cnaf.journal.retired() == []
    assert cnaf.engine.conflicts() == []


def test_a_file_stays_in_the_trash_while_a_program_may_write_to_it(sites: Two) -> None:
    bari, cnaf = sites
    reading = os.open(cnaf.path(b"file"), os.O_RDONLY)
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    writing = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY)
    run(*sites, rounds=WATCHED_ROUNDS)
    assert len(_trash(cnaf)) == 1
    os.write(writing, b"late, after a long time")
    os.close(writing)
    os.close(reading)
    run(*sites, rounds=4)
    assert b"late, after a long time" in contents_of(bari.root)


def test_a_trash_that_somebody_emptied_is_forgotten(sites: Two) -> None:
    bari, cnaf = sites
    bari.write(b"file", b"second, by bari")
    settle(*sites)
    for name in _trash(cnaf):
        os.unlink(cnaf.path(b".geosync/trash/" + name))
    run(*sites, rounds=4)
    assert cnaf.journal.retired() == []
    assert cnaf.problems() == {}


def test_names_of_a_file_leave_the_trash_without_a_change_of_those_that_stay(sites: Two) -> None:
    """Else they would look as if a program had changed them, and wait until they are read again."""
    bari, cnaf = sites
    names = [b"name-%d" % number for number in range(7)]
    for name in names:
        os.link(bari.path(b"file"), bari.path(name))
    settle(*sites)
    os.utime(cnaf.path(b"file"), ns=(1, 1))  # long ago: no later write can look like this one
    settle(*sites)
    while names:
        for _ in range(min(len(names), 3)):
            os.unlink(bari.path(names.pop()))
        bari.cycle()
        assert cnaf.cycle().blocked == {}
        assert sorted(os.listdir(cnaf.root)) == sorted([b".geosync", b"file", *names])
        assert sum(cnaf.cycle().captured for _ in range(4)) == 0
        assert _trash(cnaf) == []


def test_of_several_names_in_the_trash_the_last_one_is_watched(sites: Two) -> None:
    bari, cnaf = sites
    os.link(bari.path(b"file"), bari.path(b"second"))
    os.link(bari.path(b"file"), bari.path(b"third"))
    settle(*sites)
    program = Program(cnaf, b"file")
    for name in (b"file", b"second", b"third"):
        os.unlink(bari.path(name))
    settle(*sites)
    run(*sites, rounds=2)
    assert len(_trash(cnaf)) == 1
    program.write(b"late, by cnaf")
    run(*sites, rounds=4)
    settle(*sites)
    assert contents_of(bari.root) == {b"late, by cnaf"}
    program.close()
