"""Publishing: sends what was captured. Packs first, then the segment that tells of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conflict.operations import Transaction
from conflict.version import VersionVector
from geosync.engine.respooling import respool
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from transport.object_names import segment_name
from transport.operation_codec import encode_vector
from transport.segment import Segment, encode_segment

SEGMENT_RECORDS_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
_log = event_logger(__name__)


class Publisher:
    """Sends one site's log. Whatever a crash interrupts is sent again, with the same bytes."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._bare: set[int] = set()  # segments that only acknowledge, until they are stored

    def has_work(self) -> bool:
        """Tells whether something is captured that the store has not acknowledged."""
        log = self._site.journal.log
        return bool(log.segments_to_store()) or log.outbox_counts()[0] > 0

    def publish(self, *, acknowledge: VersionVector | None) -> bool:
        """Sends what waits; with `acknowledge`, a segment even if it holds that vector only.

        Args:
            acknowledge: what is applied on this site's disk, when the others should hear of it.

        Returns:
            Whether anything was sent.

        Raises:
            StoreUnavailable, StoreRefused: the rest waits for the next time.
            ObjectCollision: another daemon writes this actor's log.
            OSError, DiskError: a pack can't be read, nor made again now.
        """
        sent = self._send_segments()
        while self._site.journal.log.outbox_counts()[0] > 0:
            self._build_segment()
            sent = self._send_segments() or sent
        if acknowledge is not None and not sent:
            self._build_segment()
            sent = self._send_segments()
        return sent

    def _send_packs(self) -> None:
        for name in self._site.journal.chunks.packs_to_store():
            if not self._spool.has(name):
                respool(self._site, self._spool, name)
        names = self._site.journal.chunks.packs_to_store()
        for name in self._site.pool.map(self._send_pack, names):
            with self._site.journal.transaction():
                self._site.journal.chunks.mark_pack_stored(name)
            # CRASH: a stored pack whose file is still in the spool; removed at the next start.
            self._spool.remove(name)

    def _send_pack(self, name: str) -> str:
        body = self._spool.read(name)
        self._site.store.put_once(name, body)
        _log.debug("pack_stored", name=name, size_bytes=len(body))
        return name

    def _build_segment(self) -> None:
        """Makes the next segment and keeps its bytes, so that a retry can send just these.

        All packs that it tells of are stored before: whoever knows of a chunk may rely on it.

        CRASH: before the commit, the transactions are in the outbox still; after it, the segment
        is sent when the site starts again. It never happens that two segments hold them.
        """
        self._send_packs()
        site, journal = self._site, self._site.journal
        log = journal.log.actor(site.actor)
        assert log is not None
        transactions = journal.log.outbox(SEGMENT_RECORDS_SIZE_BYTES_MAX)
        locations = journal.chunks.unannounced_locations()
        inline = journal.chunks.unannounced_inline()
        received, applied = self._told_with(transactions)
        segment = Segment(
            volume=site.volume,
            site=site.name,
            actor=site.actor,
            sequence=log.next_sequence,
            previous_digest=log.chain_digest,
            created_at_ms=max(0, site.now_ms()),
            received=received,
            applied=applied,
            transactions=tuple(transactions),
            pack_entries=locations,
            inline_chunks=inline,
        )
        if not transactions:
            self._bare.add(segment.sequence)
        body = encode_segment(segment, site.hasher)
        with journal.transaction():
            journal.log.add_segment(
                site.actor,
                segment.sequence,
                body,
                is_stored=False,
                transactions=segment.transactions,
            )
            journal.log.take_from_outbox(transactions)
            journal.chunks.mark_announced(locations, inline)
            journal.set_setting("told_applied", encode_vector(applied))
            journal.log.save_actor(
                replace(
                    log,
                    next_sequence=log.next_sequence + 1,
                    chain_digest=site.hasher.chain_digest(body),
                    knows=segment.received,
                    applied=applied,
                    segment_at_ms=segment.created_at_ms,
                    heard_at_ms=segment.created_at_ms,
                )
            )

    def _told_with(self, transactions: list[Transaction]) -> tuple[VersionVector, VersionVector]:
        """Returns what the segment with the oldest transactions says was received and applied.

        Who reads that takes it that what we wrote without having these is all read by then. So as
        long as later ones wait, it tells what the last one knew, and what was told before.
        """
        site, log = self._site, self._site.journal.log
        own = log.actor(site.actor)
        assert own is not None
        if not transactions or len(transactions) == log.outbox_counts()[0]:
            return log.received(), site.applied()
        last = transactions[-1]
        return last.received.join({site.actor: last.last_counter}), own.applied

    def _send_segments(self) -> bool:
        sent = False
        for segment in self._site.journal.log.segments_to_store():
            name = segment_name(self._site.actor, segment.sequence)
            self._site.store.put_once(name, segment.body)
            if segment.sequence not in self._bare:
                self._site.on_stored(segment.sequence)
            self._bare.discard(segment.sequence)
            with self._site.journal.transaction():
                self._site.journal.log.mark_stored(self._site.actor, segment.sequence)
            _log.debug("segment_stored", name=name, size_bytes=len(segment.body))
            sent = True
        return sent
