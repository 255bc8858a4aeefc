"""The applier: what could not be done is never recorded as done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from conflict.brakes import NO_BRAKES
from geosync.disk.interface import Disk, Failed
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import KillPoints, run_to_death
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from tests.support.recording_store import let_pass
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore


class RefusingDisk:
    """A disk that refuses one kind of change, a number of times."""

    def __init__(self, disk: Disk, method: str, times: int) -> None:
        self._disk = disk
        self._method = method
        self._left = times

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._disk, name)
        if name != self._method:
            return value

        def refusing(*arguments: Any) -> Any:
            if self._left == 0:
                return value(*arguments)
            self._left -= 1
            return Failed("refused by the test")

        return refusing


def test_a_hard_link_waits_for_the_content_of_the_file_that_it_joins() -> None:
    """Two names of one file are edited elsewhere; here the first of them can't be replaced yet."""
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.write(b"first", b"before")
        os.link(away.path(b"first"), away.path(b"second"))
        settle(away, here)
        here.close()
        here.wrap_disk = lambda disk: cast("Disk", RefusingDisk(disk, "replace", 2))
        here.open()
        away.write(b"first", b"after, and longer")
        run(away, here, rounds=2)
        os.utime(here.path(b"second"))  # makes this site look at it again
        settle(here, away)
        assert disk_tree(here.root) == disk_tree(away.root)
        assert here.read(b"second") == b"after, and longer"
        assert here.engine.conflicts() == []


def test_a_hard_link_that_could_not_be_made_follows_its_directory() -> None:
    """Its directory is renamed elsewhere before the next try."""
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.write(b"there/other", b"")
        settle(away, here)
        here.close()
        here.wrap_disk = lambda disk: cast("Disk", RefusingDisk(disk, "place_new", 1))
        here.open()
        away.write(b"first", b"one file")
        os.link(away.path(b"first"), away.path(b"there/second"))
        run(away, here, rounds=1)
        assert not os.path.exists(here.path(b"there/second"))
        os.rename(away.path(b"there"), away.path(b"elsewhere"))
        settle(away, here)
        assert disk_tree(here.root) == disk_tree(away.root)
        assert os.path.samefile(here.path(b"first"), here.path(b"elsewhere/second"))


def _hold_back_contents(method: str, name: str) -> None:
    if method == "get_range":
        raise StoreUnavailable("no answer")


def test_a_kill_while_a_content_is_missing_takes_no_name_for_having_it() -> None:
    """The names of one file wait for its new content, and something else is done meanwhile."""
    content = os.urandom(100_000)
    kill_before = 0
    was_killed = True
    while was_killed:
        store = MemoryStore()
        with local_sites(store, "away", "here") as (away, here):
            away.write(b"first", b"before")
            os.link(away.path(b"first"), away.path(b"second"))
            settle(away, here)
            here.close()
            away.write(b"first", content)
            os.chmod(away.path(b"second"), 0o600)
            away.write(b"third", b"needs no pack")
            run(away, rounds=2)
            here.link.before = _hold_back_contents
            was_killed = run_to_death(here, KillPoints(kill_before))
            here.link.before = let_pass
            here.open()
            settle(here, away)
            assert disk_tree(here.root) == disk_tree(away.root), kill_before
            assert here.read(b"second") == content, kill_before
            assert len(operations_of(here, store)) == 1, kill_before  # which introduces it
        kill_before += 1
    assert kill_before > 5


@contextmanager
def _parked_at_home() -> Iterator[tuple[LocalSite, LocalSite, bytes]]:
    """Two names are swapped elsewhere; here one of the files is parked and can't go on yet."""
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.write(b"first", b"one")
        away.write(b"second", b"two")
        settle(away, here)
        here.close()
        here.wrap_disk = lambda disk: cast("Disk", RefusingDisk(disk, "move", 2))
        here.open()
        for source, target in ((b"first", b"third"), (b"second", b"first"), (b"third", b"second")):
            os.rename(away.path(source), away.path(target))
            run(away, rounds=2)  # each is a move, while a swap would be two new contents
        run(here, rounds=1)
        directory = here.path(b".geosync/parked")
        (name,) = os.listdir(directory)
        yield away, here, os.path.join(directory, name)


def test_what_a_program_writes_to_a_parked_file_is_captured_where_it_belongs() -> None:
    with _parked_at_home() as (away, here, parked):
        with open(parked, "ab") as file:
            file.write(b", and more")
        settle(here, away)
        assert disk_tree(here.root) == disk_tree(away.root)
        assert sorted((here.read(b"first"), here.read(b"second"))) == [b"one, and more", b"two"]
        assert here.engine.conflicts() == []


def test_a_parked_file_that_somebody_removed_is_brought_again_and_deleted_nowhere() -> None:
    with _parked_at_home() as (away, here, parked):
        os.unlink(parked)
        settle(here, away)
        assert disk_tree(here.root) == disk_tree(away.root)
        assert (here.read(b"first"), here.read(b"second")) == (b"two", b"one")


def test_all_names_of_a_file_go_at_once() -> None:
    """Each name that goes changes the times of the file: that is no change by a program."""
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.engine.site.brake_limits = here.engine.site.brake_limits = NO_BRAKES
        away.write(b"d/first", b"content")
        for number in range(40):
            os.link(away.path(b"d/first"), away.path(b"d/%d" % number))
        settle(away, here)
        shutil.rmtree(away.path(b"d"))
        run(away, rounds=2)
        applied = [here.cycle().applied for _ in range(3)]
        assert disk_tree(here.root) == {}
        assert max(applied) == 42  # 41 names and their directory
