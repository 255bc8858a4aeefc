"""The logs in the journal: what other actors wrote, and what we wrote and must still send."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from conflict.operations import Transaction
from conflict.version import ActorId, VersionVector
from geosync.journal.records import pack_transaction, unpack_transaction
from transport.operation_codec import decode_vector, encode_vector
from transport.segment import NO_SEGMENT

NOTHING_KNOWN = VersionVector()
DECODED_OPERATIONS_MAX = 10_000  # of segments, kept in memory for whoever looks at them next


@dataclass(frozen=True, slots=True)
class ActorLog:
    """How far this site has read, or written, the log of one actor."""

    actor: ActorId
    site: str = ""  # '' until its log told it
    next_sequence: int = 0
    chain_digest: bytes = NO_SEGMENT
    received: int = 0  # counter of its last operation in our merged tree
    knows: VersionVector = NOTHING_KNOWN  # what it had received, as it last told
    applied: VersionVector = NOTHING_KNOWN  # what was on its disk, as it last told
    segment_at_ms: int = 0  # by the actor's clock
    heard_at_ms: int = 0  # by ours
    problem: str = ""


def _actor_log(row: tuple[Any, ...]) -> ActorLog:
    *fixed, knows, applied, segment_at_ms, heard_at_ms, problem = row
    return replace(
        ActorLog(*fixed),
        knows=decode_vector(knows),
        applied=decode_vector(applied),
        segment_at_ms=segment_at_ms,
        heard_at_ms=heard_at_ms,
        problem=problem,
    )


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment of ours that the store has not acknowledged yet."""

    sequence: int
    body: bytes


class JournalLog:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unpacked: dict[bytes, Transaction] = {}  # what the last record of the outbox says
        self._decoded: dict[tuple[ActorId, int], tuple[Transaction, ...]] = {}
        self._actors: dict[tuple[Any, ...], ActorLog] = {}  # what the rows that were read last say

    def actors(self) -> list[ActorLog]:
        """Returns all known actors, sorted. Asked many times a cycle: only news is decoded."""
        rows = self._connection.execute("SELECT * FROM actor ORDER BY actor").fetchall()
        self._actors = {row: self._actors.get(row) or _actor_log(row) for row in rows}
        return list(self._actors.values())

    def actor(self, actor: ActorId) -> ActorLog | None:
        """Returns one actor's log, None when nobody told of it."""
        return next((log for log in self.actors() if log.actor == actor), None)

    def save_actor(self, log: ActorLog) -> None:
        """Adds or replaces what is known of an actor."""
        self._connection.execute(
            "INSERT OR REPLACE INTO actor VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                log.actor,
                log.site,
                log.next_sequence,
                log.chain_digest,
                log.received,
                encode_vector(log.knows),
                encode_vector(log.applied),
                log.segment_at_ms,
                log.heard_at_ms,
                log.problem,
            ),
        )

    def forget_others(self, own: ActorId) -> None:
        """Forgets all logs but our own, and their segments: a checkpoint takes their place."""
        for table in ("actor", "segment"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE actor <> ?",  # noqa: S608 - no input
                (own,),
            )

    def received(self) -> VersionVector:
        """Returns what is in the merged tree: a prefix of every actor's operations."""
        rows = self._connection.execute("SELECT actor, received FROM actor WHERE received > 0")
        return VersionVector({ActorId(actor): counter for actor, counter in rows})

    def add_to_outbox(self, transaction: Transaction) -> None:
        """Keeps a transaction of ours until it is in a segment."""
        self._connection.execute(
            "INSERT INTO outbox VALUES (?, ?, ?)",
            (
                transaction.operations[0].dot.counter,
                transaction.last_counter,
                self._packed(transaction),
            ),
        )

    def _packed(self, transaction: Transaction) -> bytes:
        """Packs, and remembers of what: it is most often wanted a moment later."""
        record = pack_transaction(transaction)
        self._unpacked = {record: transaction}
        return record

    def outbox(self, size_bytes_max: int) -> list[Transaction]:
        """Returns the oldest transactions of ours that are in no segment, at least one if any."""
        found: list[Transaction] = []
        size_bytes = 0
        rows = self._connection.execute("SELECT record FROM outbox ORDER BY first_counter")
        for (record,) in rows:
            size_bytes += len(record)
            if found and size_bytes > size_bytes_max:
                break
            found.append(self._unpacked.get(record) or unpack_transaction(record))
        return found

    def outbox_counts(self) -> tuple[int, int]:
        """Returns how many transactions, and operations, of ours are in no segment yet."""
        row = self._connection.execute(
            "SELECT count(*), coalesce(sum(last_counter - first_counter + 1), 0) FROM outbox"
        ).fetchone()
        return row[0], row[1]

    def take_from_outbox(self, transactions: Iterable[Transaction]) -> None:
        """Forgets transactions that a segment holds now."""
        self._unpacked.clear()
        self._connection.executemany(
            "DELETE FROM outbox WHERE first_counter = ?",
            [(t.operations[0].dot.counter,) for t in transactions],
        )

    def add_segment(
        self,
        actor: ActorId,
        sequence: int,
        body: bytes,
        *,
        is_stored: bool,
        transactions: tuple[Transaction, ...] = (),
    ) -> None:
        """Keeps a segment as it is, or is to be, in the store.

        Args:
            actor: whose log it is a part of.
            sequence: its number.
            body: its bytes.
            is_stored: the store has it.
            transactions: what it holds, for `take_decoded`.
        """
        kept = (each for known in self._decoded.values() for each in known)
        if sum(len(each.operations) for each in kept) >= DECODED_OPERATIONS_MAX:
            self._decoded.clear()  # nobody wants to know
        self._decoded[actor, sequence] = transactions
        self._connection.execute(
            "INSERT INTO segment VALUES (?, ?, ?, ?)", (actor, sequence, body, int(is_stored))
        )

    def take_decoded(self, actor: ActorId, sequence: int) -> tuple[Transaction, ...]:
        """Returns once what a segment holds, if it was added lately; nothing if it was not."""
        return self._decoded.pop((actor, sequence), ())

    def forget_segments(self, actor: ActorId, before: int) -> None:
        """Forgets the segments before this sequence that the store has, or had."""
        self._connection.execute(
            "DELETE FROM segment WHERE actor = ? AND sequence < ? AND is_stored = 1",
            (actor, before),
        )

    def has_segments_before(self, actor: ActorId, before: int) -> bool:
        """Tells whether any of these are kept here."""
        found = self._connection.execute(
            "SELECT 1 FROM segment WHERE actor = ? AND sequence < ? LIMIT 1", (actor, before)
        ).fetchone()
        return found is not None

    def segments_from(self, actor: ActorId, sequence: int) -> list[tuple[int, bytes]]:
        """Returns an actor's segments that are kept here, from one sequence on, in order."""
        rows = self._connection.execute(
            "SELECT sequence, object FROM segment WHERE actor = ? AND sequence >= ?"
            " ORDER BY sequence",
            (actor, sequence),
        )
        return [(number, body) for number, body in rows]

    def segments_to_store(self) -> list[StoredSegment]:
        """Returns our segments that the store has not acknowledged, oldest first."""
        rows = self._connection.execute(
            "SELECT sequence, object FROM segment WHERE is_stored = 0 ORDER BY sequence"
        )
        return [StoredSegment(*row) for row in rows]

    def mark_stored(self, actor: ActorId, sequence: int) -> None:
        """Remembers that the store acknowledged a segment of ours."""
        self._connection.execute(
            "UPDATE segment SET is_stored = 1 WHERE actor = ? AND sequence = ?", (actor, sequence)
        )

    def sequences(self, actor: ActorId) -> list[tuple[int, bool]]:
        """Returns the numbers of an actor's segments that are kept here, and which are stored."""
        rows = self._connection.execute(
            "SELECT sequence, is_stored FROM segment WHERE actor = ? ORDER BY sequence", (actor,)
        )
        return [(sequence, bool(is_stored)) for sequence, is_stored in rows]

    def segment(self, actor: ActorId, sequence: int) -> bytes | None:
        """Returns one segment as it is, or is to be, in the store; None when it is not kept."""
        row = self._connection.execute(
            "SELECT object FROM segment WHERE actor = ? AND sequence = ?", (actor, sequence)
        ).fetchone()
        return None if row is None else row[0]

    def segments(self, actor: ActorId) -> Iterator[tuple[int, bytes]]:
        """Yields the segments of an actor that were read or written here, in order."""
        rows = self._connection.execute(
            "SELECT sequence, object FROM segment WHERE actor = ? ORDER BY sequence", (actor,)
        ).fetchall()
        return iter([(sequence, body) for sequence, body in rows])
