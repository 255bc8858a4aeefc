"""What the torture found, reduced: each once kept two sites from becoming the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.disk_tree import disk_tree
from tests.support.kill_points import KillPoints, run_to_death
from tests.support.local_sites import ROUND_S, LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

ROUNDS = 12
NAMES_OF_TWO_FILES = (
    (b"0", None),
    (b"1", None),
    (b"2", b"0"),
    (b"3", b"0"),
    (b"4", b"1"),
)  # each with the name that it is a hard link of


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    """The first one writes, the second one only applies. A file has a hard link less there."""
    with local_sites(MemoryStore(), "bari", "paris") as found:
        bari, paris = found
        bari.write(b"d/file", b"content")
        bari.write(b"other/file", b"another")
        os.link(bari.path(b"d/file"), bari.path(b"link"))
        settle(bari, paris)
        os.unlink(bari.path(b"link"))
        run_without_events(bari, paris)
        assert not os.path.exists(paris.path(b"link"))
        yield found


def run_without_events(writing: LocalSite, applying: LocalSite) -> None:
    """The second site looks at those directories only that its own work asks for."""
    for _ in range(ROUNDS):
        writing.cycle()
        applying.engine.cycle({})
        applying.time.advance(ROUND_S)


def test_a_file_that_lost_a_hard_link_is_moved_to_another_directory(sites) -> None:
    bari, paris = sites
    os.rename(bari.path(b"d/file"), bari.path(b"moved"))
    run_without_events(bari, paris)
    assert paris.read(b"moved") == b"content"
    assert paris.engine.waiting() == {}


def test_a_file_that_lost_a_hard_link_gets_another_one_in_another_directory(sites) -> None:
    bari, paris = sites
    os.link(bari.path(b"d/file"), bari.path(b"other/linked"))
    run_without_events(bari, paris)
    assert paris.read(b"other/linked") == b"content"
    assert paris.engine.waiting() == {}


def test_hard_links_that_changed_names_are_told_apart_after_a_crash() -> None:
    """All names of a file show the same inode: it does not tell which of them was moved already.

    The process dies when the names are changed and the journal does not know it yet.
    """
    with local_sites(MemoryStore(), "bari", "paris") as (bari, paris):
        for name, first_name in NAMES_OF_TWO_FILES:
            if first_name is None:
                bari.write(name, b"content of " + name)
            else:
                os.link(bari.path(first_name), bari.path(name))
        settle(bari, paris)
        for source, target in ((b"3", b"5"), (b"1", b"3"), (b"0", b"1"), (b"5", b"0")):
            os.rename(bari.path(source), bari.path(target))
        os.link(bari.path(b"2"), bari.path(b"5"))
        settle(bari)
        paris.close()
        assert run_to_death(paris, DiesWhenChanged())
        paris.open()
        settle(bari, paris)
        names = {path: shown.names for path, shown in disk_tree(bari.root).items()}
        assert {path: shown.names for path, shown in disk_tree(paris.root).items()} == names


class DiesWhenChanged(KillPoints):
    """Kills the engine when the disk was changed, before the changes are durable and recorded."""

    def reach(self, step: str) -> None:
        if step == "PosixDisk.sync_changes":
            self.kill_before = self.reached
        super().reach(step)
