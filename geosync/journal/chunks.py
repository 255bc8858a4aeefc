"""Where chunks are, in the journal: in packs of the store, or inline in segments."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from transport.pack import ChunkLocation

_TO_ANNOUNCE: Final = (
    " FROM chunk WHERE is_announced = 0"
    " AND pack NOT IN (SELECT name FROM pack WHERE is_stored = 0) ORDER BY turn"
)


class JournalChunks:
    """Reads and writes at once; the journal's transactions make changes one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def is_known(self, digest: bytes) -> bool:
        """Tells whether the chunk's bytes are kept somewhere, so that they need not be sent."""
        found = self._connection.execute(
            "SELECT 1 FROM chunk WHERE digest = ?"
            " UNION ALL SELECT 1 FROM inline_chunk WHERE digest = ?",
            (digest, digest),
        ).fetchone()
        return found is not None

    def location(self, digest: bytes) -> ChunkLocation | None:
        """Returns where the chunk is looked for first, None when no pack is known to have it."""
        known = self.locations(digest)
        return known[0] if known else None

    def locations(self, digest: bytes) -> list[ChunkLocation]:
        """Returns all places that were announced; the latest first: it may be a repair."""
        rows = self._connection.execute(
            "SELECT pack, offset_bytes, stored_size_bytes, size_bytes FROM chunk WHERE digest = ?"
            " ORDER BY turn DESC",
            (digest,),
        )
        return [ChunkLocation(*row) for row in rows]

    def inline_chunk(self, digest: bytes) -> bytes | None:
        """Returns the plain bytes of a chunk that travelled in a segment."""
        row = self._connection.execute(
            "SELECT chunk FROM inline_chunk WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else row[0]

    def all_announced(self) -> Iterator[tuple[bytes, ChunkLocation]]:
        """Yields all places of chunks that a segment told of, by digest, the oldest first."""
        rows = self._connection.execute(
            "SELECT digest, pack, offset_bytes, stored_size_bytes, size_bytes FROM chunk"
            " WHERE is_announced = 1 ORDER BY digest, turn"
        )
        return ((digest, ChunkLocation(*rest)) for digest, *rest in rows)

    def inline_only(self) -> Iterator[tuple[bytes, bytes]]:
        """Yields the inline chunks that no pack is known to have, by digest."""
        return self._connection.execute(
            "SELECT digest, chunk FROM inline_chunk WHERE is_announced = 1"
            " AND digest NOT IN (SELECT digest FROM chunk WHERE is_announced = 1)"
            " ORDER BY digest"
        )

    def add_locations(
        self, locations: Mapping[bytes, ChunkLocation], *, is_announced: bool
    ) -> None:
        """Remembers locations, beside others that are known: a pack may be lost or damaged."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
            " (SELECT coalesce(max(turn) + 1, 0) FROM chunk WHERE digest = ?1))",
            [
                (
                    digest,
                    at.pack,
                    at.offset,
                    at.stored_size_bytes,
                    at.size_bytes,
                    int(is_announced),
                )
                for digest, at in locations.items()
            ],
        )

    def add_inline(self, chunks: Mapping[bytes, bytes], *, is_announced: bool) -> None:
        """Keeps small chunks."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO inline_chunk VALUES (?, ?, ?)",
            [(digest, chunk, int(is_announced)) for digest, chunk in chunks.items()],
        )

    def unannounced_locations(self) -> dict[bytes, ChunkLocation]:
        """Returns our new chunks in packs that the store has, and no segment of ours tells of."""
        rows = self._connection.execute(
            "SELECT digest, pack, offset_bytes, stored_size_bytes, size_bytes" + _TO_ANNOUNCE
        )
        return {digest: ChunkLocation(*rest) for digest, *rest in rows}

    def unannounced_size_bytes(self) -> int:
        """Returns how much these are, as they are stored."""
        found: int = self._connection.execute(
            "SELECT coalesce(sum(stored_size_bytes), 0)" + _TO_ANNOUNCE
        ).fetchone()[0]
        return found

    def unannounced_packs(self) -> set[str]:
        """Returns the packs of ours, stored or not, of which no segment tells all."""
        rows = self._connection.execute("SELECT DISTINCT pack FROM chunk WHERE is_announced = 0")
        return {pack for (pack,) in rows}

    def unannounced_inline(self) -> dict[bytes, bytes]:
        """Returns our new inline chunks that no segment of ours holds yet."""
        rows = self._connection.execute(
            "SELECT digest, chunk FROM inline_chunk WHERE is_announced = 0"
        )
        return dict(rows.fetchall())

    def mark_announced(
        self, locations: Mapping[bytes, ChunkLocation], inline: Iterable[bytes]
    ) -> None:
        """Remembers that a segment of ours tells of these chunks, at these places."""
        self._connection.executemany(
            "UPDATE chunk SET is_announced = 1 WHERE digest = ? AND pack = ?",
            [(digest, at.pack) for digest, at in locations.items()],
        )
        self._connection.executemany(
            "UPDATE inline_chunk SET is_announced = 1 WHERE digest = ?", [(d,) for d in inline]
        )

    def add_pack(self, name: str, *, is_ahead: bool = False) -> None:
        """Remembers a pack that the spool holds and the store does not yet.

        Args:
            name: of the pack.
            is_ahead: it is of a large file that is read before it is captured.
        """
        self._connection.execute("INSERT INTO pack VALUES (?, 0, ?)", (name, int(is_ahead)))

    def packs_to_store(self) -> list[str]:
        """Returns the packs that the store has not acknowledged, oldest first."""
        rows = self._connection.execute("SELECT name FROM pack WHERE is_stored = 0 ORDER BY name")
        return [name for (name,) in rows]

    def packs_ahead(self) -> set[str]:
        """Returns the packs of large files that are read before they are captured, stored or not.

        Nothing refers to them yet: these files will.
        """
        return {n for (n,) in self._connection.execute("SELECT name FROM pack WHERE is_ahead = 1")}

    def release_ahead(self) -> None:
        """Says that no large file is being read: whatever needs a pack that is stored refers to it.

        What is not stored yet stays what it is, so that no segment waits for it.
        """
        self._connection.execute(
            "UPDATE pack SET is_ahead = 0 WHERE is_ahead = 1 AND is_stored = 1"
        )

    def locations_in(self, name: str) -> dict[bytes, ChunkLocation]:
        """Returns the chunks of a pack."""
        rows = self._connection.execute(
            "SELECT digest, pack, offset_bytes, stored_size_bytes, size_bytes FROM chunk"
            " WHERE pack = ?",
            (name,),
        )
        return {digest: ChunkLocation(*rest) for digest, *rest in rows}

    def forget_pack(self, name: str) -> None:
        """Forgets a pack that is gone; what only it had counts as never seen."""
        self._connection.execute("DELETE FROM chunk WHERE pack = ?", (name,))
        self._connection.execute("DELETE FROM pack WHERE name = ?", (name,))

    def forget_places(self, places: Iterable[tuple[bytes, str]]) -> None:
        """Forgets that chunks are in packs: digest and pack of each."""
        self._connection.executemany("DELETE FROM chunk WHERE digest = ? AND pack = ?", places)

    def mark_pack_stored(self, name: str) -> None:
        """Remembers that the store acknowledged a pack."""
        self._connection.execute("UPDATE pack SET is_stored = 1 WHERE name = ?", (name,))

    def packs(self) -> list[str]:
        """Returns all packs of ours, stored or not."""
        return [n for (n,) in self._connection.execute("SELECT name FROM pack ORDER BY name")]
