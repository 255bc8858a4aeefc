"""The bodies of declarations about hindrances, see conflict.hindrance."""

from __future__ import annotations

from typing import Final

from conflict.hindrance import Hindrance
from transport.msgpack_codec import array, byte_string, decode, encode, integer
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

# The first field. Wire format: no number is ever given another meaning.
_HINDERED: Final = 0
_SIZE_BYTES_MAX: Final = 16 * 1024
PATH_SIZE_BYTES_MAX: Final = 4096
REASON_LENGTH_MAX: Final = 300
_MS_MAX: Final = 2**48
_COUNT_MAX: Final = 2**40


def encode_hindrance(hindrance: Hindrance) -> bytes:
    """Returns the body of a declaration; path and reason are cut to what it may hold."""
    path = hindrance.path[:PATH_SIZE_BYTES_MAX]
    reason = hindrance.reason[:REASON_LENGTH_MAX].encode(errors="replace")
    return encode((_HINDERED, hindrance.since_ms, hindrance.count, path, reason))


def decode_hindrance(body: bytes) -> Hindrance:
    """Returns what a declaration states.

    Raises:
        UnknownOperationError: a later version wrote it.
        MalformedContentsError: it is no statement.
    """
    with Reading("a declaration about a hindrance"):
        fields = array(decode(body, _SIZE_BYTES_MAX), "statement")
        kind = integer(fields[0] if fields else None, 0, 2**31, "kind of statement")
        if kind != _HINDERED:
            raise UnknownOperationError(f"statement {kind} about a hindrance: update geosync here")
        if len(fields) != 5:
            raise MalformedContentsError(f"a statement of {len(fields)} fields")
        return Hindrance(
            integer(fields[1], 0, _MS_MAX, "time"),
            integer(fields[2], 0, _COUNT_MAX, "count"),
            byte_string(fields[3], "path"),
            byte_string(fields[4], "reason").decode(errors="replace"),
        )
