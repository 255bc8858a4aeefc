"""Cuts of logs, as a reader sees them: did something go that we have yet to read, or to write?

A segment that is not visible may be late, not written yet, or gone. Only a cut tells that it is
gone; nothing is inferred from absence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from conflict.version import ActorId
from geosync.engine.incarnation import Superseded
from geosync.engine.site import Site
from transport.cut import CUT_OBJECT_SIZE_BYTES_MAX, decode_cut
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import CHECKPOINTS_PREFIX, CutName, cut_name, recognise

NEXT_CUT: Final = "next_cut"  # a setting of the journal: how many cuts of our own log it knows
CHECK_OWN_S: Final = 30.0
CHECK_OWN_BEFORE_PUBLISHING_S: Final = 90.0
CHECK_OTHERS_S: Final = 120.0


class CutWatch:
    """Looks at cuts now and then, for one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._own_checked: tuple[float, int] | None = None  # monotonic s, wall ns
        self._others_due_s = 0.0
        self._seen: set[CutName] = set()
        self._begins_at: dict[ActorId, int] = {}

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
        """Looks now and then whether a log was cut beyond where it was read here.

        Raises:
            Superseded: a part of a log is gone that was never read here. Joining anew brings it.
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        now_s = self._site.clock.monotonic_s()
        if now_s < self._others_due_s:
            return
        self._others_due_s = now_s + CHECK_OTHERS_S
        gap = self.gap()
        if gap is not None:
            raise Superseded(
                f"{gap}: this site was away, or unknown to the others, while checkpoints took the"
                " place of what it missed"
            )

    def begins_at(self) -> Mapping[ActorId, int]:
        """Returns with which segment logs begin, where they were cut.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        self._look_for_new_cuts()
        return self._begins_at

    def gap(self) -> str | None:
        """Tells of a log that begins after where it was read, if there is one.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        self._look_for_new_cuts()
        for log in self._site.journal.log.actors():
            begins_at = self._begins_at.get(log.actor, 0)
            if begins_at > log.next_sequence and log.actor != self._site.actor:
                return (
                    f"the log of site {log.site or log.actor.hex()} begins with segment"
                    f" {begins_at}, and was read up to {log.next_sequence} only"
                )
        return None

    def _look_for_new_cuts(self) -> None:
        site = self._site
        for name in list(site.store.list_names(CHECKPOINTS_PREFIX)):
            cut = recognise(name)
            if not isinstance(cut, CutName) or cut in self._seen:
                continue
            try:
                stored = site.store.get(name, size_bytes_max=CUT_OBJECT_SIZE_BYTES_MAX)
                begins_at = decode_cut(stored, site.hasher, site.volume, *cut)
            except (ObjectNotVisible, CorruptObject):
                continue
            self._seen.add(cut)
            self._begins_at[cut.actor] = max(begins_at, self._begins_at.get(cut.actor, 0))
