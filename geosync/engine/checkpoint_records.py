"""What this site knows, record by record, as a checkpoint tells it; and the reverse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conflict.checkpoint import BEGINNING, PastVersion, check_whole, restore
from conflict.errors import MalformedValueError
from conflict.merged_tree import DirectoryMove, MergedTree
from conflict.node import NodeState
from conflict.operations import ROOT, dot_of
from conflict.version import Dot, VersionVector
from geosync.engine.forgetting import note_loaded, take_forgotten
from geosync.engine.site import Site
from geosync.journal.declarations import Declaration
from geosync.journal.journal import Journal
from geosync.journal.log import ActorLog
from transport.checkpoint import CheckpointedLog, Manifest
from transport.checkpoint_records import (
    DeclaredRecord,
    InlineChunk,
    LocatedChunk,
    Record,
    Section,
    section_of,
)

_WHOLE_OUTBOX_SIZE_BYTES = 2**62


def records_of(journal: Journal) -> Iterator[Record]:
    """Yields all that a new site needs in place of the log, in the order of the sections."""
    yield from journal.nodes.all_nodes()
    yield from journal.nodes.moves_after(BEGINNING)
    yield from journal.history.all()
    for each in journal.declarations.all():
        yield DeclaredRecord(each.operation, each.received)
    for digest, location in journal.chunks.all_announced():
        yield LocatedChunk(digest, location)
    for digest, chunk in journal.chunks.inline_only():
        yield InlineChunk(digest, chunk)


def logs_of(journal: Journal) -> tuple[CheckpointedLog, ...]:
    """Returns how far the journal has read, or written, each log that says anything."""
    return tuple(
        CheckpointedLog(
            log.actor,
            log.site,
            log.next_sequence,
            log.chain_digest,
            log.received,
            log.knows,
            log.applied,
            log.segment_at_ms,
        )
        for log in journal.log.actors()
        if log.next_sequence or log.received
    )


class CheckpointLoading:
    """Puts a checkpoint in the place of all that a journal has received. In one transaction.

    What this site wrote itself, and has not published, comes on top again.
    """

    def __init__(self, site: Site, manifest: Manifest) -> None:
        """Empties the journal.

        Raises:
            MalformedValueError: the checkpoint tells of our own log, which is a fresh one.
        """
        if manifest.log(site.actor) is not None:
            raise MalformedValueError("it tells of a log of ours, which nobody can have read")
        self._site = site
        self._manifest = manifest
        self._received: VersionVector = manifest.received
        self._last: tuple[Section, bytes] = (Section.NODES, b"")
        self._now_ms = site.now_ms()
        self._clock = site.hybrid_clock()
        journal = site.journal
        journal.nodes.clear()
        journal.history.clear()
        journal.declarations.clear()
        journal.log.forget_others(site.actor)

    def take(self, records: Iterable[Record]) -> None:
        """Keeps the records of the next part.

        Raises:
            MalformedValueError: no site knows such a thing.
        """
        journal = self._site.journal
        chunks: list[Record] = []
        for record in records:
            self._check_order(record)
            match record:
                case NodeState():
                    self._take_node(record)
                case DirectoryMove():
                    journal.nodes.save_move(record)
                case PastVersion():
                    journal.history.add_all([record])
                case DeclaredRecord(operation, received):
                    self._check_known(operation.dot)
                    journal.declarations.keep([Declaration(operation, received)])
                case LocatedChunk() | InlineChunk():
                    chunks.append(record)
        for chunk in chunks:
            if isinstance(chunk, LocatedChunk):
                journal.chunks.add_locations({chunk.digest: chunk.location}, is_announced=True)
            elif isinstance(chunk, InlineChunk):
                journal.chunks.add_inline({chunk.digest: chunk.chunk}, is_announced=True)
        journal.nodes.flush()

    def finish(self) -> None:
        """Ends the loading, when all parts were taken.

        Raises:
            MalformedValueError: the nodes do not make a tree.
        """
        journal = self._site.journal
        check_whole(journal.nodes, journal.nodes.all_nodes())
        for log in self._manifest.logs:
            journal.log.save_actor(
                ActorLog(
                    log.actor,
                    log.site,
                    log.next_sequence,
                    log.chain_digest,
                    log.received,
                    log.knows,
                    log.applied,
                    log.segment_at_ms,
                    heard_at_ms=max(0, self._now_ms),
                )
            )
        self._site.save_hybrid_clock(self._clock)
        tree = MergedTree(journal.nodes)
        own = journal.log.outbox(_WHOLE_OUTBOX_SIZE_BYTES)
        for operation in (each for transaction in own for each in transaction):
            tree.apply(operation)
        journal.declarations.add_all(own)
        note_loaded(self._site)
        take_forgotten(self._site, own)

    def _check_order(self, record: Record) -> None:
        section = section_of(record)
        key = bytes(record.node) if isinstance(record, NodeState) else b""
        if (section, key) < self._last or (key and (section, key) == self._last):
            raise MalformedValueError("its records are not in order")
        self._last = (section, key)

    def _take_node(self, state: NodeState) -> None:
        if state.node != ROOT:
            self._check_known(dot_of(state.node))
        dots = [*state.versions, *(r.dot for r in state.registers.values())]
        stamps = [r.stamp for r in state.registers.values()]
        for link in state.links.values():
            dots += [place.dot for place in (*link.places, link.latest)]
            stamps.append(link.latest.stamp)
        for dot in dots:
            self._check_known(dot)
        stamps += [version.stamp for version in state.versions.values()]
        for stamp in stamps:
            self._clock = self._clock.observe(self._now_ms, stamp)
        restore(self._site.journal.nodes, state)

    def _check_known(self, dot: Dot) -> None:
        if not self._received.includes(dot):
            raise MalformedValueError(f"it tells of {dot}, which it does not stand for")
