"""The record that makes a set of containers a volume: its name, its format and its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from conflict.errors import MalformedValueError
from transport.frame import FrameFormat, seal, unseal
from transport.hashing import KEY_SIZE_BYTES
from transport.msgpack_codec import array, ascii_text, byte_string, decode, encode, integer
from transport.object_names import VOLUME_RECORD, check_label
from transport.wire_errors import (
    NewerFormatError,
    Reading,
    WrongVolumeError,
)

VOLUME_FORMAT_VERSION: Final = 1
VOLUME_RECORD_SIZE_BYTES_MAX: Final = 64 * 1024
TIME_MS_MAX: Final = 2**62
_FRAME: Final = FrameFormat("volume record", b"GVOL", 1, VOLUME_RECORD_SIZE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """Written once, by the site that creates the volume.

    The key keeps digests from being guessed and objects from being forged by those who can't read
    the containers; whoever can read them has it.

    Raises:
        MalformedValueError: a name, the key, the version or the time is none.
    """

    volume: str
    key: bytes = field(repr=False)  # 32 random bytes; never in a log
    created_by: str  # site
    created_at_ms: int  # since 1970, by that site's clock
    format_version: int = VOLUME_FORMAT_VERSION  # of all that the volume holds

    def __post_init__(self) -> None:
        check_label(self.volume, "a volume")
        check_label(self.created_by, "a site")
        if len(self.key) != KEY_SIZE_BYTES:
            raise MalformedValueError(f"a volume's key has {len(self.key)} bytes, not 32")
        if self.format_version < 1 or not 0 <= self.created_at_ms <= TIME_MS_MAX:
            raise MalformedValueError(
                f"a volume of format {self.format_version}, created at {self.created_at_ms} ms"
            )


def encode_volume_record(record: VolumeRecord) -> bytes:
    """Returns the object that is stored as `volume/record`."""
    body = encode(
        (
            record.format_version,
            record.volume.encode("ascii"),
            record.key,
            record.created_by.encode("ascii"),
            record.created_at_ms,
        )
    )
    return seal(_FRAME, body)


def decode_volume_record(stored: bytes, expected_volume: str) -> VolumeRecord:
    """Reads the record of the volume with this name.

    Raises:
        NewerFormatError: the volume has a format that only a later version of geosync knows.
        WrongVolumeError: these are the containers of another volume.
        WireFormatError: the record is damaged or something else; the text says what to do.
    """
    body = unseal(_FRAME, stored, VOLUME_RECORD)
    with Reading(VOLUME_RECORD):
        record = _read(body)
    if record.volume != expected_volume:
        raise WrongVolumeError(
            f"{VOLUME_RECORD}: belongs to the volume {record.volume!r}, not {expected_volume!r}:"
            " check `volume` and the containers in the configuration"
        )
    return record


def _read(body: bytes) -> VolumeRecord:
    packed = array(decode(body, VOLUME_RECORD_SIZE_BYTES_MAX), "volume record")
    version = integer(packed[0] if packed else None, 1, 2**32, "format version of the volume")
    if version > VOLUME_FORMAT_VERSION:
        raise NewerFormatError(
            f"the volume has format version {version}, and this version of geosync knows"
            f" {VOLUME_FORMAT_VERSION}: update geosync on this site"
        )
    _, volume, key, created_by, created_at_ms = array(packed, "volume record", 5)
    return VolumeRecord(
        ascii_text(volume, "volume"),
        byte_string(key, "key"),
        ascii_text(created_by, "created by"),
        integer(created_at_ms, 0, TIME_MS_MAX, "created at"),
        version,
    )
