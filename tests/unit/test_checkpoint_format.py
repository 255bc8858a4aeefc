"""The bytes of checkpoints are read as strictly as the log."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.checkpointing import (
    Checkpointing,
    CheckpointStated,
    CheckpointStatement,
    Confirmed,
    Released,
    Written,
)
from conflict.version import ActorId, Dot, VersionVector
from tests.support.random_users import RandomHistory
from transport.checkpoint import (
    CheckpointedLog,
    Manifest,
    PartsWriter,
    decode_manifest,
    decode_part,
    encode_manifest,
)
from transport.checkpoint_statement import (
    decode_checkpoint_statement,
    encode_checkpoint_statement,
)
from transport.cut import decode_cut, encode_cut
from transport.errors import CorruptObject
from transport.hashing import VolumeHasher
from transport.msgpack_codec import encode
from transport.segment import NO_SEGMENT
from transport.wire_errors import MisplacedObjectError, NewerFormatError, WrongVolumeError

HASHER = VolumeHasher(bytes(32))
OTHER = VolumeHasher(b"k" * 32)
ANN, BOB = ActorId(b"a" * 16), ActorId(b"b" * 16)
KNOWN = VersionVector({ANN: 7, BOB: 2})
MANIFEST = Manifest(
    "volume",
    "bari",
    ANN,
    3,
    1_000,
    (
        CheckpointedLog(ANN, "bari", 4, b"d" * 32, 7, KNOWN, KNOWN, 900),
        CheckpointedLog(BOB, "", 0, NO_SEGMENT, 2, VersionVector(), VersionVector(), 0),
    ),
    b"t" * 32,
    (b"p" * 32, b"q" * 32),
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    stored = encode_manifest(MANIFEST, HASHER)
    assert decode_manifest(stored, HASHER, "volume", ANN, 3) == MANIFEST
    assert MANIFEST.received == KNOWN


def test_a_manifest_of_another_volume_key_or_name_is_refused() -> None:
    stored = encode_manifest(MANIFEST, HASHER)
    with pytest.raises(WrongVolumeError):
        decode_manifest(stored, OTHER, "volume", ANN, 3)
    with pytest.raises(WrongVolumeError):
        decode_manifest(stored, HASHER, "other", ANN, 3)
    with pytest.raises(MisplacedObjectError):
        decode_manifest(stored, HASHER, "volume", ANN, 4)
    with pytest.raises(MisplacedObjectError):
        decode_manifest(stored, HASHER, "volume", BOB, 3)


def _written_parts() -> list[bytes]:
    running = RandomHistory(7, 2)
    for _ in range(40):
        running.step()
    return list(PartsWriter(HASHER, 500).parts(running.sites[0].merged.all_nodes()))


PARTS = _written_parts()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(PARTS) - 1), st.integers(0, 10**9), st.integers(1, 255))
def test_no_damaged_part_is_read(index: int, at: int, flip: int) -> None:
    manifest = replace(MANIFEST, parts=tuple(map(HASHER.chain_digest, PARTS)))
    assert decode_part(PARTS[index], HASHER, manifest, index)
    damaged = bytearray(PARTS[index])
    damaged[at % len(damaged)] ^= flip
    with pytest.raises(CorruptObject):
        decode_part(bytes(damaged), HASHER, manifest, index)


STATEMENTS: list[CheckpointStatement] = [
    Written(5, b"m" * 32, {ANN: 4, BOB: 9}),
    Confirmed(ANN, 5, b"m" * 32),
    Released(BOB, 17),
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_is_read_as_it_was_written(statement: CheckpointStatement) -> None:
    assert decode_checkpoint_statement(encode_checkpoint_statement(statement)) == statement


def test_a_statement_of_a_later_version_is_told_as_such() -> None:
    with pytest.raises(NewerFormatError):
        decode_checkpoint_statement(encode((3, b"news")))


@pytest.mark.parametrize("body", [b"", b"\x90", encode((0, 1)), encode((2, b"short", 1)), b"\xc1"])
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptObject):
        decode_checkpoint_statement(body)


def test_a_cut_is_read_as_it_was_written_and_under_its_name_only() -> None:
    stored = encode_cut("volume", ANN, 2, 40, HASHER)
    assert decode_cut(stored, HASHER, "volume", ANN, 2) == 40
    with pytest.raises(MisplacedObjectError):
        decode_cut(stored, HASHER, "volume", ANN, 3)
    with pytest.raises(WrongVolumeError):
        decode_cut(stored, OTHER, "volume", ANN, 2)


# What follows from statements


def _stated(actor: ActorId, counter: int, statement: CheckpointStatement) -> CheckpointStated:
    received = VersionVector({a: n for a, n in ((ANN, counter - 1), (BOB, counter - 1)) if n > 0})
    return CheckpointStated(Dot(actor, counter), received, statement)


def _site_of(actor: ActorId) -> str:
    return {ANN: "bari", BOB: "cnaf"}[actor]


def test_only_another_site_can_confirm_where_there_is_one() -> None:
    written = _stated(ANN, 1, Written(0, b"m" * 32, {}))
    by_itself = _stated(ANN, 2, Confirmed(ANN, 0, b"m" * 32))
    by_other = _stated(BOB, 2, Confirmed(ANN, 0, b"m" * 32))
    of_another = _stated(BOB, 2, Confirmed(ANN, 0, b"n" * 32))
    assert not Checkpointing([written, by_itself]).confirmed(_site_of, {ANN, BOB})
    assert not Checkpointing([written, of_another]).confirmed(_site_of, {ANN, BOB})
    assert Checkpointing([by_other, written]).confirmed(_site_of, {ANN, BOB})
    assert Checkpointing([written, by_itself]).confirmed(_site_of, {ANN})


def test_a_log_begins_where_its_owner_said_last_as_far_as_that_is_known_to_all() -> None:
    releases = [_stated(ANN, 3, Released(ANN, 5)), _stated(ANN, 6, Released(ANN, 9))]
    known = Checkpointing(releases)
    assert known.released() == {ANN: 9}
    assert known.released(VersionVector({ANN: 5})) == {ANN: 5}
    assert known.released(VersionVector({ANN: 2})) == {}


def test_two_checkpoints_that_count_are_always_kept() -> None:
    written = [_stated(ANN, n, Written(n, b"m" * 32, {})) for n in (1, 3, 5, 7)]
    confirmed = [_stated(BOB, n + 1, Confirmed(ANN, n, b"m" * 32)) for n in (1, 3, 5)]
    known = Checkpointing(written + confirmed)
    counting = known.confirmed(_site_of, {ANN, BOB})
    assert [each.written.number for each in known.outdated(counting)] == [1]
    obsolete = set(known.obsolete(counting, VersionVector({ANN: 9, BOB: 9})))
    assert obsolete == {Dot(ANN, 1), Dot(BOB, 2)}
    assert not set(known.obsolete(counting, VersionVector()))
