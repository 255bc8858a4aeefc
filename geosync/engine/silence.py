"""Silence: which actors have not told for long that they have what was written here.

In a volume where nobody writes everybody is silent. So what counts is how long an actor owes its
word for an operation of ours that the store has, while we were at work and could read its log.
"""

from __future__ import annotations

from typing import Final

from conflict.version import ActorId
from geosync.engine.retiring import membership, suspect
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.collection import Awaited

OBSERVE_EVERY_S: Final = 60.0
SILENT_S_MAX: Final = 24 * 3600.0
"""From here on the operator is told; an earlier incarnation of the own site is retired."""
_log = event_logger(__name__)


class Silence:
    """Watches how long the others owe their word."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._observed_s = site.clock.monotonic_s()

    def observe(self) -> None:
        """To be called again and again, while the others' logs can be read."""
        now_s = self._site.clock.monotonic_s()
        if now_s - self._observed_s < OBSERVE_EVERY_S:
            return
        # What passed while nobody asked, because the machine slept, proves nothing.
        elapsed_ms = int(min(now_s - self._observed_s, 10 * OBSERVE_EVERY_S) * 1000)
        self._observed_s = now_s
        self._note(elapsed_ms)
        self._tell()

    def _note(self, elapsed_ms: int) -> None:
        site, journal = self._site, self._site.journal
        is_published = not journal.log.outbox_counts()[0] and not journal.log.segments_to_store()
        own = journal.log.received().counter_of(site.actor) if is_published else 0
        known = journal.collection.awaited()
        live = self._live()
        with journal.transaction():
            for log in journal.log.actors():
                has, owes = log.knows.counter_of(site.actor), known.get(log.actor)
                if log.actor not in live:
                    journal.collection.set_awaited(log.actor, None)
                elif owes is not None and has < owes.counter:
                    silent = Awaited(log.actor, owes.counter, owes.silent_ms + elapsed_ms)
                    journal.collection.set_awaited(log.actor, silent)
                elif has < own:
                    journal.collection.set_awaited(log.actor, Awaited(log.actor, own, 0))
                elif owes is not None:
                    journal.collection.set_awaited(log.actor, None)

    def _live(self) -> set[ActorId]:
        journal = self._site.journal
        logs = [log.actor for log in journal.log.actors() if log.actor != self._site.actor]
        state = membership(journal)
        return {actor for actor in logs if not state.is_retired(actor)}

    def _tell(self) -> None:
        """Retires earlier incarnations of this site, and tells the operator of the others."""
        site = self._site
        silent = {
            actor: each
            for actor, each in site.journal.collection.awaited().items()
            if each.silent_ms >= SILENT_S_MAX * 1000
        }
        lost = []
        for log in site.journal.log.actors():
            awaited = silent.get(log.actor)
            is_ours = log.site == site.name
            name = log.site or log.actor.hex()
            if awaited is None or is_ours:
                site.report(_subject(log.actor), None)
            else:
                hours = awaited.silent_ms // 3_600_000
                site.report(
                    _subject(log.actor),
                    f"site {name} has not told for {hours} hours what it has. Until it does,"
                    " nothing is removed from the store that it might still need. If it comes"
                    f" back, wait; if it is lost for good, type: geosync site retire {name}",
                )
            if awaited is not None and is_ours:
                lost.append(log.actor)
        if lost:
            _log.warning("earlier_incarnations_retired", actors=[actor.hex() for actor in lost])
            suspect(site, lost)


def _subject(actor: ActorId) -> bytes:
    return b"silence of " + actor.hex().encode()
