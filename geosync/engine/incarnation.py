"""Incarnation: whether this journal is the one that writes its actor's log, and what ends it.

A journal that was restored, with its machine or without, or that was cloned, knows less than the
store does of its own log. It must never write another operation under a name that is taken.
"""

from __future__ import annotations

from conflict.errors import GeosyncError
from geosync.engine.site import Site
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import segment_name
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX


class Superseded(GeosyncError):
    """Somebody else has gone on with our log: this journal must not write it any more."""


def is_log_ours(site: Site) -> bool:
    """Asks the store whether our log ends where the journal says; False when it can't be told.

    Raises:
        Superseded: it goes on.
        StoreUnavailable, StoreRefused: it can't be told.
    """
    log = site.journal.log.actor(site.actor)
    assert log is not None
    waiting = site.journal.log.segments_to_store()
    sequence = waiting[0].sequence if waiting else log.next_sequence
    name = segment_name(site.actor, sequence)
    try:
        body = site.store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
    except ObjectNotVisible:
        return True
    except CorruptObject:
        return False  # it may be damaged on its way to us only; to store there tells for certain
    if not waiting or body != waiting[0].body:
        raise Superseded(f"{name} is in the store, though we never stored it")
    return True
