"""Generations: a journal knows its directory again, and no older or younger one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from geosync.assembly.journal_of_root import open_journal, set_journal_aside
from geosync.disk.interface import RootLost
from geosync.disk.posix_disk import PosixDisk
from geosync.engine.generation import begin_generation, is_same_generation
from geosync.engine.site import Site
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from transport.hashing import VolumeHasher
from transport.memory_store import MemoryStore


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "root").mkdir()
    clock = SimulatedClock(SimulatedTime())
    disk = PosixDisk(os.fsencode(tmp_path / "root"))
    (tmp_path / "state").mkdir()
    state_dir = os.fsencode(tmp_path / "state")
    journal = open_journal(state_dir, disk, ("volume", "bari"), clock)
    yield Site(
        volume="volume",
        name="bari",
        actor=b"a" * 16,
        disk=disk,
        journal=journal,
        store=MemoryStore(),
        clock=clock,
        hasher=VolumeHasher(bytes(32)),
        state_dir=state_dir,
    )
    journal.close()
    disk.close()


def _token(site: Site) -> bytes | None:
    assert isinstance(site.disk, PosixDisk)
    return site.disk.generation()


def _change(site: Site) -> None:
    with site.journal.transaction():
        begin_generation(site)


def test_each_change_leaves_another_token_that_the_journal_knows(site: Site) -> None:
    seen = [_token(site)]
    for _ in range(3):
        _change(site)
        seen.append(_token(site))
        assert is_same_generation(site.journal, seen[-1])
    assert len(set(seen)) == len(seen)


def test_a_directory_of_the_change_before_is_another_one(site: Site) -> None:
    before = _token(site)
    _change(site)
    assert not is_same_generation(site.journal, before)


def test_a_kill_between_directory_and_journal_is_no_other_moment(site: Site) -> None:
    with suppress(KeyboardInterrupt), site.journal.transaction():
        begin_generation(site)
        raise KeyboardInterrupt
    assert is_same_generation(site.journal, _token(site))
    _change(site)
    assert is_same_generation(site.journal, _token(site))


def test_a_directory_that_takes_no_token_keeps_the_one_it_has(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _token(site)

    def full(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "symlink", full)
    _change(site)
    assert _token(site) == before
    assert is_same_generation(site.journal, before)


def test_a_directory_without_a_token_belongs_to_no_journal_that_has_one(site: Site) -> None:
    assert not is_same_generation(site.journal, None)


def test_the_next_journal_of_a_site_takes_no_other_directory_for_the_root(tmp_path: Path) -> None:
    """A machine is set back, and its volume is not mounted when it joins anew."""
    root, mounted, state = (tmp_path / name for name in ("root", "mounted", "state"))
    for directory in (root, state):
        directory.mkdir()
    _opened_once(root, state)
    set_journal_aside(os.fsencode(state), "another machine goes on with its log")
    root.rename(mounted)
    root.mkdir()
    with pytest.raises(RootLost, match="mount the right"):
        _opened_once(root, state)
    assert os.listdir(root) == []
    root.rmdir()
    mounted.rename(root)
    _opened_once(root, state)


def test_without_any_journal_any_directory_will_do(tmp_path: Path) -> None:
    """Also where an earlier one was set aside once, and the next one found its root."""
    root, state = tmp_path / "root", tmp_path / "state"
    for directory in (root, state):
        directory.mkdir()
    _opened_once(root, state)
    set_journal_aside(os.fsencode(state), "another machine goes on with its log")
    _opened_once(root, state)
    for journal in state.glob("journal*"):
        journal.unlink()
    shutil.rmtree(root)
    root.mkdir()
    _opened_once(root, state)


def _opened_once(root: Path, state: Path) -> None:
    clock = SimulatedClock(SimulatedTime())
    with closing(PosixDisk(os.fsencode(root))) as disk:
        open_journal(os.fsencode(state), disk, ("volume", "bari"), clock).close()
