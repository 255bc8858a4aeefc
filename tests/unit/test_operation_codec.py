"""What is stored of operations is small, complete, and refused where it makes no sense."""

from __future__ import annotations

import dataclasses

import pytest

from conflict.content import HOLE_DIGEST, ChunkReference, Content, ContentKind
from conflict.errors import MalformedValueError
from conflict.operations import (
    ROOT,
    Declare,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    Transaction,
    id_of,
)
from conflict.stamp import TICKS_MAX, Stamp
from conflict.version import COUNTER_MAX, ActorId, Dot, VersionVector
from transport.actor_table import ActorTable, ActorTableWriter
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.msgpack_codec import WireValue, decode, encode
from transport.operation_codec import (
    OperationReader,
    OperationWriter,
    decode_content,
    decode_operation,
    decode_vector,
    encode_content,
    encode_operation,
)
from transport.wire_errors import MalformedContentsError, UnknownOperationError

AUTHOR = ActorId(b"a" * 16)
OTHER = ActorId(b"b" * 16)
NODE = NodeId(id_of(Dot(OTHER, 3)))
OWN = NodeId(id_of(Dot(AUTHOR, 9)))
STAMP = Stamp(2, 100, AUTHOR)
CONTEXT = frozenset({Dot(OTHER, 4), Dot(AUTHOR, 8)})
PLACE = Place(Dot(AUTHOR, 9), STAMP, OWN, LinkId(OWN), True, ROOT, b"name", CONTEXT)
CHUNK = ChunkReference(b"c" * 32, 10)
CONTENT = Content(ContentKind.REGULAR, b"d" * 32, 10, (CHUNK,))

HANDLED = {
    Place: "dot stamp node link is_directory parent name context",
    Put: "dot stamp node via content attributes context",
    SetAttributes: "dot stamp node attributes",
    Delete: "dot stamp node link context aside is_last_name",
    Drop: "dot stamp node context",
    Declare: "dot stamp topic body",
    Transaction: "operations received",
    Content: "kind digest size_bytes chunks target",
    ChunkReference: "digest size_bytes",
}


@pytest.mark.parametrize("value_type", HANDLED)
def test_no_field_of_a_value_is_forgotten(value_type: type[Operation]) -> None:
    """A field that is new in the core must get a place in the format, and then a place here."""
    names = [field.name for field in dataclasses.fields(value_type)]
    assert names == HANDLED[value_type].split()


def _stored(*fields: WireValue, table: bytes = AUTHOR + OTHER, counter: WireValue = 9) -> bytes:
    return encode((table, counter, fields))


def test_the_fields_of_an_operation_are_pinned() -> None:
    writer = OperationWriter(AUTHOR)
    assert writer.fields(PLACE) == (
        *(0, 2, 100),  # kind, epoch, ticks
        *(0, 0),  # node: the author's, no distance from the operation itself
        *(0, 0),  # link
        *(1, 0),  # parent: the root's actor is the next one in the table
        *(True, b"name"),
        (0, 1, 2, 4),  # context: the author's one before, the other's fourth
    )
    assert writer.table.packed() == AUTHOR + bytes(16) + OTHER


def test_stamps_are_stored_as_distances() -> None:
    writer = OperationWriter(AUTHOR)
    later = dataclasses.replace(PLACE, stamp=Stamp(2, 101, AUTHOR))
    assert [writer.fields(each)[2] for each in (PLACE, later, PLACE)] == [100, 1, -1]


def test_what_was_received_is_stored_as_difference() -> None:
    drops = [Drop(Dot(AUTHOR, counter), STAMP, NODE, CONTEXT) for counter in (9, 10, 11, 12)]
    known = [{OTHER: 5}, {OTHER: 5}, {OTHER: 6, ActorId(b"c" * 16): 1}, {}]
    log = tuple(
        Transaction((drop,), VersionVector({AUTHOR: drop.dot.counter - 1, **others}))
        for drop, others in zip(drops, known, strict=True)
    )
    base = VersionVector({AUTHOR: 8, OTHER: 5})
    writer = OperationWriter(AUTHOR)
    first, written = writer.transactions(log, base)
    assert first == 9
    assert isinstance(written, tuple)
    changes = [transaction[0] for transaction in written if isinstance(transaction, tuple)]
    assert changes == [(), (), (1, 6, 2, 1), (1, 0, 2, 0)]
    reader = OperationReader(ActorTable(writer.table.packed()))
    assert tuple(reader.transactions((first, written), base)) == log


def test_a_transaction_may_start_the_log() -> None:
    drop = Drop(Dot(AUTHOR, 1), STAMP, NODE, CONTEXT)
    log = (Transaction((drop,), VersionVector()),)
    writer = OperationWriter(AUTHOR)
    value = writer.transactions(log, VersionVector({AUTHOR: 50}))
    reader = OperationReader(ActorTable(writer.table.packed()))
    assert tuple(reader.transactions(value, VersionVector({AUTHOR: 50}))) == log


def test_an_operation_with_another_actors_stamp_is_not_written() -> None:
    with pytest.raises(MalformedValueError, match="another actor's"):
        encode_operation(dataclasses.replace(PLACE, stamp=Stamp(0, 0, OTHER)))


def test_an_identity_that_no_operation_made_is_not_written() -> None:
    impossible = NodeId(OTHER + bytes(8))
    with pytest.raises(MalformedValueError, match="not a counter"):
        encode_operation(dataclasses.replace(PLACE, parent=impossible))


def test_an_unknown_kind_stops_the_log_and_says_so() -> None:
    """Skipping it would make this site differ from the others for ever."""
    with pytest.raises(UnknownOperationError) as caught:
        decode_operation(_stored(6, 0, 0, b"anything"))
    assert "operation 61616161:9: it is of kind 6" in str(caught.value)
    assert "knows the kinds 0 to 5" in str(caught.value)
    assert "update geosync here" in str(caught.value)


def test_an_unknown_topic_stops_the_log_and_says_so() -> None:
    """What it declares may be what keeps this site from losing something."""
    with pytest.raises(UnknownOperationError, match=r"topic 99.* update geosync here"):
        decode_operation(_stored(5, 0, 0, 99, b"anything"))


@pytest.mark.parametrize("counter", [0, -1, COUNTER_MAX + 1, 2**64 - 1, None, True, b"9"])
def test_an_impossible_counter_is_refused(counter: WireValue) -> None:
    with pytest.raises(MalformedContentsError, match="counter"):
        decode_operation(_stored(3, 0, 0, 0, 1, (), counter=counter))


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (b"", "table of actors: 0 bytes"),
        (AUTHOR + b"x", "table of actors: 17 bytes"),
        (AUTHOR + AUTHOR, "twice"),
    ],
)
def test_a_malformed_table_of_actors_is_refused(table: bytes, found: str) -> None:
    with pytest.raises(MalformedContentsError, match=found):
        decode_operation(_stored(4, 0, 0, 0, 1, (), table=table))


PLACE_FIELDS: tuple[WireValue, ...] = (0, 0, 5, 0, 0, 0, 0, 1, 3, False, b"name", ())
PUT_FIELDS: tuple[WireValue, ...] = (
    *(1, 0, 5, 0, 1, 0, 1),
    (0, b"d" * 32, b"c" * 32, (10,)),
    (b"mode", 0o644),
    (),
)


def test_the_hand_made_operations_are_right() -> None:
    """Otherwise the next test would show nothing."""
    assert isinstance(decode_operation(_stored(*PLACE_FIELDS)), Place)
    put = decode_operation(_stored(*PUT_FIELDS))
    assert isinstance(put, Put)
    assert put.content == CONTENT


@pytest.mark.parametrize(
    ("fields", "position", "value", "found"),
    [
        (PLACE_FIELDS, 0, None, "kind: None"),
        (PLACE_FIELDS, 0, False, "kind: False"),
        (PLACE_FIELDS, 0, -1, "kind: -1"),
        (PLACE_FIELDS, 0, 1, "array of 12 is not an array of 10"),
        (PLACE_FIELDS, 1, -1, "epoch: -1"),
        (PLACE_FIELDS, 1, TICKS_MAX + 1, "epoch"),
        (PLACE_FIELDS, 2, -1, "not a stamp"),
        (PLACE_FIELDS, 2, 2**64 - 1, "ticks: 18446744073709551615"),
        (PLACE_FIELDS, 2, b"", "ticks: b''"),
        (PLACE_FIELDS, 3, 2, "2 is not one of the 2 actors"),
        (PLACE_FIELDS, 3, -1, "-1 is not one of the 2 actors"),
        (PLACE_FIELDS, 3, False, "False is not one of the 2 actors"),
        (PLACE_FIELDS, 4, 10, "not a counter of operations: -1"),
        (PLACE_FIELDS, 4, 9, "61616161.*:0 is neither the root nor an operation"),
        (PLACE_FIELDS, 4, b"9", "is not a counter"),
        (PLACE_FIELDS, 8, 2**64 - 1, "not a counter of operations: 18446744073709551615"),
        (PLACE_FIELDS, 8, -(2**63), "not a counter of operations: -9223372036854775808"),
        (PLACE_FIELDS, 9, 1, "is a directory: 1"),
        (PLACE_FIELDS, 10, b"..", "not a name of a file: b'..'"),
        (PLACE_FIELDS, 10, b".", "not a name of a file"),
        (PLACE_FIELDS, 10, b"", "not a name of a file"),
        (PLACE_FIELDS, 10, b"a/b", "slash or NUL"),
        (PLACE_FIELDS, 10, b"a\0b", "slash or NUL"),
        (PLACE_FIELDS, 10, b"x" * 256, "not a name of a file"),
        (PLACE_FIELDS, 10, None, "name: None"),
        (PLACE_FIELDS, 11, (1,), "1 elements do not make pairs"),
        (PLACE_FIELDS, 11, (1, 3, 1, 3), "a dot is there twice"),
        (PLACE_FIELDS, 11, (1, 0), "not a counter"),
        (PLACE_FIELDS, 11, 7, "context: 7 is not an array"),
        (PUT_FIELDS, 7, (), "kind of content: None"),
        (PUT_FIELDS, 7, (9, b"d" * 32), "no content has kind 9 and 2 fields"),
        (PUT_FIELDS, 7, (0, b"d" * 32), "no content has kind 0 and 2 fields"),
        (PUT_FIELDS, 7, (False, b"d" * 32, b"", ()), "kind of content: False"),
        (PUT_FIELDS, 7, (0, b"d" * 31, b"", ()), "not a content digest: 31"),
        (PUT_FIELDS, 7, (0, None, b"", ()), "digest: None"),
        (PUT_FIELDS, 7, (0, b"d" * 32, b"c" * 31, (1,)), "1 chunks with 31 bytes"),
        (PUT_FIELDS, 7, (0, b"d" * 32, b"", (1,) * 1000), "1000 chunks with 0 bytes"),
        (PUT_FIELDS, 7, (0, b"d" * 32, b"c" * 32, (0,)), "size of a chunk: 0"),
        (PUT_FIELDS, 7, (0, b"d" * 32, b"c" * 32, (2**63,)), "size of a chunk"),
        (PUT_FIELDS, 7, (0, b"d" * 32, b"c" * 32, (CHUNK_SIZE_BYTES_MAX + 1,)), "size of a chunk"),
        (PUT_FIELDS, 7, (0, b"d" * 32, HOLE_DIGEST * 2, (2**62, 2**62)), "not a file size"),
        (PUT_FIELDS, 7, (1, b"d" * 32, b""), "not a symlink target"),
        (PUT_FIELDS, 7, (1, b"d" * 32, b"a\0b"), "not a symlink target"),
        (PUT_FIELDS, 7, (1, b"d" * 32, b"x" * 5000), "too long"),
        (PUT_FIELDS, 8, (b"mode",), "1 elements do not make pairs"),
        (PUT_FIELDS, 8, (b"mode", 2**40), "not a file mode"),
        (PUT_FIELDS, 8, (b"mode", True), "not the value of an attribute: True"),
        (PUT_FIELDS, 8, (b"mode", ()), "not the value of an attribute"),
        (PUT_FIELDS, 8, (b"owner", b"a", b"owner", b"b"), "twice"),
        (PUT_FIELDS, 8, (b"mtime_ns", 2**64 - 1), "not a modification time"),
        (PUT_FIELDS, 8, (3, 3), "attribute: 3"),
    ],
)
def test_a_wrong_field_is_refused_with_what_was_found(
    fields: tuple[WireValue, ...], position: int, value: WireValue, found: str
) -> None:
    changed = (*fields[:position], value, *fields[position + 1 :])
    with pytest.raises(
        MalformedContentsError, match=f"an operation: operation 61616161:9: .*{found}"
    ):
        decode_operation(_stored(*changed))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ((), "array of 0 is not an array of 2"),
        ((9, ((),)), "transaction: an array of 0 is not an array of 2"),
        ((9, (((), ()),)), "a transaction without operations"),
        ((0, (((), ((4, 0, 0, 1, 1, ()),)),)), "not a counter of operations: -1"),
        ((COUNTER_MAX + 1, ()), "first counter"),
        ((9, (((1,), ((4, 0, 0, 1, 1, ()),)),)), "1 elements do not make pairs"),
        ((9, (((1, -1), ((4, 0, 0, 1, 1, ()),)),)), "changes of what was received: -1"),
        ((9, (((1, 2, 1, 2), ((4, 0, 0, 1, 1, ()),)),)), "an actor is there twice"),
        ((9, (((5, 2), ((4, 0, 0, 1, 1, ()),)),)), "5 is not one of the 2 actors"),
    ],
)
def test_malformed_transactions_are_refused(value: WireValue, found: str) -> None:
    reader = OperationReader(ActorTable(AUTHOR + OTHER))
    with pytest.raises(MalformedContentsError, match=found):
        tuple(reader.transactions(value, VersionVector()))


def test_a_table_never_has_more_actors_than_a_reader_accepts() -> None:
    writer = ActorTableWriter(AUTHOR)
    for number in range(2**16 - 1):
        writer.place(number.to_bytes(16, "big"))
    assert ActorTable(writer.packed()).author == AUTHOR
    writer.place(b"z" * 16)
    with pytest.raises(MalformedValueError, match="65537 actors"):
        writer.packed()


def test_single_values_are_refused_when_malformed() -> None:
    with pytest.raises(MalformedContentsError, match="a content: content: None"):
        decode_content(encode(None))
    with pytest.raises(MalformedContentsError, match=r"a version vector: .*twice"):
        decode_vector(encode((AUTHOR, 1, AUTHOR, 2)))
    with pytest.raises(MalformedContentsError, match="a version vector: not an actor: 3 bytes"):
        decode_vector(encode((b"abc", 1)))
    with pytest.raises(MalformedContentsError, match="an operation: parts"):
        decode_operation(encode((AUTHOR, 1)))


def test_a_content_of_one_chunk_takes_little_more_than_its_digests() -> None:
    assert len(encode_content(CONTENT)) <= 2 * 32 + 8
    assert decode(encode_content(CONTENT), 100) == (0, b"d" * 32, b"c" * 32, (10,))
