"""What became of conflicts here: what could not be settled, and what a person has settled."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from conflict.node import Version
from geosync.journal.records import pack_version, unpack_version


@dataclass(frozen=True, slots=True)
class Attempt:
    """Why this site does not settle a conflict by itself, although its policy says so."""

    contention: bytes  # see conflict.settlement.Contention.identity
    path: bytes  # below the root
    reason: str  # in words, for the operator
    tried_at_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A conflict that a person has settled here."""

    number: int  # counted from 1; 0 before it is kept
    conflict: str  # identity of the losing version
    path: bytes  # below the root
    choice: str  # see geosync.engine.resolving
    settled_at_ms: int
    winner: Version | None  # had the name; None for a directory, or nothing
    loser: Version  # was kept aside
    result: bytes  # digest of what had the name then; empty for a directory, or nothing
    is_undone: bool = False


class JournalSettlements:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def attempts(self) -> list[Attempt]:
        """Returns the attempts that failed, sorted by path."""
        rows = self._connection.execute("SELECT * FROM attempt ORDER BY path, contention")
        return [Attempt(*row) for row in rows]

    def reason(self, version: bytes) -> str | None:
        """Returns why a version, by its identity, could not be made one with others."""
        row = self._connection.execute(
            "SELECT reason FROM attempt WHERE instr(contention, ?) > 0 ORDER BY tried_at_ms DESC",
            (version,),
        ).fetchone()
        return None if row is None else row[0]

    def save_attempt(self, attempt: Attempt) -> None:
        """Adds an attempt, or replaces one about the same versions."""
        self._connection.execute(
            "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?)",
            (attempt.contention, attempt.path, attempt.reason, attempt.tried_at_ms),
        )

    def forget_attempt(self, contention: bytes) -> None:
        """Forgets an attempt: it is made again, or what it was about is over."""
        self._connection.execute("DELETE FROM attempt WHERE contention = ?", (contention,))

    def settled(self) -> list[Settlement]:
        """Returns what was settled here, the latest first."""
        rows = self._connection.execute("SELECT * FROM settlement ORDER BY number DESC")
        return [
            Settlement(
                number,
                conflict,
                path,
                choice,
                settled_at_ms,
                None if winner is None else unpack_version(winner),
                unpack_version(loser),
                result,
                bool(is_undone),
            )
            for number, conflict, path, choice, settled_at_ms, winner, loser, result, is_undone in (
                rows
            )
        ]

    def add_settled(self, settlement: Settlement) -> None:
        """Keeps that a conflict was settled; its number is the next one."""
        winner = settlement.winner
        self._connection.execute(
            "INSERT INTO settlement"
            " (conflict, path, choice, settled_at_ms, winner, loser, result, is_undone)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (
                settlement.conflict,
                settlement.path,
                settlement.choice,
                settlement.settled_at_ms,
                None if winner is None else pack_version(winner),
                pack_version(settlement.loser),
                settlement.result,
            ),
        )

    def mark_undone(self, number: int) -> None:
        """Notes that the versions are back."""
        self._connection.execute("UPDATE settlement SET is_undone = 1 WHERE number = ?", (number,))

    def forget_settled(self, before_ms: int) -> None:
        """Forgets what was settled before a time."""
        self._connection.execute("DELETE FROM settlement WHERE settled_at_ms < ?", (before_ms,))
