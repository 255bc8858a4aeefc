"""The history of a journal that was begun by an older geosync: read from the log, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conflict.checkpoint import PastVersion
from conflict.operations import Put
from geosync.engine.site import Site
from geosync.journal.journal import Journal
from transport.segment import ExpectedSegment, decode_segment

_IS_COMPLETE: Final = "history_is_complete"  # a setting of the journal


def begin_history(journal: Journal) -> None:
    """Says of a fresh journal that it is told of all replaced versions. In a transaction."""
    journal.set_setting(_IS_COMPLETE, 1)


def complete_history(site: Site) -> None:
    """Makes sure that the journal knows all replaced versions, before any segment goes."""
    journal = site.journal
    if journal.setting(_IS_COMPLETE):
        return
    with journal.transaction():
        journal.history.add_all(_replaced(site))
        journal.set_setting(_IS_COMPLETE, 1)


def _replaced(site: Site) -> Iterator[PastVersion]:
    for log in site.journal.log.actors():
        for sequence, body in site.journal.log.segments(log.actor):
            expected = ExpectedSegment(site.volume, log.actor, sequence)
            for transaction in decode_segment(body, site.hasher, expected).transactions:
                for put in (each for each in transaction if isinstance(each, Put)):
                    state = site.journal.nodes.node(put.node)
                    if state is not None and put.dot not in state.versions:
                        yield PastVersion(put.node, put.content.digest, put.dot, put.stamp.time_ms)
