"""Segments keep to their limits and to their golden bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest

from conflict.content import ChunkReference, Content, ContentKind
from conflict.errors import MalformedValueError
from conflict.operations import LinkId, NodeId, Put, Transaction, id_of
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector
from tests.support.sample_segment import BARI, CNAF, EXPECTED, GOLDEN, HASHER, sample_segment
from transport import segment as segment_module
from transport.frame import unseal
from transport.segment import (
    INLINE_CHUNK_SIZE_BYTES_MAX,
    INLINE_SIZE_BYTES_MAX,
    NO_SEGMENT,
    SEGMENT_OBJECT_SIZE_BYTES_MAX,
    SEGMENT_SIZE_BYTES_MAX,
    Segment,
    decode_segment,
    encode_segment,
)
from transport.wire_errors import OversizeObjectError

SEGMENT = sample_segment()
_LOCATION = next(iter(SEGMENT.pack_entries.values()))


def _body(stored: bytes) -> bytes:
    return unseal(segment_module._FRAME, stored, "a segment", HASHER.authenticator)


def test_a_stored_segment_of_format_1_can_be_read_for_ever() -> None:
    assert decode_segment(GOLDEN.read_bytes(), HASHER, EXPECTED) == SEGMENT


def test_what_is_written_is_still_format_1() -> None:
    """Compared without compression, which another release of zstd may do in another way."""
    golden = GOLDEN.read_bytes()
    stored = encode_segment(SEGMENT, HASHER)
    assert _body(stored) == _body(golden)
    assert stored[:6] == golden[:6] == b"GSEG\x01\x01"


def test_a_segment_without_operations_says_what_its_author_knows() -> None:
    empty = Segment(
        "redmine", "bari", BARI, 0, NO_SEGMENT, 0, VersionVector({CNAF: 5}), VersionVector()
    )
    expected = dataclasses.replace(EXPECTED, sequence=0)
    stored = encode_segment(empty, HASHER)
    assert decode_segment(stored, HASHER, expected) == empty
    assert len(stored) < 200


def _inline(sizes: Iterable[int]) -> dict[bytes, bytes]:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    return {HASHER.chunk_digest(chunk): chunk for chunk in chunks}


def test_the_largest_inline_chunks_are_allowed() -> None:
    count = INLINE_SIZE_BYTES_MAX // INLINE_CHUNK_SIZE_BYTES_MAX
    inline = _inline([INLINE_CHUNK_SIZE_BYTES_MAX] * count)
    large = dataclasses.replace(SEGMENT, inline_chunks=inline)
    assert decode_segment(encode_segment(large, HASHER), HASHER, EXPECTED) == large


def test_equal_segments_have_equal_bytes() -> None:
    """A segment whose PUT has an unknown outcome is sent again, and has to be the same object."""
    inline = _inline([1, 2, 3])
    packs = {**SEGMENT.pack_entries, **dict.fromkeys([b"z" * 32, b"a" * 32], _LOCATION)}
    one = dataclasses.replace(SEGMENT, inline_chunks=inline, pack_entries=packs)
    other = dataclasses.replace(
        SEGMENT,
        inline_chunks=dict(reversed(inline.items())),
        pack_entries=dict(reversed(packs.items())),
    )
    assert one == other
    assert encode_segment(one, HASHER) == encode_segment(other, HASHER)


TRANSACTIONS = SEGMENT.transactions


@pytest.mark.parametrize(
    "changes",
    [
        {"volume": "a/b"},
        {"site": ".."},
        {"actor": ActorId(b"short")},
        {"actor": CNAF},
        {"sequence": -1},
        {"sequence": 2**62 + 1},
        {"sequence": 0},
        {"previous_digest": NO_SEGMENT},
        {"previous_digest": b"short"},
        {"created_at_ms": -1},
        {"transactions": TRANSACTIONS[::-1]},
        {"transactions": TRANSACTIONS[:1] * 2},
        {"inline_chunks": {b"short": b"chunk"}},
        {"inline_chunks": _inline([INLINE_CHUNK_SIZE_BYTES_MAX + 1])},
        {"inline_chunks": _inline([INLINE_CHUNK_SIZE_BYTES_MAX] * 16 + [1])},
        {"pack_entries": {b"short": _LOCATION}},
    ],
)
def test_no_impossible_segment_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedValueError):
        dataclasses.replace(SEGMENT, **changes)


def test_a_segment_that_no_reader_would_accept_is_not_written() -> None:
    count = SEGMENT_SIZE_BYTES_MAX // 32
    chunk = ChunkReference(b"c" * 32, 1)
    content = Content(ContentKind.REGULAR, b"d" * 32, count, (chunk,) * count)
    node = NodeId(id_of(Dot(CNAF, 1)))
    put = Put(Dot(BARI, 1), Stamp(0, 1, BARI), node, LinkId(node), content)
    transactions = (Transaction((put,), VersionVector()),)
    with pytest.raises(OversizeObjectError, match="put less into one"):
        encode_segment(dataclasses.replace(SEGMENT, transactions=transactions), HASHER)


def test_the_largest_object_has_room_for_frame_and_body() -> None:
    overhead = len(encode_segment(SEGMENT, HASHER)[:30]) + 32
    assert SEGMENT_SIZE_BYTES_MAX + overhead == SEGMENT_OBJECT_SIZE_BYTES_MAX
