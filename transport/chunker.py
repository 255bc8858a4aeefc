"""Cuts a stream of bytes into chunks whose boundaries depend on nothing but the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import pyfastcdc  # noqa: TID251 - its home

from conflict.errors import GeosyncError

# Other numbers mean other boundaries: every large file would be stored once more.
WHOLE_FILE_SIZE_BYTES_MAX = 256 * 1024 - 1
CHUNK_SIZE_BYTES_MIN = 128 * 1024
CHUNK_SIZE_BYTES_AVERAGE = 512 * 1024
CHUNK_SIZE_BYTES_MAX = 2 * 1024 * 1024
NORMALIZATION: Final = 2


class ChunkerUnavailableError(GeosyncError):
    """The compiled chunker is missing."""


def cut(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the chunks of a file that is read block by block.

    A file below 256 KiB is one chunk, an empty one has none. A larger one is cut by FastCDC with
    normalized chunking (Xia et al., "The Design of Fast Content-Defined Chunking", 2020); its last
    chunk may be smaller than the minimum. How the blocks are split makes no difference. At most
    6 MiB are held besides the current block. Nothing is mapped, since a live file that shrinks
    under a mapping kills the process.

    Raises:
        ChunkerUnavailableError: only the slow fallback of the library could be imported.
    """
    filled = (block for block in blocks if block)
    start = _taken(filled, WHOLE_FILE_SIZE_BYTES_MAX)
    size_bytes = sum(map(len, start))
    if size_bytes > WHOLE_FILE_SIZE_BYTES_MAX:
        stream = _BlockStream(chain(start, filled))
        for chunk in _new_chunker().cut_stream(stream):
            yield bytes(chunk.data)  # a copy: the library reuses its buffer
    elif size_bytes:
        yield b"".join(start)


def _taken(blocks: Iterator[bytes], size_bytes: int) -> list[bytes]:
    """Takes blocks until there are more bytes than that, or no more blocks."""
    taken: list[bytes] = []
    while size_bytes >= 0 and (block := next(blocks, b"")):
        taken.append(block)
        size_bytes -= len(block)
    return taken


def _new_chunker() -> pyfastcdc.FastCDC:
    """Makes a chunker; each file has its own, since two threads can't share one."""
    if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise ChunkerUnavailableError(
            "large files can't be cut into chunks: pyfastcdc came without its compiled extension,"
            " and its fallback is several hundred times slower."
            " Install a wheel of pyfastcdc for this Python and machine, or a C compiler, and"
            " install pyfastcdc again"
        )
    return pyfastcdc.FastCDC(
        CHUNK_SIZE_BYTES_AVERAGE,
        min_size=CHUNK_SIZE_BYTES_MIN,
        max_size=CHUNK_SIZE_BYTES_MAX,
        normalized_chunking=NORMALIZATION,
    )


class _BlockStream:
    """Shows blocks as the kind of file that the library reads. None of the blocks is empty."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fills part of the buffer; returns how many bytes, 0 at the end of the blocks."""
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        size_bytes = min(len(buffer), len(self._rest))
        buffer[:size_bytes] = self._rest[:size_bytes]
        self._rest = self._rest[size_bytes:]
        return size_bytes
