"""The bodies of declarations about epochs, see conflict.epochs."""

from __future__ import annotations

from typing import Final

from conflict.epochs import NUMBER_MAX, Claim, EpochStatement, Release
from conflict.stamp import TICKS_MAX
from transport.msgpack_codec import array, ascii_text, decode, encode, integer
from transport.object_names import check_label
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

# The first field. Wire format: no number is ever given another meaning.
_CLAIM: Final = 0
_RELEASE: Final = 1
_SIZE_BYTES_MAX: Final = 1024


def encode_epoch_statement(statement: EpochStatement) -> bytes:
    """Returns the body of a declaration."""
    match statement:
        case Claim(number=number, site=site):
            return encode((_CLAIM, number, site.encode("ascii")))
        case Release(epoch=epoch):
            return encode((_RELEASE, epoch))


def decode_epoch_statement(body: bytes) -> EpochStatement:
    """Returns what a declaration states.

    Raises:
        UnknownOperationError: a later version wrote it.
        MalformedContentsError: it is no statement.
    """
    with Reading("a declaration about the primary"):
        fields = array(decode(body, _SIZE_BYTES_MAX), "statement")
        kind = integer(fields[0] if fields else None, 0, 2**31, "kind of statement")
        if kind not in (_CLAIM, _RELEASE):
            raise UnknownOperationError(f"statement {kind} about the primary: update geosync here")
        if len(fields) != (3 if kind == _CLAIM else 2):
            raise MalformedContentsError(f"a statement of {len(fields)} fields")
        if kind == _RELEASE:
            return Release(integer(fields[1], 0, TICKS_MAX, "epoch"))
        site = ascii_text(fields[2], "site")
        check_label(site, "a site")
        return Claim(integer(fields[1], 1, NUMBER_MAX, "number of an epoch"), site)
