"""Packs hold chunks, and give out nothing but those chunks."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import struct
from typing import Any

import pytest
import zstandard  # noqa: TID251 - makes frames that our own code refuses to make

from conflict.errors import MalformedValueError
from conflict.version import ActorId
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.hashing import VolumeHasher
from transport.object_names import pack_name
from transport.pack import (
    CHUNK_HEAD_SIZE_BYTES,
    PACK_SIZE_BYTES_MAX,
    PACK_SIZE_BYTES_TARGET,
    STORED_CHUNK_SIZE_BYTES_MAX,
    ChunkLocation,
    Pack,
    PackWriter,
    read_chunk,
    store_chunk,
)
from transport.wire_errors import (
    DamagedObjectError,
    MalformedContentsError,
    NewerFormatError,
    OversizeObjectError,
    TruncatedObjectError,
    WireFormatError,
)

HASHER = VolumeHasher(b"k" * 32)
NAME = pack_name(ActorId(b"a" * 16), 7)
TEXT = b"line\n" * 2000
NOISE = random.Random(1).randbytes(10_000)


def _packed(*chunks: bytes) -> Pack:
    writer = PackWriter(NAME)
    for chunk in chunks:
        writer.add(HASHER.chunk_digest(chunk), store_chunk(chunk))
    return writer.finish()


def _range(pack: Pack, location: ChunkLocation) -> bytes:
    return pack.body[location.offset : location.offset + location.stored_size_bytes]


def _located(stored: bytes, size_bytes: int) -> ChunkLocation:
    return ChunkLocation(NAME, 0, len(stored), size_bytes)


def test_chunks_come_back_from_their_locations() -> None:
    chunks = [TEXT, NOISE, b"x", bytes(CHUNK_SIZE_BYTES_MAX)]
    pack = _packed(*chunks)
    assert pack.name == NAME
    assert len(pack.locations) == len(chunks)
    for chunk in chunks:
        digest = HASHER.chunk_digest(chunk)
        location = pack.locations[digest]
        assert location.size_bytes == len(chunk)
        assert read_chunk(_range(pack, location), location, digest, HASHER) == chunk


def test_text_is_stored_compressed_and_noise_as_it_is() -> None:
    assert len(store_chunk(TEXT)) < len(TEXT) // 10
    assert store_chunk(NOISE) == b"\0" + struct.pack(">I", len(NOISE)) + NOISE


def test_a_chunk_is_packed_once() -> None:
    writer = PackWriter(NAME)
    first = writer.add(HASHER.chunk_digest(TEXT), store_chunk(TEXT))
    assert writer.add(HASHER.chunk_digest(TEXT), store_chunk(TEXT)) == first
    assert writer.size_bytes == first.stored_size_bytes


def test_a_pack_is_full_at_the_target_and_never_exceeds_the_maximum() -> None:
    noise = random.Random(2).randbytes(CHUNK_SIZE_BYTES_MAX)
    stored = store_chunk(noise)
    assert len(stored) == STORED_CHUNK_SIZE_BYTES_MAX
    writer = PackWriter(NAME)
    for number in range(PACK_SIZE_BYTES_MAX // len(stored)):
        assert writer.is_full == (number * len(stored) >= PACK_SIZE_BYTES_TARGET)
        writer.add(number.to_bytes(32, "big"), stored)
    with pytest.raises(OversizeObjectError, match="no room for"):
        writer.add(bytes(31) + b"x", stored)
    assert len(writer.finish().body) == writer.size_bytes <= PACK_SIZE_BYTES_MAX


@pytest.mark.parametrize("chunk", [TEXT, NOISE[:300]])
def test_no_flipped_bit_changes_what_is_read(chunk: bytes) -> None:
    stored, digest = store_chunk(chunk), HASHER.chunk_digest(chunk)
    location = _located(stored, len(chunk))
    for position in range(len(stored)):
        for bit in range(8):
            flipped = bytearray(stored)
            flipped[position] ^= 1 << bit
            with contextlib.suppress(WireFormatError):
                assert read_chunk(bytes(flipped), location, digest, HASHER) == chunk


def test_every_truncation_and_extension_is_noticed() -> None:
    stored, digest = store_chunk(TEXT), HASHER.chunk_digest(TEXT)
    location = _located(stored, len(TEXT))
    for length in range(len(stored)):
        with pytest.raises(TruncatedObjectError, match=f"{length} of {len(stored)} bytes"):
            read_chunk(stored[:length], location, digest, HASHER)
    with pytest.raises(DamagedObjectError, match="the log says"):
        read_chunk(stored + b"\0", location, digest, HASHER)


def test_another_chunk_in_its_place_is_noticed() -> None:
    stored = store_chunk(TEXT)
    with pytest.raises(DamagedObjectError, match="digest of what is stored there is another"):
        read_chunk(stored, _located(stored, len(TEXT)), HASHER.chunk_digest(NOISE), HASHER)


def test_a_chunk_of_another_volume_is_noticed() -> None:
    stored, digest = store_chunk(TEXT), VolumeHasher(b"l" * 32).chunk_digest(TEXT)
    with pytest.raises(DamagedObjectError, match="digest"):
        read_chunk(stored, _located(stored, len(TEXT)), digest, HASHER)


def test_bombs_are_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(256 * 1024 * 1024))
    claims_little = b"\x01" + struct.pack(">I", 100) + bomb
    with pytest.raises(MalformedContentsError, match="a zstd frame claims 268435456"):
        read_chunk(claims_little, _located(claims_little, 100), bytes(32), HASHER)
    claims_all = b"\x01" + struct.pack(">I", 256 * 1024 * 1024) + bomb
    with pytest.raises(DamagedObjectError, match="268435456"):
        read_chunk(claims_all, _located(claims_all, 100), bytes(32), HASHER)


def test_an_unknown_method_asks_for_an_update() -> None:
    stored = b"\x07" + store_chunk(NOISE)[1:]
    with pytest.raises(NewerFormatError, match=r"method 7.*update geosync"):
        read_chunk(stored, _located(stored, len(NOISE)), HASHER.chunk_digest(NOISE), HASHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"pack": "log/x"},
        {"offset": -1},
        {"offset": PACK_SIZE_BYTES_MAX},
        {"stored_size_bytes": CHUNK_HEAD_SIZE_BYTES},
        {"stored_size_bytes": PACK_SIZE_BYTES_MAX + 1},
        {"size_bytes": 0},
        {"size_bytes": CHUNK_SIZE_BYTES_MAX + 1},
    ],
)
def test_no_impossible_location_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedValueError):
        dataclasses.replace(ChunkLocation(NAME, 0, 100, 100), **changes)
