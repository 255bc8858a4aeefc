"""Cuts of logs, as a reader sees them: did something go that we have yet to read, or to write?

A segment that is not visible may be late, not written yet, or gone. Only a cut tells that it is
gone; nothing is inferred from absence.
"""

from __future__ import annotations

from typing import Final

from conflict.version import ActorId
from geosync.engine.incarnation import Superseded
from geosync.engine.site import Site
from geosync.journal.log import ActorLog
from transport.cut import CUT_OBJECT_SIZE_BYTES_MAX, decode_cut
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import CutName, cut_name, cuts_prefix, recognise

NEXT_CUT: Final = "next_cut"  # a setting of the journal: how many cuts of our own log it knows
CHECK_OWN_S: Final = 30.0
CHECK_OWN_BEFORE_PUBLISHING_S: Final = 90.0
BEHIND_S: Final = 60.0  # so long a log may be late before somebody looks whether it was cut


class CutWatch:
    """Looks at cuts now and then, for one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._own_checked: tuple[float, int] | None = None  # monotonic s, wall ns
        self._behind_since_s: dict[ActorId, float] = {}

    def check_own(self, *, max_age_s: float = CHECK_OWN_S) -> None:
        """Makes sure that nobody has cut our log but we, unless that was done lately.

        A machine that was set back, or stood still, may believe that a segment is its next one
        which was written, read by all, and deleted since. RACE: a copy of a running machine that
        wakes up without noticing that time has passed has so long to write before it asks.

        Raises:
            Superseded: another copy of this journal has.
            StoreUnavailable, StoreRefused: it can't be told.
        """
        site = self._site
        now = (site.clock.monotonic_s(), site.clock.wall_ns())
        if self._own_checked is not None:
            elapsed_s = max(now[0] - self._own_checked[0], (now[1] - self._own_checked[1]) / 1e9)
            if 0 <= elapsed_s < max_age_s:
                return
        name = cut_name(site.actor, site.journal.integer_setting(NEXT_CUT))
        try:
            site.store.get(name, size_bytes_max=CUT_OBJECT_SIZE_BYTES_MAX)
        except ObjectNotVisible:
            self._own_checked = now
            return
        except CorruptObject:
            pass  # it is there, whatever it says
        raise Superseded(f"{name} is in the store: our log was cut short, and not by this journal")

    def check_others(self) -> None:
        """Looks for cuts of the logs that are late: of which other sites have read more.

        Raises:
            Superseded: a part of a log is gone that was never read here. Joining anew brings it.
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        now_s = self._site.clock.monotonic_s()
        logs = self._site.journal.log.actors()
        late = {log.actor: log for log in logs if _is_late(log, logs) and not log.problem}
        late.pop(self._site.actor, None)
        self._behind_since_s = {a: self._behind_since_s.get(a, now_s) for a in late}
        for actor, log in late.items():
            if now_s - self._behind_since_s[actor] < BEHIND_S:
                continue
            self._behind_since_s[actor] = now_s
            begins_at = self._first_kept(actor)
            if begins_at > log.next_sequence:
                raise Superseded(
                    f"the log of site {log.site or actor.hex()} begins with segment {begins_at},"
                    f" and this site has read it up to {log.next_sequence} only: it was away, or"
                    " unknown to the others, while checkpoints took the place of what it missed"
                )

    def _first_kept(self, actor: ActorId) -> int:
        """Returns where a log begins, as far as its cuts are listed; 0 when nothing tells."""
        site = self._site
        found = [recognise(name) for name in site.store.list_names(cuts_prefix(actor))]
        numbers = [each.number for each in found if isinstance(each, CutName)]
        if not numbers:
            return 0
        number = max(numbers)
        try:
            stored = site.store.get(
                cut_name(actor, number), size_bytes_max=CUT_OBJECT_SIZE_BYTES_MAX
            )
            return decode_cut(stored, site.hasher, site.volume, actor, number)
        except (ObjectNotVisible, CorruptObject):
            return 0


def _is_late(log: ActorLog, logs: list[ActorLog]) -> bool:
    return any(other.knows.counter_of(log.actor) > log.received for other in logs)
