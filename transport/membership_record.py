"""The bodies of declarations about membership, see conflict.membership."""

from __future__ import annotations

from typing import Final

from conflict.membership import Fence, Frozen, Statement, Suspect
from conflict.version import COUNTER_MAX, actor_id
from transport.msgpack_codec import array, byte_string, decode, encode, integer
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

# The first field. Wire format: no number is ever given another meaning.
_SUSPECT: Final = 0
_FROZEN: Final = 1
_FENCE: Final = 2
_SIZE_BYTES_MAX: Final = 1024


def encode_statement(statement: Statement) -> bytes:
    """Returns the body of a declaration."""
    match statement:
        case Suspect():
            return encode((_SUSPECT, statement.actor))
        case Frozen():
            return encode((_FROZEN, statement.actor, statement.counter))
        case Fence():
            return encode((_FENCE, statement.actor, statement.counter))


def decode_statement(body: bytes) -> Statement:
    """Returns what a declaration states.

    Raises:
        UnknownOperationError: a later version wrote it.
        MalformedContentsError: it is no statement.
    """
    with Reading("a declaration about membership"):
        fields = array(decode(body, _SIZE_BYTES_MAX), "statement")
        kind = integer(fields[0] if fields else None, 0, 2**31, "kind of statement")
        if kind not in (_SUSPECT, _FROZEN, _FENCE):
            raise UnknownOperationError(f"statement {kind} about membership: update geosync here")
        length = 2 if kind == _SUSPECT else 3
        if len(fields) != length:
            raise MalformedContentsError(f"a statement of {len(fields)} fields")
        actor = actor_id(byte_string(fields[1], "actor"))
        if kind == _SUSPECT:
            return Suspect(actor)
        counter = integer(fields[2], 0, COUNTER_MAX, "counter")
        return Frozen(actor, counter) if kind == _FROZEN else Fence(actor, counter)
