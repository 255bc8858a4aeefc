"""What the journal keeps so that what is gone can be forgotten: since when it is, and looks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from conflict.operations import NodeId
from conflict.stamp import Stamp
from conflict.version import ActorId, VersionVector
from transport.operation_codec import decode_vector, encode_vector


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the whole tree: what was gone then, was gone by the operations received then."""

    looked_at_ms: int
    received: VersionVector
    last_move: Stamp | None  # of all renames of directories that were known


class JournalForgetting:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_gone(self, nodes: Iterable[NodeId]) -> None:
        """Notes nodes that are gone, where that is not noted yet."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO gone VALUES (?, 0)", [(node,) for node in nodes]
        )

    def gone_until(self, time_ms: int, count: int) -> list[NodeId]:
        """Returns nodes that are gone since then or longer, at most so many, the longest first."""
        rows = self._connection.execute(
            "SELECT node FROM gone WHERE since_ms BETWEEN 1 AND ? ORDER BY since_ms, node LIMIT ?",
            (time_ms, count),
        )
        return [NodeId(node) for (node,) in rows]

    def count_gone(self) -> int:
        """Returns how many nodes are gone, and known."""
        found: int = self._connection.execute("SELECT count(*) FROM gone").fetchone()[0]
        return found

    def add_look(self, look: Look) -> None:
        """Keeps a look, and gives what has gone since the last one its time.

        What a clock put on that was wrong is put right: it errs towards keeping.
        """
        self._connection.execute("DELETE FROM look WHERE looked_at_ms >= ?", (look.looked_at_ms,))
        move = look.last_move
        self._connection.execute(
            "INSERT INTO look VALUES (?, ?, ?, ?, ?)",
            (look.looked_at_ms, encode_vector(look.received), *(move or (None, None, None))),
        )
        for table, column in (("gone", "since_ms"), ("past_version", "replaced_at_ms")):
            self._connection.execute(
                f"UPDATE {table} SET {column} = ?1 WHERE {column} = 0 OR {column} > ?1",  # noqa: S608
                (look.looked_at_ms,),
            )

    def last_look(self, before_ms: int, stable: VersionVector) -> Look | None:
        """Returns the newest look before a time of which all is stable; forgets those before it."""
        rows = self._connection.execute(
            "SELECT * FROM look WHERE looked_at_ms <= ? ORDER BY looked_at_ms DESC", (before_ms,)
        )
        for looked_at_ms, vector, *move in rows.fetchall():
            received = decode_vector(vector)
            if stable.covers(received):
                self._connection.execute("DELETE FROM look WHERE looked_at_ms < ?", (looked_at_ms,))
                epoch, ticks, actor = move
                last = None if epoch is None else Stamp(epoch, ticks, ActorId(actor))
                return Look(looked_at_ms, received, last)
        return None

    def forget_past(self, until_ms: int) -> None:
        """Forgets contents that were replaced up to a time: they are not known as old any more."""
        self._connection.execute(
            "DELETE FROM past_version WHERE replaced_at_ms BETWEEN 1 AND ?", (until_ms,)
        )

    def forget_past_of(self, nodes: Iterable[NodeId]) -> None:
        """Forgets what files held that are forgotten themselves."""
        self._connection.executemany(
            "DELETE FROM past_version WHERE node = ?", [(node,) for node in nodes]
        )
