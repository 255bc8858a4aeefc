"""Failover: makes this site begin or cease to be the primary, by statements in the log."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conflict.epochs import Claim, Release, Succession, Tenure, epoch_of
from conflict.operations import Topic
from conflict.version import VersionVector
from geosync.configuration.volume_configuration import Mode
from geosync.engine.authoring import author_of, declare, save_written
from geosync.engine.late_writes import note_late_writes
from geosync.engine.role import DEMOTING, MULTI_MASTER, PRIMARY, REPLICA, YIELDING, Role
from geosync.engine.roles import IS_DEMOTING, role_of, succession_of
from geosync.engine.site import Site
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from transport.epoch_record import encode_epoch_statement

YIELDS_S_MAX = 30.0
"""A file that is never at rest keeps a former primary for so long; then it is drift."""

_SUBJECT = b"primary"
_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a site that is to be the primary knows of and does not have on its disk."""

    operations: int
    heard_ms_ago: int | None  # the last segment of the primary before; None: never


class Failover:
    """Keeps the role of a site as the log says."""

    def __init__(self, site: Site) -> None:
        """Takes the role as it is at the start."""
        self._site = site
        self._yielding_since_s: float | None = None
        self._epochs: set[int] = set()
        site.role = role_of(site.mode, site.journal, site.actor)

    def refresh(self) -> bool:
        """Derives the role anew; returns whether that changed what the site captures or applies."""
        site, before = self._site, self._site.role
        if site.mode is Mode.REPLICA:
            return False
        known = succession_of(site.journal)
        self._note_new(known)
        site.role = role_of(site.mode, site.journal, site.actor)
        self._report(known.current)
        if site.role == before:
            return False
        _log.warning("role_changed", was=before.name, now=site.role.name)
        return True

    def _note_new(self, known: Succession) -> None:
        new = {tenure.epoch for tenure in known.tenures} - self._epochs
        self._epochs |= new
        if not new or known.current is None:
            return
        note_late_writes(self._site, known)
        clock = self._site.hybrid_clock()
        if self._site.mode is Mode.MULTI_MASTER and clock.epoch < known.current.epoch:
            # Else what is written here would lose against what was written before.
            with self._site.journal.transaction():
                self._site.save_hybrid_clock(replace(clock, epoch=known.current.epoch))

    def _report(self, current: Tenure | None) -> None:
        text = None
        if current is not None and current.barrier is None:
            text = self._problem(current)
        known = {problem.subject: problem.text for problem in self._site.journal.problems()}
        if known.get(_SUBJECT) != text:
            self._site.report(_SUBJECT, text)

    def _problem(self, current: Tenure) -> str | None:
        site = self._site
        if site.role is MULTI_MASTER:
            return (
                f"{current.site} is the primary of this volume, but this site captures, too: its"
                ' mode is "multi-master". Set mode = "standby" here, or, if the volume is to have'
                f" no primary any more, run geosync demote at {current.site} and set"
                ' mode = "multi-master" on all sites.'
            )
        if site.role is YIELDING:
            return (
                f"{current.site} has become the primary while this site was away. What was written"
                " here late is published and kept, but does not replace anything there; then this"
                " site is a standby."
            )
        if current.site == site.name and current.actor != site.actor:
            return (
                "another machine, or a later incarnation of this one, runs as this site and is the"
                " primary. Nothing is captured here. Stop one of the two."
            )
        return None

    # Becoming and ceasing to be the primary

    def claim_if_first(self, *, is_joining: bool) -> None:
        """Claims the first epoch as configured; goes on with that of an earlier incarnation.

        The latter only while the site joins: of two machines that run as one site, the one that
        was there before must not claim in turn.
        """
        site = self._site
        current = succession_of(site.journal).current
        is_first = current is None and site.mode is Mode.PRIMARY
        is_ours = (
            current is not None
            and current.site == site.name
            and current.barrier is None
            and current.actor != site.actor
        )
        has_modes = site.mode in (Mode.PRIMARY, Mode.STANDBY)
        if has_modes and (is_first or (is_ours and is_joining)):
            self.claim()

    def claim(self) -> Tenure:
        """Makes this site the primary from here on."""
        site, journal = self._site, self._site.journal
        number = succession_of(journal).next_number
        with journal.transaction():
            clock = replace(site.hybrid_clock(), epoch=epoch_of(number, site.actor))
            site.save_hybrid_clock(clock)
            author = author_of(site)
            author.declare(Topic.EPOCH, encode_epoch_statement(Claim(number, site.name)))
            save_written(site, author)
            journal.set_setting(IS_DEMOTING, 0)
            journal.drift.clear()  # it is captured now
        self.refresh()
        tenure = succession_of(journal).own(site.actor)
        assert tenure is not None
        _log.warning("epoch_claimed", number=number)
        return tenure

    def demote(self) -> None:
        """Begins to cease: what was written until now is still captured. Raises OperatorError."""
        require_failover(self._site.role)
        if self._site.role is not PRIMARY:
            return
        with self._site.journal.transaction():
            self._site.journal.set_setting(IS_DEMOTING, 1)
        self.refresh()

    def tend(self, *, has_uncaptured: bool) -> bool:
        """Ends our epoch once everything here is captured; returns whether that changed the role.

        Args:
            has_uncaptured: there are changes of the disk that are in no operation yet.
        """
        role = self._site.role
        if role is not YIELDING:
            self._yielding_since_s = None
        now_s = self._site.clock.monotonic_s()
        if role is YIELDING and self._yielding_since_s is None:
            self._yielding_since_s = now_s
            return False  # its disk is yet to be looked at
        waited_s = now_s - (self._yielding_since_s or now_s)
        is_over = not has_uncaptured or (role is YIELDING and waited_s >= YIELDS_S_MAX)
        if role not in (YIELDING, DEMOTING) or not is_over:
            return False
        known = succession_of(self._site.journal)
        own = known.own(self._site.actor)
        assert own is not None
        note_late_writes(self._site, known)  # what was captured since we heard of it
        declare(self._site, Topic.EPOCH, encode_epoch_statement(Release(own.epoch)))
        with self._site.journal.transaction():
            self._site.journal.set_setting(IS_DEMOTING, 0)
        _log.warning("epoch_released", number=own.number)
        return self.refresh()


def require_failover(role: Role) -> None:
    """Raises OperatorError at a site that is no part of any failover."""
    if role in (MULTI_MASTER, REPLICA):
        raise OperatorError(
            f"this site is a {role.name}: there is no primary to choose. Nothing was changed. Set"
            ' mode = "primary" on one site and "standby" on the others to have one.'
        )


def lacking(site: Site, known: Succession) -> Lacking:
    """Returns what this site knows of that is not on its disk."""
    applied = site.applied()
    told = VersionVector()
    for log in site.journal.log.actors():
        told = told.join(log.knows).join({log.actor: log.received} if log.received else {})
    operations = sum(
        counter - applied.counter_of(actor)
        for actor, counter in told.items()
        if actor != site.actor and counter > applied.counter_of(actor)
    )
    current = known.current
    log_of = site.journal.log.actor(current.actor) if current is not None else None
    heard_ms = log_of.heard_at_ms if log_of is not None else 0
    return Lacking(operations, max(0, site.now_ms() - heard_ms) if heard_ms else None)


def operations_before(site: Site, barrier: VersionVector) -> int:
    """Returns how many operations up to a barrier are not on this disk yet."""
    applied = site.applied()
    return sum(
        counter - applied.counter_of(actor)
        for actor, counter in barrier.items()
        if actor != site.actor and counter > applied.counter_of(actor)
    )
