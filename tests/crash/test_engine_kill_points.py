"""An engine that is killed before any step that it takes finishes the work when it starts again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from typing import Any, cast

import pytest

from conflict.operations import Delete
from geosync.disk.interface import Disk
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from transport.memory_store import MemoryStore

LARGE = os.urandom(300_000)  # travels in a pack
Change = Callable[[LocalSite, LocalSite], None]


def _seed(site: LocalSite) -> None:
    for number in range(3):
        site.write(b"album/summer/%d.jpg" % number, b"picture %d" % number)
    site.write(b"notes", b"first notes")
    site.write(b"other", b"other notes")
    site.write(b"plain", b"becomes a directory")
    site.write(b"gone", b"goes away")
    site.write(b"old/file", b"in a directory that goes away")
    os.symlink(b"notes", site.path(b"link"))


def _remote_changes(away: LocalSite, here: LocalSite) -> None:
    """The other site changes everything that an engine can change on a disk."""
    away.write(b"notes", b"second notes, longer")
    away.write(b"large", LARGE)
    away.write(b"new/deep/file", b"in new directories")
    os.link(away.path(b"other"), away.path(b"new/linked"))
    os.rename(away.path(b"album/summer"), away.path(b"winter"))
    os.chmod(away.path(b"album"), 0o750)
    os.unlink(away.path(b"gone"))
    os.unlink(away.path(b"old/file"))
    os.rmdir(away.path(b"old"))
    os.unlink(away.path(b"plain"))
    away.write(b"plain/inside", b"now a directory")
    os.unlink(away.path(b"link"))
    os.symlink(b"other", away.path(b"link"))
    os.utime(away.path(b"other"), ns=(1, 1_600_000_000_123_456_789))


def _swapped_names(away: LocalSite, here: LocalSite) -> None:
    """Two names are swapped: one has to get out of the way first."""
    os.rename(away.path(b"notes"), away.path(b"between"))
    os.rename(away.path(b"other"), away.path(b"notes"))
    os.rename(away.path(b"between"), away.path(b"other"))
    os.rename(away.path(b"album"), away.path(b"between"))
    os.rename(away.path(b"old"), away.path(b"album"))
    os.rename(away.path(b"between"), away.path(b"old"))


def _replaced_directories(away: LocalSite, here: LocalSite) -> None:
    """Directories are removed and made anew; one takes the name of another that is gone."""
    shutil.rmtree(away.path(b"old"))
    os.rename(away.path(b"album"), away.path(b"old"))
    away.write(b"album/summer/0.jpg", b"another picture 0")
    away.write(b"album/winter/3.jpg", b"picture 3")
    os.rename(away.path(b"old/summer"), away.path(b"album/before"))
    away.write(b"old/summer/file", b"in a new directory of an old one")


def _both_change(away: LocalSite, here: LocalSite) -> None:
    """Both sites write the same files, and files of their own."""
    away.write(b"notes", b"notes of the other site")
    here.write(b"notes", b"notes of this site")
    here.write(b"mine", b"only here")
    here.write(b"mine too", LARGE[:100_000])
    os.rename(here.path(b"other"), here.path(b"renamed here"))
    away.write(b"other", b"edited there")
    os.unlink(here.path(b"gone"))
    away.write(b"album/summer/9.jpg", b"picture 9")


def _write_in_place(site: LocalSite) -> set[bytes]:
    """Appends to all files while the engine is dead; returns what they hold.

    Half of them keep their mtime, as with `rsync --inplace --times`.
    """
    written: set[bytes] = set()
    for path, shown in disk_tree(site.root).items():
        if shown.kind == "file" and shown.names[0] == path:
            with open(site.path(path), "ab") as file:
                file.write(b" and " + path)
            if len(written) % 2:
                os.utime(site.path(path), ns=(shown.mtime_ns, shown.mtime_ns))
            written.add(site.read(path))
    return written


def _killed_once(change: Change, points: KillPoints) -> tuple[bool, int]:
    """Kills the engine of one site once; returns whether, and how much it wrote in all."""
    store = MemoryStore()
    with local_sites(store, "away", "here") as (away, here):
        _seed(away)
        settle(away, here)
        here.close()
        change(away, here)
        written = contents_of(away.root) | contents_of(here.root)
        is_deleted = not os.path.exists(here.path(b"gone"))
        run(away, rounds=3)
        was_killed = run_to_death(here, points)
        here.open()
        settle(here, away)
        why = points.why
        assert disk_tree(here.root) == disk_tree(away.root), why
        shown = contents_of(here.root)
        replaced = {b"first notes", b"other notes", b"goes away"} | {
            b"in a directory that goes away",
            b"becomes a directory",
        }
        assert written - shown <= replaced, why
        assert not here.problems(), why
        operations = operations_of(here, store)
        deletes = sum(isinstance(operation, Delete) for operation in operations)
        assert deletes == is_deleted, why
        return was_killed, len(operations)


@pytest.mark.parametrize(
    "change", [_remote_changes, _swapped_names, _replaced_directories, _both_change]
)
def test_a_kill_before_any_step_loses_nothing_and_writes_nothing_of_its_own(
    change: Change,
) -> None:
    """The trees are equal afterwards, and the killed site has written just what it would have.

    What a crash interrupted must never look like a change that was made on this site.
    """
    _, expected = _killed_once(change, KillPoints())
    failed = {}

    def is_killed(points: KillPoints) -> bool:
        was_killed, written = _killed_once(change, points)
        if written != expected:
            failed[points.kill_before] = written
        return was_killed

    assert len(kill_before_each_step(is_killed)) > 30
    assert not failed, (expected, failed)


def test_what_programs_write_between_a_kill_and_the_next_start_is_kept() -> None:
    """Of a file that an interrupted change may have brought, nobody knows what it holds."""
    assert len(kill_before_each_step(_written_to_while_it_is_dead)) > 30


def _written_to_while_it_is_dead(points: KillPoints) -> bool:
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        _seed(away)
        settle(away, here)
        here.close()
        _remote_changes(away, here)
        run(away, rounds=3)
        was_killed = run_to_death(here, points)
        written = _write_in_place(here)
        here.open()
        settle(here, away)
        assert disk_tree(here.root) == disk_tree(away.root), points.why
        assert written <= contents_of(here.root), points.why
        assert written <= contents_of(away.root), points.why
        return was_killed


class _FailsOnce:
    """A disk on which one call of one method ends in an I/O error, after it was carried out."""

    def __init__(self, disk: Disk, method: str) -> None:
        self._disk = disk
        self._method: str | None = method

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._disk, name)
        if name != self._method:
            return value
        self._method = None

        def failing(*arguments: Any) -> None:
            value(*arguments)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return failing


@pytest.mark.parametrize("change", [_remote_changes, _swapped_names])
@pytest.mark.parametrize("method", ["sync_changes", "sync_stage"])
def test_an_engine_that_goes_on_after_an_io_error_writes_nothing_of_its_own(
    change: Change, method: str
) -> None:
    """What was done before the error must not look like a change that a program made."""
    store = MemoryStore()
    with local_sites(store, "away", "here") as (away, here):
        _seed(away)
        settle(away, here)
        here.close()
        change(away, here)
        run(away, rounds=3)
        here.wrap_disk = lambda disk: cast("Disk", _FailsOnce(disk, method))
        here.open()
        written = len(operations_of(here, store))
        cycles = run(here, rounds=1)
        assert "Input/output error" in str(cycles[0].disk_error)
        settle(here, away)
        assert disk_tree(here.root) == disk_tree(away.root)
        assert len(operations_of(here, store)) == written
        assert not here.problems()
