"""Stability: what has arrived at every site, so that nobody writes anything any more without it."""

from __future__ import annotations

from conflict.membership import known_to_all
from conflict.version import ActorId, VersionVector
from geosync.engine.retiring import membership
from geosync.engine.site import Site


def live_actors(site: Site) -> set[ActorId]:
    """Returns all actors that take part, ourselves included: whose logs are read, and not fenced.

    One that was merely announced takes part: it holds back everything until its log is read.
    """
    known = [log.actor for log in site.journal.log.actors()]
    return membership(site.journal).live(known, site.journal.log.received())


def stable(site: Site) -> VersionVector:
    """Returns what all live actors have applied, as their own logs tell.

    Whatever an actor writes from now on, and whatever of it is still to come here, was written
    when all of this was on its disk: an actor tells what it has only after the operations that it
    wrote before (see geosync.engine.publishing).
    """
    live = live_actors(site)
    told = (log.applied for log in site.journal.log.actors() if log.actor in live - {site.actor})
    return known_to_all([site.applied(), *told])
