"""Brakes as the journal keeps them: what is held back, and what was let through lately."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from conflict.brakes import Amount, BrakeKind
from conflict.operations import NodeId
from conflict.synced import EntryId
from conflict.version import ActorId, Dot
from transport.brake_record import Verdict


@dataclass(frozen=True, slots=True)
class Brake:
    """One brake that has engaged here.

    Attributes:
        dot: names it: our declaration of it; of another actor's operations, the first of them.
        is_ours: whether it holds back changes of our disk; else, what others did, from ours.
        told_count: how many files the others were told of.
    """

    dot: Dot
    is_ours: bool
    kind: BrakeKind
    reason: str
    since_ms: int
    verdict: Verdict | None = None
    told_count: int = 0


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """A file or directory of the synced tree that a brake of ours holds."""

    entry: EntryId
    brake: int  # counter of its dot
    since_ms: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TakenAway:
    """An operation of another actor that would take a content off our disk."""

    dot: Dot
    kind: BrakeKind
    node: NodeId
    time_ms: int  # of its stamp
    size_bytes: int
    is_held: bool = False


class JournalBrakes:
    """Writes belong into a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def brakes(self) -> list[Brake]:
        """Returns the brakes that have engaged, oldest first."""
        rows = self._connection.execute("SELECT * FROM brake ORDER BY since_ms, actor, counter")
        return [
            Brake(
                Dot(ActorId(actor), counter),
                bool(is_ours),
                BrakeKind(kind),
                reason,
                since_ms,
                Verdict(verdict) if verdict else None,
                told_count,
            )
            for actor, counter, is_ours, kind, reason, since_ms, verdict, told_count in rows
        ]

    def save(self, brake: Brake) -> None:
        """Adds or replaces a brake."""
        self._connection.execute(
            "INSERT OR REPLACE INTO brake VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                brake.dot.actor,
                brake.dot.counter,
                int(brake.is_ours),
                brake.kind.value,
                brake.reason,
                brake.since_ms,
                brake.verdict.value if brake.verdict is not None else 0,
                brake.told_count,
            ),
        )

    def remove(self, dot: Dot) -> None:
        """Forgets a brake."""
        self._connection.execute(
            "DELETE FROM brake WHERE actor = ? AND counter = ?", (dot.actor, dot.counter)
        )

    # What our own hold

    def held(self) -> list[HeldEntry]:
        """Returns all that is held, in the order of the entries."""
        return self._held_entries("ORDER BY entry")

    def held_by(self, brake: int, count_max: int = -1) -> list[HeldEntry]:
        """Returns what one of our brakes holds, or the first few of it."""
        return self._held_entries("WHERE brake = ? ORDER BY entry LIMIT ?", brake, count_max)

    def _held_entries(self, which: str, *values: int) -> list[HeldEntry]:
        rows = self._connection.execute(f"SELECT * FROM held_entry {which}", values)  # noqa: S608
        return [HeldEntry(EntryId(entry), *rest) for entry, *rest in rows]

    def holding(self) -> dict[int, Amount]:
        """Returns how much each brake holds, by the counter of its dot."""
        rows = self._connection.execute(
            "SELECT brake, count(*), sum(size_bytes) FROM held_entry GROUP BY brake"
        )
        return {brake: Amount(count, size_bytes) for brake, count, size_bytes in rows}

    def hold(self, held: Iterable[HeldEntry]) -> None:
        """Has entries held."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO held_entry VALUES (?, ?, ?, ?)",
            [(each.entry, each.brake, each.since_ms, each.size_bytes) for each in held],
        )

    def let_go(self, entries: Iterable[EntryId]) -> None:
        """Holds entries no longer."""
        self._connection.executemany(
            "DELETE FROM held_entry WHERE entry = ?", [(entry,) for entry in entries]
        )

    def let_go_missing(self) -> None:
        """Forgets what is not in the synced tree any more."""
        self._connection.execute(
            "DELETE FROM held_entry WHERE entry NOT IN (SELECT entry FROM synced)"
        )

    # What was let through

    def note_passed(self, kind: BrakeKind, sizes: dict[EntryId, int], now_ms: int) -> None:
        """Remembers what was captured: of each file, the last time only."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO passed_entry VALUES (?, ?, ?, ?)",
            [(kind.value, entry, now_ms, size_bytes) for entry, size_bytes in sizes.items()],
        )

    def passed(self, kind: BrakeKind, since_ms: int, but: Iterable[EntryId] = ()) -> Amount:
        """Returns how much was captured since then, without some of the files."""
        found = self._connection.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM passed_entry"
            " WHERE kind = ? AND time_ms > ?",
            (kind.value, since_ms),
        ).fetchone()
        again = [self._passed_size(kind, since_ms, entry) for entry in but]
        known = [size_bytes for size_bytes in again if size_bytes is not None]
        return Amount(found[0] - len(known), found[1] - sum(known))

    def _passed_size(self, kind: BrakeKind, since_ms: int, entry: EntryId) -> int | None:
        row = self._connection.execute(
            "SELECT size_bytes FROM passed_entry WHERE kind = ? AND entry = ? AND time_ms > ?",
            (kind.value, entry, since_ms),
        ).fetchone()
        return None if row is None else row[0]

    def forget_passed(self, before_ms: int) -> None:
        """Forgets what was captured before that."""
        self._connection.execute("DELETE FROM passed_entry WHERE time_ms <= ?", (before_ms,))

    # What others would take away

    def add_taken(self, taken: Iterable[TakenAway]) -> None:
        """Remembers operations of other actors, or that they are held."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO taken_away VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.dot.actor,
                    each.dot.counter,
                    each.kind.value,
                    each.node,
                    each.time_ms,
                    each.size_bytes,
                    int(each.is_held),
                )
                for each in taken
            ],
        )

    def taken(self, actor: ActorId, kind: BrakeKind) -> list[TakenAway]:
        """Returns what is known of one actor's operations, in their order."""
        return self._taken("WHERE actor = ? AND kind = ? ORDER BY counter", actor, kind.value)

    def taken_held(self) -> list[TakenAway]:
        """Returns the operations that are held."""
        return self._taken("WHERE is_held = 1 ORDER BY actor, counter")

    def _taken(self, which: str, *values: bytes | str) -> list[TakenAway]:
        rows = self._connection.execute(f"SELECT * FROM taken_away {which}", values)  # noqa: S608
        return [
            TakenAway(
                Dot(ActorId(actor), counter),
                BrakeKind(kind),
                NodeId(node),
                time_ms,
                size_bytes,
                bool(is_held),
            )
            for actor, counter, kind, node, time_ms, size_bytes, is_held in rows
        ]

    def forget_taken(self, dots: Iterable[Dot]) -> None:
        """Forgets operations."""
        self._connection.executemany(
            "DELETE FROM taken_away WHERE actor = ? AND counter = ?", list(dots)
        )

    def forget_taken_before(self, actor: ActorId, time_ms: int) -> None:
        """Forgets the operations of an actor that are older, unless they are held."""
        self._connection.execute(
            "DELETE FROM taken_away WHERE actor = ? AND time_ms <= ? AND is_held = 0",
            (actor, time_ms),
        )
