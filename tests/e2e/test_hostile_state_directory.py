"""What somebody does to the state directory: told, mended as far as possible, all else goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.posix_look import look_at
from transport.memory_store import MemoryStore


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as found:
        settle(*found)
        yield found


def _capture_and_lose_packs(bari: LocalSite) -> None:
    for number in range(6):
        bari.write(b"directory/%d" % number, os.urandom(300_000 + number))
    bari.cycle_alone()
    spool = os.path.join(bari.state_dir, b"spool")
    assert os.listdir(spool)
    for name in os.listdir(spool):
        os.unlink(os.path.join(spool, name))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_pack_that_was_deleted_from_the_spool_is_made_again_from_the_files(
    sites: list[LocalSite], is_restarted: bool
) -> None:
    bari, cnaf = sites
    _capture_and_lose_packs(bari)
    if is_restarted:
        bari.reopen()
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert bari.problems() == {}


def test_a_file_with_a_hole_of_a_terabyte_is_cut_again_as_it_was(sites: list[LocalSite]) -> None:
    bari, cnaf = sites
    with open(bari.path(b"sparse"), "wb") as file:
        file.write(os.urandom(300_000))
        file.seek(2**40)
        file.write(os.urandom(300_000))
    bari.cycle_alone()
    spool = os.path.join(bari.state_dir, b"spool")
    for name in os.listdir(spool):
        os.unlink(os.path.join(spool, name))
    settle(bari, cnaf)
    assert look_at(cnaf.root) == look_at(bari.root)
    assert bari.problems() == {}


def test_a_pack_of_which_a_file_has_changed_since_is_saved_as_far_as_possible(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    _capture_and_lose_packs(bari)
    bari.write(b"directory/3", b"by the time anybody noticed, it was something else")
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    (problem,) = bari.problems().values()
    assert "chunks are in no file any more" in problem
    assert "Nothing may delete files in the state directory" in problem
    bari.reopen()
    assert bari.problems() == {}


def test_while_a_file_of_a_lost_pack_is_written_all_else_goes_on_and_the_pack_waits(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    _capture_and_lose_packs(bari)
    cnaf.write(b"from cnaf", b"cnaf goes on")
    with open(bari.path(b"directory/3"), "ab"):
        run(cnaf, bari)
        assert bari.read(b"from cnaf") == b"cnaf goes on"
        assert "is published once this is mended" in bari.problems()["spool"]
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert bari.problems() == {}


def test_a_spool_that_was_removed_is_made_again(sites: list[LocalSite]) -> None:
    bari, cnaf = sites
    os.rmdir(os.path.join(bari.state_dir, b"spool"))
    bari.write(b"large", os.urandom(300_000))
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert bari.problems() == {}
