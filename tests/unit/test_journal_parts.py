"""The smaller parts of the journal: logs, chunks, settings, problems, intents, retired files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, Declare, LinkId, SetAttributes, Topic, Transaction
from conflict.rendering import Claim
from conflict.stamp import Stamp
from conflict.synced import EntryId, SyncedEntry
from conflict.version import ActorId, Dot, VersionVector
from geosync.journal.journal import Intent, Journal, Problem, RetiredFile
from geosync.journal.log import ActorLog, StoredSegment
from tests.support.local_sites import quick_directory
from transport.object_names import pack_name
from transport.pack import ChunkLocation

BARI = ActorId(b"b" * 16)
CNAF = ActorId(b"c" * 16)
PACK = pack_name(BARI, 1)
HERE = ChunkLocation(PACK, 0, 100, 200)
THERE = ChunkLocation(pack_name(CNAF, 9), 50, 60, 200)
DIGEST = b"d" * 32
OTHER_DIGEST = b"e" * 32


@pytest.fixture
def journal() -> Iterator[Journal]:
    with quick_directory() as state_dir:
        opened = Journal(state_dir)
        yield opened
        opened.close()


def _transaction(first: int, size: int = 1) -> Transaction:
    operations = tuple(
        SetAttributes(Dot(BARI, first + n), Stamp(0, first + n, BARI), ROOT, ())
        for n in range(size)
    )
    received = {BARI: first - 1} if first > 1 else {}
    return Transaction(operations, VersionVector(received))


def _entry(number: int) -> SyncedEntry:
    attributes = Attributes(0o640, b"ann", b"www", -5, ((b"user.a", b"1"),))
    return SyncedEntry(
        entry=EntryId(number),
        parent=EntryId(0),
        name=b"\xff name",
        kind=DiskKind.REGULAR,
        handle=b"inode",
        fingerprint=Fingerprint(1, -2, 3),
        attributes=attributes,
        intended=replace(attributes, mode=0o600),
        claims=(Claim(ROOT, LinkId(ROOT), frozenset({Dot(CNAF, 3)})),),
    )


# Declarations


def test_declarations_come_back_by_topic_in_the_order_of_their_times(journal: Journal) -> None:
    """A primary's epoch is higher than a standby's, whatever came first."""
    late = Declare(Dot(CNAF, 1), Stamp(0, 9, CNAF), Topic.EPOCH, b"late")
    early = Declare(Dot(BARI, 4), Stamp(1, 5, BARI), Topic.EPOCH, b"early")
    other = Declare(Dot(BARI, 5), Stamp(0, 10, BARI), Topic.BRAKE, b"other")
    seen = VersionVector({BARI: 3, CNAF: 1})
    with journal.transaction():
        journal.declarations.add_all(
            [Transaction((late,), VersionVector()), Transaction((early, other), seen)]
        )
    found = journal.declarations.of_topic(Topic.EPOCH)
    assert [(each.operation, each.received) for each in found] == [
        (early, seen),
        (late, VersionVector()),
    ]
    with journal.transaction():
        journal.declarations.forget([early.dot])
    assert [each.operation for each in journal.declarations.of_topic(Topic.EPOCH)] == [late]


# Logs


def test_what_is_known_of_an_actor_comes_back(journal: Journal) -> None:
    log = ActorLog(
        actor=CNAF,
        site="cnaf",
        next_sequence=7,
        chain_digest=DIGEST,
        received=80,
        knows=VersionVector({BARI: 5, CNAF: 80}),
        applied=VersionVector({BARI: 4}),
        segment_at_ms=1,
        heard_at_ms=2,
        problem="does not follow",
    )
    journal.log.save_actor(log)
    journal.log.save_actor(ActorLog(BARI))
    assert journal.log.actors() == [ActorLog(BARI), log]
    assert journal.log.actor(CNAF) == log
    assert journal.log.actor(ActorId(bytes(16))) is None


def test_what_was_received_names_only_actors_of_whom_something_was(journal: Journal) -> None:
    journal.log.save_actor(ActorLog(BARI))
    journal.log.save_actor(ActorLog(CNAF, received=3))
    assert journal.log.received() == VersionVector({CNAF: 3})


def test_the_outbox_gives_the_oldest_first_and_at_least_one(journal: Journal) -> None:
    transactions = [_transaction(1, 2), _transaction(3), _transaction(4, 3)]
    for transaction in reversed(transactions):
        journal.log.add_to_outbox(transaction)
    assert journal.log.outbox(1) == transactions[:1]
    assert journal.log.outbox(10**6) == transactions
    assert journal.log.outbox_counts() == (3, 6)
    journal.log.take_from_outbox(transactions[:2])
    assert journal.log.outbox(1) == transactions[2:]
    assert journal.log.outbox_counts() == (1, 3)


def test_no_counter_is_ever_used_twice(journal: Journal) -> None:
    journal.log.add_to_outbox(_transaction(1, 2))
    with pytest.raises(sqlite3.IntegrityError):
        journal.log.add_to_outbox(_transaction(1))


def test_segments_wait_in_order_until_the_store_has_acknowledged_them(journal: Journal) -> None:
    for sequence in (1, 0):
        journal.log.add_segment(BARI, sequence, b"body %d" % sequence, is_stored=False)
    journal.log.add_segment(CNAF, 0, b"of another actor", is_stored=True)
    assert journal.log.segments_to_store() == [
        StoredSegment(0, b"body 0"),
        StoredSegment(1, b"body 1"),
    ]
    journal.log.mark_stored(BARI, 0)
    assert journal.log.segments_to_store() == [StoredSegment(1, b"body 1")]
    assert list(journal.log.segments(BARI)) == [(0, b"body 0"), (1, b"body 1")]
    assert list(journal.log.segments(CNAF)) == [(0, b"of another actor")]


def test_a_segment_is_never_replaced(journal: Journal) -> None:
    journal.log.add_segment(BARI, 0, b"first", is_stored=False)
    with pytest.raises(sqlite3.IntegrityError):
        journal.log.add_segment(BARI, 0, b"second", is_stored=False)


# Chunks


def test_a_chunk_is_known_from_a_pack_or_inline(journal: Journal) -> None:
    journal.chunks.add_locations({DIGEST: HERE}, is_announced=True)
    journal.chunks.add_inline({OTHER_DIGEST: b"bytes"}, is_announced=True)
    assert journal.chunks.is_known(DIGEST)
    assert journal.chunks.is_known(OTHER_DIGEST)
    assert not journal.chunks.is_known(b"f" * 32)
    assert journal.chunks.location(DIGEST) == HERE
    assert journal.chunks.location(OTHER_DIGEST) is None
    assert journal.chunks.inline_chunk(OTHER_DIGEST) == b"bytes"
    assert journal.chunks.inline_chunk(DIGEST) is None


def test_all_places_of_a_chunk_are_known_the_latest_first(journal: Journal) -> None:
    journal.chunks.add_locations({DIGEST: HERE}, is_announced=False)
    journal.chunks.add_locations({DIGEST: THERE}, is_announced=True)
    journal.chunks.add_locations({DIGEST: HERE}, is_announced=True)
    assert journal.chunks.location(DIGEST) == THERE
    assert journal.chunks.locations(DIGEST) == [THERE, HERE]
    assert journal.chunks.unannounced_locations() == {DIGEST: HERE}


def test_a_chunk_is_known_while_one_of_its_packs_is(journal: Journal) -> None:
    journal.chunks.add_locations({DIGEST: HERE}, is_announced=True)
    journal.chunks.add_locations({DIGEST: THERE}, is_announced=True)
    journal.chunks.forget_pack(THERE.pack)
    assert journal.chunks.locations(DIGEST) == [HERE]
    journal.chunks.forget_pack(HERE.pack)
    assert not journal.chunks.is_known(DIGEST)


def test_chunks_are_announced_once(journal: Journal) -> None:
    journal.chunks.add_locations({DIGEST: HERE, OTHER_DIGEST: THERE}, is_announced=False)
    journal.chunks.add_inline({DIGEST: b"1", OTHER_DIGEST: b"2"}, is_announced=False)
    journal.chunks.mark_announced({DIGEST: HERE}, [OTHER_DIGEST])
    assert journal.chunks.unannounced_locations() == {OTHER_DIGEST: THERE}
    assert journal.chunks.unannounced_inline() == {DIGEST: b"1"}


def test_a_place_is_told_once_its_pack_is_stored(journal: Journal) -> None:
    """A chunk may be in two packs, of which the store has one."""
    for at in (HERE, THERE):
        journal.chunks.add_pack(at.pack)
        journal.chunks.add_locations({DIGEST: at}, is_announced=False)
    assert journal.chunks.unannounced_locations() == {}
    assert journal.chunks.unannounced_size_bytes() == 0
    journal.chunks.mark_pack_stored(HERE.pack)
    assert journal.chunks.unannounced_locations() == {DIGEST: HERE}
    assert journal.chunks.unannounced_size_bytes() == HERE.stored_size_bytes
    journal.chunks.mark_announced({DIGEST: HERE}, [])
    journal.chunks.mark_pack_stored(THERE.pack)
    assert journal.chunks.unannounced_locations() == {DIGEST: THERE}
    assert journal.chunks.unannounced_packs() == {THERE.pack}


def test_packs_of_large_files_stay_marked_until_no_large_file_is_read(journal: Journal) -> None:
    journal.chunks.add_pack(HERE.pack, is_ahead=True)
    journal.chunks.add_pack(THERE.pack, is_ahead=True)
    journal.chunks.mark_pack_stored(HERE.pack)
    assert journal.chunks.packs_ahead() == {HERE.pack, THERE.pack}
    journal.chunks.release_ahead()
    assert journal.chunks.packs_ahead() == {THERE.pack}


def test_packs_wait_in_order_until_the_store_has_acknowledged_them(journal: Journal) -> None:
    names = [pack_name(BARI, number) for number in (9, 10, 300)]
    for name in reversed(names):
        journal.chunks.add_pack(name)
    assert journal.chunks.packs_to_store() == names
    journal.chunks.mark_pack_stored(names[1])
    assert journal.chunks.packs_to_store() == [names[0], names[2]]
    assert journal.chunks.packs() == names


def test_the_name_of_a_pack_is_never_used_twice(journal: Journal) -> None:
    journal.chunks.add_pack(PACK)
    with pytest.raises(sqlite3.IntegrityError):
        journal.chunks.add_pack(PACK)


# The rest


def test_settings_keep_bytes_and_integers(journal: Journal) -> None:
    journal.set_setting("actor", b"\0\xff")
    journal.set_setting("clock_ticks", 2**63 - 1)
    journal.set_setting("clock_ticks", 2**63)
    assert journal.setting("actor") == b"\0\xff"
    assert journal.integer_setting("clock_ticks") == 2**63
    assert journal.setting("absent") is None
    assert journal.integer_setting("absent") == 0


def test_a_problem_may_name_a_file_whose_name_is_no_text(journal: Journal) -> None:
    journal.set_problem(b"disk", f"can't read {os.fsdecode(b'n' + bytes([255]))}", 100)
    assert [problem.text for problem in journal.problems()] == [r"can't read n\udcff"]


def test_a_problem_keeps_the_time_at_which_it_began(journal: Journal) -> None:
    journal.set_problem(b"store", "no answer", 100)
    journal.set_problem(b"path \xff", "can't be read", 50)
    journal.set_problem(b"store", "still no answer", 200)
    assert journal.problems() == [
        Problem(b"path \xff", 50, "can't be read"),
        Problem(b"store", 100, "still no answer"),
    ]
    journal.clear_problem(b"store")
    journal.clear_problem(b"was never there")
    assert journal.problems() == [Problem(b"path \xff", 50, "can't be read")]
    journal.set_problem(b"store", "again", 300)
    assert journal.problems()[1] == Problem(b"store", 300, "again")


def test_intents_come_back_in_their_order(journal: Journal) -> None:
    intents = [
        Intent(EntryId(5), b"inode 1", replace(_entry(5), name=b"second name")),
        Intent(EntryId(5), b"inode 1", None),
        Intent(EntryId(2), b"", _entry(2)),
    ]
    journal.begin_intents(intents[:2])
    journal.begin_intents(intents[2:])
    assert journal.intents() == intents
    journal.end_intents()
    assert journal.intents() == []


def test_retired_files_come_back_oldest_first(journal: Journal) -> None:
    old = RetiredFile(b"token b", b"inode 1", Fingerprint(-1, -2, 3), 10, _entry(1))
    young = RetiredFile(b"token a", b"inode 2", Fingerprint(1, 2, 3), 20, _entry(2))
    journal.add_retired(young)
    journal.add_retired(old)
    assert journal.retired() == [old, young]
    written_to = replace(old, since_ms=30)
    journal.add_retired(written_to)
    assert journal.retired() == [young, written_to]
    journal.remove_retired(young.token)
    assert journal.retired() == [written_to]


def test_mirrored_copies_come_back(journal: Journal) -> None:
    journal.set_mirrored(b"path \xff", DIGEST)
    journal.set_mirrored(b"path \xff", OTHER_DIGEST)
    journal.set_mirrored(b"other", DIGEST)
    journal.set_mirrored(b"other", None)
    journal.set_mirrored(b"was never there", None)
    assert journal.mirrored() == {b"path \xff": OTHER_DIGEST}
