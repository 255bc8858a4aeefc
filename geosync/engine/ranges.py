"""Ranges: parts of packs with several chunks each, and the reading of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conflict.errors import GeosyncError
from geosync.engine.ahead import Ahead
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from transport.errors import CorruptObject, ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.pack import ChunkLocation, read_chunk

RANGE_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
RANGE_GAP_BYTES_MAX: Final = 64 * 1024  # read over rather than asked for in two requests


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a pack with some of the chunks that are wanted."""

    pack: str
    offset_bytes: int
    size_bytes: int
    chunks: tuple[tuple[bytes, ChunkLocation], ...]


@dataclass(frozen=True, slots=True)
class RangeResult:
    """What came of a range: chunks, and why the others did not come, by digest."""

    chunks: dict[bytes, bytes]
    errors: dict[bytes, GeosyncError]


class RangeReader:
    """Reads ranges from this machine, or from the store. Any thread may use it."""

    def __init__(self, site: Site, spool: Spool, ahead: Ahead) -> None:
        self._site = site
        self._spool = spool
        self._ahead = ahead

    def read(self, wanted: Range) -> RangeResult:
        """Returns chunks that are certainly those that were stored."""
        brought = self._ahead.read_range(wanted.pack, wanted.offset_bytes, wanted.size_bytes)
        if brought is not None:
            result = self._taken_apart(wanted, brought)
            if not result.errors:
                return result
            self._ahead.discard(wanted.pack)  # damaged here; the store has what it has
        try:
            return self._taken_apart(wanted, self._stored(wanted))
        except (ObjectNotVisible, StoreUnavailable, StoreRefused, CorruptObject) as failure:
            return RangeResult({}, {digest: failure for digest, _ in wanted.chunks})

    def _taken_apart(self, wanted: Range, stored: bytes) -> RangeResult:
        chunks: dict[bytes, bytes] = {}
        errors: dict[bytes, GeosyncError] = {}
        for digest, location in wanted.chunks:
            start = location.offset - wanted.offset_bytes
            piece = stored[start : start + location.stored_size_bytes]
            try:
                chunks[digest] = read_chunk(piece, location, digest, self._site.hasher)
            except CorruptObject as failure:
                errors[digest] = failure
        return RangeResult(chunks, errors)

    def _stored(self, wanted: Range) -> bytes:
        try:
            return self._spool.read_range(wanted.pack, wanted.offset_bytes, wanted.size_bytes)
        except FileNotFoundError:
            return self._site.store.get_range(wanted.pack, wanted.offset_bytes, wanted.size_bytes)


def ranges(locations: Mapping[bytes, ChunkLocation]) -> Iterator[Range]:
    """Joins chunks that lie close together in one pack into ranges of a bounded size."""
    ordered = sorted(locations.items(), key=lambda item: (item[1].pack, item[1].offset))
    group: list[tuple[bytes, ChunkLocation]] = []
    for digest, location in ordered:
        if group and not _fits(group, location):
            yield _range_of(group)
            group = []
        group.append((digest, location))
    if group:
        yield _range_of(group)


def _fits(group: list[tuple[bytes, ChunkLocation]], location: ChunkLocation) -> bool:
    first, last = group[0][1], group[-1][1]
    end = location.offset + location.stored_size_bytes
    gap = location.offset - (last.offset + last.stored_size_bytes)
    is_close = location.pack == first.pack and gap <= RANGE_GAP_BYTES_MAX
    return is_close and end - first.offset <= RANGE_SIZE_BYTES_MAX


def _range_of(group: list[tuple[bytes, ChunkLocation]]) -> Range:
    start = group[0][1].offset
    end = max(location.offset + location.stored_size_bytes for _, location in group)
    return Range(group[0][1].pack, start, end - start, tuple(group))
