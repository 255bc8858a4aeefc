"""Drift and late writes, as the journal keeps them for the operator."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from conflict.version import ActorId, Dot


@dataclass(frozen=True, slots=True)
class KnownDrift:
    """A name at which the disk differs from the volume, on a site that captures nothing."""

    path: bytes  # below the root
    kind: str  # see conflict.drift
    since_ms: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Drift that was reverted: what was on the disk is kept."""

    kept_at: bytes  # below the root
    path: bytes  # where it was; b"" when nobody knows
    since_ms: int


@dataclass(frozen=True, slots=True)
class LateWrite:
    """What a site wrote after another one had become the primary."""

    dot: Dot
    path: bytes
    what: str  # see conflict.fencing
    written_at_ms: int  # by its author's clock
    heard_at_ms: int


class JournalDrift:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self) -> list[KnownDrift]:
        """Returns the drift that is known, sorted by path."""
        rows = self._connection.execute("SELECT path, kind, since_ms FROM drift ORDER BY path")
        return [KnownDrift(*row) for row in rows]

    def count(self) -> int:
        """Returns how much there is."""
        found: int = self._connection.execute("SELECT count(*) FROM drift").fetchone()[0]
        return found

    def save(self, drift: KnownDrift) -> None:
        """Adds or replaces what is known of a path."""
        self._connection.execute(
            "INSERT OR REPLACE INTO drift VALUES (?, ?, ?)",
            (drift.path, drift.kind, drift.since_ms),
        )

    def remove(self, paths: Iterable[bytes]) -> None:
        """Forgets drift that is over."""
        self._connection.executemany("DELETE FROM drift WHERE path = ?", [(p,) for p in paths])

    def clear(self) -> None:
        """Forgets all of it: the site captures what is on its disk."""
        self._connection.execute("DELETE FROM drift")

    def set_aside(self) -> list[SetAside]:
        """Returns what was set aside, latest first."""
        rows = self._connection.execute(
            "SELECT kept_at, path, since_ms FROM set_aside ORDER BY since_ms DESC, kept_at"
        )
        return [SetAside(*row) for row in rows]

    def add_set_aside(self, entry: SetAside) -> None:
        """Remembers where something is kept."""
        self._connection.execute(
            "INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?)",
            (entry.kept_at, entry.path, entry.since_ms),
        )

    def remove_set_aside(self, kept_at: bytes) -> None:
        """Forgets what is not kept there (any more)."""
        self._connection.execute("DELETE FROM set_aside WHERE kept_at = ?", (kept_at,))

    def late_writes(self) -> list[LateWrite]:
        """Returns the late writes, in the order in which they were written."""
        rows = self._connection.execute(
            "SELECT actor, counter, path, what, written_at_ms, heard_at_ms FROM late_write"
            " ORDER BY written_at_ms, actor, counter"
        )
        return [LateWrite(Dot(ActorId(actor), counter), *row) for actor, counter, *row in rows]

    def add_late_writes(self, found: Iterable[LateWrite]) -> None:
        """Remembers late writes; those that are known stay as they were first told."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO late_write VALUES (?, ?, ?, ?, ?, ?)",
            [
                (*each.dot, each.path, each.what, each.written_at_ms, each.heard_at_ms)
                for each in found
            ],
        )
