"""Whatever the core can say survives the wire and the journal unchanged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.content import Content
from conflict.operations import Operation
from conflict.version import VersionVector
from tests.support import strategies
from transport.hashing import VolumeHasher
from transport.object_names import PACK_NUMBER_MAX, pack_name
from transport.operation_codec import (
    decode_content,
    decode_operation,
    decode_vector,
    encode_content,
    encode_operation,
    encode_vector,
)
from transport.pack import ChunkLocation
from transport.segment import (
    NO_SEGMENT,
    ExpectedSegment,
    Segment,
    decode_segment,
    encode_segment,
)

HASHER = VolumeHasher(b"k" * 32)

_locations = st.builds(
    ChunkLocation,
    st.builds(pack_name, strategies.actor_ids, st.integers(0, PACK_NUMBER_MAX)),
    st.integers(0, 2**24),
    st.integers(6, 2**21),
    st.integers(1, 2**21),
)


@st.composite
def _segments(draw: st.DrawFn) -> Segment:
    actor = draw(strategies.actor_ids)
    sequence = draw(st.integers(0, 2**62))
    previous = strategies.digests.filter(lambda digest: digest != NO_SEGMENT)
    inline = draw(st.lists(st.binary(max_size=100), max_size=3))
    return Segment(
        volume=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)),
        site=draw(st.sampled_from(["bari", "cnaf-1"])),
        actor=actor,
        sequence=sequence,
        previous_digest=draw(previous) if sequence else NO_SEGMENT,
        created_at_ms=draw(st.integers(0, 2**62)),
        received=draw(strategies.vectors),
        applied=draw(strategies.vectors),
        transactions=draw(strategies.logs(actor)),
        pack_entries=draw(st.dictionaries(strategies.digests, _locations, max_size=4)),
        inline_chunks={HASHER.chunk_digest(chunk): chunk for chunk in inline},
    )


@settings(deadline=None)
@given(strategies.any_operations)
def test_an_operation_comes_back_equal(operation: Operation) -> None:
    assert decode_operation(encode_operation(operation)) == operation


@settings(deadline=None)
@given(strategies.contents)
def test_a_content_comes_back_equal(content: Content) -> None:
    assert decode_content(encode_content(content)) == content


@settings(deadline=None)
@given(strategies.vectors)
def test_a_version_vector_comes_back_equal(vector: VersionVector) -> None:
    assert decode_vector(encode_vector(vector)) == vector


@settings(deadline=None)
@given(_segments())
def test_a_segment_comes_back_equal_and_has_one_encoding(segment: Segment) -> None:
    stored = encode_segment(segment, HASHER)
    expected = ExpectedSegment(segment.volume, segment.actor, segment.sequence)
    back = decode_segment(stored, HASHER, expected)
    assert back == segment
    assert encode_segment(back, HASHER) == stored
