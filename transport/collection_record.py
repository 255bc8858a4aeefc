"""The bodies of declarations about collecting packs, see conflict.collection."""

from __future__ import annotations

from typing import Final

from conflict.collection import Condemn, Doom, Spare, Verdict
from conflict.operations import DECLARATION_SIZE_BYTES_MAX
from transport.msgpack_codec import array, ascii_text, decode, encode, integer
from transport.object_names import parse_pack_name
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

PACKS_MAX: Final = 5000  # of one declaration

# The first field. Wire format: no number is ever given another meaning.
_KINDS: Final[tuple[type[Condemn | Spare | Doom], ...]] = (Condemn, Spare, Doom)


def encode_verdict(verdict: Verdict) -> bytes:
    """Returns the body of a declaration."""
    kind = _KINDS.index(type(verdict))
    return encode((kind, tuple(pack.encode("ascii") for pack in verdict.packs)))


def decode_verdict(body: bytes) -> Verdict:
    """Returns what a declaration tells.

    Raises:
        UnknownOperationError: a later version wrote it.
        MalformedContentsError: it tells nothing of packs.
    """
    with Reading("a declaration about collecting"):
        fields = array(decode(body, DECLARATION_SIZE_BYTES_MAX), "verdict")
        kind = integer(fields[0] if fields else None, 0, 2**31, "kind of verdict")
        if kind >= len(_KINDS):
            raise UnknownOperationError(f"verdict {kind} about packs: update geosync here")
        if len(fields) != 2:
            raise MalformedContentsError(f"a verdict of {len(fields)} fields")
        packs = array(fields[1], "packs")
        if not 1 <= len(packs) <= PACKS_MAX:
            raise MalformedContentsError(f"a verdict about {len(packs)} packs")
        names = tuple(ascii_text(each, "pack") for each in packs)
        for name in names:
            parse_pack_name(name)
        return _KINDS[kind](names)
