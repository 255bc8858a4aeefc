"""A set of digests that need not fit into memory: a database without a name, for one process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

_NAME: Final = b"digests"
_MEMORY_KIB: Final = 4096  # what is beyond goes to the file


class DigestSet:
    """Kept by one thread, until `close`. Nothing of it outlives the process."""

    def __init__(self, state_dir: bytes) -> None:
        """Makes it on the disk of the journal, of which an operator knows that it takes space.

        CRASH: its file, still empty, is left; the next one takes its place.
        """
        path = os.path.join(state_dir, _NAME)
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{_MEMORY_KIB}",
            "CREATE TABLE digest (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",  # for ever: there is nothing to commit for
        ):
            self._connection.execute(statement)
        os.unlink(path)

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
