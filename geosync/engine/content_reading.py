"""Reading one content for a person: from the journal, the spool or the store, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

from conflict.content import ChunkReference, Content
from geosync.engine.spool import Spool
from geosync.errors import OperatorError
from geosync.journal.chunks import JournalChunks
from transport.errors import CorruptObject, ObjectNotVisible
from transport.hashing import VolumeHasher
from transport.object_store import ObjectStore
from transport.pack import ChunkLocation, read_chunk


class ContentReader:
    """Reads contents that the journal knows of, also while a daemon uses it."""

    def __init__(
        self, chunks: JournalChunks, spool: Spool, store: ObjectStore, hasher: VolumeHasher
    ) -> None:
        self._chunks = chunks
        self._spool = spool
        self._store = store
        self._hasher = hasher

    def blocks(self, content: Content) -> Iterator[bytes]:
        """Yields a regular file's bytes in order, holes as zeros; of a symlink its target.

        Raises:
            OperatorError: some of it is not to be had now.
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        if content.target:
            yield content.target
        for chunk in content.chunks:
            yield bytes(chunk.size_bytes) if chunk.is_hole else self._chunk(chunk)

    def _chunk(self, chunk: ChunkReference) -> bytes:
        inline = self._chunks.inline_chunk(chunk.digest)
        if inline is not None:
            return inline
        why = "no site has told where it is in the store"
        for location in self._chunks.locations(chunk.digest):
            try:
                stored = self._stored(location)
                return read_chunk(stored, location, chunk.digest, self._hasher)
            except (ObjectNotVisible, CorruptObject) as error:
                why = str(error)
        raise OperatorError(
            f"a part of this content can't be read: {why}. It may be on its way; try again in a"
            " minute, and if it stays so, look with: geosync verify"
        )

    def _stored(self, at: ChunkLocation) -> bytes:
        try:
            return self._spool.read_range(at.pack, at.offset, at.stored_size_bytes)
        except FileNotFoundError:
            return self._store.get_range(at.pack, at.offset, at.stored_size_bytes)
