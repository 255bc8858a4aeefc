"""Joining: a fresh journal first learns the volume, then what its own disk holds of it.

Before the first, everything on the disk would look new; in the meantime nothing is applied, since
a file that was there before is known only once it was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from conflict.joining import Recognition
from conflict.operations import Operation
from geosync.engine.site import Site
from geosync.event_log import event_logger
from transport.segment import ExpectedSegment, decode_segment

JOINING = "joining"  # a setting of the journal: b"1" until the site has joined
_log = event_logger(__name__)


class Joining:
    """Where a site is on its way into the volume.

    Attributes:
        is_receiving: it has yet to receive what the others wrote.
        is_under_way: it has yet to look at its disk.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.is_under_way = site.journal.setting(JOINING) == b"1"
        self.is_receiving = self.is_under_way

    def recognition(self) -> Recognition:
        """Returns what the disk is compared with, once all is received."""
        return Recognition(self._site.journal.nodes, self._operations())

    def finish(self) -> None:
        """Remembers that the whole disk was looked at."""
        self.is_under_way = False
        with self._site.journal.transaction():
            self._site.journal.set_setting(JOINING, b"")
        _log.info("joined", entries=self._site.journal.synced.count())

    def _operations(self) -> Iterator[Operation]:
        site = self._site
        for log in site.journal.log.actors():
            for sequence, body in site.journal.log.segments(log.actor):
                expected = ExpectedSegment(site.volume, log.actor, sequence)
                for transaction in decode_segment(body, site.hasher, expected).transactions:
                    yield from transaction
