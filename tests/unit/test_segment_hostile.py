"""Whatever bytes lie under a segment's name: read as they were written, or refused in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import zstandard  # noqa: TID251 - makes frames that our own code refuses to make
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.version import COUNTER_MAX, ActorId
from tests.support.sample_segment import BARI, CNAF, EXPECTED, HASHER, sample_segment
from transport import frame as frame_module
from transport import segment as segment_module
from transport.frame import HEAD_SIZE_BYTES, seal, unseal
from transport.hashing import VolumeHasher, quick_checksum
from transport.msgpack_codec import WireValue, decode, encode
from transport.object_names import segment_name
from transport.segment import (
    SEGMENT_OBJECT_SIZE_BYTES_MAX,
    SEGMENT_SIZE_BYTES_MAX,
    Segment,
    decode_segment,
    encode_segment,
)
from transport.wire_errors import (
    DamagedObjectError,
    MalformedContentsError,
    MisplacedObjectError,
    NewerFormatError,
    OversizeObjectError,
    TruncatedObjectError,
    UnknownOperationError,
    WireFormatError,
    WrongMagicError,
    WrongVolumeError,
)

NAME = segment_name(EXPECTED.actor, EXPECTED.sequence)
STORED = encode_segment(sample_segment(), HASHER)
FRAME = segment_module._FRAME
BODY = decode(
    unseal(FRAME, STORED, NAME, HASHER.authenticator), size_bytes_max=SEGMENT_SIZE_BYTES_MAX
)
assert isinstance(BODY, tuple)
FIELDS: tuple[WireValue, ...] = BODY


def _sealed(body: WireValue) -> bytes:
    return seal(FRAME, encode(body), HASHER.authenticator)


def _sealed_raw(method: int, stored: bytes, size_bytes: int) -> bytes:
    """Seals what `seal` would refuse to, with checksum and authenticator as they should be."""
    head = frame_module._HEAD.pack(FRAME.magic, FRAME.version, method, len(stored), size_bytes)
    authenticator = HASHER.authenticator(head, stored)
    return head + quick_checksum(head, stored, authenticator) + stored + authenticator


def _refused(stored: bytes) -> WireFormatError:
    with pytest.raises(WireFormatError) as caught:
        decode_segment(stored, HASHER, EXPECTED)
    assert NAME in str(caught.value)
    return caught.value


def test_every_flipped_bit_is_noticed() -> None:
    classes: dict[int, set[type[WireFormatError]]] = {}
    for position in range(len(STORED)):
        for bit in range(8):
            flipped = bytearray(STORED)
            flipped[position] ^= 1 << bit
            classes.setdefault(position, set()).add(type(_refused(bytes(flipped))))
    assert all(classes[position] == {WrongMagicError} for position in range(4))
    assert classes[4] == {NewerFormatError, WrongMagicError}
    assert classes[5] == {DamagedObjectError}
    assert all(classes[position] == {DamagedObjectError} for position in range(14, len(STORED)))


def test_every_truncation_is_noticed() -> None:
    for length in range(len(STORED)):
        error = _refused(STORED[:length])
        assert type(error) is TruncatedObjectError
        assert f"ends after {length} of" in str(error)


def test_bytes_after_the_end_are_noticed() -> None:
    assert type(_refused(STORED + b"\0")) is DamagedObjectError
    assert type(_refused(STORED + STORED)) is DamagedObjectError


@settings(deadline=None)
@given(st.binary(max_size=400), st.integers(0, HEAD_SIZE_BYTES))
def test_random_bytes_are_refused(noise: bytes, kept: int) -> None:
    if not (STORED[:kept] + noise).startswith(STORED):
        _refused(STORED[:kept] + noise)


def test_something_else_is_named_by_what_it_begins_with() -> None:
    error = _refused(b"<html>503 Service Unavailable</html>")
    assert type(error) is WrongMagicError
    assert "begins with b'<htm' where a segment begins with b'GSEG'" in str(error)


def test_a_later_format_asks_for_an_update() -> None:
    error = _refused(b"GSEG\x02 and nothing that we know")
    assert type(error) is NewerFormatError
    assert "format version 2, and this version of geosync reads up to 1: update" in str(error)


def test_another_volumes_key_is_told_from_damage() -> None:
    error = _refused(encode_segment(sample_segment(), VolumeHasher(b"l" * 32)))
    assert type(error) is WrongVolumeError
    assert "intact but was not written with this volume's key" in str(error)


def test_another_volumes_name_is_refused() -> None:
    other = dataclasses.replace(sample_segment(), volume="wiki")
    error = _refused(encode_segment(other, HASHER))
    assert type(error) is WrongVolumeError
    assert "belongs to the volume 'wiki', not 'redmine'" in str(error)


@pytest.mark.parametrize(("actor", "sequence"), [(CNAF, 5), (BARI, 6)])
def test_a_segment_under_another_ones_name_is_refused(actor: ActorId, sequence: int) -> None:
    moved = dataclasses.replace(EXPECTED, actor=actor, sequence=sequence)
    with pytest.raises(MisplacedObjectError, match=f"says that it is {NAME}: .*copied or renamed"):
        decode_segment(STORED, HASHER, moved)


def test_an_object_that_is_too_large_is_refused_unread() -> None:
    error = _refused(b"GSEG\x01" + bytes(SEGMENT_OBJECT_SIZE_BYTES_MAX))
    assert type(error) is OversizeObjectError


@pytest.mark.parametrize("at", [6, 10])
def test_a_declared_size_that_is_too_large_is_refused(at: int) -> None:
    size = (SEGMENT_SIZE_BYTES_MAX + 1).to_bytes(4, "big")
    error = _refused(STORED[:at] + size + STORED[at + 4 :])
    assert type(error) is OversizeObjectError
    assert f"at most {SEGMENT_SIZE_BYTES_MAX} are allowed" in str(error)


def test_an_authentic_zstd_bomb_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(4 * SEGMENT_SIZE_BYTES_MAX))
    assert type(_refused(_sealed_raw(1, bomb, SEGMENT_SIZE_BYTES_MAX))) is MalformedContentsError
    assert type(_refused(_sealed_raw(1, bomb, 10))) is MalformedContentsError
    assert type(_refused(_sealed_raw(0, b"raw", 10))) is MalformedContentsError
    assert type(_refused(_sealed_raw(2, b"raw", 3))) is NewerFormatError


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 1_000_000,
        b"\x81\x01" * 1_000_000,
        b"\x9b" + b"\x91" * 600 + b"\x90" * 11,
        b"\xdd\x01\xe0\x00\x00" + b"\x91\x90" * 0x1E00000,
        b"\xdd\x03\xff\x00\x00" + b"\x90" * 0x3FF0000,
    ],
    ids=["nothing", "array", "map", "bytes", "depth", "maps", "deep", "arrays", "empty arrays"],
)
def test_an_authentic_msgpack_bomb_is_refused(packed: bytes) -> None:
    assert isinstance(
        _refused(seal(FRAME, packed, HASHER.authenticator)),
        MalformedContentsError | OversizeObjectError,
    )


def _read_or_refused(stored: bytes) -> Segment | WireFormatError:
    try:
        return decode_segment(stored, HASHER, EXPECTED)
    except WireFormatError as error:
        return error


def _replaced(value: WireValue, path: tuple[int, ...], new: WireValue) -> WireValue:
    if not path:
        return new
    assert isinstance(value, tuple)
    inner = _replaced(value[path[0]], path[1:], new)
    return (*value[: path[0]], inner, *value[path[0] + 1 :])


def _paths(value: WireValue, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    yield path
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))


PATHS = list(_paths(FIELDS))

hostile_values = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 2**64 - 1, -(2**63), COUNTER_MAX, 2**16, b"", ()]),
    st.integers(-(2**63), 2**64 - 1),
    st.binary(max_size=40),
    st.lists(st.one_of(st.integers(-3, 3), st.binary(max_size=3)), max_size=6).map(tuple),
)


@settings(deadline=None, max_examples=1000)
@given(st.lists(st.tuples(st.sampled_from(PATHS), hostile_values), min_size=1, max_size=2))
def test_whatever_an_author_writes_is_read_or_refused(
    changes: list[tuple[tuple[int, ...], WireValue]],
) -> None:
    """With the volume's key and a right checksum, as a site with an error of its own would."""
    body: WireValue = FIELDS
    for path, value in changes:
        if path in set(_paths(body)):
            body = _replaced(body, path, value)
    result = _read_or_refused(_sealed(body))
    if isinstance(result, WireFormatError):
        assert NAME in str(result)
        assert len(str(result)) < 2000
    else:
        again = encode_segment(result, HASHER)
        assert decode_segment(again, HASHER, EXPECTED) == result


def test_the_unchanged_fields_are_a_segment() -> None:
    """Otherwise the tests around this one would show nothing."""
    assert decode_segment(_sealed(FIELDS), HASHER, EXPECTED) == sample_segment()


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ((1,), b"a/b", "a site is called 'a/b'"),
        ((2,), BARI, "1 is not one of the 1 actors"),
        ((4,), b"short", "not a digest: 5 bytes"),
        ((4,), bytes(32), "names a wrong segment before it"),
        ((5,), -1, "created at: -1"),
        ((6,), (0, 0), "received: 0 is not an integer from 1"),
        ((6,), (0, 1, 0, 1), "received: an actor is there twice"),
        ((8, 0), 1, "first counter|not a counter|distance|neither"),
        ((9, 0, 0), 99, "99 is not one of the"),
        ((9, 0, 1), 2**48, "number of a pack: 281474976710656"),
        ((9, 0, 2), b"x" * 31, "31 bytes of digests, 3 numbers"),
        ((9, 0, 3), (-5, 60, 70000), "no chunk lies at -5"),
        ((9, 0, 3), (0, 60, 2**25), "no chunk of 33554432 bytes"),
        ((9, 0, 3), (2**25, 60, 10), "no chunk of 10 bytes"),
        ((9,), (FIELDS[9][0], FIELDS[9][0]), "location of a chunk is there twice"),  # type: ignore[index]
        ((10, 1), b"other content", "the inline chunk .* has another digest"),
        ((10,), (b"d" * 32, b"a", b"d" * 32, b"b"), "an inline chunk is there twice"),
        ((10,), (b"d" * 32, b"a" * 20_000), "1 inline chunks of 20000 bytes"),
        ((), FIELDS[:10], "an array of 10 is not an array of 11"),
        ((), b"", "segment: b''"),
    ],
)
def test_a_wrong_part_is_refused_with_what_was_found(
    path: tuple[int, ...], value: WireValue, found: str
) -> None:
    with pytest.raises(MalformedContentsError, match=f"{NAME}: .*({found})"):
        decode_segment(_sealed(_replaced(FIELDS, path, value)), HASHER, EXPECTED)


def test_an_unknown_operation_refuses_the_whole_segment() -> None:
    """Nothing is skipped, and nothing after it is read either."""
    body = _replaced(FIELDS, (8, 1, 1, 1, 0, 0), 77)
    with pytest.raises(UnknownOperationError, match="operation babababa:4: it is of kind 77"):
        decode_segment(_sealed(body), HASHER, EXPECTED)
