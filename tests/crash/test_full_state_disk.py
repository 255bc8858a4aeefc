"""A state directory without room: said in words, and nothing is lost."""

from __future__ import annotations

import os

import pytest

from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.full_disk import files_of_at_most
from tests.support.local_sites import local_sites, settle
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
