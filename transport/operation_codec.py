"""Operations, transactions and contents as msgpack values, for the log and for the journal.

Reading never skips anything: an operation that is left out would make this site differ from the
others for ever, so whatever is not understood is an error that says where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final, assert_never

from conflict.content import (
    DIGEST_SIZE_BYTES,
    FILE_SIZE_BYTES_MAX,
    HOLE_DIGEST,
    ChunkReference,
    Content,
    ContentKind,
)
from conflict.errors import MalformedValueError
from conflict.operations import (
    AttributeChanges,
    AttributeValue,
    Declare,
    Delete,
    Drop,
    LinkId,
    Operation,
    Place,
    Put,
    SetAttributes,
    Topic,
    Transaction,
)
from conflict.stamp import TICKS_MAX, Stamp, checked_stamp
from conflict.version import COUNTER_MAX, ActorId, Dot, VersionVector, checked_dot
from transport.actor_table import ActorTable, ActorTableWriter
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.msgpack_codec import (
    WireValue,
    array,
    boolean,
    byte_string,
    decode,
    encode,
    integer,
    pairs,
    shown,
)
from transport.wire_errors import MalformedContentsError, Reading, UnknownOperationError

VALUE_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024

Fields = tuple[WireValue, ...]


# The first field of an operation. Wire format: no number is ever given another meaning.
_PLACE: Final = 0
_PUT: Final = 1
_SET_ATTRIBUTES: Final = 2
_DELETE: Final = 3
_DROP: Final = 4
_DECLARE: Final = 5


def encode_operation(operation: Operation) -> bytes:
    """Packs one operation, with all that is needed to read it alone."""
    writer = OperationWriter(operation.dot.actor)
    fields = writer.fields(operation)
    return encode((writer.table.packed(), operation.dot.counter, fields))


def decode_operation(packed: bytes) -> Operation:
    """Unpacks what `encode_operation` packed. Raises WireFormatError for anything else."""
    with Reading("an operation"):
        table, counter, fields = array(decode(packed, VALUE_SIZE_BYTES_MAX), "parts", 3)
        reader = OperationReader(ActorTable(table))
        return reader.operation(integer(counter, 1, COUNTER_MAX, "counter"), fields)


def encode_content(content: Content) -> bytes:
    """Packs one content."""
    return encode(content_fields(content))


def decode_content(packed: bytes) -> Content:
    """Unpacks what `encode_content` packed. Raises WireFormatError for anything else."""
    with Reading("a content"):
        return content_of(decode(packed, VALUE_SIZE_BYTES_MAX))


def encode_vector(vector: VersionVector) -> bytes:
    """Packs one version vector."""
    return encode(tuple(chain.from_iterable(vector.items())))


def decode_vector(packed: bytes) -> VersionVector:
    """Unpacks what `encode_vector` packed. Raises WireFormatError for anything else."""
    with Reading("a version vector"):
        entries = pairs(decode(packed, VALUE_SIZE_BYTES_MAX), "entries")
        dots = [
            checked_dot(byte_string(actor, "actor"), integer(n, 1, COUNTER_MAX, "counter"))
            for actor, n in entries
        ]
        vector = VersionVector(dict(dots))
        if len(vector) != len(entries):
            raise MalformedContentsError("an actor is there twice")
        return vector


class OperationWriter:
    """Turns one actor's operations, in order, into fields that refer to a table of actors."""

    __slots__ = ("_author", "_ticks", "table")

    def __init__(self, author: ActorId) -> None:
        self.table = ActorTableWriter(author)
        self._author = author
        self._ticks = 0

    def transactions(self, transactions: Sequence[Transaction], base: VersionVector) -> Fields:
        """Returns transactions without gaps between them.

        Args:
            transactions: of the author; the log numbers its operations without gaps.
            base: what the reader of these fields will know too, close to what was received.
        """
        if not transactions:
            return (0, ())
        known = base
        written: list[WireValue] = []
        for transaction in transactions:
            received = transaction.received
            written.append(
                (
                    self._vector_changes(received, known),
                    tuple(map(self.fields, transaction.operations)),
                )
            )
            known = received
        return (transactions[0].operations[0].dot.counter, tuple(written))

    def fields(self, operation: Operation) -> Fields:
        """Returns the fields of one operation, but for its dot, which its position tells.

        Raises:
            MalformedValueError: the stamp is another actor's, or an identity is impossible.
        """
        dot, stamp = operation.dot, operation.stamp
        if dot.actor != self._author or stamp.actor != self._author:
            raise MalformedValueError(f"operation {dot} or its stamp is another actor's")
        elapsed = stamp.ticks - self._ticks
        self._ticks = stamp.ticks
        if isinstance(operation, Declare):
            return (_DECLARE, stamp.epoch, elapsed, operation.topic.value, operation.body)
        origin = dot.counter
        start = (stamp.epoch, elapsed, *self.table.identity(operation.node, origin))
        match operation:
            case Place():
                return (_PLACE, *start, *self._place(operation))
            case Put():
                return (
                    _PUT,
                    *start,
                    *self.table.identity(operation.via, origin),
                    content_fields(operation.content),
                    tuple(chain.from_iterable(operation.attributes)),
                    self.table.context(operation.context, origin),
                )
            case SetAttributes():
                changes = tuple(chain.from_iterable(operation.attributes))
                return (_SET_ATTRIBUTES, *start, changes)
            case Delete():
                return (
                    _DELETE,
                    *start,
                    *self.table.identity(operation.link, origin),
                    self.table.context(operation.context, origin),
                    self.table.context(operation.aside, origin),
                    operation.is_last_name,
                )
            case Drop():
                return (_DROP, *start, self.table.context(operation.context, origin))
            case _:
                assert_never(operation)

    def _place(self, operation: Place) -> Fields:
        origin = operation.dot.counter
        return (
            *self.table.identity(operation.link, origin),
            *self.table.identity(operation.parent, origin),
            operation.is_directory,
            operation.name,
            self.table.context(operation.context, origin),
        )

    def _vector_changes(self, received: VersionVector, known: VersionVector) -> tuple[int, ...]:
        """Returns what differs, with zero for an actor that is gone.

        The author's own entry is left out: it follows from the first operation.
        """
        author, place = self._author, self.table.place
        changes = [
            (place(actor), counter)
            for actor, counter in received.items()
            if counter != known.counter_of(actor) and actor != author
        ]
        gone = [(place(actor), 0) for actor in known if actor not in received and actor != author]
        return tuple(chain.from_iterable(changes + gone))


class OperationReader:
    """Turns fields that an OperationWriter made back into operations, in the same order."""

    __slots__ = ("_table", "_ticks")

    def __init__(self, table: ActorTable) -> None:
        self._table = table
        self._ticks = 0

    def transactions(self, value: WireValue, base: VersionVector) -> Iterator[Transaction]:
        """Yields the transactions. Raises WireFormatError at what can't be one."""
        first, written = array(value, "transactions", 2)
        counter = integer(first, 0, COUNTER_MAX, "first counter")
        author = self._table.author
        known = dict(base)
        for transaction in array(written, "transactions"):
            with Reading("the transaction at", Dot(author, counter)):
                changes, operations = array(transaction, "transaction", 2)
                self._apply_changes(known, changes)
                known[author] = counter - 1
                received = VersionVector({actor: n for actor, n in known.items() if n})
                fields = array(operations, "operations")
                read = [self.operation(counter + i, each) for i, each in enumerate(fields)]
                counter += len(read)
                result = Transaction(tuple(read), received)
            yield result

    def _apply_changes(self, known: dict[ActorId, int], changes: WireValue) -> None:
        if changes != ():
            known.update(self._table.counters(changes, 0, "changes of what was received"))

    def operation(self, counter: int, value: WireValue) -> Operation:
        """Returns the operation with this counter.

        Raises:
            UnknownOperationError: it is of a kind that only a later version knows.
            WireFormatError: it is malformed.
        """
        dot = Dot(self._table.author, counter)
        with Reading("operation", dot):
            checked_dot(*dot)
            fields = array(value, "operation")
            kind = integer(fields[0] if fields else None, 0, 2**32, "kind")
            if kind not in _READERS:
                raise UnknownOperationError(
                    f"it is of kind {kind}, and this version of geosync knows the kinds"
                    f" 0 to {max(_READERS)}: nothing of this site's log is applied from here on;"
                    " update geosync here, then it goes on by itself"
                )
            length, read = _READERS[kind]
            _, epoch, elapsed, *details = array(fields, "operation", length)
            return read(self._table, dot, self._stamp(epoch, elapsed), details)

    def _stamp(self, epoch: WireValue, elapsed: WireValue) -> Stamp:
        self._ticks += integer(elapsed, -TICKS_MAX, TICKS_MAX, "ticks")
        return checked_stamp(integer(epoch, 0, TICKS_MAX, "epoch"), self._ticks, self._table.author)


def _read_place(table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]) -> Place:
    at, n, link_at, link_n, parent_at, parent_n, is_directory, name, context = fields
    return Place(
        dot,
        stamp,
        table.identity(at, n, dot.counter),
        LinkId(table.identity(link_at, link_n, dot.counter)),
        boolean(is_directory, "is a directory"),
        table.identity(parent_at, parent_n, dot.counter),
        byte_string(name, "name"),
        table.context(context, dot.counter, "context"),
    )


def _read_put(table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]) -> Put:
    at, n, via_at, via_n, content, attributes, context = fields
    return Put(
        dot,
        stamp,
        table.identity(at, n, dot.counter),
        LinkId(table.identity(via_at, via_n, dot.counter)),
        content_of(content),
        attributes_of(attributes),
        table.context(context, dot.counter, "context"),
    )


def _read_set_attributes(
    table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]
) -> SetAttributes:
    at, n, attributes = fields
    node = table.identity(at, n, dot.counter)
    return SetAttributes(dot, stamp, node, attributes_of(attributes))


def _read_delete(table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]) -> Delete:
    at, n, link_at, link_n, context, aside, is_last_name = fields
    return Delete(
        dot,
        stamp,
        table.identity(at, n, dot.counter),
        LinkId(table.identity(link_at, link_n, dot.counter)),
        table.context(context, dot.counter, "context"),
        table.context(aside, dot.counter, "aside"),
        boolean(is_last_name, "is the last name"),
    )


def _read_drop(table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]) -> Drop:
    at, n, context = fields
    node = table.identity(at, n, dot.counter)
    return Drop(dot, stamp, node, table.context(context, dot.counter, "context"))


def _read_declare(_table: ActorTable, dot: Dot, stamp: Stamp, fields: list[WireValue]) -> Declare:
    topic, body = fields
    number = integer(topic, 0, 2**32, "topic")
    if number not in set(Topic):
        raise UnknownOperationError(
            f"it declares something of topic {number}, which this version of geosync does not know:"
            " nothing of this site's log is applied from here on; update geosync here, then it"
            " goes on by itself"
        )
    return Declare(dot, stamp, Topic(number), byte_string(body, "body"))


_Read = Callable[[ActorTable, Dot, Stamp, list[WireValue]], Operation]
_READERS: Final[dict[int, tuple[int, _Read]]] = {  # with the number of fields
    _PLACE: (12, _read_place),
    _PUT: (10, _read_put),
    _SET_ATTRIBUTES: (6, _read_set_attributes),
    _DELETE: (10, _read_delete),
    _DROP: (6, _read_drop),
    _DECLARE: (5, _read_declare),
}


def attributes_of(value: WireValue) -> AttributeChanges:
    """Reads attributes. Raises WireFormatError."""
    return tuple(
        (byte_string(key, "attribute"), attribute_value_of(worth))
        for key, worth in pairs(value, "attributes")
    )


def attribute_value_of(value: WireValue) -> AttributeValue:
    """Reads the value of an attribute. Raises WireFormatError."""
    if isinstance(value, bool | tuple):
        raise MalformedContentsError(f"not the value of an attribute: {shown(value)}")
    return value


def content_fields(content: Content) -> Fields:
    """Returns the fields of a content."""
    match content.kind:
        case ContentKind.REGULAR:
            digests = b"".join([chunk.digest for chunk in content.chunks])
            sizes = tuple([chunk.size_bytes for chunk in content.chunks])
            return (content.kind.value, content.digest, digests, sizes)
        case ContentKind.SYMLINK:
            return (content.kind.value, content.digest, content.target)
        case ContentKind.FIFO:
            return (content.kind.value, content.digest)
        case _:
            assert_never(content.kind)


def content_of(value: WireValue) -> Content:
    """Reads a content. Raises WireFormatError or MalformedValueError."""
    fields = array(value, "content")
    kind = integer(fields[0] if fields else None, 0, 2**32, "kind of content")
    match (kind, *fields[1:]):
        case (ContentKind.REGULAR.value, digest, digests, sizes):
            chunks = _chunks(byte_string(digests, "chunk digests"), array(sizes, "chunk sizes"))
            size_bytes = sum(chunk.size_bytes for chunk in chunks)
            return Content(ContentKind.REGULAR, byte_string(digest, "digest"), size_bytes, chunks)
        case (ContentKind.SYMLINK.value, digest, target):
            text = byte_string(target, "target")
            return Content(
                ContentKind.SYMLINK, byte_string(digest, "digest"), len(text), target=text
            )
        case (ContentKind.FIFO.value, digest):
            return Content(ContentKind.FIFO, byte_string(digest, "digest"), 0)
        case _:
            raise MalformedContentsError(f"no content has kind {kind} and {len(fields)} fields")


def _chunks(digests: bytes, sizes: Fields) -> tuple[ChunkReference, ...]:
    if len(digests) != DIGEST_SIZE_BYTES * len(sizes):
        raise MalformedContentsError(f"{len(sizes)} chunks with {len(digests)} bytes of digests")
    starts = range(0, len(digests), DIGEST_SIZE_BYTES)
    return tuple(
        _chunk(digests[start : start + DIGEST_SIZE_BYTES], size)
        for start, size in zip(starts, sizes, strict=True)
    )


def _chunk(digest: bytes, size: WireValue) -> ChunkReference:
    """Reads one piece. Only holes may be large: whoever reads a chunk holds it in memory."""
    largest = FILE_SIZE_BYTES_MAX if digest == HOLE_DIGEST else CHUNK_SIZE_BYTES_MAX
    return ChunkReference(digest, integer(size, 1, largest, "size of a chunk"))
