"""Intake: reads files that hold still, cuts them into chunks and keeps those that are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from conflict.capture import StableContent
from conflict.content import HOLE_DIGEST, Block, ChunkReference, Content, ContentKind, Zeros
from conflict.observation import DiskEntry, DiskKind
from conflict.synced import Path
from geosync.disk.interface import EntryBusy, StableReader
from geosync.engine.places import NEVER_SEEN
from geosync.engine.reuse import Reuse
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from transport.hashing import VolumeHasher
from transport.object_names import pack_name
from transport.pack import ChunkLocation, Pack, PackWriter, store_chunk
from transport.segment import INLINE_CHUNK_SIZE_BYTES_MAX, INLINE_SIZE_BYTES_MAX
from transport.sparse_chunker import cut_sparse

BLOCK_SIZE_BYTES: Final = 1024 * 1024
JUDGED_SIZE_BYTES_MIN: Final = 256  # smaller contents compress too little to tell anything
JUDGED_CHUNKS_MAX: Final = 4


def entry_as_read(reader: StableReader) -> DiskEntry:
    """Returns the file that was read to its end.

    A change that follows soon may leave the fingerprint as it is, on a file system with coarse
    times. What was read then gets one that no file has, so that it is read again.
    """
    if reader.may_change_unseen:
        return replace(reader.entry, fingerprint=NEVER_SEEN)
    return reader.entry


def regular_content(hasher: VolumeHasher, chunks: Iterable[ChunkReference]) -> Content:
    """Returns the regular file that consists of these."""
    parts = tuple(chunks)
    digest = hasher.content_digest(ContentKind.REGULAR, parts)
    size_bytes = sum(chunk.size_bytes for chunk in parts)
    return Content(ContentKind.REGULAR, digest, size_bytes, parts)


class Intake:
    """Gathers the contents of one capture. `commit` belongs into the capture's transaction."""

    def __init__(self, site: Site, spool: Spool, *, is_keeping: bool = True) -> None:
        """Begins.

        Args:
            site: whose files are read.
            spool: for new chunks.
            is_keeping: new chunks are kept; else it is only told what the files hold.
        """
        self._is_keeping = is_keeping
        self._reuse = Reuse(site)
        self._site = site
        self._spool = spool
        self._number = site.journal.integer_setting("next_pack")
        self._writer: PackWriter | None = None
        self._packs: list[str] = []
        self._locations: dict[bytes, ChunkLocation] = {}
        self._inline: dict[bytes, bytes] = {}
        announced_later = site.journal.chunks.unannounced_inline().values()
        self._inline_room = INLINE_SIZE_BYTES_MAX - sum(map(len, announced_later))

    def take(self, path: Path, entry: DiskEntry, *, despite_writers: bool = False) -> StableContent:
        """Reads one file, symlink or FIFO.

        Args:
            path: where it is.
            entry: what was seen there.
            despite_writers: it is read although a program has it open for writing.

        Raises:
            EntryBusy, EntryVanished, EntryUnreadable: there is no version to be had now.
            OSError: the spool can't be written.
        """
        if entry.kind is DiskKind.SYMLINK:
            return StableContent(entry, self._symlink(entry.target))
        if entry.kind is DiskKind.FIFO:
            digest = self._site.hasher.content_digest(ContentKind.FIFO)
            return StableContent(entry, Content(ContentKind.FIFO, digest, 0))
        opened = self._site.disk.open_stable(
            joined(path), entry.handle, despite_writers=despite_writers
        )
        with opened as reader:
            return self.read(reader)

    def read(self, reader: StableReader) -> StableContent:
        """Reads a file that is open. Raises as `take`."""
        content = self._regular(reader)
        return StableContent(entry_as_read(reader), content)

    def take_retired(self, reader: StableReader) -> Content:
        """Reads a file that was taken from its name. Raises as `take`."""
        if reader.may_change_unseen:
            reason = "it was written a moment ago"
            raise EntryBusy(f"can't capture a displaced file yet: {reason}", reason)
        return self._regular(reader)

    def take_blocks(self, blocks: Iterable[Block]) -> Content:
        """Takes a regular file that is on no disk, block by block. Raises OSError."""
        return regular_content(self._site.hasher, self._kept(blocks))

    def keep(self, piece: Block) -> ChunkReference:
        """Keeps a chunk, or a hole, of a file that is cut elsewhere. Raises OSError."""
        if isinstance(piece, Zeros):
            return ChunkReference(HOLE_DIGEST, piece.size_bytes)
        digest = self._site.hasher.chunk_digest(piece)
        if self._is_keeping and not self._is_kept(digest):
            self._keep(digest, piece)
        return ChunkReference(digest, len(piece))

    def has(self, content: Content) -> bool:
        """Tells whether all of a content is kept where a new operation may refer to it."""
        return all(chunk.is_hole or self._is_kept(chunk.digest) for chunk in content.chunks)

    def stored_share(self, content: Content) -> float | None:
        """Returns how much of a content's size is left when it is compressed.

        Judged by its first chunks. None where nobody can tell: of small contents, of such as were
        never stored, and of what is no regular file.
        """
        if content.size_bytes < JUDGED_SIZE_BYTES_MIN:
            return None
        size_bytes = stored_size_bytes = 0
        for chunk in content.chunks[:JUDGED_CHUNKS_MAX]:
            stored = self._stored_size_bytes(chunk.digest)
            if stored is not None:
                size_bytes += chunk.size_bytes
                stored_size_bytes += stored
        return stored_size_bytes / size_bytes if size_bytes else None

    def _stored_size_bytes(self, digest: bytes) -> int | None:
        chunks = self._site.journal.chunks
        inline = self._inline.get(digest) or chunks.inline_chunk(digest)
        if inline is not None:
            return len(store_chunk(inline))
        location = self._locations.get(digest) or chunks.location(digest)
        return location.stored_size_bytes if location is not None else None

    @property
    def has_news(self) -> bool:
        """Tells whether anything was read of which no chunk was known before."""
        return bool(self._locations or self._inline)

    def finish_packs(self) -> None:
        """Makes all that was gathered durable. Raises OSError."""
        self._finish_pack()

    def commit(self, *, is_ahead: bool = False) -> None:
        """Tells the journal what was gathered; after `finish_packs`, in a transaction.

        Args:
            is_ahead: it is a part of a large file that is captured later.
        """
        journal = self._site.journal
        for name in self._packs:
            journal.chunks.add_pack(name, is_ahead=is_ahead)
        journal.chunks.add_locations(self._locations, is_announced=False)
        journal.chunks.add_inline(self._inline, is_announced=False)
        journal.set_setting("next_pack", self._number)

    def _symlink(self, target: bytes) -> Content:
        digest = self._site.hasher.content_digest(ContentKind.SYMLINK, target=target)
        return Content(ContentKind.SYMLINK, digest, len(target), target=target)

    def _regular(self, reader: StableReader) -> Content:
        return self.take_blocks(reader.sparse_blocks(BLOCK_SIZE_BYTES))

    def _kept(self, blocks: Iterable[Block]) -> Iterator[ChunkReference]:
        """Keeps each chunk as it is read.

        CRASH: chunks of a file that turns out to be torn stay in the pack; nothing refers to them.
        """
        return map(self.keep, cut_sparse(blocks))

    def _is_kept(self, digest: bytes) -> bool:
        here = digest in self._locations or digest in self._inline
        return here or self._reuse.is_kept(digest)

    def _keep(self, digest: bytes, chunk: bytes) -> None:
        if len(chunk) <= min(INLINE_CHUNK_SIZE_BYTES_MAX, self._inline_room):
            self._inline[digest] = chunk
            self._inline_room -= len(chunk)
            return
        stored = store_chunk(chunk)
        if self._writer is None:
            self._writer = PackWriter(pack_name(self._site.actor, self._number))
            self._number += 1
        self._locations[digest] = self._writer.add(digest, stored)
        if self._writer.is_full:
            self._finish_pack()

    def _finish_pack(self) -> None:
        if self._writer is None:
            return
        pack: Pack = self._writer.finish()
        self._spool.write(pack.name, pack.body)
        self._packs.append(pack.name)
        self._writer = None
