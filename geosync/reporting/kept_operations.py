"""All operations that a site's journal still holds: of all actors, published or not."""

from __future__ import annotations

from collections.abc import Iterator

from conflict.operations import Operation
from geosync.journal.journal import Journal
from transport.hashing import VolumeHasher
from transport.segment import ExpectedSegment, decode_segment

_EVERYTHING_BYTES = 2**62


def kept_operations(journal: Journal, volume: str) -> Iterator[Operation]:
    """Yields them actor by actor, each in its order.

    What a checkpoint has made superfluous is not there any more: see `is_cut_short`.

    Raises:
        WireFormatError: a segment in the journal is damaged.
    """
    hasher = VolumeHasher(journal.setting("volume_key") or b"")
    for log in journal.log.actors():
        for sequence, body in journal.log.segments(log.actor):
            segment = decode_segment(body, hasher, ExpectedSegment(volume, log.actor, sequence))
            for transaction in segment.transactions:
                yield from transaction
    for transaction in journal.log.outbox(_EVERYTHING_BYTES):
        yield from transaction


def is_cut_short(journal: Journal) -> bool:
    """Tells whether older operations than these were there once."""
    return any(
        next((sequence for sequence, _ in journal.log.sequences(log.actor)), log.next_sequence) > 0
        for log in journal.log.actors()
    )
