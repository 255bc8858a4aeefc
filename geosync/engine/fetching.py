"""Fetching: brings contents from the store, and from what is on this machine already."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from conflict.content import Block, ChunkReference, Content, Zeros
from conflict.errors import GeosyncError
from geosync.engine.lost_chunks import LostChunks
from geosync.engine.replaced_file import Missing, ReplacedFile
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from transport.errors import CorruptObject, ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.pack import ChunkLocation, read_chunk

RANGE_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
RANGE_GAP_BYTES_MAX: Final = 64 * 1024  # read over rather than asked for in two requests
WINDOW_SIZE_BYTES: Final = 32 * 1024 * 1024  # of a large file, held in memory at once
STATE_RESERVE_BYTES: Final = 64 * 1024 * 1024  # of the state directory's disk, for the journal
LARGE_SIZE_BYTES: Final = 8 * 1024 * 1024  # from here on, downloads go on where they stopped


class ContentUnavailable(GeosyncError):
    """A content can't be had now; the text says why. It is tried again."""


@dataclass(frozen=True, slots=True)
class _Range:
    """A part of a pack with some of the chunks that are wanted."""

    pack: str
    offset_bytes: int
    size_bytes: int
    chunks: tuple[tuple[bytes, ChunkLocation], ...]


@dataclass(frozen=True, slots=True)
class _RangeResult:
    chunks: dict[bytes, bytes]
    errors: dict[bytes, GeosyncError]


class Fetcher:
    """Gathers chunks in memory, or, for large files, in a download that survives a restart.

    Attributes:
        lost: the chunks that were at none of their places.
    """

    def __init__(self, site: Site, spool: Spool) -> None:
        self.lost = LostChunks()
        self._site = site
        self._spool = spool
        self._chunks: dict[bytes, bytes] = {}
        self._errors: dict[bytes, GeosyncError] = {}
        self._downloads = os.path.join(site.state_dir, b"downloads")
        self._make_directory()

    def prefetch(self, contents: Iterable[Content]) -> None:
        """Brings the chunks of small contents into memory, many with one request."""
        wanted = {
            chunk.digest: chunk
            for content in contents
            if not _is_large(content)
            for chunk in content.chunks
            if not chunk.is_hole
        }
        self._bring(wanted.values())

    def forget(self) -> None:
        """Frees the memory."""
        self._chunks.clear()
        self._errors.clear()

    def blocks(self, content: Content, replaced: ReplacedFile | None = None) -> Iterator[Block]:
        """Yields a regular file's bytes in order, and its holes.

        Args:
            content: of the file.
            replaced: a file that may have a part of it.

        Raises:
            ContentUnavailable: some of it can't be had now.
            OSError: the state directory is full.
        """
        if not _is_large(content):
            for chunk in content.chunks:
                yield Zeros(chunk.size_bytes) if chunk.is_hole else self._chunk(chunk)
            return
        self._make_directory()
        path = self._download_path(content)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._download(content, descriptor, replaced)
            for offset, chunk in _with_offsets(content):
                if chunk.is_hole:
                    yield Zeros(chunk.size_bytes)
                else:
                    yield os.pread(descriptor, chunk.size_bytes, offset)
        finally:
            os.close(descriptor)

    def finish_download(self, content: Content) -> None:
        """Removes the download of a large file that is in place now."""
        path = self._download_path(content)
        if _is_large(content) and os.path.exists(path):
            os.unlink(path)

    def discard_downloads(self) -> None:
        """Removes what was begun for versions that nobody wants any more; for when all is done."""
        self._make_directory()
        for name in os.listdir(self._downloads):
            os.unlink(os.path.join(self._downloads, name))

    def _make_directory(self) -> None:
        """Makes the directory of downloads, also after somebody has removed it."""
        os.makedirs(self._downloads, mode=0o700, exist_ok=True)

    def _download_path(self, content: Content) -> bytes:
        return os.path.join(self._downloads, content.digest.hex().encode())

    def _download(self, content: Content, descriptor: int, replaced: ReplacedFile | None) -> None:
        """Fills a file with the content, keeping what an interrupted run left there intact."""
        missing: Missing = list(self._missing(content, descriptor))
        if replaced is not None and missing:
            missing = replaced.copy_to(descriptor, missing, self._site)
        prefetched = dict(self._chunks)
        os.ftruncate(descriptor, content.size_bytes)
        for window in _windows(missing):
            _require_room(descriptor, sum(chunk.size_bytes for _, chunk in window))
            self._bring(chunk for _, chunk in window)
            # What came is kept even when some did not: the next attempt asks for the rest only.
            came = [(offset, chunk) for offset, chunk in window if chunk.digest in self._chunks]
            for offset, chunk in came:
                os.pwrite(descriptor, self._chunk(chunk), offset)
            if len(came) < len(window):
                raise self._unavailable(next(c for _, c in window if c.digest not in self._chunks))
            self._chunks = dict(prefetched)

    def _missing(self, content: Content, descriptor: int) -> Iterator[tuple[int, ChunkReference]]:
        is_fresh = os.fstat(descriptor).st_size == 0
        for offset, chunk in _with_offsets(content):
            if chunk.is_hole:
                continue
            if is_fresh:
                yield offset, chunk
                continue
            there = os.pread(descriptor, chunk.size_bytes, offset)
            if self._site.hasher.chunk_digest(there) != chunk.digest:
                yield offset, chunk

    def _chunk(self, chunk: ChunkReference) -> bytes:
        found = self._chunks.get(chunk.digest)
        if found is None:
            raise self._unavailable(chunk)
        if len(found) != chunk.size_bytes:
            raise ContentUnavailable(
                f"chunk {chunk.digest.hex()[:16]} has {len(found)} bytes,"
                f" but the log says {chunk.size_bytes}"
            )
        return found

    def _unavailable(self, chunk: ChunkReference) -> ContentUnavailable:
        reason = self._errors.get(chunk.digest)
        return ContentUnavailable(str(reason) if reason else "its bytes are not in the store yet")

    def _bring(self, wanted: Iterable[ChunkReference]) -> None:
        places: dict[bytes, list[ChunkLocation]] = {}
        for chunk in wanted:
            if chunk.digest in self._chunks:
                continue
            inline = self._site.journal.chunks.inline_chunk(chunk.digest)
            if inline is not None:
                self._chunks[chunk.digest] = inline
            else:
                places[chunk.digest] = self._site.journal.chunks.locations(chunk.digest)
        while places:
            for digest in [digest for digest, known in places.items() if not known]:
                tried = frozenset(at.pack for at in self._site.journal.chunks.locations(digest))
                self.lost.note_lost(digest, tried, self._site.clock.monotonic_s())
            first = {digest: known.pop(0) for digest, known in places.items() if known}
            places = {digest: places[digest] for digest in self._bring_from(first)}

    def _bring_from(self, locations: dict[bytes, ChunkLocation]) -> list[bytes]:
        """Brings chunks from one place each; returns those that are not there.

        A store that can't tell, or still works on it, is no reason to ask for another place.
        """
        lost: list[bytes] = []
        for result in self._site.pool.map(self._read_range, list(_ranges(locations))):
            self._chunks.update(result.chunks)
            for digest in result.chunks:
                self.lost.note_found(digest)
            for digest, error in result.errors.items():
                self._errors.setdefault(digest, error)
                if isinstance(error, (ObjectNotVisible, CorruptObject)):
                    lost.append(digest)
        return lost

    def _read_range(self, wanted: _Range) -> _RangeResult:
        chunks: dict[bytes, bytes] = {}
        errors: dict[bytes, GeosyncError] = {}
        try:
            stored = self._stored(wanted)
        except (ObjectNotVisible, StoreUnavailable, StoreRefused, CorruptObject) as failure:
            return _RangeResult({}, {digest: failure for digest, _ in wanted.chunks})
        for digest, location in wanted.chunks:
            start = location.offset - wanted.offset_bytes
            piece = stored[start : start + location.stored_size_bytes]
            try:
                chunks[digest] = read_chunk(piece, location, digest, self._site.hasher)
            except CorruptObject as failure:
                errors[digest] = failure
        return _RangeResult(chunks, errors)

    def _stored(self, wanted: _Range) -> bytes:
        try:
            return self._spool.read_range(wanted.pack, wanted.offset_bytes, wanted.size_bytes)
        except FileNotFoundError:
            return self._site.store.get_range(wanted.pack, wanted.offset_bytes, wanted.size_bytes)


def _require_room(descriptor: int, size_bytes: int) -> None:
    """Keeps a download from filling the disk that the journal needs too."""
    space = os.fstatvfs(descriptor)
    if size_bytes + STATE_RESERVE_BYTES > space.f_bavail * space.f_frsize:
        raise OSError(
            errno.ENOSPC, "no room to download it to the state directory, where a reserve is kept"
        )


def _is_large(content: Content) -> bool:
    return content.data_size_bytes >= LARGE_SIZE_BYTES


def _with_offsets(content: Content) -> Iterator[tuple[int, ChunkReference]]:
    offset = 0
    for chunk in content.chunks:
        yield offset, chunk
        offset += chunk.size_bytes


def _windows(chunks: Missing) -> Iterator[list[tuple[int, ChunkReference]]]:
    """Divides what is missing of a file into windows of the file.

    They are the same windows however much of it has come already. So what a slow store could not
    give in time is asked for again by the same ranges, which it has by then.
    """
    for _, window in groupby(chunks, key=lambda missing: missing[0] // WINDOW_SIZE_BYTES):
        yield list(window)


def _ranges(locations: dict[bytes, ChunkLocation]) -> Iterator[_Range]:
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


def _range_of(group: list[tuple[bytes, ChunkLocation]]) -> _Range:
    start = group[0][1].offset
    end = max(location.offset + location.stored_size_bytes for _, location in group)
    return _Range(group[0][1].pack, start, end - start, tuple(group))
