"""Publishing: sends what was captured. Packs first, then the segment that tells of them.

While more is captured nothing waits for packs: a segment tells of those that are stored by then.
The packs of large files are sent beside that (`uploads.py`): no small change waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Final

from conflict.operations import Put, Transaction
from conflict.version import VersionVector
from geosync.engine.respooling import respool
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.engine.uploads import Uploads, note_pack_stored, send_pack
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
        self._under_way: dict[str, Future[str]] = {}  # packs of small files, oldest first
        self.uploads = Uploads(site, spool)

    def has_news(self) -> bool:
        """Tells whether something is captured, or declared, that the store does not have yet."""
        log = self._site.journal.log
        return bool(log.segments_to_store()) or log.outbox_counts()[0] > 0

    def has_work(self) -> bool:
        """Tells whether there is anything to send, of large files that are read now, too."""
        return self.has_news() or bool(self.uploads.waiting()) or self._has_to_announce()

    def publish(self, *, acknowledge: VersionVector | None, has_more: bool = False) -> bool:
        """Sends what waits; with `acknowledge`, a segment even if it holds that vector only.

        Packs of large files are only begun to be sent: this does not wait for them.

        Args:
            acknowledge: what is applied on this site's disk, when the others should hear of it.
            has_more: more is captured at once: some packs may be on their way meanwhile.

        Returns:
            Whether anything was sent.

        Raises:
            StoreUnavailable, StoreRefused: the rest waits for the next time.
            ObjectCollision: another daemon writes this actor's log.
            OSError, DiskError: a pack can't be read, nor made again now.
        """
        sent = self._send_segments()
        sent = self.uploads.tend(self._packs_asked_for()) or sent
        while transactions := self._ready(has_more=has_more):
            self._build_segment(transactions)
            sent = self._send_segments() or sent
        is_held = self._site.journal.log.outbox_counts()[0] > 0  # nothing may be told then
        if self._has_to_announce() or (acknowledge is not None and not sent and not is_held):
            self._send_packs(under_way_max=0)  # also what was gathered without any operation
            self._build_segment([])
            sent = self._send_segments() or sent
        if self.uploads.failure is not None:
            raise self.uploads.failure
        return sent

    def _ready(self, *, has_more: bool) -> list[Transaction]:
        """Returns the next transactions of which all contents are stored; stores what it takes.

        Packs of large files are not waited for, nor some others while more is captured. A
        transaction that refers to one of these, and all that was written later, waits until that
        one is stored.
        """
        if not self._site.journal.log.outbox_counts()[0]:
            return []
        self._send_packs(under_way_max=self._site.pool.workers if has_more else 0)
        transactions = self._site.journal.log.outbox(SEGMENT_RECORDS_SIZE_BYTES_MAX)
        unsent = self._unsent()
        if not unsent:
            return transactions
        return list(takewhile(lambda each: unsent.keys().isdisjoint(_digests(each)), transactions))

    def _packs_asked_for(self) -> set[str]:
        """Returns the packs of large files that the oldest transactions of ours refer to."""
        unsent = self._unsent()
        if not unsent or not self._site.journal.log.outbox_counts()[0]:
            return set()
        transactions = self._site.journal.log.outbox(SEGMENT_RECORDS_SIZE_BYTES_MAX)
        digests = {digest for each in transactions for digest in _digests(each)}
        return {unsent[digest] for digest in unsent.keys() & digests}

    def _unsent(self) -> dict[bytes, str]:
        """Returns which chunks are in packs that are not stored yet: -> pack."""
        chunks = self._site.journal.chunks
        return {
            digest: name for name in chunks.packs_to_store() for digest in chunks.locations_in(name)
        }

    def _has_to_announce(self) -> bool:
        """Tells whether so much of a large file is stored that the others should hear of it."""
        size_bytes = self._site.journal.chunks.unannounced_size_bytes()
        return size_bytes >= self._site.large_files.announced_size_bytes_min

    def _send_packs(self, *, under_way_max: int) -> None:
        """Stores all packs but those of large files; so many may be on their way afterwards."""
        for name in self._packs_to_send():
            if not self._spool.has(name):
                respool(self._site, self._spool, name)
        send = partial(send_pack, self._site, self._spool)
        for name in self._packs_to_send():
            if name not in self._under_way:
                self._under_way[name] = self._site.pool.begin(send, name, is_soon_awaited=True)
        for name, sending in list(self._under_way.items()):
            if sending.done() or len(self._under_way) > under_way_max:
                del self._under_way[name]
                sending.result()
                note_pack_stored(self._site, self._spool, name)

    def _packs_to_send(self) -> list[str]:
        chunks = self._site.journal.chunks
        ahead = chunks.packs_ahead()
        return [name for name in chunks.packs_to_store() if name not in ahead]

    def _build_segment(self, transactions: list[Transaction]) -> None:
        """Makes the next segment and keeps its bytes, so that a retry can send just these.

        All packs that it tells of are stored before: whoever knows of a chunk may rely on it.

        CRASH: before the commit, the transactions are in the outbox still; after it, the segment
        is sent when the site starts again. It never happens that two segments hold them.
        """
        site, journal = self._site, self._site.journal
        log = journal.log.actor(site.actor)
        assert log is not None
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
        if not transactions and not locations:
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
        """Returns what the segment with these, our oldest transactions, tells of us.

        That is what was received, and what was applied.

        Who reads that takes it that what we wrote without having these is all read by then. So as
        long as later ones wait, it tells what the last one knew, and what was told before.
        """
        site, log = self._site, self._site.journal.log
        own = log.actor(site.actor)
        assert own is not None
        if len(transactions) == log.outbox_counts()[0]:
            return log.received(), site.applied()
        if not transactions:
            return own.knows, own.applied
        last = transactions[-1]
        return last.received.join({site.actor: last.last_counter}), own.applied

    def _send_segments(self) -> bool:
        sent = False
        for segment in self._site.journal.log.segments_to_store():
            name = segment_name(self._site.actor, segment.sequence)
            self._site.store.put_once(name, segment.body)
            self._site.on_stored(segment.sequence, is_news=segment.sequence not in self._bare)
            self._bare.discard(segment.sequence)
            with self._site.journal.transaction():
                self._site.journal.log.mark_stored(self._site.actor, segment.sequence)
            _log.debug("segment_stored", name=name, size_bytes=len(segment.body))
            sent = True
        return sent


def _digests(transaction: Transaction) -> Iterator[bytes]:
    """Yields the chunks that a transaction refers to."""
    for operation in transaction:
        if isinstance(operation, Put):
            yield from (chunk.digest for chunk in operation.content.chunks if not chunk.is_hole)
