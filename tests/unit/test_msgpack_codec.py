"""Msgpack is narrowed to what geosync writes, whatever the bytes."""

from __future__ import annotations

import contextlib
import struct

import msgpack  # noqa: TID251 - makes documents that our own code refuses to make
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.msgpack_codec import (
    DEPTH_MAX,
    VALUES_MAX,
    WireValue,
    array,
    ascii_text,
    boolean,
    byte_string,
    decode,
    encode,
    integer,
    pairs,
)
from transport.wire_errors import MalformedContentsError, OversizeObjectError, WireFormatError

LIMIT = 1024 * 1024

wire_values = st.recursive(
    st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=50), st.booleans(), st.none()),
    lambda values: st.lists(values, max_size=4).map(tuple),
    max_leaves=20,
)


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


@settings(deadline=None)
@given(wire_values)
def test_values_come_back_equal(value: WireValue) -> None:
    assert decode(encode(value), LIMIT) == value


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_wire_format_error(packed: bytes) -> None:
    with contextlib.suppress(WireFormatError):
        decode(packed, LIMIT)


@pytest.mark.parametrize(
    ("packed", "found"),
    [
        (b"", "incomplete input"),
        (b"\xc1", "FormatError"),
        (b"\x01\x02", "extra data"),
        (b"\xa1a", "type str"),
        (b"\xa0", "type str"),
        (b"\xa1\xff", "can't decode byte"),
        (msgpack.packb(1.5), "type float"),
        (msgpack.packb({}), "map of 0 keys"),
        (msgpack.packb({b"a": 1}), "map of 1 keys"),
        (msgpack.packb({1: 1}, strict_types=True), "map key"),
        (msgpack.packb(msgpack.ExtType(5, b"xy")), "extension type 5 of 2 bytes"),
        (msgpack.packb(msgpack.Timestamp(1)), "type Timestamp"),
        (b"\xd7\xff" + b"\xff" * 8, "nanoseconds"),
        (b"\x92\x01\x92\x01\xa0", "type str"),
        (b"\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
        (b"\xdf\xff\xff\xff\xff", "exceeds max_map_len"),
        (b"\xc6\xff\xff\xff\xff", "incomplete|exceeds"),
        (b"\xc9\xff\xff\xff\xff\x05", "incomplete|exceeds"),
        (nested(100_000), "StackError"),
        (nested(500), f"deeper than {DEPTH_MAX}"),
        (nested(DEPTH_MAX + 1), f"deeper than {DEPTH_MAX}"),
    ],
)
def test_what_geosync_does_not_write_is_refused(packed: bytes, found: str) -> None:
    with pytest.raises(MalformedContentsError, match=found):
        decode(packed, LIMIT)


def test_the_deepest_allowed_nesting_is_read() -> None:
    assert decode(nested(DEPTH_MAX), LIMIT) is not None


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(OversizeObjectError, match="5 bytes of msgpack, where geosync writes 4"):
        decode(encode(b"abc"), 4)


@pytest.mark.parametrize("element", [b"\x01", b"\x91\x90"])
def test_few_bytes_can_not_become_gigabytes_of_objects(element: bytes) -> None:
    bomb = b"\xdd" + struct.pack(">I", VALUES_MAX + 1) + element * (VALUES_MAX + 1)
    with pytest.raises(OversizeObjectError, match=f"more than {VALUES_MAX} values"):
        decode(bomb, len(bomb))


def test_empty_arrays_count_too() -> None:
    count = VALUES_MAX - 10
    bomb = b"\x92\xc4\x64" + bytes(100) + b"\xdd" + struct.pack(">I", count) + b"\x90" * count
    with pytest.raises(OversizeObjectError, match=f"more than {VALUES_MAX} values"):
        decode(bomb, len(bomb))


def test_no_document_is_written_that_can_not_be_read() -> None:
    with pytest.raises(OversizeObjectError, match=f"more than {VALUES_MAX} values"):
        encode((1,) * (VALUES_MAX + 1))


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_an_integer_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(MalformedContentsError, match="can't be stored"):
        encode(number)


def test_a_value_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(MalformedContentsError, match=r"size: True is not an integer from 0 to 9"):
        integer(True, 0, 9, "size")
    with pytest.raises(MalformedContentsError, match="size: 10 is not an integer from 0 to 9"):
        integer(10, 0, 9, "size")
    with pytest.raises(MalformedContentsError, match="name: None is not a string of bytes"):
        byte_string(None, "name")
    with pytest.raises(MalformedContentsError, match=r"site: b'\\xff' \(1 bytes\) is not ASCII"):
        ascii_text(b"\xff", "site")
    with pytest.raises(MalformedContentsError, match="flag: 1 is neither true nor false"):
        boolean(1, "flag")
    with pytest.raises(MalformedContentsError, match="parts: an array of 1 is not an array of 2"):
        array((1,), "parts", 2)
    with pytest.raises(MalformedContentsError, match="parts: 3 elements do not make pairs"):
        pairs((1, 2, 3), "parts")
