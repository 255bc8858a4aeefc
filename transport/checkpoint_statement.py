"""The body of a declaration with the topic CHECKPOINT."""

from __future__ import annotations

from typing import Final

from conflict.checkpointing import CheckpointStatement, Confirmed, Released, Written
from conflict.content import DIGEST_SIZE_BYTES
from conflict.operations import DECLARATION_SIZE_BYTES_MAX
from conflict.version import ActorId, actor_id
from transport.msgpack_codec import WireValue, array, byte_string, decode, encode, integer, pairs
from transport.object_names import CHECKPOINT_NUMBER_MAX, SEQUENCE_MAX
from transport.wire_errors import MalformedContentsError, NewerFormatError, Reading

WRITTEN: Final = 0
CONFIRMED: Final = 1
RELEASED: Final = 2
_SUBJECT: Final = "declaration of a checkpoint"


def encode_checkpoint_statement(statement: CheckpointStatement) -> bytes:
    """Returns the body of a declaration."""
    match statement:
        case Written(number, digest, covered):
            flat: list[WireValue] = []
            for actor, sequence in sorted(covered.items()):
                flat += (actor, sequence)
            return encode((WRITTEN, number, digest, tuple(flat)))
        case Confirmed(writer, number, digest):
            return encode((CONFIRMED, writer, number, digest))
        case Released(actor, sequence):
            return encode((RELEASED, actor, sequence))


def decode_checkpoint_statement(body: bytes) -> CheckpointStatement:
    """Reads the body of a declaration.

    Raises:
        NewerFormatError: a kind that only a later version of geosync knows.
        WireFormatError: it is none; the text says what was found.
    """
    with Reading(_SUBJECT):
        fields = array(decode(body, DECLARATION_SIZE_BYTES_MAX), _SUBJECT)
        kind = integer(fields[0] if fields else None, 0, 2**32, "kind")
        if kind == WRITTEN:
            _, number, digest, covered = array(fields, _SUBJECT, 4)
            entries = pairs(covered, "logs")
            logs = {_actor(actor): _sequence(n) for actor, n in entries}
            if len(logs) != len(entries):
                raise MalformedContentsError("a log is there twice")
            return Written(_number(number), _digest(digest), logs)
        if kind == CONFIRMED:
            _, writer, number, digest = array(fields, _SUBJECT, 4)
            return Confirmed(_actor(writer), _number(number), _digest(digest))
        if kind == RELEASED:
            _, actor, sequence = array(fields, _SUBJECT, 3)
            return Released(_actor(actor), _sequence(sequence))
        raise NewerFormatError(f"kind {kind} is not known: update geosync on this site")


def _actor(value: WireValue) -> ActorId:
    return actor_id(byte_string(value, "actor"))


def _number(value: WireValue) -> int:
    return integer(value, 0, CHECKPOINT_NUMBER_MAX, "number")


def _sequence(value: WireValue) -> int:
    return integer(value, 0, SEQUENCE_MAX, "sequence")


def _digest(value: WireValue) -> bytes:
    digest = byte_string(value, "digest")
    if len(digest) != DIGEST_SIZE_BYTES:
        raise MalformedContentsError(f"a digest of {len(digest)} bytes")
    return digest
