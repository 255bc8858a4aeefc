"""The volume record says which volume this is, and with which key."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from conflict.errors import MalformedValueError
from transport.frame import FrameFormat, seal
from transport.msgpack_codec import WireValue, encode
from transport.volume_record import (
    VOLUME_FORMAT_VERSION,
    VOLUME_RECORD_SIZE_BYTES_MAX,
    VolumeRecord,
    decode_volume_record,
    encode_volume_record,
)
from transport.wire_errors import (
    DamagedObjectError,
    MalformedContentsError,
    NewerFormatError,
    TruncatedObjectError,
    WireFormatError,
    WrongMagicError,
    WrongVolumeError,
)

RECORD = VolumeRecord("redmine", bytes(range(32)), "bari", 1_790_000_000_000)
STORED = encode_volume_record(RECORD)


def _sealed(*fields: WireValue) -> bytes:
    frame = FrameFormat("volume record", b"GVOL", 1, VOLUME_RECORD_SIZE_BYTES_MAX)
    return seal(frame, encode(fields))


def test_a_record_comes_back_equal() -> None:
    assert decode_volume_record(STORED, "redmine") == RECORD


def test_the_format_is_pinned() -> None:
    assert STORED.hex() == (
        "47564f4c01000000003c0000003cd3efd2c0e8487f581ff01981e1169d259501c4077265646d696e"
        "65c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fc404626172"
        "69cf000001a0c4506c00"
    )


def test_the_key_is_not_shown() -> None:
    assert "key" not in repr(RECORD)


def test_every_flipped_bit_is_noticed() -> None:
    for position in range(len(STORED)):
        for bit in range(8):
            flipped = bytearray(STORED)
            flipped[position] ^= 1 << bit
            with pytest.raises(WireFormatError, match="volume/record: "):
                decode_volume_record(bytes(flipped), "redmine")


def test_every_truncation_is_noticed() -> None:
    for length in range(len(STORED)):
        with pytest.raises(TruncatedObjectError, match=f"ends after {length} of"):
            decode_volume_record(STORED[:length], "redmine")


def test_bytes_after_the_end_are_noticed() -> None:
    with pytest.raises(DamagedObjectError, match="1 bytes follow the end"):
        decode_volume_record(STORED + b"\0", "redmine")


def test_a_foreign_object_is_named_by_what_it_begins_with() -> None:
    with pytest.raises(WrongMagicError, match=r"begins with b'<htm' where a volume record"):
        decode_volume_record(b"<html>not found</html>", "redmine")


def test_another_volumes_record_is_refused() -> None:
    with pytest.raises(WrongVolumeError, match="volume 'redmine', not 'wiki': check `volume`"):
        decode_volume_record(STORED, "wiki")


def test_a_later_format_asks_for_an_update() -> None:
    """Whatever else it has changed."""
    with pytest.raises(NewerFormatError, match=r"format version 2.*update geosync"):
        decode_volume_record(_sealed(VOLUME_FORMAT_VERSION + 1, b"what", b"ever"), "redmine")
    with pytest.raises(NewerFormatError, match=r"format version 2.*update geosync"):
        decode_volume_record(STORED[:4] + b"\x02" + STORED[5:], "redmine")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((), "format version of the volume: None"),
        ((0, b"redmine", bytes(32), b"bari", 0), "format version of the volume: 0"),
        ((1, b"redmine", bytes(32), b"bari"), "an array of 4"),
        ((1, b"red/mine", bytes(32), b"bari", 0), "a volume is called 'red/mine'"),
        ((1, b"redmine", bytes(31), b"bari", 0), "key has 31 bytes"),
        ((1, b"redmine", None, b"bari", 0), "key: None"),
        ((1, b"redmine", bytes(32), b"\xff", 0), "is not ASCII"),
        ((1, b"redmine", bytes(32), b"bari", -1), "created at: -1"),
    ],
)
def test_malformed_contents_are_refused(fields: tuple[WireValue, ...], found: str) -> None:
    with pytest.raises(MalformedContentsError, match=f"volume/record: .*{found}"):
        decode_volume_record(_sealed(*fields), "redmine")


@pytest.mark.parametrize(
    "changes",
    [
        {"volume": "a/b"},
        {"created_by": ""},
        {"key": b"short"},
        {"created_at_ms": -1},
        {"format_version": 0},
    ],
)
def test_no_impossible_record_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedValueError):
        dataclasses.replace(RECORD, **changes)
