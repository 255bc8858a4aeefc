"""Upkeep of the store: repairs, wants what is lost, supplies what others want, collects garbage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from conflict.synced import Path
from geosync.engine.applying import Applier
from geosync.engine.brake_verdicts import known_brakes
from geosync.engine.collecting import Collector
from geosync.engine.cycle import Attempts, Cycle
from geosync.engine.drifting import note_reverted
from geosync.engine.fetching import Fetcher
from geosync.engine.hindering import Hindering
from geosync.engine.mending import Mender, Mending, MendingProgress
from geosync.engine.receiving import Receiver
from geosync.engine.restocking import Restocking
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.engine.wanting import Wants

WANTS_EVERY_S: Final = 5.0
HELD: Final = "held by a brake; see: geosync brake list"
_EXCLUDED: Final = "it is excluded here, and is not as the volume had it"


class StoreUpkeep:
    """Looks after the store for one site, a little in each cycle."""

    def __init__(
        self, site: Site, spool: Spool, fetcher: Fetcher, applier: Applier, receiver: Receiver
    ) -> None:
        self._site = site
        self._fetcher = fetcher
        self._applier = applier
        self._receiver = receiver
        self._wants = Wants(site, spool)
        self._mender = Mender(site, spool, self._wants)
        self._restocking = Restocking(site, self._wants)
        self._hindering = Hindering(site)
        self._collector = Collector(site, spool)
        self._wants_due_s = site.clock.monotonic_s()

    def tend(
        self,
        cycle: Cycle,
        attempts: Attempts,
        blocked: Mapping[Path, str],
        excluded: Callable[[], Iterable[Path]],
    ) -> None:
        """Does what is due. A site that publishes nothing only puts back what is on its own disk.

        Args:
            cycle: in which it is done.
            attempts: runs what may fail.
            blocked: where something that was received can't be brought to the disk, and why.
            excluded: tells which files are never captured here.
        """
        may_publish = self._site.role.may_publish
        if not self._applier.has_work() and cycle.disk_error is None:
            self._mender.note_applied()
            note_reverted(self._site)
        if self._mender.has_work():
            attempts.on_disk(cycle, lambda: self._mend(blocked, may_publish=may_publish))
            if may_publish:
                attempts.on_store(cycle, self._mender.mend_log)
            cycle.has_more = cycle.has_more or cycle.disk_error is None
        if not may_publish:
            return
        if self._site.clock.monotonic_s() >= self._wants_due_s:
            self._wants_due_s = self._site.clock.monotonic_s() + WANTS_EVERY_S
            attempts.on_disk(cycle, lambda: self._tend_wants(cycle))
        self._hindering.tend(lambda: self._held_back(blocked, excluded()))
        attempts.on_store(cycle, lambda: self._restock(cycle))
        self._collect(cycle, attempts)

    def mend(self, mending: Mending) -> None:
        """Repairs what a verification found; the next cycles do it."""
        self._mender.ask(mending)

    def mending(self) -> MendingProgress:
        """Returns how far that is."""
        return self._mender.progress()

    def has_unfinished_mending(self) -> bool:
        """Tells whether a repair was under way when the site stopped."""
        return self._mender.is_unfinished

    def collect(self) -> None:
        """Makes the collection of garbage due at once."""
        self._collector.hurry()

    def asks_for_word(self) -> bool:
        """Tells whether the collection waits for the others to hear what is applied here."""
        return self._collector.asks_for_word

    def ask_no_more(self) -> None:
        """Says that they have heard all there is to hear, or can't be told now."""
        self._collector.asks_for_word = False

    def doubt(self, cycle: Cycle) -> str | None:
        """Returns why it can't be told for certain what is needed of the store; None: it can."""
        error = cycle.store_error or cycle.disk_error
        if error is not None:
            return str(error)
        if self._receiver.unreadable():
            return "the log of a site can't be read"
        if self._receiver.is_waiting_for_others():
            return "operations of a site wait for others that are not visible yet"
        brakes = known_brakes(self._site.journal, self._site.name)
        if any(brake.verdict is None for brake in brakes):
            return "a brake holds changes back"
        return None

    def _held_back(
        self, blocked: Mapping[Path, str], excluded: Iterable[Path]
    ) -> Mapping[Path, str]:
        """Returns the paths at which something waits that was received, and why."""
        held = dict.fromkeys(self._applier.held_paths(), HELD)
        return {**blocked, **held, **dict.fromkeys(blocked.keys() & set(excluded), _EXCLUDED)}

    def _mend(self, blocked: Mapping[Path, str], *, may_publish: bool) -> None:
        self._site.disk.check_root()
        self._mender.mend_contents(may_publish=may_publish)
        self._applier.mark_paths(self._mender.mend_file(blocked))

    def _tend_wants(self, cycle: Cycle) -> None:
        self._wants.refresh()
        lost = self._fetcher.lost.long_lost(self._site.clock.monotonic_s())
        wanted = self._wants.want(lost)
        supplied = self._wants.answer()
        cycle.has_more = cycle.has_more or wanted or bool(supplied)

    def _restock(self, cycle: Cycle) -> None:
        cycle.has_more = self._restocking.tend() or cycle.has_more

    def _collect(self, cycle: Cycle, attempts: Attempts) -> None:
        """Collects garbage, where nothing is in doubt."""

        def tend() -> None:
            self._collector.tend(lambda: self.doubt(cycle))

        attempts.on_store(cycle, lambda: attempts.on_disk(cycle, tend))
        cycle.has_more = cycle.has_more or self._collector.has_more
