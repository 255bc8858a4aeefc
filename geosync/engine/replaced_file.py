"""The file that a new version replaces, as a source of what both versions have in common.

Of a large file of which a few bytes changed, only the chunks around these come from the store.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conflict.content import ChunkReference, Content, Zeros
from conflict.synced import Path
from geosync.disk.interface import DiskError
from geosync.engine.site import Site, joined
from transport.sparse_chunker import cut_sparse

_BLOCK_SIZE_BYTES: Final = 1024 * 1024

Missing = Sequence[tuple[int, ChunkReference]]  # offset in the new version, and what belongs there


@dataclass(frozen=True, slots=True)
class ReplacedFile:
    """A regular file on this disk, with the content that it is believed to have."""

    path: Path
    handle: bytes
    content: Content

    def copy_to(self, descriptor: int, missing: Missing, site: Site) -> Missing:
        """Writes what this file has of a new version into it; returns what is missing still.

        RACE: a program may write to the file, or replace it, meanwhile. Every chunk that is used
        has the digest of the one that is wanted, so it does not matter what else is read.

        Raises:
            OSError: the new version can't be written.
        """
        offsets: dict[bytes, list[int]] = defaultdict(list)
        for offset, chunk in missing:
            offsets[chunk.digest].append(offset)
        if offsets.keys().isdisjoint(chunk.digest for chunk in self.content.chunks):
            return missing
        copied: set[bytes] = set()
        try:
            opened = site.disk.open_stable(joined(self.path), self.handle, despite_writers=True)
            with opened as reader:
                for piece in cut_sparse(reader.sparse_blocks(_BLOCK_SIZE_BYTES)):
                    if isinstance(piece, Zeros):
                        continue
                    digest = site.hasher.chunk_digest(piece)
                    if digest in offsets and digest not in copied:
                        copied.add(digest)
                        for offset in offsets[digest]:
                            os.pwrite(descriptor, piece, offset)
        except DiskError:
            pass  # what was copied until then is as good
        return [(offset, chunk) for offset, chunk in missing if chunk.digest not in copied]
