"""What one site can't bring to its disk holds everybody's garbage back: all are told, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.hindrance import OVER, Hindrance, Hindrances
from conflict.operations import Topic
from conflict.version import ActorId, Dot
from geosync.configuration.capture_rules import CaptureRule, CaptureRules, OpenFiles
from geosync.configuration.volume_configuration import Mode
from geosync.engine.hindering import TOLD_AFTER_S
from geosync.reporting.collection_report import collection_report, collection_text
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.hindrance_record import (
    PATH_SIZE_BYTES_MAX,
    REASON_LENGTH_MAX,
    decode_hindrance,
    encode_hindrance,
)
from transport.memory_store import MemoryStore
from transport.msgpack_codec import encode
from transport.wire_errors import WireFormatError

A, B = ActorId(b"a" * 16), ActorId(b"b" * 16)
HELD_BACK = Hindrance(1_700_000_000_000, 2, b"db.sqlite", "a program has it open")
Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def two() -> Iterator[Two]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"file", b"before")
        settle(bari, cnaf)
        yield bari, cnaf


def wait(two: Two, for_s: float) -> None:
    for _ in range(6):
        run(*two, rounds=2)
        two[0].time.advance(for_s / 6)
    run(*two, rounds=2)


def of_cnaf(two: Two) -> str:
    return f"held back by {two[1].engine.site.actor.hex()}"


def test_a_file_that_stays_open_is_told_at_both_sites_until_it_is_closed(two: Two) -> None:
    bari, cnaf = two
    with open(cnaf.path(b"file"), "r+b"):
        bari.write(b"file", b"after")
        wait(two, TOLD_AFTER_S / 2)
        assert "held back" not in cnaf.problems(), "a file may well be open for a while"
        wait(two, TOLD_AFTER_S)
        assert "file (a program has the file open for writing)" in cnaf.problems()["held back"]
        assert "End or restart the program" in cnaf.problems()["held back"]
        assert "site cnaf can't bring" in bari.problems()[of_cnaf(two)]
        assert "geosync status at cnaf" in bari.problems()[of_cnaf(two)]
        explained = collection_text(collection_report(bari.journal, 0), None, 0)
        assert "held back by cnaf, since 20" in explained
        assert ": file (a program has the file open for writing)" in explained
    wait(two, 100)
    settle(*two)
    assert cnaf.read(b"file") == b"after"
    assert bari.problems() == cnaf.problems() == {}
    assert "held back" not in collection_text(collection_report(bari.journal, 0), None, 0)


def test_nothing_is_declared_while_nothing_waits_and_little_while_something_does(two: Two) -> None:
    bari, cnaf = two
    wait(two, TOLD_AFTER_S * 2)
    assert cnaf.journal.declarations.of_topic(Topic.HINDRANCE) == []
    with open(cnaf.path(b"file"), "r+b"):
        bari.write(b"file", b"after")
        wait(two, TOLD_AFTER_S * 2)
        before = cnaf.engine.own_counter()
        wait(two, TOLD_AFTER_S * 5)
        assert cnaf.engine.own_counter() == before
        cnaf.reopen()
        wait(two, TOLD_AFTER_S * 2)
        assert cnaf.engine.own_counter() == before, "a new start tells the same"
    for site in two:
        assert len(site.journal.declarations.of_topic(Topic.HINDRANCE)) == 1


def test_a_site_that_goes_on_is_not_held_back_by_what_waits_for_a_moment(two: Two) -> None:
    bari, cnaf = two
    for number in range(8):
        with open(cnaf.path(b"file"), "r+b"):
            bari.write(b"file", b"%d" % number)
            wait(two, TOLD_AFTER_S / 3)
        settle(*two)
    assert "held back" not in cnaf.problems()


def test_an_excluded_file_that_differs_tells_how_to_get_on(two: Two) -> None:
    bari, cnaf = two
    cnaf.capture_rules = CaptureRules((CaptureRule((b"file",), OpenFiles.EXCLUDE),))
    cnaf.reopen()
    cnaf.write(b"file", b"of this site alone")
    bari.write(b"file", b"after")
    wait(two, TOLD_AFTER_S * 2)
    assert "take it out of the [[capture]] table" in cnaf.problems()["held back"]
    cnaf.capture_rules = CaptureRules()
    cnaf.reopen()
    wait(two, 100)
    settle(*two)
    assert "held back" not in cnaf.problems()
    assert of_cnaf(two) not in bari.problems()
    assert len(bari.engine.conflicts()) == 1


def test_a_standby_with_drift_in_the_way_tells_so_and_a_lost_site_is_told_of_no_longer(
    two: Two,
) -> None:
    bari, cnaf = two
    cnaf.close()
    bari.mode, cnaf.mode = Mode.PRIMARY, Mode.STANDBY
    bari.reopen()
    cnaf.open()
    settle(*two)
    cnaf.write(b"file", b"drift")
    bari.write(b"file", b"after")
    wait(two, TOLD_AFTER_S * 2)
    assert 'drift = "revert"' in cnaf.problems()["held back"]
    assert of_cnaf(two) in bari.problems()


# The record and its rules


def test_of_each_actor_the_latest_statement_counts() -> None:
    known = Hindrances([(Dot(A, 3), HELD_BACK), (Dot(A, 7), OVER), (Dot(B, 5), HELD_BACK)])
    assert known.of == {B: HELD_BACK}
    assert known.superseded == [Dot(A, 3)]


@pytest.mark.parametrize("hindrance", [HELD_BACK, OVER])
def test_a_statement_comes_back_equal(hindrance: Hindrance) -> None:
    assert decode_hindrance(encode_hindrance(hindrance)) == hindrance


def test_a_long_statement_is_cut() -> None:
    long = Hindrance(1, 1, os.urandom(10_000), "é" * 10_000)
    decoded = decode_hindrance(encode_hindrance(long))
    assert decoded == Hindrance(
        1, 1, long.path[:PATH_SIZE_BYTES_MAX], long.reason[:REASON_LENGTH_MAX]
    )


@pytest.mark.parametrize(
    "body", [b"", encode(()), encode((9, 1)), encode((0, 1, 1, b"")), encode((0, -1, 1, b"", b""))]
)
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(WireFormatError):
        decode_hindrance(body)
