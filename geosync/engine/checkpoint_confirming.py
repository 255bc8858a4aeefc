"""Confirming another site's checkpoint: reads it back, and compares it with what is known here.

What came after the checkpoint is left out of the comparison: a node that no later operation names
must be just the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from conflict.checkpoint import difference
from conflict.checkpointing import CheckpointKnown, Confirmed
from conflict.errors import GeosyncError
from conflict.merged_tree import DirectoryMove
from conflict.node import NodeState
from conflict.operations import (
    ID_SIZE_BYTES,
    Declare,
    NodeId,
    Operation,
    SetAttributes,
    Topic,
)
from conflict.version import VersionVector
from geosync.engine.authoring import declare
from geosync.engine.checkpoint_source import stored_manifest, stored_part
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.digest_set import DigestSet
from transport.checkpoint import CheckpointedLog, Manifest, decode_manifest, records_of_part
from transport.checkpoint_records import InlineChunk, LocatedChunk, Record
from transport.checkpoint_statement import encode_checkpoint_statement
from transport.segment import ExpectedSegment, decode_segment

RECORDS_PER_STEP: Final = 250
_AFTER_ALL: Final = b"\xff" * (ID_SIZE_BYTES + 1)
_WHOLE_OUTBOX_SIZE_BYTES: Final = 2**62
_log = event_logger(__name__)


class CheckpointDiffers(GeosyncError):
    """A checkpoint is not what this site knows: one of the two sites is wrong."""


class NotYetComparable(GeosyncError):
    """This site has not read enough yet to compare a checkpoint with it."""


class CheckpointConfirming:
    """The comparison of one checkpoint, some records at a time: small changes come in between."""

    def __init__(self, site: Site, known: CheckpointKnown) -> None:
        self._site = site
        self._known = known
        self._manifest: Manifest | None = None
        self._index = 0
        self._records: Iterator[Record] | None = None  # of this part, that are not compared yet
        self._last: bytes = b""  # identity of the node of ours that was compared last
        self._moves: list[DirectoryMove] = []
        self._needed = DigestSet(site.state_dir)  # chunks of what the tree shows
        self._later_of: VersionVector | None = None
        self._touched: set[NodeId] = set()
        self._is_shape_kept = True

    @property
    def subject(self) -> CheckpointKnown:
        """What is compared."""
        return self._known

    def close(self) -> None:
        """Lets go of what was gathered for the comparison."""
        self._needed.close()

    def step(self) -> bool:
        """Reads or compares a bit, and confirms at the end; returns whether that was all.

        Raises:
            CheckpointDiffers: it must not be relied on.
            NotYetComparable: later, perhaps.
            CorruptObject, ObjectNotVisible, StoreUnavailable, StoreRefused: see ObjectStore.
        """
        if self._manifest is None:
            self._manifest = self._read_manifest()
            return False
        if self._records is None and self._index < len(self._manifest.parts):
            body = stored_part(self._site, self._manifest, self._index)
            self._records = records_of_part(body, self._site.hasher, self._manifest, self._index)
            return False
        self._look_at_later(self._manifest)
        if self._records is not None:
            self._compare_some(self._records)
            return False
        self._compare_rest()
        written = self._known.written
        statement = Confirmed(self._known.writer, written.number, written.digest)
        declare(self._site, Topic.CHECKPOINT, encode_checkpoint_statement(statement))
        _log.info(
            "checkpoint_confirmed", actor=self._known.writer.hex(), number=self._manifest.number
        )
        return True

    def _read_manifest(self) -> Manifest:
        site, known = self._site, self._known
        stored = stored_manifest(site, known.writer, known.written.number)
        if site.hasher.chain_digest(stored) != known.written.digest:
            raise CheckpointDiffers("its manifest is not the one that its writer told of")
        manifest = decode_manifest(
            stored, site.hasher, site.volume, known.writer, known.written.number
        )
        if not site.journal.log.received().covers(manifest.received):
            raise CheckpointDiffers("it tells of operations that its writer had not received")
        for log in manifest.logs:
            if known.written.covered.get(log.actor, 0) != log.next_sequence:
                raise CheckpointDiffers("it covers other segments than its writer told of")
            if log.next_sequence:
                self._check_log(log)
        return manifest

    def _check_log(self, log: CheckpointedLog) -> None:
        """What the next reader is told of a log must be what we have read ourselves."""
        mine = self._site.journal.log.actor(log.actor)
        if mine is None or mine.next_sequence < log.next_sequence:
            raise NotYetComparable(f"the log of {log.actor.hex()} was not read so far here yet")
        body = self._site.journal.log.segment(log.actor, log.next_sequence - 1)
        if body is None:
            return  # it has gone here, as another checkpoint covers it
        if self._site.hasher.chain_digest(body) != log.chain_digest:
            raise CheckpointDiffers("it follows another log than the one that was read here")
        expected = ExpectedSegment(self._site.volume, log.actor, log.next_sequence - 1)
        transactions = decode_segment(body, self._site.hasher, expected).transactions
        if any(transaction.last_counter > log.received for transaction in transactions):
            raise CheckpointDiffers("it covers a segment without its operations")

    def _look_at_later(self, manifest: Manifest) -> None:
        """Finds out what is not to be compared, or not in full, as something came later."""
        received = self._site.journal.log.received()
        if received == self._later_of:
            return
        self._later_of = received
        for operation in _later(self._site, manifest):
            if isinstance(operation, Declare):
                continue
            self._touched.add(operation.node)
            if not isinstance(operation, SetAttributes):
                self._is_shape_kept = False

    def _compare_some(self, records: Iterator[Record]) -> None:
        some = list(islice(records, RECORDS_PER_STEP))
        self._compare(some)
        if len(some) < RECORDS_PER_STEP:
            self._records = None
            self._index += 1

    def _compare(self, records: Iterable[Record]) -> None:
        nodes = list[NodeState]()
        needed, told = list[bytes](), list[bytes]()  # chunks come after all files
        for record in records:
            match record:
                case NodeState():
                    nodes.append(record)
                    needed += _chunks_shown(record)
                case DirectoryMove():
                    self._moves.append(record)
                case LocatedChunk() | InlineChunk():
                    told.append(record.digest)
                case _:
                    pass
        self._compare_nodes(nodes)
        self._needed.update(needed)
        self._needed.difference_update(told)

    def _compare_nodes(self, told: list[NodeState]) -> None:
        """Compares the next nodes, sorted by identity, with what comes next here."""
        if not told:
            return
        of_mine = self._mine_until(told[-1].node)
        mine = next(of_mine, None)
        for each in told:
            while mine is not None and mine.node < each.node:
                self._require_same(mine, None)
                mine = next(of_mine, None)
            if mine is not None and mine.node == each.node:
                self._require_same(mine, each)
                mine = next(of_mine, None)
            else:
                self._require_same(None, each)

    def _mine_until(self, node: bytes) -> Iterator[NodeState]:
        """Yields the nodes that come next here, up to this identity."""
        nodes = self._site.journal.nodes
        while some := nodes.some_after(self._last, RECORDS_PER_STEP):
            for state in some:
                if state.node > node:
                    return
                self._last = state.node
                yield state

    def _require_same(self, mine: NodeState | None, told: NodeState | None) -> None:
        state = told or mine
        assert state is not None
        if state.node in self._touched:
            return
        found = difference(mine, told, is_shape_kept=self._is_shape_kept)
        if found:
            raise CheckpointDiffers(f"the file or directory {found}")

    def _compare_rest(self) -> None:
        for left_out in self._mine_until(_AFTER_ALL):
            self._require_same(left_out, None)
        chunks = self._site.journal.chunks
        missing = [digest for digest in self._needed if chunks.is_known(digest)]
        if missing:
            raise CheckpointDiffers(
                f"{len(missing)} chunks of its files are in no pack that it tells of"
            )


def _chunks_shown(state: NodeState) -> Iterator[bytes]:
    for version in state.visible_versions():
        yield from (chunk.digest for chunk in version.content.chunks if not chunk.is_hole)


def _later(site: Site, manifest: Manifest) -> Iterator[Operation]:
    """Yields the operations that were received and are not in the checkpoint."""
    received = manifest.received
    journal = site.journal
    for log in journal.log.actors():
        covered = manifest.log(log.actor)
        start = covered.next_sequence if covered is not None else 0
        for sequence, body in journal.log.segments_from(log.actor, start):
            expected = ExpectedSegment(site.volume, log.actor, sequence)
            for transaction in decode_segment(body, site.hasher, expected).transactions:
                yield from (each for each in transaction if not received.includes(each.dot))
    for transaction in journal.log.outbox(_WHOLE_OUTBOX_SIZE_BYTES):
        yield from (each for each in transaction if not received.includes(each.dot))
