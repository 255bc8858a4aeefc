"""The applier: what could not be done is never recorded as done."""

from __future__ import annotations

import os
from typing import Any, cast

from geosync.disk.interface import Disk, Failed
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import local_sites, run, settle
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
