"""Disks without room: said in words, nothing is lost, and what has room goes on."""

from __future__ import annotations

import os

import pytest

from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.full_disk import files_of_at_most
from tests.support.local_sites import local_sites, run, settle
from transport.memory_store import MemoryStore


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("size_bytes", [0, 60_000, 200_000])
def test_an_engine_goes_on_once_there_is_room_again(size_bytes: int, is_restarted: bool) -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        settle(bari, cnaf)
        for number in range(300):
            bari.write(b"%d" % number, os.urandom(2000))
        with pytest.raises(OperatorError) as told, files_of_at_most(size_bytes):
            bari.cycle()
        assert "cannot use the journal" in str(told.value)
        assert "neither full nor read-only" in str(told.value)
        if is_restarted:
            bari.reopen()
        settle(bari, cnaf)
        assert len(disk_tree(bari.root)) == 300
        assert disk_tree(cnaf.root) == disk_tree(bari.root)
        assert bari.problems() == {}


def test_a_file_that_is_too_large_for_this_disk_does_not_hold_back_the_others() -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"a/first/film", os.urandom(6_000_000))
        bari.write(b"small", b"has room")
        bari.cycle()
        with files_of_at_most(3_000_000):
            cycles = run(cnaf, rounds=3)
            assert cnaf.read(b"small") == b"has room"
            waiting = cnaf.engine.waiting()[b"a", b"first", b"film"]
            assert waiting == "there is no room for it here: File too large"
            assert "File too large" in cnaf.problems()["disk"]
            assert isinstance(cycles[-1].disk_error, OSError)
        settle(bari, cnaf)
        assert disk_tree(cnaf.root) == disk_tree(bari.root)
        assert cnaf.problems() == {}
