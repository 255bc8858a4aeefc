"""Operations: the changes of which a volume's whole history is made.

An operation names a node, never a path. `context` and its like are sets of dots: exactly the
versions that were on the author's disk when the change was seen (never what the author merely
knew), since whatever they name is replaced for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

from conflict.content import Content
from conflict.errors import MalformedValueError
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector, checked_dot

NodeId = NewType("NodeId", bytes)  # a file or directory: the dot of its first place, as 24 bytes
LinkId = NewType("LinkId", NodeId)  # one name of a node; the first one has the node's identity
ID_SIZE_BYTES = 24
ROOT = NodeId(bytes(ID_SIZE_BYTES))

NAME_SIZE_BYTES_MAX = 255
ATTRIBUTE_KEY_SIZE_BYTES_MAX = 256
ATTRIBUTE_VALUE_SIZE_BYTES_MAX = 64 * 1024
DECLARATION_SIZE_BYTES_MAX = 1024 * 1024

Context = frozenset[Dot]
NOTHING: Context = frozenset()
AttributeValue = int | bytes | None  # None takes an attribute away
AttributeChanges = tuple[tuple[bytes, AttributeValue], ...]  # sorted by key, each key once

MODE = b"mode"  # int: permission bits with setuid, setgid, sticky
OWNER = b"owner"  # bytes: user name, or b"#" and a decimal number
GROUP = b"group"
MTIME_NS = b"mtime_ns"  # int: nanoseconds since 1970, may be negative
EXTENDED_PREFIX = b"x:"  # followed by the name of an extended attribute; bytes
IGNORE_PREFIX = b"ignore:"  # of the root only: see conflict.ignore_patterns
POLICY_PREFIX = b"policy:"  # of the root only: a conflict policy, see conflict.policy


def id_of(dot: Dot) -> bytes:
    """Returns the identity that a place operation with this dot creates."""
    return dot.actor + dot.counter.to_bytes(8, "big")


def dot_of(identity: bytes) -> Dot:
    """Returns the dot of the operation that created a node or link other than the root."""
    return checked_dot(identity[:16], int.from_bytes(identity[16:], "big"))


def check_id(identity: bytes) -> None:
    """Raises MalformedValueError for bytes that can't be a node or a link."""
    if len(identity) != ID_SIZE_BYTES:
        raise MalformedValueError(f"not an identity: {len(identity)} bytes")


def check_name(name: bytes) -> None:
    """Raises MalformedValueError for what no directory can hold, `..` and b"a/b" among them."""
    if not 1 <= len(name) <= NAME_SIZE_BYTES_MAX or name in (b".", b".."):
        raise MalformedValueError(f"not a name of a file: {name[:300]!r}")
    if b"/" in name or b"\0" in name:
        raise MalformedValueError(f"a name holds a slash or NUL: {name[:300]!r}")


def check_attributes(changes: AttributeChanges) -> None:
    """Raises MalformedValueError unless keys are sorted, unique and of sane size, as values are."""
    keys = [key for key, _ in changes]
    if keys != sorted(set(keys)):
        raise MalformedValueError("attributes are not sorted, or one is there twice")
    for key, value in changes:
        if not 1 <= len(key) <= ATTRIBUTE_KEY_SIZE_BYTES_MAX:
            raise MalformedValueError(f"not an attribute: {key[:300]!r}")
        _check_attribute_value(key, value)


def _check_attribute_value(key: bytes, value: AttributeValue) -> None:
    numeric = key in (MODE, MTIME_NS)
    if value is not None and isinstance(value, int) != numeric:
        raise MalformedValueError(f"attribute {key!r} has a value of the wrong type")
    if key == MODE and not (isinstance(value, int) and 0 <= value <= 0o7777):
        raise MalformedValueError(f"not a file mode: {value!r}")
    if key == MTIME_NS and not (isinstance(value, int) and -(2**63) <= value < 2**63):
        raise MalformedValueError(f"not a modification time: {value!r}")
    if isinstance(value, bytes) and len(value) > ATTRIBUTE_VALUE_SIZE_BYTES_MAX:
        raise MalformedValueError(f"attribute {key!r} is too long: {len(value)} bytes")


@dataclass(frozen=True, slots=True)
class Place:
    """Creates, renames or moves one name of a node.

    The first place of a link has the link's identity for its dot; if the node has the same
    identity, it creates the node too. `context` names earlier places of this link.
    """

    dot: Dot
    stamp: Stamp
    node: NodeId
    link: LinkId
    is_directory: bool
    parent: NodeId
    name: bytes
    context: Context = NOTHING

    def __post_init__(self) -> None:
        for identity in (self.node, self.link, self.parent):
            check_id(identity)
        check_name(self.name)
        if self.node in (ROOT, self.parent):
            raise MalformedValueError("the root can't be placed, nor a node in itself")
        if self.is_directory and self.link != self.node:
            raise MalformedValueError("a directory has one name only")

    @property
    def creates_link(self) -> bool:
        """Tells whether the link exists from this operation on."""
        return self.link == id_of(self.dot)


@dataclass(frozen=True, slots=True)
class Put:
    """Sets a file's content, and attributes with it. `context` names the contents it replaces."""

    dot: Dot
    stamp: Stamp
    node: NodeId
    via: LinkId  # the name through which it was written: it comes back if all names were deleted
    content: Content
    attributes: AttributeChanges = ()
    context: Context = NOTHING

    def __post_init__(self) -> None:
        check_id(self.node)
        check_id(self.via)
        check_attributes(self.attributes)


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Sets attributes of a file or directory, each a register of its own."""

    dot: Dot
    stamp: Stamp
    node: NodeId
    attributes: AttributeChanges

    def __post_init__(self) -> None:
        check_id(self.node)
        check_attributes(self.attributes)


@dataclass(frozen=True, slots=True)
class Delete:
    """Takes one name away.

    `context` names places of the link and contents of the node that were there; what is
    concurrent with it lives on. `aside` names losing versions the author saw beside the file:
    they stay conflicts, but don't bring the file back. `is_last_name` tells that the author's disk
    held no other name of the node, so that the contents were deleted, not just one name of them.
    """

    dot: Dot
    stamp: Stamp
    node: NodeId
    link: LinkId
    context: Context
    aside: Context = NOTHING
    is_last_name: bool = True

    def __post_init__(self) -> None:
        check_id(self.node)
        check_id(self.link)
        if self.node == ROOT:
            raise MalformedValueError("the root can't be deleted")


@dataclass(frozen=True, slots=True)
class Drop:
    """Settles conflicts: the versions in `context` are no longer wanted."""

    dot: Dot
    stamp: Stamp
    node: NodeId
    context: Context

    def __post_init__(self) -> None:
        check_id(self.node)


class Topic(IntEnum):
    """What a declaration is about. Wire format: no number is ever given another meaning."""

    EPOCH = 0  # a site claims to be the primary, from here on
    MEMBERSHIP = 1  # an actor is suspected to be lost, acknowledged as such, fenced
    COLLECTION = 2  # objects of the store that are condemned, acknowledged, spared, doomed
    SUPPLY = 3  # chunks that are wanted again, or supplied again
    CHECKPOINT = 4  # a checkpoint that was written, or found to be intact
    BRAKE = 5  # a mass change that somebody approved or rejected
    FORGETTING = 6  # files and directories that are gone, and of which nothing is to be kept
    HINDRANCE = 7  # a site can't bring what it received to its disk, and why


@dataclass(frozen=True, slots=True)
class Declare:
    """Tells all sites something about the volume's life; the tree stays as it is.

    It travels as all operations do: in its author's order, and never before its causes. So whoever
    reads it has read all that its author had received.
    """

    dot: Dot
    stamp: Stamp
    topic: Topic
    body: bytes  # as the topic's own module writes it

    def __post_init__(self) -> None:
        if len(self.body) > DECLARATION_SIZE_BYTES_MAX:
            raise MalformedValueError(f"a declaration of {len(self.body)} bytes")


TreeOperation = Place | Put | SetAttributes | Delete | Drop
Operation = TreeOperation | Declare


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations of one observed change: other sites take all of them or none.

    Raises:
        MalformedValueError: the operations are not one actor's, in order, without gaps.
    """

    operations: tuple[Operation, ...]
    received: VersionVector  # what the author had received, its own earlier operations included

    def __post_init__(self) -> None:
        if not self.operations:
            raise MalformedValueError("a transaction without operations")
        first = self.operations[0].dot
        for index, operation in enumerate(self.operations):
            if operation.dot != Dot(first.actor, first.counter + index):
                raise MalformedValueError(f"{operation.dot} is out of order in a transaction")
            if operation.stamp.actor != first.actor:
                raise MalformedValueError(f"{operation.dot} has another actor's stamp")
        if self.received.counter_of(first.actor) != first.counter - 1:
            raise MalformedValueError(f"{first} does not follow what its author had received")

    @property
    def actor(self) -> ActorId:
        """The author."""
        return self.operations[0].dot.actor

    @property
    def last_counter(self) -> int:
        """The counter of the last operation."""
        return self.operations[-1].dot.counter

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)
