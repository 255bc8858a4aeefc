"""What sites tell each other of brakes: the bodies of declarations with the topic BRAKE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from conflict.brakes import Amount, BrakeKind
from conflict.errors import MalformedValueError
from conflict.operations import DECLARATION_SIZE_BYTES_MAX
from conflict.version import ActorId, Dot, actor_id, checked_dot
from transport.msgpack_codec import WireValue, array, byte_string, decode, encode, integer
from transport.wire_errors import MalformedContentsError, Reading

NUMBER_MAX: Final = 2**62
BRAKE_PATHS_MAX: Final = 10
_KINDS: Final = (BrakeKind.DELETION, BrakeKind.CHANGE, BrakeKind.ENCRYPTION)


class Verdict(IntEnum):
    """What somebody decided. Wire format: no number is ever given another meaning."""

    APPROVED = 1
    REJECTED = 2


@dataclass(frozen=True, slots=True)
class Engaged:
    """The author holds changes of its own disk back; the declaration's dot names the brake."""

    kind: BrakeKind
    since_ms: int  # since 1970, by the author's clock
    amount: Amount  # when this was written
    reason: str
    paths: tuple[bytes, ...]  # the first few


@dataclass(frozen=True, slots=True)
class Decided:
    """Somebody decided about a brake that a site told of."""

    brake: Dot
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Released:
    """A brake of the author is over: its changes were captured, undone, or are there no more."""

    counter: int  # of the author's declaration of the brake


@dataclass(frozen=True, slots=True)
class Grown:
    """A brake of the author holds more by now."""

    counter: int  # of the author's declaration of the brake
    amount: Amount


@dataclass(frozen=True, slots=True)
class Settled:
    """Operations that nobody is to hold back: a person has decided about them."""

    actor: ActorId
    first_counter: int
    last_counter: int
    verdict: Verdict
    kind: BrakeKind | None = None  # what of them was looked at; None: all

    def __post_init__(self) -> None:
        if not 1 <= self.first_counter <= self.last_counter:
            raise MalformedValueError(
                f"operations from {self.first_counter} to {self.last_counter} are none"
            )

    def covers(self, dot: Dot, kind: BrakeKind) -> bool:
        """Tells whether an operation is among them, as far as it is of this kind."""
        is_among = self.first_counter <= dot.counter <= self.last_counter
        return dot.actor == self.actor and is_among and self.kind in (None, kind)


BrakeRecord = Engaged | Decided | Released | Settled | Grown


def encode_brake_record(record: BrakeRecord) -> bytes:
    """Returns the body of a declaration."""
    match record:
        case Engaged():
            return encode(
                (
                    0,
                    _KINDS.index(record.kind),
                    record.since_ms,
                    record.amount.count,
                    record.amount.size_bytes,
                    record.reason.encode(),
                    record.paths[:BRAKE_PATHS_MAX],
                )
            )
        case Decided():
            return encode((1, record.brake.actor, record.brake.counter, record.verdict.value))
        case Released():
            return encode((2, record.counter))
        case Settled():
            first, last = record.first_counter, record.last_counter
            kind = _KINDS.index(record.kind) if record.kind is not None else None
            return encode((3, record.actor, first, last, record.verdict.value, kind))
        case Grown():
            return encode((4, record.counter, record.amount.count, record.amount.size_bytes))


def decode_brake_record(body: bytes) -> BrakeRecord:
    """Reads the body of a declaration.

    Raises:
        WireFormatError: the body is none, or of a kind that only a later version knows.
    """
    with Reading("a declaration about a brake"):
        try:
            return _decoded(array(decode(body, DECLARATION_SIZE_BYTES_MAX), "brake"))
        except UnicodeDecodeError as error:
            raise MalformedContentsError(str(error)) from error


def _decoded(values: tuple[WireValue, ...]) -> BrakeRecord:
    integer(values[0] if values else None, 0, 4, "kind")  # not False, which equals 0
    match values:
        case (0, kind, since_ms, count, size_bytes, reason, paths):
            return Engaged(
                kind=_kind(kind),
                since_ms=_number(since_ms),
                amount=Amount(_number(count), _number(size_bytes)),
                reason=byte_string(reason, "reason").decode(),
                paths=tuple(byte_string(path, "path") for path in array(paths, "paths")),
            )
        case (1, actor, counter, verdict):
            brake = checked_dot(byte_string(actor, "actor"), _number(counter))
            return Decided(brake, _verdict(verdict))
        case (2, counter):
            return Released(_number(counter))
        case (3, actor, first, last, verdict, kind):
            author = actor_id(byte_string(actor, "actor"))
            looked_at = _kind(kind) if kind is not None else None
            return Settled(author, _number(first), _number(last), _verdict(verdict), looked_at)
        case (4, counter, count, size_bytes):
            return Grown(_number(counter), Amount(_number(count), _number(size_bytes)))
        case _:
            pass
    raise MalformedContentsError(f"no brake is told of by {len(values)} values: {values[:1]!r}")


def _number(value: WireValue) -> int:
    return integer(value, 0, NUMBER_MAX, "number")


def _kind(value: WireValue) -> BrakeKind:
    return _KINDS[integer(value, 0, len(_KINDS) - 1, "kind")]


def _verdict(value: WireValue) -> Verdict:
    return Verdict(integer(value, min(Verdict), max(Verdict), "verdict"))
