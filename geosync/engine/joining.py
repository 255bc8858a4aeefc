"""Joining: a fresh journal first learns the volume, then what its own disk holds of it.

Before the first, everything on the disk would look new; in the meantime nothing is applied, since
a file that was there before is known only once it was looked at.
"""

from __future__ import annotations

from typing import Final

from conflict.joining import Recognition
from conflict.version import VersionVector
from geosync.engine.checkpoint_joining import CheckpointJoining
from geosync.engine.cuts import CutWatch
from geosync.engine.forgetting import barred
from geosync.engine.site import Site
from geosync.event_log import event_logger

JOINING = "joining"  # a setting of the journal: b"1" until the site has joined
_SUBJECT: Final = b"joining"
_log = event_logger(__name__)


class Joining:
    """Where a site is on its way into the volume.

    Attributes:
        is_receiving: it has yet to receive what the others wrote.
        is_under_way: it has yet to look at its disk.
        is_stuck: it needs what no log and no checkpoint tells now.
        checkpoint: how it comes to know what the logs may not tell any more.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.is_under_way = site.journal.setting(JOINING) == b"1"
        self.is_receiving = self.is_under_way
        self._cuts = CutWatch(site)
        self.checkpoint = CheckpointJoining(site, self._cuts)
        self._looked_at: VersionVector | None = None
        self.is_stuck = False

    def is_at_end(self) -> bool:
        """Tells, when no log can be read on, whether there is nothing else to be read.

        A log that is cut short below where we are looks just like one that has nothing new: then
        a checkpoint goes farther, and the joining begins again with that.
        """
        received = self._site.journal.log.received()
        if received != self._looked_at:
            self._looked_at = received
            self.checkpoint.look_again()
            return False
        gap = self._cuts.gap()
        self.is_stuck = gap is not None
        if gap is not None:
            self.checkpoint.look_again(at_all=True)
            gap += (
                ", and no checkpoint that goes farther could be read. Nothing was changed here."
                " Joining goes on by itself when another site has written the next checkpoint;"
                " look there with: geosync verify"
            )
        with self._site.journal.transaction():
            self._site.report(_SUBJECT, gap)
        return not self.is_stuck

    def recognition(self) -> Recognition:
        """Returns what the disk is compared with, once all is received.

        What is about to be forgotten is so here: nothing may stand for it any more.
        """
        journal, left_out = self._site.journal, barred(self._site)
        states = (state for state in journal.nodes.all_nodes() if state.node not in left_out)
        return Recognition(journal.nodes, states, journal.history.all())

    def finish(self) -> None:
        """Remembers that the whole disk was looked at."""
        self.is_under_way = False
        with self._site.journal.transaction():
            self._site.journal.set_setting(JOINING, b"")
        _log.info("joined", entries=self._site.journal.synced.count())
