"""A daemon that is an ordinary user keeps what it may set, and spoils nothing of the rest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from geosync.engine.cycle import Cycle
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.local_sites import LocalSite, operations_of, run, settle
from tests.support.posix_look import look_at
from transport.memory_store import MemoryStore

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else and back"),
]
NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Takes all rights of root from this process for a while."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


class OrdinarySite(LocalSite):
    """A site whose daemon is nobody."""

    def open(self) -> LocalSite:
        with as_nobody():
            return super().open()

    def cycle(self) -> Cycle:
        with as_nobody():
            return super().cycle()


@pytest.fixture
def base() -> Iterator[bytes]:
    """A directory that everybody can reach, unlike those of pytest."""
    path = os.fsencode(tempfile.mkdtemp(prefix="geosync-test-"))
    os.chown(path, NOBODY, NOBODY)
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def sites(base: bytes) -> Iterator[tuple[LocalSite, LocalSite, MemoryStore]]:
    store, time = MemoryStore(), SimulatedTime()
    everything = LocalSite(base, "everything", store, time)
    ordinary = OrdinarySite(base, "ordinary", store, time)
    everything.open()
    ordinary.open()
    yield everything, ordinary, store
    everything.close()
    ordinary.close()


def settle_quietly(*sites: LocalSite, store: MemoryStore) -> None:
    """Brings the sites to rest; fails when one of them says anything about it afterwards."""
    settle(*sites)
    before = [operations_of(site, store) for site in sites]
    assert not any(cycle.did_work for cycle in run(*sites, rounds=4))
    assert [operations_of(site, store) for site in sites] == before


def test_owners_and_setuid_stay_where_they_can_be_and_edits_go_both_ways(
    sites: tuple[LocalSite, LocalSite, MemoryStore],
) -> None:
    everything, ordinary, store = sites
    everything.write(b"d/file", b"1")
    os.chown(everything.path(b"d/file"), 1, 2)
    os.chmod(everything.path(b"d/file"), 0o6755)
    os.setxattr(everything.path(b"d/file"), b"user.key", b"1")
    os.utime(everything.path(b"d/file"), ns=(0, 5))
    os.chmod(everything.path(b"d"), 0o2755)
    settle_quietly(everything, ordinary, store=store)
    shown = look_at(ordinary.root)[b"d/file"]
    assert (shown.uid, shown.gid, shown.mode, shown.mtime_ns) == (NOBODY, NOBODY, 0o755, 5)
    assert shown.extended == (("user.key", b"1"),)
    told = {"owner daemon", "group bin", "owner root", "group root", "mode"}
    assert set(ordinary.problems()) == {f"attributes: {part}" for part in told}
    assert "may not set it" in ordinary.problems()["attributes: owner daemon"]
    with as_nobody():
        ordinary.write(b"d/file", b"edited")
        os.chmod(ordinary.path(b"d/file"), 0o750)
    settle_quietly(everything, ordinary, store=store)
    kept = look_at(everything.root)[b"d/file"]
    assert (kept.uid, kept.gid, kept.size_bytes, kept.mode) == (1, 2, 6, 0o750)
    assert everything.problems() == {}


def test_directories_that_their_owner_may_not_write(
    sites: tuple[LocalSite, LocalSite, MemoryStore],
) -> None:
    """As archives unpack them, and tools that protect their caches."""
    everything, ordinary, store = sites
    for name in (b"d/e/file", b"d/e/removed", b"d/e/sub/file", b"f/moved"):
        everything.write(name, b"1")
    for name in (b"d/e/sub", b"d/e", b"d", b"f"):
        os.chmod(everything.path(name), 0o555)
    settle_quietly(everything, ordinary, store=store)
    assert shape(ordinary) == shape(everything)
    everything.write(b"d/e/file", b"edited")
    everything.write(b"d/e/new", b"1")
    os.unlink(everything.path(b"d/e/removed"))
    os.rename(everything.path(b"f/moved"), everything.path(b"d/moved"))
    os.rename(everything.path(b"d/e/sub"), everything.path(b"f/sub"))
    shutil.rmtree(everything.path(b"f/sub"))
    settle_quietly(everything, ordinary, store=store)
    assert shape(ordinary) == shape(everything)
    os.rename(everything.path(b"d/e"), everything.path(b"f/e"))
    settle_quietly(everything, ordinary, store=store)
    assert shape(ordinary) == shape(everything)
    assert shape(ordinary)[b"f/e"] == (0o555, b"")


def shape(site: LocalSite) -> dict[bytes, tuple[int, bytes]]:
    """Returns paths with modes and contents."""
    return {path: (found.mode, found.content) for path, found in look_at(site.root).items()}


def test_attributes_of_a_file_that_its_owner_may_not_write(
    sites: tuple[LocalSite, LocalSite, MemoryStore],
) -> None:
    everything, ordinary, store = sites
    everything.write(b"file", b"1")
    os.chmod(everything.path(b"file"), 0o444)
    settle_quietly(everything, ordinary, store=store)
    os.setxattr(everything.path(b"file"), b"user.key", b"later")
    settle_quietly(everything, ordinary, store=store)
    shown = look_at(ordinary.root)[b"file"]
    assert shown.mode == 0o444
    assert shown.extended == (("user.key", b"later"),)
