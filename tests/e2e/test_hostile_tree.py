"""A program that wants geosync to write elsewhere, or to take its work for geosync's, fails."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conflict.operations import MODE, ROOT
from geosync.disk.interface import ROOT_PATH, Expected, Failed, RelativePath, RootLost
from geosync.disk.posix_disk import PosixDisk
from tests.support.disk_tree import Shown, disk_tree
from tests.support.local_sites import ROUND_S, LocalSite, local_sites, run, settle
from tests.support.watching import exchange
from transport.memory_store import MemoryStore

is_root = os.geteuid() == 0
NOBODY = 65534
FILES = 40


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as found:
        settle(*found)
        yield found


@contextmanager
def swapping(one: bytes, other: bytes) -> Iterator[list[int]]:
    """Exchanges two names over and over until the block ends, with the first one in its place."""
    stop = threading.Event()
    swaps = [0]

    def run_swaps() -> None:
        while not stop.is_set():
            exchange(one, other)
            exchange(one, other)
            swaps[0] += 1

    thread = threading.Thread(target=run_swaps)
    thread.start()
    try:
        yield swaps
    finally:
        stop.set()
        thread.join()


def described(directory: bytes) -> dict[bytes, tuple[Shown, int]]:
    """What is in a directory, in full, with the inodes."""
    tree = disk_tree(directory)
    return {
        name: (shown, os.lstat(os.path.join(directory, name)).st_ino)
        for name, shown in tree.items()
    }


def test_a_directory_that_is_swapped_for_a_symlink_while_changes_are_applied_leads_nowhere(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    names = [b"%d" % number for number in range(FILES)]
    for name in names:
        bari.write(b"inside/deep/" + name, b"first")
    settle(bari, cnaf)
    outside = os.path.join(bari.base, b"outside")
    os.makedirs(os.path.join(outside, b"deep"))
    for name in names:
        with open(os.path.join(outside, b"deep", name), "wb") as file:
            file.write(b"first")  # the same size and content: nothing but the path tells them apart
        os.utime(os.path.join(outside, b"deep", name), ns=(1, 1))
    before = described(outside)
    os.symlink(outside, cnaf.path(b"trap"))
    applied = 0
    with swapping(cnaf.path(b"inside"), cnaf.path(b"trap")) as swaps:
        for turn in range(4):
            for number, name in enumerate(names):
                path = bari.path(b"inside/deep/" + name)
                if os.path.islink(bari.path(b"inside")):
                    continue  # the swap has travelled: a program would now write outside itself
                if number % 4 == 0 and turn % 2 and os.path.exists(path):
                    os.unlink(path)
                elif os.path.isdir(os.path.dirname(path)):
                    bari.write(b"inside/deep/" + name, b"turn %d" % turn)
                    os.chmod(path, 0o600 + turn)
                    bari.write(b"inside/deep/new %d-" % turn + name, b"where to?")
            for _ in range(3):
                bari.cycle()
                # Only what changes bring to light is captured, or the swap would travel at once.
                applied += cnaf.engine.cycle({}).applied
                cnaf.time.advance(ROUND_S)
    assert swaps[0] > 100
    assert applied > FILES
    assert described(outside) == before
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert described(outside) == before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[PosixDisk, bytes]]:
    root = bytes(tmp_path) + b"/root"
    os.mkdir(root)
    disk = PosixDisk(root)
    disk.initialise()
    yield disk, root
    disk.close()


@pytest.mark.parametrize("is_file_there", [False, True])
def test_a_symlink_in_place_of_a_staged_file_never_gets_its_name(
    disk: tuple[PosixDisk, bytes], tmp_path: Path, is_file_there: bool
) -> None:
    disk_itself, root = disk
    victim = bytes(tmp_path) + b"/victim"
    with open(victim, "wb") as file:
        file.write(b"of somebody else")
    top = disk_itself.observe(ROOT_PATH)
    assert top is not None
    file_there = RelativePath(b"file")
    if is_file_there:
        with open(root + b"/file", "wb") as file:
            file.write(b"old")
    staging = disk_itself.stage_file(3)
    staging.write(b"new")
    staged = staging.finish(replace(top.attributes, mode=0o666))
    trap = root + b"/.geosync/stage/" + staged.token
    os.unlink(trap)
    os.symlink(victim, trap)
    if is_file_there:
        found = disk_itself.observe(file_there)
        assert found is not None
        expected = Expected(found.handle, found.fingerprint)
        outcome = disk_itself.replace(staged, file_there, expected)
    else:
        outcome = disk_itself.place_new(staged, file_there)
    assert isinstance(outcome, Failed)
    assert "another program has replaced what was prepared" in outcome.reason
    assert not os.path.islink(root + b"/file")
    assert os.path.exists(root + b"/file") == is_file_there
    disk_itself.clear_stage()
    with open(victim, "rb") as file:
        assert file.read() == b"of somebody else"


def test_a_name_in_the_stage_that_is_swapped_while_it_is_written_is_noticed(
    disk: tuple[PosixDisk, bytes], tmp_path: Path
) -> None:
    disk_itself, root = disk
    top = disk_itself.observe(ROOT_PATH)
    assert top is not None
    staging = disk_itself.stage_file(3)
    staging.write(b"new")
    (name,) = os.listdir(root + b"/.geosync/stage")
    os.unlink(root + b"/.geosync/stage/" + name)
    os.symlink(b"/etc/passwd", root + b"/.geosync/stage/" + name)
    staged = staging.finish(replace(top.attributes, mode=0o644))
    outcome = disk_itself.place_new(staged, RelativePath(b"file"))
    assert isinstance(outcome, Failed)
    assert os.listdir(root) == [b".geosync"]


@pytest.mark.parametrize("part", [b"", b"/stage", b"/trash", b"/parked"])
def test_a_private_directory_that_is_a_symlink_is_refused(tmp_path: Path, part: bytes) -> None:
    base = bytes(tmp_path)
    root, elsewhere = base + b"/root", base + b"/elsewhere"
    os.makedirs(elsewhere)
    os.makedirs(os.path.dirname(root + b"/.geosync" + part))
    os.symlink(elsewhere, root + b"/.geosync" + part)
    disk = PosixDisk(root)
    with pytest.raises(RootLost, match="it is no directory; move it away"):
        disk.initialise()
    disk.close()
    assert os.listdir(elsewhere) == []


@pytest.mark.root
@pytest.mark.skipif(not is_root, reason="only root may give a directory away")
def test_a_private_directory_that_somebody_else_made_in_advance_is_taken_from_him(
    tmp_path: Path,
) -> None:
    root = bytes(tmp_path) + b"/root"
    for part in (b"", b"/stage", b"/trash", b"/parked"):
        os.makedirs(root + b"/.geosync" + part)
        os.chmod(root + b"/.geosync" + part, 0o777)
        os.chown(root + b"/.geosync" + part, NOBODY, NOBODY)
    disk = PosixDisk(root)
    disk.initialise()
    disk.close()
    for part in (b"", b"/stage", b"/trash", b"/parked"):
        status = os.stat(root + b"/.geosync" + part)
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700)


def _private(site: LocalSite) -> bytes:
    return site.path(b".geosync")


def test_a_private_directory_that_is_replaced_stops_all_changes_until_it_is_back(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    elsewhere = os.path.join(bari.base, b"elsewhere")
    os.mkdir(elsewhere)
    os.rename(_private(cnaf), os.path.join(bari.base, b"kept"))
    os.symlink(elsewhere, _private(cnaf))
    bari.write(b"new", b"from bari")
    cycles = run(bari, cnaf)
    assert any(cycle.disk_error is not None for cycle in cycles)
    assert "Nothing is taken for deleted" in cnaf.problems()["disk"]
    assert os.listdir(elsewhere) == []
    assert not os.path.exists(cnaf.path(b"new"))
    os.unlink(_private(cnaf))
    os.rename(os.path.join(bari.base, b"kept"), _private(cnaf))
    settle(bari, cnaf)
    assert cnaf.read(b"new") == b"from bari"
    assert cnaf.problems() == {}


@pytest.mark.parametrize("part", [b"stage", b"trash", b"parked"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_part_of_the_private_directory_that_was_removed_is_made_again(
    sites: list[LocalSite], part: bytes, is_restarted: bool
) -> None:
    bari, cnaf = sites
    bari.write(b"old", b"first")
    settle(bari, cnaf)
    os.rmdir(os.path.join(_private(cnaf), part))
    bari.write(b"new", b"from bari")
    bari.write(b"old", b"second version")
    run(bari, cnaf)
    if is_restarted:
        cnaf.reopen()
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert cnaf.problems() == {}


# setuid and setgid


def _setuid_sites(*, accepts: bool) -> Iterator[list[LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        cnaf.close()
        cnaf.accepts_setuid = accepts
        cnaf.open()
        settle(bari, cnaf)
        yield [bari, cnaf]


@pytest.fixture
def suspicious() -> Iterator[list[LocalSite]]:
    yield from _setuid_sites(accepts=False)


@pytest.fixture
def trusting() -> Iterator[list[LocalSite]]:
    yield from _setuid_sites(accepts=True)


def _mode(site: LocalSite, path: bytes) -> int:
    return stat.S_IMODE(os.stat(site.path(path)).st_mode)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6750])
def test_setuid_and_setgid_of_another_site_are_not_taken_over_and_nothing_oscillates(
    suspicious: list[LocalSite], mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    bari, cnaf = suspicious
    bari.write(b"at once", b"program")
    os.chmod(bari.path(b"at once"), mode)
    bari.write(b"later", b"program")
    os.mkdir(bari.path(b"shared"))
    os.chmod(bari.path(b"shared"), 0o2775)
    settle(bari, cnaf)
    os.chmod(bari.path(b"later"), mode)
    settle(bari, cnaf)
    assert _mode(cnaf, b"at once") == _mode(cnaf, b"later") == mode & 0o777
    assert _mode(bari, b"at once") == _mode(bari, b"later") == mode
    assert _mode(cnaf, b"shared") == 0o2775  # gives nobody a privilege
    assert "setuid_withheld" in [record.getMessage() for record in caplog.records]
    written = bari.engine.own_counter(), cnaf.engine.own_counter()
    cycles = run(bari, cnaf)
    assert not any(cycle.applied or cycle.captured for cycle in cycles)
    assert (bari.engine.own_counter(), cnaf.engine.own_counter()) == written
    cnaf.reopen()
    settle(bari, cnaf)
    assert _mode(cnaf, b"at once") == mode & 0o777
    assert cnaf.engine.own_counter() == written[1]


def test_setuid_that_this_site_has_set_itself_outlives_other_changes_but_not_new_content(
    suspicious: list[LocalSite],
) -> None:
    bari, cnaf = suspicious
    bari.write(b"program", b"first")
    settle(bari, cnaf)
    os.chmod(cnaf.path(b"program"), 0o4755)
    settle(bari, cnaf)
    assert _mode(bari, b"program") == 0o4755
    os.utime(bari.path(b"program"), ns=(1, 1))
    settle(bari, cnaf)
    assert os.stat(cnaf.path(b"program")).st_mtime_ns == 1
    assert _mode(cnaf, b"program") == 0o4755
    bari.write(b"program", b"second")
    os.chmod(bari.path(b"program"), 0o4755)
    settle(bari, cnaf)
    assert cnaf.read(b"program") == b"second"
    assert _mode(cnaf, b"program") == 0o755


def test_setuid_is_taken_over_where_the_administrator_says_so(trusting: list[LocalSite]) -> None:
    bari, cnaf = trusting
    bari.write(b"program", b"program")
    os.chmod(bari.path(b"program"), 0o4755)
    settle(bari, cnaf)
    assert _mode(cnaf, b"program") == 0o4755


def test_operations_say_setuid_all_the_same(suspicious: list[LocalSite]) -> None:
    """What one site withholds is not lost for the others."""
    bari, cnaf = suspicious
    bari.write(b"program", b"program")
    os.chmod(bari.path(b"program"), 0o4755)
    settle(bari, cnaf)
    nodes = cnaf.journal.nodes
    (node,) = (live.node for live in nodes.live_links_in(ROOT) if live.name == b"program")
    state = nodes.node(node)
    assert state is not None
    assert state.value(MODE) == 0o4755
