"""A journal whose process is killed holds a prefix of its transactions, and no part of another."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from conflict.merged_tree import LiveLink
from conflict.node import NodeState
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, LinkId, NodeId, id_of
from conflict.stamp import Stamp
from conflict.synced import EntryId, SyncedEntry
from conflict.version import ActorId, Dot
from geosync.journal.database import FILE_NAME
from geosync.journal.journal import Journal
from geosync.journal.schema import TABLES
from tests.support.doomed_child import DoomedChild
from transport.object_names import pack_name
from transport.pack import ChunkLocation

ACTOR = ActorId(b"a" * 16)
TRANSACTIONS = 300
ATTRIBUTES = Attributes(0o644, b"root", b"root", 1)
State = dict[str, list[tuple[object, ...]]]


def _write(journal: Journal, number: int) -> None:
    """Makes the changes of one transaction, which follow from its number."""
    rng = random.Random(number)
    for index in range(rng.choice((1, 3, 40))):
        counter = number * 100 + index + 1
        node = NodeId(id_of(Dot(ACTOR, counter)))
        journal.nodes.save_node(NodeState(node, False, Stamp(0, counter, ACTOR)))
        journal.nodes.add_live_link(ROOT, LiveLink(b"%d" % counter, node, LinkId(node)))
        journal.synced.save_entry(_entry(EntryId(counter), b"%d" % counter))
    for entry in list(journal.synced.entries_in(EntryId(0)))[:: rng.randint(2, 9)]:
        journal.synced.remove_entry(entry.entry)
    digest = number.to_bytes(32, "big")
    location = ChunkLocation(pack_name(ACTOR, number), 0, 100, 200)
    journal.chunks.add_locations({digest: location}, is_announced=False)
    journal.chunks.add_inline({digest: rng.randbytes(rng.randrange(60_000))}, is_announced=True)
    journal.chunks.add_pack(pack_name(ACTOR, number))
    journal.log.add_segment(ACTOR, number, rng.randbytes(rng.randrange(2000)), is_stored=False)
    journal.set_setting("number", number)
    journal.set_problem(b"problem %d" % rng.randrange(5), f"text {number}", number)


def _entry(entry: EntryId, name: bytes) -> SyncedEntry:
    fingerprint = Fingerprint(1, 2, 3)
    kind = DiskKind.REGULAR
    parent = EntryId(0)
    return SyncedEntry(
        entry, parent, name, kind, name, fingerprint, ATTRIBUTES, ATTRIBUTES, claims=()
    )


def _state(state_dir: bytes) -> State:
    """Reads all rows of all tables, without our own code."""
    connection = sqlite3.connect(os.path.join(state_dir, FILE_NAME))
    try:
        names = [line.split()[2] for line in TABLES.splitlines() if line.startswith("CREATE TABLE")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}")) for name in names}
    finally:
        connection.close()


def _directory(parent: Path, name: str) -> bytes:
    made = parent / name
    made.mkdir()
    return os.fsencode(made)


def _make(state_dir: bytes) -> Callable[[Callable[[bytes], None]], None]:
    return lambda _tell: Journal(state_dir).close()


def _go_on(state_dir: bytes) -> Callable[[Callable[[bytes], None]], None]:
    def work(tell: Callable[[bytes], None]) -> None:
        journal = Journal(state_dir)
        for number in range(journal.integer_setting("number") + 1, TRANSACTIONS + 1):
            with journal.transaction():
                _write(journal, number)
            tell(b"%d\n" % number)

    return work


def test_a_killed_journal_is_what_its_first_transactions_made(tmp_path: Path) -> None:
    """All acknowledged ones are there, and perhaps the one whose acknowledgement was cut off."""
    rng = random.Random(1)
    killed, replayed = _directory(tmp_path, "killed"), _directory(tmp_path, "replayed")
    replay = Journal(replayed)
    done = kills = 0
    while done < TRANSACTIONS:
        child = DoomedChild(_go_on(killed))
        kills += not child.wait(rng.choice((0.01, 0.05, 0.2)) * rng.random())
        acknowledged = max(map(int, child.kill().split()), default=done)
        journal = Journal(killed)
        found = journal.integer_setting("number")
        journal.close()
        assert found in (acknowledged, acknowledged + 1)
        for number in range(done + 1, found + 1):
            with replay.transaction():
                _write(replay, number)
        assert _state(killed) == _state(replayed)
        done = found
    replay.close()
    assert kills > 5


def test_a_journal_that_was_killed_while_it_was_made_can_be_made(tmp_path: Path) -> None:
    rng = random.Random(2)
    kills = 0
    for number in range(30):
        state_dir = _directory(tmp_path, str(number))
        child = DoomedChild(_make(state_dir))
        kills += not child.wait(0.02 * rng.random())
        child.kill()
        journal = Journal(state_dir)
        with journal.transaction():
            _write(journal, 1)
        assert journal.integer_setting("number") == 1
        journal.close()
    assert kills > 5
