"""The spool: packs are there completely or not at all, until the store has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conflict.version import ActorId
from geosync.engine.spool import Spool
from tests.support.full_disk import files_of_at_most
from transport.object_names import pack_name

FIRST, SECOND = (pack_name(ActorId(b"a" * 16), number) for number in (1, 2))


@pytest.fixture
def directory(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path / "state" / "spool")


def test_a_pack_is_read_as_it_was_written(directory: bytes) -> None:
    spool = Spool(directory)
    spool.write(FIRST, b"0123456789")
    assert spool.read(FIRST) == b"0123456789"
    assert spool.read_range(FIRST, 3, 4) == b"3456"
    assert Spool(directory).read(FIRST) == b"0123456789"


def test_a_pack_that_is_not_here_is_told_from_one_that_cannot_be_read(directory: bytes) -> None:
    """What is not here is fetched from the store."""
    spool = Spool(directory)
    with pytest.raises(FileNotFoundError):
        spool.read_range(FIRST, 0, 1)


def test_removing_twice_is_harmless(directory: bytes) -> None:
    spool = Spool(directory)
    spool.write(FIRST, b"body")
    spool.remove(FIRST)
    spool.remove(FIRST)
    assert os.listdir(directory) == []


def test_a_start_clears_all_but_what_the_journal_names(directory: bytes) -> None:
    spool = Spool(directory)
    spool.write(FIRST, b"named by the journal")
    spool.write(SECOND, b"left by a run that was killed before its commit")
    spool.clear([FIRST])
    assert spool.read(FIRST) == b"named by the journal"
    assert len(os.listdir(directory)) == 1


def test_a_pack_for_which_there_is_no_room_leaves_nothing(directory: bytes) -> None:
    spool = Spool(directory)
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        spool.write(FIRST, bytes(5000))
    assert os.listdir(directory) == []


def test_a_pack_of_a_killed_run_is_written_anew(directory: bytes) -> None:
    """Its number was not used up, as the journal never heard of it."""
    spool = Spool(directory)
    spool.write(FIRST, b"of the killed run, and longer")
    spool.write(FIRST, b"of this run")
    assert spool.read(FIRST) == b"of this run"
