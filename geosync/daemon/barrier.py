"""Barriers: what was written at this site up to a moment, and who has yet to apply it."""

from __future__ import annotations

from collections.abc import Collection

from conflict.version import VersionVector
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.status import latest_logs


def own_operations(journal: Journal, own_site: str) -> VersionVector:
    """Returns all that was captured at this site, by its earlier incarnations too."""
    logs = journal.log.actors()
    return VersionVector(
        {log.actor: log.received for log in logs if log.site == own_site and log.received}
    )


def lacking(
    journal: Journal, own_site: str, barrier: VersionVector, sites: Collection[str] | None
) -> dict[str, int]:
    """Returns how many operations of a barrier each site has yet to apply, as it told last.

    Args:
        journal: of this site.
        own_site: its name.
        barrier: operations.
        sites: which sites are asked about; None for all others that ever joined.

    Raises:
        OperatorError: a site is not known.
    """
    logs = latest_logs(journal, own_site)
    unknown = sorted(set(sites or ()) - logs.keys())
    if unknown:
        known = ", ".join(logs) or "none, as no other site has joined yet"
        raise OperatorError(
            f"no other site is called {', '.join(map(repr, unknown))}; known are: {known}",
            ExitCode.BAD_USAGE,
        )
    return {
        site: sum(
            max(0, counter - log.applied.counter_of(actor)) for actor, counter in barrier.items()
        )
        for site, log in logs.items()
        if sites is None or site in sites
    }
