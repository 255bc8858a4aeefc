"""docs/format.md says what the code does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from conflict.content import Content, ContentKind
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
    Topic,
    id_of,
)
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot
from transport import frame, hashing, object_names, pack, segment, volume_record, wire_errors
from transport.checkpoint_records import Section
from transport.compression import Method
from transport.operation_codec import OperationWriter

TEXT = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
DOCUMENTED_MODULES = (
    "segment",
    "checkpoint",
    "cut",
    "volume_record",
    "pack",
    "chunker",
    "msgpack_codec",
)
DERIVED = {
    "SEGMENT_OBJECT_SIZE_BYTES_MAX",
    "STORED_CHUNK_SIZE_BYTES_MAX",
    "CHECKPOINT_PART_OBJECT_SIZE_BYTES_MAX",
    "CUT_OBJECT_SIZE_BYTES_MAX",
    "CHECKPOINT_MANIFEST_OBJECT_SIZE_BYTES_MAX",
}
ACTOR = ActorId(b"a" * 16)


def _rows(first_cell: str) -> list[list[str]]:
    """Returns the cells of all table rows whose first cell matches."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TEXT.splitlines()
        if line.startswith("|")
    ]
    return [row for row in rows if re.fullmatch(first_cell, row[0])]


def test_the_limits_are_those_of_the_code() -> None:
    rows = _rows(r"`transport\.\w+\.\w+`")
    for name, value, *_ in rows:
        module, _, constant = name.strip("`").rpartition(".")
        actual = getattr(importlib.import_module(module), constant)
        assert (name, actual) == (name, int(value.replace(",", "")))


def test_no_limit_is_left_out() -> None:
    documented = {row[0].strip("`") for row in _rows(r"`transport\.\w+\.\w+`")}
    defined = set()
    for name in DOCUMENTED_MODULES:
        module = importlib.import_module(f"transport.{name}")
        source = Path(str(module.__file__)).read_text()
        for constant in re.findall(
            r"^([A-Z]\w*_(?:MAX|MIN|TARGET|VERSION|AVERAGE))\b", source, re.MULTILINE
        ):
            defined.add(f"transport.{name}.{constant}")
    left_out = {each for each in defined - documented if each.rpartition(".")[2] not in DERIVED}
    assert left_out == {"transport.volume_record.TIME_MS_MAX"}


def test_every_error_has_a_row() -> None:
    documented = {row[0].strip("`") for row in _rows(r"`\w+Error`")}
    defined = {
        name
        for name, value in vars(wire_errors).items()
        if isinstance(value, type) and issubclass(value, wire_errors.WireFormatError)
    }
    assert documented == defined - {"WireFormatError"}


def test_the_contexts_of_the_keys_are_those_of_the_code() -> None:
    documented = {row[0].strip("`") for row in _rows(r"`geosync 2026 .*`")}
    defined = {value for name, value in vars(hashing).items() if name.endswith("_PURPOSE")}
    assert documented == defined


def test_the_names_of_objects_are_those_of_the_code() -> None:
    documented = [row[0].strip("`") for row in _rows(r"`(volume|actors|log|packs|checkpoints)/.*`")]
    made = [
        object_names.VOLUME_RECORD,
        object_names.actor_name("site", ACTOR).replace("/site/", "/<site>/"),
        object_names.segment_name(ACTOR, 0),
        object_names.pack_name(ACTOR, 0),
        object_names.checkpoint_part_name(ACTOR, 0, 0),
        object_names.checkpoint_manifest_name(ACTOR, 0),
        object_names.cut_name(ACTOR, 0),
    ]
    for name, actual in zip(documented, made, strict=True):
        plain = actual.replace(ACTOR.hex(), "<actor>")
        plain = re.sub("/0{16}$", "/<sequence>", plain)
        plain = re.sub("/0{12}(?=/|$)", "/<number>", plain)
        assert name == re.sub("/0{8}$", "/<part>", plain)


def test_the_layout_of_the_frame_is_that_of_the_code() -> None:
    offsets = [row[0] for row in _rows(r"\d+|30 \+ n")]
    kinds, topics = [*"012345"], [str(topic.value) for topic in Topic]
    chunk, head = ["0", "1", "5"], ["0", "4", "5", "6", "10", "14", "30", "30 + n"]
    sections = [*"012345"]
    assert offsets == [*chunk, *head, *kinds, *topics, *sections]
    assert pack.CHUNK_HEAD_SIZE_BYTES == 5
    assert frame._HEAD.size == 14
    assert frame.HEAD_SIZE_BYTES == 30
    assert hashing.AUTHENTICATOR_SIZE_BYTES == 32
    assert {segment._FRAME.magic, volume_record._FRAME.magic} == {b"GSEG", b"GVOL"}
    assert (Method.RAW.value, Method.ZSTD.value) == (0, 1)
    assert segment._FRAME.version == volume_record._FRAME.version == 1


def test_the_topics_of_declarations_are_those_of_the_code() -> None:
    rows = [row for row in _rows(r"\d+") if len(row) == 2 and row[1][:2].isupper()]
    documented = [(int(number), text.partition(":")[0]) for number, text in rows]
    assert documented == [(topic.value, topic.name) for topic in Topic]


def test_the_sections_of_a_checkpoint_are_those_of_the_code() -> None:
    rows = [row for row in _rows(r"[0-5]") if len(row) == 3 and row[1].isupper()]
    assert [(int(n), name) for n, name, _ in rows] == [(each.value, each.name) for each in Section]


def test_the_fields_of_operations_are_those_of_the_code() -> None:
    """References take two elements each, everything else one."""
    node = NodeId(id_of(Dot(ACTOR, 1)))
    link, stamp, dot = LinkId(node), Stamp(0, 0, ACTOR), Dot(ACTOR, 2)
    content = Content(ContentKind.FIFO, bytes(32), 0)
    operations: list[Operation] = [
        Place(dot, stamp, node, link, False, ROOT, b"a"),
        Put(dot, stamp, node, link, content),
        SetAttributes(dot, stamp, node, ()),
        Delete(dot, stamp, node, link, frozenset()),
        Drop(dot, stamp, node, frozenset()),
        Declare(dot, stamp, Topic.EPOCH, b"body"),
    ]
    kinds = [row for row in _rows(r"[0-5]") if row[1][0].isupper()]
    rows = [row for row in kinds if len(row) == 3 and not row[1].isupper()]
    assert [row[1] for row in rows] == [type(operation).__name__ for operation in operations]
    for row, operation in zip(rows, operations, strict=True):
        fields = OperationWriter(ACTOR).fields(operation)
        assert fields[0] == int(row[0])
        documented = row[2].split(", ")
        references = [name for name in documented if name in {"node", "link", "parent", "via"}]
        assert len(fields) == 1 + len(documented) + len(references)
