"""Incarnation: whether this journal is the one that writes its actor's log, and what ends it.

A journal that was restored, with its machine or without, or that was cloned, knows less than the
store does of its own log. It must never write another operation under a name that is taken.
"""

from __future__ import annotations

from conflict.errors import GeosyncError
from geosync.engine.site import Site
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import segment_name
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX, Segment


class Superseded(GeosyncError):
    """Somebody else has gone on with our log: this journal must not write it any more."""


def is_log_ours(site: Site) -> bool:
    """Asks the store whether our log ends where the journal says; False when it can't be told.

    Raises:
        Superseded: it goes on, or another goes on where ours does.
        StoreUnavailable, StoreRefused: it can't be told.
    """
    log = site.journal.log.actor(site.actor)
    assert log is not None
    known = {waiting.sequence: waiting.body for waiting in site.journal.log.segments_to_store()[:1]}
    for sequence in (*known, log.next_sequence):
        name = segment_name(site.actor, sequence)
        try:
            body = site.store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        except ObjectNotVisible:
            continue
        except CorruptObject:
            return False  # it may be damaged on its way to us only; to store there tells for sure
        if body != known.get(sequence):
            raise Superseded(f"{name} is in the store, though we never stored it")
    return True


def require_own(site: Site, segment: Segment) -> None:
    """Raises Superseded when another site has seen operations of ours that we never wrote.

    What is published was committed here before, so nobody can know more of our log than we do.
    """
    seen, written = (
        vector.counter_of(site.actor) for vector in (segment.received, site.journal.log.received())
    )
    if seen > written:
        raise Superseded(
            f"site {segment.site} has seen {seen} operations of ours, and this journal knows of"
            f" {written} only"
        )
