"""The frame around every object that is read whole: what it is, how long, intact, and whose.

    offset  size  field
         0     4  magic
         4     1  format version
         5     1  compression method of the body
         6     4  size of the body as stored, big-endian
        10     4  size of the body when decompressed, big-endian
        14    16  XXH3-128 of all other bytes
        30     n  body
      30+n  0|32  authenticator: keyed BLAKE3 of the first 14 bytes and the body

The checksum tells damage, for which the remedy is another copy, from a foreign key.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transport.compression import compress, decompress, method_of
from transport.hashing import AUTHENTICATOR_SIZE_BYTES, CHECKSUM_SIZE_BYTES, quick_checksum
from transport.wire_errors import (
    DamagedObjectError,
    NewerFormatError,
    OversizeObjectError,
    Reading,
    TruncatedObjectError,
    WrongMagicError,
    WrongVolumeError,
)

_HEAD: Final = struct.Struct(">4sBBII")
HEAD_SIZE_BYTES: Final = _HEAD.size + CHECKSUM_SIZE_BYTES

Authenticate = Callable[[bytes, bytes], bytes]  # of two parts, as if joined


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """One kind of object."""

    noun: str
    magic: bytes
    version: int  # that is written, and the latest that can be read
    size_bytes_max: int  # of the body, stored and decompressed

    @property
    def sealed_size_bytes_max(self) -> int:
        """The size of the largest object."""
        return HEAD_SIZE_BYTES + self.size_bytes_max + AUTHENTICATOR_SIZE_BYTES


def seal(frame: FrameFormat, body: bytes, authenticate: Authenticate | None = None) -> bytes:
    """Wraps a body. Raises OversizeObjectError when it is larger than any reader accepts."""
    if len(body) > frame.size_bytes_max:
        raise OversizeObjectError(
            f"a {frame.noun} of {len(body)} bytes can't be written, {frame.size_bytes_max} at most:"
            " put less into one"
        )
    method, stored = compress(body)
    head = _HEAD.pack(frame.magic, frame.version, method.value, len(stored), len(body))
    authenticator = authenticate(head, stored) if authenticate else b""
    checksum = quick_checksum(head, stored, authenticator)
    return b"".join((head, checksum, stored, authenticator))


def unseal(
    frame: FrameFormat, sealed: bytes, name: str, authenticate: Authenticate | None = None
) -> bytes:
    """Returns the body of an object, once everything around it proved right.

    Args:
        frame: what the object should be.
        sealed: the object, or any other bytes.
        name: of the object, for errors.
        authenticate: the same function that sealed it, with the same key.

    Raises:
        WireFormatError: one of its subclasses; the text says what was found and what to do.
    """
    _check_kind(frame, sealed, name)
    if len(sealed) > frame.sealed_size_bytes_max:
        raise OversizeObjectError(
            f"{name}: {len(sealed)} bytes, and no {frame.noun} has more than"
            f" {frame.sealed_size_bytes_max}: geosync did not write it; find out what did"
        )
    if len(sealed) < HEAD_SIZE_BYTES:
        raise _truncated(name, len(sealed), HEAD_SIZE_BYTES)
    head, checksum = sealed[: _HEAD.size], sealed[_HEAD.size : HEAD_SIZE_BYTES]
    _, _, method, stored_size_bytes, size_bytes = _HEAD.unpack(head)
    end = HEAD_SIZE_BYTES + stored_size_bytes
    tail_size_bytes = AUTHENTICATOR_SIZE_BYTES if authenticate else 0
    _check_sizes(frame, sealed, name, end + tail_size_bytes)
    stored, authenticator = sealed[HEAD_SIZE_BYTES:end], sealed[end:]
    if quick_checksum(head, stored, authenticator) != checksum:
        raise DamagedObjectError(
            f"{name}: the checksum of the {frame.noun} does not match, bytes of it have changed:"
            " fetch it again; if it stays so, restore the object in the store"
        )
    if authenticate and not hmac.compare_digest(authenticate(head, stored), authenticator):
        raise WrongVolumeError(
            f"{name}: the {frame.noun} is intact but was not written with this volume's key: it"
            " belongs to another volume or is forged; find out who can write to these containers"
        )
    with Reading(name):
        return decompress(method_of(method), stored, size_bytes, frame.size_bytes_max)


def _check_kind(frame: FrameFormat, sealed: bytes, name: str) -> None:
    magic = sealed[: len(frame.magic)]
    if magic != frame.magic[: len(magic)]:
        raise WrongMagicError(
            f"{name}: begins with {magic!r} where a {frame.noun} begins with {frame.magic!r}:"
            " something else was stored under this name; find out what wrote it"
        )
    version = sealed[len(magic)] if len(sealed) > len(frame.magic) else frame.version
    if version > frame.version:
        raise NewerFormatError(
            f"{name}: the {frame.noun} has format version {version}, and this version of geosync"
            f" reads up to {frame.version}: update geosync on this site"
        )
    if version < 1:
        raise WrongMagicError(
            f"{name}: the {frame.noun} has format version {version}, which never existed:"
            " something else was stored under this name; find out what wrote it"
        )


def _check_sizes(frame: FrameFormat, sealed: bytes, name: str, expected: int) -> None:
    _, _, _, stored_size_bytes, size_bytes = _HEAD.unpack_from(sealed)
    if max(stored_size_bytes, size_bytes) > frame.size_bytes_max:
        raise OversizeObjectError(
            f"{name}: the {frame.noun} declares {stored_size_bytes} bytes that become {size_bytes},"
            f" at most {frame.size_bytes_max} are allowed: its head is damaged or forged; fetch it"
            " again; if it stays so, restore the object in the store"
        )
    if len(sealed) < expected:
        raise _truncated(name, len(sealed), expected)
    if len(sealed) > expected:
        raise DamagedObjectError(
            f"{name}: {len(sealed) - expected} bytes follow the end of the {frame.noun}:"
            " fetch it again; if it stays so, restore the object in the store"
        )


def _truncated(name: str, found: int, expected: int) -> TruncatedObjectError:
    return TruncatedObjectError(
        f"{name}: ends after {found} of {expected} bytes:"
        " fetch it again; if it stays so, restore the object in the store"
    )
