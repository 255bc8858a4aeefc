"""Machines that are older than their log, or there twice: nobody is harmed, and they join anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from geosync.assembly.journal_of_root import set_journal_aside
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def sites() -> Iterator[Two]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"file", b"first")
        settle(bari, cnaf)
        yield bari, cnaf


def take_snapshot(site: LocalSite) -> None:
    """Copies the whole machine, as far as geosync knows it, while it stands still."""
    site.close()
    for directory in (site.root, site.state_dir):
        shutil.copytree(directory, directory + b".snapshot", symlinks=True)
    site.open()


def go_back(site: LocalSite) -> None:
    """Puts the copy in the machine's place."""
    site.close()
    for directory in (site.root, site.state_dir):
        shutil.rmtree(directory)
        os.rename(directory + b".snapshot", directory)
    site.open()


def join_anew(site: LocalSite) -> None:
    """Does what the daemon does when its journal is superseded."""
    reason = site.engine.superseded
    assert reason is not None
    site.close()
    set_journal_aside(site.state_dir, reason)
    site.incarnation += 1
    site.open()


def test_a_machine_that_was_set_back_with_its_journal_harms_nobody_and_loses_nothing(
    sites: Two,
) -> None:
    bari, cnaf = sites
    take_snapshot(bari)
    bari.write(b"file", b"second, after the snapshot")
    bari.write(b"young", b"made after the snapshot")
    settle(*sites)
    cnaf.write(b"by cnaf", b"which had seen all that")
    settle(*sites)
    before = disk_tree(cnaf.root)
    go_back(bari)
    bari.write(b"new", b"written by the machine that was set back")
    run(*sites, rounds=4)
    assert disk_tree(cnaf.root) == before
    join_anew(bari)
    settle(*sites)
    assert disk_tree(bari.root) == disk_tree(cnaf.root)
    assert cnaf.read(b"file") == b"second, after the snapshot"
    assert bari.read(b"young") == b"made after the snapshot"
    assert bari.read(b"by cnaf") == b"which had seen all that"
    assert cnaf.read(b"new") == b"written by the machine that was set back"
    assert bari.engine.conflicts() == []


def test_of_a_machine_and_its_clone_one_joins_anew_and_nothing_is_lost(sites: Two) -> None:
    bari, cnaf = sites
    take_snapshot(bari)
    clone = LocalSite(bari.base + b"/elsewhere", "bari", bari.store, bari.time)
    os.mkdir(clone.base)
    for directory, there in ((bari.root, clone.root), (bari.state_dir, clone.state_dir)):
        os.rename(directory + b".snapshot", there)
    clone.open()
    bari.write(b"by the machine", b"1")
    clone.write(b"by the clone", b"2")
    run(bari, clone, cnaf)
    superseded = [site for site in (bari, clone) if site.engine.superseded is not None]
    assert superseded == [clone]
    assert clone.read(b"by the clone") == b"2"
    join_anew(clone)
    settle(bari, clone, cnaf)
    assert set(disk_tree(cnaf.root)) == {b"file", b"by the machine", b"by the clone"}
    assert disk_tree(bari.root) == disk_tree(clone.root) == disk_tree(cnaf.root)
    clone.close()
