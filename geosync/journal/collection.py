"""What the journal keeps for collecting garbage: silence, replaced versions, doomed packs."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from conflict.node import Version
from conflict.operations import NodeId, id_of
from conflict.version import ActorId
from geosync.journal.records import unpack_version

NEVER_MS: Final = 2**62
_IS_ELSEWHERE = """
EXISTS (
    SELECT 1 FROM chunk o WHERE o.digest = c.digest AND (?3 OR o.pack > c.pack)
    AND o.pack <> c.pack AND o.is_announced = 1
    AND o.pack NOT IN (SELECT pack FROM temp.forbidden)
)
"""
_NEEDED = f"""
SELECT c.pack, count(*), sum(c.stored_size_bytes),
       sum(CASE WHEN l.digest IS NULL OR {_IS_ELSEWHERE} THEN 0 ELSE c.stored_size_bytes END)
FROM chunk c LEFT JOIN temp.live_chunk l ON l.digest = c.digest
WHERE c.pack >= ?1 AND c.pack < ?2 GROUP BY c.pack
"""  # noqa: S608 - no input
_NEEDED_CHUNKS = f"""
SELECT c.digest FROM chunk c JOIN temp.live_chunk l ON l.digest = c.digest
WHERE c.pack = ?1 AND ?2 AND NOT {_IS_ELSEWHERE} ORDER BY c.digest
"""  # noqa: S608 - no input


@dataclass(frozen=True, slots=True)
class Awaited:
    """An actor that has not told yet that it has an operation of ours."""

    actor: ActorId
    counter: int
    silent_ms: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """A version that no file shows any more."""

    node: NodeId
    version: Version
    replaced_at_ms: int


@dataclass(frozen=True, slots=True)
class PackUse:
    """How much of a pack is still needed. Sizes in bytes, as stored."""

    pack: str
    chunk_count: int
    size_bytes: int
    needed_size_bytes: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """A pack that is to be deleted, or was."""

    pack: str
    size_bytes: int
    due_ms: int
    deletions: int

    @property
    def is_over(self) -> bool:
        """Tells whether it was deleted as often as it is to be."""
        return self.due_ms >= NEVER_MS


class JournalCollection:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # Silence

    def awaited(self) -> dict[ActorId, Awaited]:
        """Returns whose word is missing."""
        rows = self._connection.execute("SELECT actor, counter, silent_ms FROM awaited")
        return {ActorId(a): Awaited(ActorId(a), counter, ms) for a, counter, ms in rows}

    def set_awaited(self, actor: ActorId, awaited: Awaited | None) -> None:
        """Keeps it; None: the word was given."""
        if awaited is None:
            self._connection.execute("DELETE FROM awaited WHERE actor = ?", (actor,))
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO awaited VALUES (?, ?, ?)",
                (actor, awaited.counter, awaited.silent_ms),
            )

    # Replaced versions

    def note_replaced(self, now_ms: int) -> None:
        """Gives those that were just replaced their time, and those that a wrong clock put on."""
        self._connection.execute(
            "UPDATE replaced SET replaced_at_ms = ?1"
            " WHERE replaced_at_ms = 0 OR replaced_at_ms > ?1",
            (max(1, now_ms),),
        )

    def forget_replaced(self, before_ms: int) -> None:
        """Forgets what was replaced before a time."""
        self._connection.execute(
            "DELETE FROM replaced WHERE replaced_at_ms BETWEEN 1 AND ?", (before_ms - 1,)
        )

    def replaced(self, node: NodeId) -> list[Replaced]:
        """Returns what a file once held, as far as it is kept; in no particular order."""
        rows = self._connection.execute(
            "SELECT record, replaced_at_ms FROM replaced WHERE node = ?", (node,)
        )
        return [Replaced(node, unpack_version(record), at) for record, at in rows]

    def count_replaced(self) -> int:
        """Returns how many versions are kept."""
        found: int = self._connection.execute("SELECT count(*) FROM replaced").fetchone()[0]
        return found

    def all_replaced(self) -> Iterator[Version]:
        """Yields all that is kept."""
        rows = self._connection.execute("SELECT record FROM replaced")
        return (unpack_version(record) for (record,) in rows)

    def forget_shown(self, node: NodeId, versions: Iterable[Version]) -> None:
        """Forgets of versions that they were replaced: somebody sees them."""
        self._connection.executemany(
            "DELETE FROM replaced WHERE node = ? AND version = ?",
            [(node, id_of(version.dot)) for version in versions],
        )

    # What is live

    def begin_looking(self) -> None:
        """Begins to gather which chunks are live."""
        for table in ("live_chunk (digest BLOB", "forbidden (pack TEXT"):
            name = table.partition(" ")[0]
            self._connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
            self._connection.execute(f"CREATE TEMP TABLE {table} PRIMARY KEY) WITHOUT ROWID")

    def add_live(self, digests: Iterable[bytes]) -> None:
        """Says that chunks are live."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO temp.live_chunk VALUES (?)", [(each,) for each in digests]
        )

    def packs_of(self, prefix: str) -> list[str]:
        """Returns the packs whose names begin so and that are known to hold anything, sorted."""
        rows = self._connection.execute(
            "SELECT DISTINCT pack FROM chunk WHERE pack >= ? AND pack < ? ORDER BY pack",
            (prefix, prefix + "~"),
        )
        return [pack for (pack,) in rows]

    def uses(
        self, prefix: str, forbidden: Collection[str], *, is_any_other_better: bool
    ) -> list[PackUse]:
        """Returns how much is needed of each pack whose name begins so, sorted by name.

        A chunk is not needed where a better place of it is known: in a pack with a higher name,
        or in any other one. Places in `forbidden` don't count. All owners must agree on what is
        better; each would otherwise leave the chunk to the other, and take it back, for ever.
        """
        self._connection.execute("DELETE FROM temp.forbidden")
        self._connection.executemany(
            "INSERT INTO temp.forbidden VALUES (?)", [(pack,) for pack in sorted(forbidden)]
        )
        rows = self._connection.execute(_NEEDED, (prefix, prefix + "~", is_any_other_better))
        return [PackUse(*row) for row in rows]

    def needed_chunks_in(self, pack: str, *, is_any_other_better: bool) -> list[bytes]:
        """Returns the chunks of a pack that are needed, as `uses` says, which comes before."""
        rows = self._connection.execute(_NEEDED_CHUNKS, (pack, True, is_any_other_better))
        return [digest for (digest,) in rows]

    # Doomed packs

    def doomed(self) -> list[Doomed]:
        """Returns all packs that are to be deleted or were, sorted by name."""
        rows = self._connection.execute("SELECT * FROM doomed ORDER BY pack")
        return [Doomed(*row) for row in rows]

    def save_doomed(self, doomed: Doomed) -> None:
        """Adds or replaces one."""
        self._connection.execute(
            "INSERT OR REPLACE INTO doomed VALUES (?, ?, ?, ?)",
            (doomed.pack, doomed.size_bytes, doomed.due_ms, doomed.deletions),
        )

    def forget_doomed(self, pack: str) -> None:
        """Forgets one that is gone for good."""
        self._connection.execute("DELETE FROM doomed WHERE pack = ?", (pack,))
