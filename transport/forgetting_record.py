"""The bodies of declarations about forgetting what is gone, see conflict.forgetting."""

from __future__ import annotations

from typing import Final

from conflict.forgetting import Forget, ForgettingStatement, Propose, Withdraw
from conflict.operations import DECLARATION_SIZE_BYTES_MAX, ID_SIZE_BYTES, ROOT, NodeId, dot_of
from conflict.stamp import TICKS_MAX, Stamp, checked_stamp
from conflict.version import actor_id
from transport.msgpack_codec import WireValue, array, byte_string, decode, encode, integer
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

NODES_MAX: Final = 10_000  # of one declaration

# The first field. Wire format: no number is ever given another meaning.
_KINDS: Final[tuple[type[Propose | Withdraw | Forget], ...]] = (Propose, Withdraw, Forget)


def encode_forgetting(statement: ForgettingStatement) -> bytes:
    """Returns the body of a declaration."""
    kind = _KINDS.index(type(statement))
    fields: tuple[WireValue, ...] = (kind, b"".join(statement.nodes))
    if isinstance(statement, Forget):
        until = statement.moves_until
        fields = (*fields, None if until is None else tuple(until))
    return encode(fields)


def decode_forgetting(body: bytes) -> ForgettingStatement:
    """Returns what a declaration tells.

    Raises:
        UnknownOperationError: a later version wrote it.
        MalformedContentsError: it tells nothing of nodes.
    """
    with Reading("a declaration about forgetting"):
        fields = array(decode(body, DECLARATION_SIZE_BYTES_MAX), "statement")
        kind = integer(fields[0] if fields else None, 0, 2**31, "kind of statement")
        if kind >= len(_KINDS):
            raise UnknownOperationError(f"statement {kind} about forgetting: update geosync here")
        if _KINDS[kind] is Forget:
            array(fields, "statement", 3)
            return Forget(_nodes(fields[1]), _stamp(fields[2]))
        array(fields, "statement", 2)
        nodes = _nodes(fields[1])
        if not nodes:
            raise MalformedContentsError("a statement about no nodes")
        return Propose(nodes) if _KINDS[kind] is Propose else Withdraw(nodes)


def _nodes(value: WireValue) -> tuple[NodeId, ...]:
    joined = byte_string(value, "nodes")
    count, rest = divmod(len(joined), ID_SIZE_BYTES)
    if rest or count > NODES_MAX:
        raise MalformedContentsError(f"{len(joined)} bytes of nodes")
    starts = range(0, len(joined), ID_SIZE_BYTES)
    nodes = tuple(NodeId(joined[start : start + ID_SIZE_BYTES]) for start in starts)
    for node in nodes:
        if node == ROOT:
            raise MalformedContentsError("the root can't be forgotten")
        dot_of(node)
    return nodes


def _stamp(value: WireValue) -> Stamp | None:
    if value is None:
        return None
    epoch, ticks, actor = array(value, "stamp", 3)
    return checked_stamp(
        integer(epoch, 0, TICKS_MAX, "epoch"),
        integer(ticks, 0, TICKS_MAX, "ticks"),
        actor_id(byte_string(actor, "actor")),
    )
