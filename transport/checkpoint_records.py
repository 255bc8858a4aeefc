"""What a checkpoint is made of, record by record, as msgpack values that refer to actors' places.

A reference is two numbers, the actor's place and a counter; place 0 with counter 0 is the root.
Records are read as strictly as operations: what is not understood is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Final, TypeVar

from conflict.checkpoint import NOBODY, PastVersion, canonical
from conflict.content import DIGEST_SIZE_BYTES
from conflict.merged_tree import DirectoryMove
from conflict.node import LinkState, Location, NodeState, PlaceRecord, Register, Version
from conflict.operations import Declare, LinkId, NodeId, check_attributes, check_name
from conflict.stamp import TICKS_MAX, Stamp, checked_stamp
from conflict.version import ActorId, Dot, VersionVector
from transport.actor_table import ActorTable, ActorTableWriter
from transport.msgpack_codec import (
    WireValue,
    array,
    boolean,
    byte_string,
    integer,
    pairs,
)
from transport.object_names import PACK_NUMBER_MAX, pack_name, parse_pack_name
from transport.operation_codec import (
    attribute_value_of,
    attributes_of,
    content_fields,
    content_of,
    decode_operation,
    encode_operation,
)
from transport.pack import PACK_SIZE_BYTES_MAX, ChunkLocation
from transport.volume_record import TIME_MS_MAX
from transport.wire_errors import MalformedContentsError

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
COUNT_MAX: Final = 2**48
_ORIGIN: Final = 0  # counters are stored as they are
_DELETED, _ASIDE, _SETTLED = 1, 2, 4


class Section(IntEnum):
    """What the records of a part are. Wire format: no number is ever given another meaning."""

    NODES = 0  # files and directories, in order of their identities
    MOVES = 1  # renames of directories, in order of their stamps
    PAST_VERSIONS = 2  # in order of node, digest and dot
    DECLARATIONS = 3  # in order of their dots
    CHUNKS = 4  # where they lie, in order of digest and pack
    INLINE_CHUNKS = 5  # those that no pack has, in order of their digests


@dataclass(frozen=True, slots=True)
class DeclaredRecord:
    """A declaration, with what its author had received when it was written."""

    operation: Declare
    received: VersionVector


@dataclass(frozen=True, slots=True)
class LocatedChunk:
    """Where a chunk lies."""

    digest: bytes
    location: ChunkLocation


@dataclass(frozen=True, slots=True)
class InlineChunk:
    """A small chunk itself."""

    digest: bytes
    chunk: bytes


Record = NodeState | DirectoryMove | PastVersion | DeclaredRecord | LocatedChunk | InlineChunk


def section_of(record: Record) -> Section:
    """Returns the section that a record belongs to."""
    return _SECTIONS[type(record)]


_SECTIONS: Final[dict[type[Record], Section]] = {
    NodeState: Section.NODES,
    DirectoryMove: Section.MOVES,
    PastVersion: Section.PAST_VERSIONS,
    DeclaredRecord: Section.DECLARATIONS,
    LocatedChunk: Section.CHUNKS,
    InlineChunk: Section.INLINE_CHUNKS,
}


class RecordWriter:
    """Writes the records of one part."""

    def __init__(self) -> None:
        self.table = ActorTableWriter(NOBODY)

    def fields(self, record: Record) -> tuple[WireValue, ...]:
        """Returns the fields of a record."""
        match record:
            case NodeState():
                return self._node(canonical(record))
            case DirectoryMove():
                return self._move(record)
            case PastVersion():
                dot, node = self._dot(record.dot), self._id(record.node)
                return (*node, record.digest, *dot, record.written_at_ms)
            case DeclaredRecord():
                received = self.table.vector(record.received)
                return (encode_operation(record.operation), received)
            case LocatedChunk(digest, at):
                actor, number = parse_pack_name(at.pack)
                where = (at.offset, at.stored_size_bytes, at.size_bytes)
                return (digest, self.table.place(actor), number, *where)
            case InlineChunk():
                return (record.digest, record.chunk)

    def _id(self, identity: bytes) -> tuple[int, int]:
        return self.table.identity(identity, _ORIGIN)

    def _dot(self, dot: Dot) -> tuple[int, int]:
        return self.table.dot(dot, _ORIGIN)

    def _written(self, dot: Dot, stamp: Stamp) -> tuple[int, int, int, int]:
        """Dot and stamp, which have one actor."""
        assert dot.actor == stamp.actor
        return (*self._dot(dot), stamp.epoch, stamp.ticks)

    def _location(self, location: Location) -> tuple[WireValue, ...]:
        return (*self._id(location.parent), location.name)

    def _node(self, state: NodeState) -> tuple[WireValue, ...]:
        return (
            *self._id(state.node),
            state.is_directory,
            state.created.epoch,
            state.created.ticks,
            tuple(self._link(link, at) for link, at in state.links.items()),
            tuple(map(self._version, state.versions.values())),
            tuple(
                (key, *self._written(r.dot, r.stamp), r.value) for key, r in state.registers.items()
            ),
            () if state.location is None else self._location(state.location),
            state.live_child_count,
        )

    def _link(self, link: LinkId, state: LinkState) -> tuple[WireValue, ...]:
        others = [place for place in state.places if place != state.latest]
        return (
            *self._id(link),
            self._place(state.latest),
            len(others) < len(state.places),
            tuple(map(self._place, others)),
        )

    def _place(self, place: PlaceRecord) -> tuple[WireValue, ...]:
        return (*self._written(place.dot, place.stamp), *self._location(place.location))

    def _version(self, version: Version) -> tuple[WireValue, ...]:
        flags = (
            _DELETED * version.is_deleted
            | _ASIDE * version.is_aside
            | _SETTLED * version.is_settled
        )
        return (
            *self._written(version.dot, version.stamp),
            *self._id(version.via),
            content_fields(version.content),
            tuple(chain.from_iterable(version.attributes)),
            flags,
            tuple(chain.from_iterable(self._id(link) for link in sorted(version.unlinked))),
        )

    def _move(self, move: DirectoryMove) -> tuple[WireValue, ...]:
        return (
            move.stamp.epoch,
            move.stamp.ticks,
            self.table.place(move.stamp.actor),
            *self._id(move.node),
            *self._location(move.target),
            *self._location(move.previous),
            move.is_effective,
        )


class RecordReader:
    """Reads what a RecordWriter wrote, with its table of actors.

    Every method raises MalformedContentsError or MalformedValueError for anything else.
    """

    def __init__(self, table: ActorTable) -> None:
        self._table = table
        self._readers: dict[Section, Callable[[WireValue], Record]] = {
            Section.NODES: self._node,
            Section.MOVES: self._move,
            Section.PAST_VERSIONS: self._past_version,
            Section.DECLARATIONS: self._declaration,
            Section.CHUNKS: self._chunk,
            Section.INLINE_CHUNKS: self._inline_chunk,
        }

    def record(self, section: Section, value: WireValue) -> Record:
        """Returns the record that these are the fields of."""
        return self._readers[section](value)

    def _id(self, place: WireValue, number: WireValue) -> NodeId:
        if place == 0 and number != 0:
            raise MalformedContentsError("nobody has no operations")
        return self._table.identity(place, number, _ORIGIN)

    def _dot(self, place: WireValue, number: WireValue) -> Dot:
        if place == 0:
            raise MalformedContentsError("nobody has no operations")
        return self._table.dot(place, number, _ORIGIN)

    def _written(self, fields: tuple[WireValue, ...]) -> tuple[Dot, Stamp]:
        place, number, epoch, ticks = fields
        dot = self._dot(place, number)
        return dot, _stamp(epoch, ticks, dot.actor)

    def _location(self, value: tuple[WireValue, ...]) -> Location:
        place, number, name = value
        found = byte_string(name, "name")
        check_name(found)
        return Location(self._id(place, number), found)

    def _node(self, value: WireValue) -> NodeState:
        at, n, is_directory, epoch, ticks, links, versions, registers, location, count = array(
            value, "node", 10
        )
        node = self._id(at, n)
        return NodeState(
            node=node,
            is_directory=boolean(is_directory, "is a directory"),
            created=_stamp(epoch, ticks, self._table.actor(at)),
            links=_unique(map(self._link, array(links, "links")), "link"),
            versions=_unique(map(self._version, array(versions, "versions")), "version"),
            registers=_unique(map(self._register, array(registers, "registers")), "attribute"),
            location=self._location(array(location, "location", 3)) if location != () else None,
            live_child_count=integer(count, 0, COUNT_MAX, "number of names"),
        )

    def _link(self, value: WireValue) -> tuple[LinkId, LinkState]:
        at, n, latest, is_counting, others = array(value, "link", 5)
        last = self._place(latest)
        places = [*map(self._place, array(others, "places"))]
        if boolean(is_counting, "does the latest place count"):
            places.append(last)
        in_order = tuple(sorted(places, key=lambda place: place.dot))
        return LinkId(self._id(at, n)), LinkState(in_order, last)

    def _place(self, value: WireValue) -> PlaceRecord:
        fields = array(value, "place", 7)
        return PlaceRecord(*self._written(fields[:4]), self._location(fields[4:]))

    def _version(self, value: WireValue) -> tuple[Dot, Version]:
        fields = array(value, "version", 10)
        dot, stamp = self._written(fields[:4])
        at, n, content, attributes, flags, unlinked = fields[4:]
        changes = attributes_of(attributes)
        check_attributes(changes)
        marks = integer(flags, 0, _DELETED | _ASIDE | _SETTLED, "flags")
        names = [self._id(*each) for each in pairs(unlinked, "unlinked")]
        return dot, Version(
            dot=dot,
            stamp=stamp,
            content=content_of(content),
            attributes=changes,
            via=LinkId(self._id(at, n)),
            is_deleted=bool(marks & _DELETED),
            unlinked=frozenset(LinkId(name) for name in names),
            is_aside=bool(marks & _ASIDE),
            is_settled=bool(marks & _SETTLED),
        )

    def _register(self, value: WireValue) -> tuple[bytes, Register]:
        fields = array(value, "attribute", 6)
        key, worth = byte_string(fields[0], "attribute"), attribute_value_of(fields[5])
        check_attributes(((key, worth),))
        dot, stamp = self._written(fields[1:5])
        return key, Register(stamp, dot, worth)

    def _move(self, value: WireValue) -> DirectoryMove:
        fields = array(value, "move", 12)
        return DirectoryMove(
            stamp=_stamp(fields[0], fields[1], self._table.actor(fields[2])),
            node=self._id(*fields[3:5]),
            target=self._location(fields[5:8]),
            previous=self._location(fields[8:11]),
            is_effective=boolean(fields[11], "does the move count"),
        )

    def _past_version(self, value: WireValue) -> PastVersion:
        at, n, digest, place, number, time_ms = array(value, "past version", 6)
        return PastVersion(
            self._id(at, n),
            _digest(digest),
            self._dot(place, number),
            integer(time_ms, 0, TIME_MS_MAX, "written at"),
        )

    def _declaration(self, value: WireValue) -> DeclaredRecord:
        packed, received = array(value, "declaration", 2)
        operation = decode_operation(byte_string(packed, "declaration"))
        if not isinstance(operation, Declare):
            raise MalformedContentsError(f"{operation.dot} declares nothing")
        return DeclaredRecord(operation, self._table.vector(received, "received"))

    def _chunk(self, value: WireValue) -> LocatedChunk:
        digest, at, number, *where = array(value, "chunk", 6)
        offset, stored, size = (integer(n, 0, PACK_SIZE_BYTES_MAX, "location") for n in where)
        name = pack_name(self._table.actor(at), integer(number, 0, PACK_NUMBER_MAX, "pack"))
        return LocatedChunk(_digest(digest), ChunkLocation(name, offset, stored, size))

    def _inline_chunk(self, value: WireValue) -> InlineChunk:
        digest, chunk = array(value, "inline chunk", 2)
        return InlineChunk(_digest(digest), byte_string(chunk, "chunk"))


def _unique(entries: Iterable[tuple[_Key, _Value]], subject: str) -> dict[_Key, _Value]:
    listed = list(entries)
    found = dict(listed)
    if len(found) != len(listed):
        raise MalformedContentsError(f"a {subject} is there twice")
    return found


def _stamp(epoch: WireValue, ticks: WireValue, actor: ActorId) -> Stamp:
    return checked_stamp(
        integer(epoch, 0, TICKS_MAX, "epoch"), integer(ticks, 0, TICKS_MAX, "ticks"), actor
    )


def _digest(value: WireValue) -> bytes:
    digest = byte_string(value, "digest")
    if len(digest) != DIGEST_SIZE_BYTES:
        raise MalformedContentsError(f"not a digest: {len(digest)} bytes")
    return digest
