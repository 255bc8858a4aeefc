"""Gathering: the chunks of the small contents of one batch, brought with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final

from conflict.content import Content
from conflict.errors import GeosyncError
from geosync.engine.lost_chunks import LostChunks
from geosync.engine.ranges import Range, RangeReader, RangeResult, ranges
from geosync.engine.site import Site
from transport.errors import CorruptObject, ObjectNotVisible
from transport.pack import ChunkLocation

BEGUN_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024  # in memory besides what is worked on


class Gathering:
    """Brings chunks into memory, each from the first of its places that has it.

    Attributes:
        chunks: what is here, by digest.
        errors: why the others are not, by digest.
    """

    def __init__(
        self, site: Site, reader: RangeReader, lost: LostChunks, contents: Iterable[Content]
    ) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self.errors: dict[bytes, GeosyncError] = {}
        self._site = site
        self._reader = reader
        self._lost = lost
        self._places: dict[bytes, list[ChunkLocation]] = {}
        self._begun: dict[Range, Future[RangeResult]] = {}
        self._look_up(
            dict.fromkeys(c.digest for each in contents for c in each.chunks if not c.is_hole)
        )

    def begin(self) -> None:
        """Brings as much as memory allows while the caller does something else."""
        size_bytes = 0
        for each in ranges(self._first_places()):
            size_bytes += each.size_bytes
            if size_bytes > BEGUN_SIZE_BYTES_MAX:
                return
            self._begun[each] = self._site.pool.begin(self._reader.read, each)

    def finish(self) -> None:
        """Waits until everything was asked for at all of its places."""
        while self._places:
            for digest in [digest for digest, known in self._places.items() if not known]:
                tried = frozenset(at.pack for at in self._site.journal.chunks.locations(digest))
                self._lost.note_lost(digest, tried, self._site.clock.monotonic_s())
            lost = self._bring_from(self._first_places())
            self._places = {digest: self._places[digest][1:] for digest in lost}

    def give_up(self) -> None:
        """Brings nothing any more."""
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()

    def _look_up(self, digests: Iterable[bytes]) -> None:
        chunks = self._site.journal.chunks
        for digest in digests:
            inline = chunks.inline_chunk(digest)
            if inline is not None:
                self.chunks[digest] = inline
            else:
                self._places[digest] = chunks.locations(digest)

    def _first_places(self) -> dict[bytes, ChunkLocation]:
        return {digest: known[0] for digest, known in self._places.items() if known}

    def _bring_from(self, locations: Mapping[bytes, ChunkLocation]) -> list[bytes]:
        """Brings chunks from one place each; returns those that are not there.

        A store that can't tell, or still works on it, is no reason to ask for another place.
        """
        lost: list[bytes] = []
        for result in self._site.pool.map(self._read, list(ranges(locations))):
            self.chunks.update(result.chunks)
            for digest in result.chunks:
                self._lost.note_found(digest)
            for digest, error in result.errors.items():
                self.errors.setdefault(digest, error)
                if isinstance(error, (ObjectNotVisible, CorruptObject)):
                    lost.append(digest)
        return lost

    def _read(self, wanted: Range) -> RangeResult:
        """Reads a range, or takes what was begun; what has not begun by now is not waited for."""
        begun = self._begun.pop(wanted, None)
        if begun is None or begun.cancel():
            return self._reader.read(wanted)
        return begun.result()
