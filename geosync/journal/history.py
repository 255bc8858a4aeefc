"""What files once held, and hold no more: it is recognised as old where it turns up again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from conflict.checkpoint import PastVersion
from conflict.operations import NodeId, dot_of, id_of


class JournalHistory:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_all(self, versions: Iterable[PastVersion]) -> None:
        """Keeps versions that were replaced; what is there already stays."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO past_version (node, digest, version, written_at_ms)"
            " VALUES (?, ?, ?, ?)",
            [(v.node, v.digest, id_of(v.dot), v.written_at_ms) for v in versions],
        )

    def all(self) -> Iterator[PastVersion]:
        """Yields all of it, sorted by node, digest and dot."""
        rows = self._connection.execute(
            "SELECT node, digest, version, written_at_ms FROM past_version"
            " ORDER BY node, digest, version"
        )
        return (PastVersion(NodeId(n), digest, dot_of(dot), at) for n, digest, dot, at in rows)

    def clear(self) -> None:
        """Forgets all of it."""
        self._connection.execute("DELETE FROM past_version")

    def count(self) -> int:
        """Returns how many there are."""
        found: int = self._connection.execute("SELECT count(*) FROM past_version").fetchone()[0]
        return found
