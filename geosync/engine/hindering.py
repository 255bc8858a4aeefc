"""Hindering: tells everybody what keeps this site from bringing to its disk what it received.

Nothing is removed from the store that a site may need which has not applied all of it, and no log
is cut short: so one file that stays open, or that a brake holds, has all sites keep everything.
That is safe, and must not be silent: the site declares it, and all sites tell their operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from conflict.hindrance import OVER, Hindrance, Hindrances
from conflict.operations import Topic
from conflict.synced import Path
from conflict.version import ActorId, VersionVector
from geosync.engine.authoring import declare
from geosync.engine.site import Site, joined
from geosync.engine.stability import live_actors
from geosync.event_log import event_logger
from geosync.journal.journal import Journal
from geosync.terminal import display_moment, display_name
from transport.hindrance_record import decode_hindrance, encode_hindrance

LOOK_EVERY_S: Final = 30.0
TOLD_AFTER_S: Final = 3600.0
"""A file may well be open for a while; from here on it is worth somebody's attention."""

DECLARED_EVERY_S: Final = 3600.0  # at most, while one follows the other
_SINCE_MS: Final = "hindered_since_ms"  # a setting of the journal
_SUBJECT: Final = b"held back"
_log = event_logger(__name__)


def hindrances(journal: Journal) -> Hindrances:
    """Returns what was declared of hindrances, as far as this site has received it."""
    return Hindrances(
        (each.operation.dot, decode_hindrance(each.operation.body))
        for each in journal.declarations.of_topic(Topic.HINDRANCE)
    )


class Hindering:
    """Watches what waits on one site, and what the others tell."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._applied: VersionVector | None = None
        self._look_due_s = site.clock.monotonic_s() + LOOK_EVERY_S  # when all was tried once
        self._declare_due_s = self._look_due_s
        self._is_told = site.actor in hindrances(site.journal).of

    def tend(self, waiting: Callable[[], Mapping[Path, str]]) -> None:
        """Looks at it now and then.

        Args:
            waiting: tells at which paths something was received that can't be brought there, and
                why.
        """
        now_s = self._site.clock.monotonic_s()
        is_over = self._is_told and self._site.applied() == self._site.journal.log.received()
        if now_s < self._look_due_s and not is_over:
            return
        self._look_due_s = now_s + LOOK_EVERY_S
        own = self._own(waiting())
        known = hindrances(self._site.journal)
        self._declare(known.of.get(self._site.actor, OVER), own)
        self._is_told = own is not OVER
        self._tell(known, own)
        if known.superseded:
            with self._site.journal.transaction():
                self._site.journal.declarations.forget(known.superseded)

    def _own(self, waiting: Mapping[Path, str]) -> Hindrance:
        """Returns what is to be told of this site."""
        journal, now_ms = self._site.journal, self._site.now_ms()
        applied, since_ms = self._site.applied(), journal.integer_setting(_SINCE_MS)
        has_moved = self._applied is not None and applied != self._applied
        self._applied = applied
        is_hindered = bool(waiting) and applied != journal.log.received() and not has_moved
        began_ms = (since_ms if 0 < since_ms <= now_ms else now_ms) if is_hindered else 0
        if began_ms != since_ms:
            with journal.transaction():
                journal.set_setting(_SINCE_MS, began_ms)
        if not is_hindered or now_ms - began_ms < TOLD_AFTER_S * 1000:
            return OVER
        first = min(waiting)
        return Hindrance(began_ms, len(waiting), joined(first), waiting[first])

    def _declare(self, told: Hindrance, own: Hindrance) -> None:
        is_same = (told.since_ms, told.path) == (own.since_ms, own.path)
        now_s = self._site.clock.monotonic_s()
        if is_same or (own is not OVER and told.count and now_s < self._declare_due_s):
            return
        self._declare_due_s = now_s + DECLARED_EVERY_S
        declare(self._site, Topic.HINDRANCE, encode_hindrance(own))
        if own is not OVER:
            _log.warning("held_back", path=own.path, count=own.count, reason=own.reason)

    def _tell(self, known: Hindrances, own: Hindrance) -> None:
        site = self._site
        site.report(_SUBJECT, _of_ourselves(own) if own is not OVER else None)
        live = live_actors(site)
        for log in site.journal.log.actors():
            hindrance = known.of.get(log.actor)
            text = None
            if log.actor != site.actor and log.actor in live and hindrance is not None:
                text = _of_another(log.site or log.actor.hex(), hindrance)
            site.report(_subject_of(log.actor), text)


def _subject_of(actor: ActorId) -> bytes:
    return b"held back by " + actor.hex().encode()


def shown_paths(hindrance: Hindrance) -> str:
    """Returns which paths wait, in a few words."""
    more = f" and {hindrance.count - 1} more" if hindrance.count > 1 else ""
    return f"{display_name(hindrance.path)}{more} ({hindrance.reason})"


_MEANWHILE: Final = (
    "Until then no site removes anything from the store that is no longer needed, and no log is cut"
    " short; nothing is lost by that."
)


def _of_ourselves(own: Hindrance) -> str:
    return (
        f"since {display_moment(own.since_ms)} this site can't bring to its disk what it received:"
        f" {shown_paths(own)}. {_MEANWHILE} {_remedy(own.reason)}"
    )


def _of_another(name: str, hindrance: Hindrance) -> str:
    return (
        f"since {display_moment(hindrance.since_ms)} site {name} can't bring to its disk what it"
        f" received: {shown_paths(hindrance)}. {_MEANWHILE} What to do is told by geosync status"
        f" at {name}."
    )


def _remedy(reason: str) -> str:
    """Returns what the operator of this site does about a reason, as the engine words it."""
    for words, remedy in _REMEDIES.items():
        if words in reason:
            return remedy
    return "See what is said of these paths, and put it right; all of them: geosync status"


_REMEDIES: Final = {
    "open for writing": "End or restart the program that has it open (`lsof` names it).",
    "brake": "Decide about what is held: geosync brake list",
    "excluded": (
        "It is excluded here, and differs from what the volume has: for a moment, take it out of"
        ' the [[capture]] table that says open_files = "exclude", so that it becomes a version,'
        " or a conflict, like any other."
    ),
    "nothing is captured": (
        "Save what is needed of it elsewhere, and start the daemon here with drift = "
        '"revert", which keeps a copy; see geosync conflicts list.'
    ),
    "its content": "Look which site has it, or what the store lacks: geosync verify",
    "no room": "Make room on this disk.",
}
