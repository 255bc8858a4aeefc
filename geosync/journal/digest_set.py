"""A set of digests that need not fit into memory: a temporary database, which nobody else sees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

_MEMORY_KIB: Final = 4096  # what is beyond goes to a file that has no name


class DigestSet:
    """Kept by one thread, until `close`. Nothing of it outlives the process."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{_MEMORY_KIB}",
            "CREATE TABLE digest (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",  # for ever: there is nothing to commit for
        ):
            self._connection.execute(statement)

    def __iter__(self) -> Iterator[bytes]:
        """Yields the digests, sorted. Not to be mixed with changes."""
        return (row[0] for row in self._connection.execute("SELECT digest FROM digest"))

    def update(self, digests: Iterable[bytes]) -> None:
        """Adds digests, or some that are there already."""
        self._change("INSERT OR IGNORE INTO digest VALUES (?)", digests)

    def difference_update(self, digests: Iterable[bytes]) -> None:
        """Removes digests, or some that are not there."""
        self._change("DELETE FROM digest WHERE digest = ?", digests)

    def close(self) -> None:
        """Forgets all. Harmless when repeated."""
        self._connection.close()

    def _change(self, statement: str, digests: Iterable[bytes]) -> None:
        self._connection.executemany(statement, ((digest,) for digest in digests))
