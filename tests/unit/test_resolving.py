"""Resolving: what an operator decides about a conflict holds on all sites."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.rendering import ConflictKind
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def sites() -> Iterator[Two]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"directory/file.txt", b"first")
        settle(bari, cnaf)
        yield bari, cnaf


def _write_on_both(sites: Two, path: bytes = b"directory/file.txt") -> str:
    """Lets the first site lose; returns the conflict's identity."""
    bari, cnaf = sites
    bari.write(path, b"loser, by bari")
    os.utime(bari.path(path), ns=(1, 1_600_000_000_000_000_001))
    bari.cycle_alone()
    cnaf.write(path, b"winner, by cnaf")
    settle(*sites)
    (conflict,) = bari.engine.conflicts()
    assert cnaf.read(path) == b"winner, by cnaf"
    return conflict.identity


def _shown(sites: Two) -> dict[bytes, bytes]:
    """Returns the files that both sites show, after they came to rest without a conflict."""
    settle(*sites)
    bari, cnaf = sites
    assert bari.engine.conflicts() == cnaf.engine.conflicts() == []
    assert disk_tree(bari.root) == disk_tree(cnaf.root)
    assert disk_tree(bari.path(b".geosync/conflicts")) == {}
    tree = disk_tree(cnaf.root)
    return {path: shown.content for path, shown in tree.items() if shown.kind == "file"}


@pytest.mark.parametrize("number", [0, 1])
def test_the_winner_stays_and_the_loser_goes(sites: Two, number: int) -> None:
    identity = _write_on_both(sites)
    sites[number].engine.decisions.resolve(identity, Choice.WINNER)
    assert _shown(sites) == {b"directory/file.txt": b"winner, by cnaf"}


@pytest.mark.parametrize("number", [0, 1])
def test_the_loser_takes_the_name_with_its_own_time(sites: Two, number: int) -> None:
    identity = _write_on_both(sites)
    sites[number].engine.decisions.resolve(identity, Choice.LOSER)
    assert _shown(sites) == {b"directory/file.txt": b"loser, by bari"}
    assert disk_tree(sites[1].root)[b"directory/file.txt"].mtime_ns == 1_600_000_000_000_000_001


@pytest.mark.parametrize("number", [0, 1])
def test_both_are_kept_beside_each_other(sites: Two, number: int) -> None:
    identity = _write_on_both(sites)
    (conflict,) = sites[number].engine.conflicts()
    sites[number].engine.decisions.resolve(identity, Choice.BOTH)
    assert _shown(sites) == {
        b"directory/file.txt": b"winner, by cnaf",
        b"directory/" + conflict.copy_name: b"loser, by bari",
    }


@pytest.mark.parametrize("choice", list(Choice))
def test_two_files_of_one_name_are_decided_between(sites: Two, choice: Choice) -> None:
    identity = _write_on_both(sites, b"new.txt")
    (conflict,) = sites[0].engine.conflicts()
    assert conflict.kind is ConflictKind.NAME
    sites[0].engine.decisions.resolve(identity, choice)
    shown = _shown(sites)
    del shown[b"directory/file.txt"]
    winner = {b"new.txt": b"winner, by cnaf"}
    assert (
        shown
        == {
            Choice.WINNER: winner,
            Choice.LOSER: {b"new.txt": b"loser, by bari"},
            Choice.BOTH: {**winner, conflict.copy_name: b"loser, by bari"},
        }[choice]
    )


@pytest.mark.parametrize("choice", list(Choice))
def test_a_loser_whose_file_was_deleted_is_decided_on(sites: Two, choice: Choice) -> None:
    """Its directory, too, comes back when it is needed."""
    _write_on_both(sites)
    bari, cnaf = sites
    os.unlink(cnaf.path(b"directory/file.txt"))
    os.rmdir(cnaf.path(b"directory"))
    settle(*sites)
    assert disk_tree(bari.root) == {}
    (conflict,) = bari.engine.conflicts()
    assert conflict.kind is ConflictKind.DELETED
    bari.engine.decisions.resolve(conflict.identity, choice)
    assert (
        _shown(sites)
        == {
            Choice.WINNER: {},
            Choice.LOSER: {b"directory/file.txt": b"loser, by bari"},
            Choice.BOTH: {b"directory/" + conflict.copy_name: b"loser, by bari"},
        }[choice]
    )


def test_a_file_cannot_take_the_name_of_a_directory(sites: Two) -> None:
    bari, cnaf = sites
    bari.write(b"name", b"a file, by bari")
    cnaf.write(b"name/inside", b"in a directory, by cnaf")
    settle(*sites)
    (conflict,) = bari.engine.conflicts()
    assert conflict.kind is ConflictKind.DIRECTORY
    with pytest.raises(OperatorError, match="choose `both`"):
        bari.engine.decisions.resolve(conflict.identity, Choice.LOSER)
    assert len(bari.engine.conflicts()) == 1
    bari.engine.decisions.resolve(conflict.identity, Choice.BOTH)
    shown = _shown(sites)
    assert shown[conflict.copy_name] == b"a file, by bari"


def test_a_conflict_is_found_by_its_path_too(sites: Two) -> None:
    _write_on_both(sites)
    sites[0].engine.decisions.resolve("directory/file.txt", Choice.WINNER)
    assert _shown(sites) == {b"directory/file.txt": b"winner, by cnaf"}


def test_an_unknown_conflict_is_refused_in_words(sites: Two) -> None:
    identity = _write_on_both(sites)
    sites[0].engine.decisions.resolve(identity, Choice.WINNER)
    with pytest.raises(OperatorError, match="geosync conflicts list"):
        sites[0].engine.decisions.resolve(identity, Choice.WINNER)


def test_different_decisions_on_two_sites_end_in_one_tree(sites: Two) -> None:
    """Nothing is lost: what one of them kept is there, or is a conflict again."""
    identity = _write_on_both(sites)
    sites[0].engine.decisions.resolve(identity, Choice.LOSER)
    sites[1].engine.decisions.resolve(identity, Choice.WINNER)
    settle(*sites)
    assert disk_tree(sites[0].root) == disk_tree(sites[1].root)
    assert sites[0].read(b"directory/file.txt") == b"loser, by bari"


def test_a_decision_outlives_a_restart(sites: Two) -> None:
    identity = _write_on_both(sites)
    sites[0].engine.decisions.resolve(identity, Choice.LOSER)
    sites[0].reopen()
    assert _shown(sites) == {b"directory/file.txt": b"loser, by bari"}
