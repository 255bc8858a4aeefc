"""The body of a declaration with the topic SUPPLY: chunks that are wanted, or supplied again."""

from __future__ import annotations

from typing import Final

from conflict.content import DIGEST_SIZE_BYTES
from conflict.operations import DECLARATION_SIZE_BYTES_MAX
from conflict.supply import Supplied, SupplyStatement, Want
from transport.msgpack_codec import (
    WireValue,
    array,
    ascii_text,
    byte_string,
    decode,
    encode,
    integer,
    pairs,
)
from transport.object_names import parse_pack_name
from transport.wire_errors import MalformedContentsError, NewerFormatError, Reading

WANT: Final = 0
SUPPLIED: Final = 1
WANTED_CHUNKS_MAX: Final = 2000
WANTED_PACKS_MAX: Final = 6000
"""Of one declaration; with both at their most it stays below half of what one may have."""

_SUBJECT: Final = "declaration of supply"


def encode_supply(statement: SupplyStatement) -> bytes:
    """Returns the body of a declaration."""
    if isinstance(statement, Supplied):
        return encode((SUPPLIED, tuple(name.encode("ascii") for name in statement.packs)))
    chunks: list[WireValue] = []
    for digest, packs in sorted(statement.chunks.items()):
        chunks += (digest, tuple(name.encode("ascii") for name in sorted(packs)))
    return encode((WANT, tuple(chunks)))


def decode_supply(body: bytes) -> SupplyStatement:
    """Reads the body of a declaration.

    Raises:
        NewerFormatError: a kind that only a later version of geosync knows.
        WireFormatError: it is none; the text says what was found.
    """
    with Reading(_SUBJECT):
        fields = array(decode(body, DECLARATION_SIZE_BYTES_MAX), _SUBJECT)
        kind = integer(fields[0] if fields else None, 0, 2**32, "kind")
        if kind not in (WANT, SUPPLIED):
            raise NewerFormatError(f"kind {kind} is not known: update geosync on this site")
        _, value = array(fields, _SUBJECT, 2)
        if kind == SUPPLIED:
            return Supplied(tuple(_packs(value)))
        chunks = {_digest(digest): frozenset(_packs(packs)) for digest, packs in pairs(value, "")}
        return Want(chunks)


def _digest(value: WireValue) -> bytes:
    digest = byte_string(value, "digest")
    if len(digest) != DIGEST_SIZE_BYTES:
        raise MalformedContentsError(f"a digest of {len(digest)} bytes")
    return digest


def _packs(value: WireValue) -> list[str]:
    names = [ascii_text(name, "pack") for name in array(value, "packs")]
    for name in names:
        parse_pack_name(name)
    return names
