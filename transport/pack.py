"""Packs: many chunks in one object, so that small files do not cost a request each.

A chunk is stored as its compression method (1 byte), its plain size (4 bytes, big-endian) and its
bytes. Where it lies in which pack is told by the segments of the log.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from conflict.errors import MalformedValueError
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.compression import compress, decompress, method_of
from transport.hashing import VolumeHasher
from transport.object_names import parse_pack_name
from transport.wire_errors import (
    DamagedObjectError,
    OversizeObjectError,
    Reading,
    TruncatedObjectError,
)

PACK_SIZE_BYTES_TARGET: Final = 8 * 1024 * 1024
PACK_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024

_HEAD: Final = struct.Struct(">BI")
CHUNK_HEAD_SIZE_BYTES: Final = _HEAD.size
STORED_CHUNK_SIZE_BYTES_MAX: Final = CHUNK_HEAD_SIZE_BYTES + CHUNK_SIZE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class ChunkLocation:
    """Where the stored form of a chunk lies.

    Raises:
        MalformedValueError: no pack has this name, or no pack can hold a chunk there.
    """

    pack: str  # object name
    offset: int  # bytes from the begin of the pack
    stored_size_bytes: int  # with the head
    size_bytes: int  # of the plain chunk

    def __post_init__(self) -> None:
        parse_pack_name(self.pack)
        end = self.offset + self.stored_size_bytes
        if self.offset < 0 or self.stored_size_bytes <= CHUNK_HEAD_SIZE_BYTES:
            raise MalformedValueError(f"no chunk lies at {self.offset}..{end} of {self.pack}")
        if end > PACK_SIZE_BYTES_MAX or not 1 <= self.size_bytes <= CHUNK_SIZE_BYTES_MAX:
            raise MalformedValueError(
                f"no chunk of {self.size_bytes} bytes lies at {self.offset}..{end} of {self.pack}"
            )


@dataclass(frozen=True, slots=True)
class Pack:
    """A finished pack, ready to be stored under its name."""

    name: str
    body: bytes
    locations: dict[bytes, ChunkLocation]  # by chunk digest


class PackWriter:
    """Gathers stored chunks for one pack. For one thread; `store_chunk` may run in others."""

    def __init__(self, name: str) -> None:
        parse_pack_name(name)
        self._name = name
        self._stored: list[bytes] = []
        self._locations: dict[bytes, ChunkLocation] = {}
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Tells whether the pack is large enough to be worth storing."""
        return self.size_bytes >= PACK_SIZE_BYTES_TARGET

    def add(self, digest: bytes, stored: bytes) -> ChunkLocation:
        """Adds what `store_chunk` returned; a chunk that is already there is not added again.

        Raises:
            OversizeObjectError: the pack has no room for it; finish it and begin another one.
        """
        if digest in self._locations:
            return self._locations[digest]
        if self.size_bytes + len(stored) > PACK_SIZE_BYTES_MAX:
            raise OversizeObjectError(
                f"{self._name} has {self.size_bytes} bytes and no room for {len(stored)} more"
            )
        _, size_bytes = _HEAD.unpack_from(stored)
        location = ChunkLocation(self._name, self.size_bytes, len(stored), size_bytes)
        self._locations[digest] = location
        self._stored.append(stored)
        self.size_bytes += len(stored)
        return location

    def finish(self) -> Pack:
        """Returns the pack. Nothing is added afterwards."""
        return Pack(self._name, b"".join(self._stored), self._locations)


def store_chunk(chunk: bytes) -> bytes:
    """Returns the stored form of a chunk, compressed where that helps. Any thread may call it."""
    assert 1 <= len(chunk) <= CHUNK_SIZE_BYTES_MAX
    method, body = compress(chunk)
    return _HEAD.pack(method.value, len(chunk)) + body


def read_chunk(
    stored: bytes, location: ChunkLocation, digest: bytes, hasher: VolumeHasher
) -> bytes:
    """Returns the plain bytes of a chunk, which are certainly those that were stored.

    Args:
        stored: the range of the pack that the location names.
        location: where it was read from.
        digest: of the chunk that is wanted.
        hasher: of the volume.

    Raises:
        WireFormatError: they are not; the text says what was found and what to do.
    """
    subject = f"chunk {digest.hex()[:16]} at {location.offset} of {location.pack}"
    if len(stored) < location.stored_size_bytes:
        raise TruncatedObjectError(
            f"{subject}: {len(stored)} of {location.stored_size_bytes} bytes were read:"
            " fetch it again; if it stays so, restore the object in the store"
        )
    with Reading(subject):
        number, size_bytes = _HEAD.unpack_from(stored)
        chunk = _plain_chunk(stored, location, number, size_bytes)
    if hasher.chunk_digest(chunk) != digest:
        raise DamagedObjectError(
            f"{subject}: the digest of what is stored there is another one:"
            " fetch it again; if it stays so, restore the object in the store"
        )
    return chunk


def _plain_chunk(stored: bytes, location: ChunkLocation, number: int, size_bytes: int) -> bytes:
    if len(stored) != location.stored_size_bytes or size_bytes != location.size_bytes:
        raise DamagedObjectError(
            f"{len(stored)} bytes that say they hold {size_bytes} were read, where the log says"
            f" {location.stored_size_bytes} and {location.size_bytes}:"
            " fetch it again; if it stays so, restore the object in the store"
        )
    body = stored[CHUNK_HEAD_SIZE_BYTES:]
    return decompress(method_of(number), body, size_bytes, CHUNK_SIZE_BYTES_MAX)
