"""`geosync conflicts diff`: how the versions of a conflict differ, and from what they come."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from conflict.ancestry import common_ancestor
from conflict.content import Content
from conflict.report import Conflict
from geosync.assembly.assembly import open_store, retrying
from geosync.clock import SystemClock
from geosync.configuration import Configuration
from geosync.engine.content_reading import ContentReader
from geosync.engine.kept_versions import KeptVersions
from geosync.engine.resolving import chosen_conflict
from geosync.engine.spool import Spool
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.reporting.conflict_text import site_of
from geosync.reporting.difference import NamedVersion, difference, is_comparable
from transport.hashing import VolumeHasher

STORE_BUDGET_S = 10.0
ANCESTOR, WINNER, LOSER = "ancestor", "winner", "loser"


def conflict_difference(
    configuration: Configuration, identity: str, before: str, after: str
) -> str:
    """Returns the difference between two versions of a conflict.

    Args:
        configuration: of the site.
        identity: of the conflict, or its path.
        before: ANCESTOR, WINNER or LOSER.
        after: the same.

    Raises:
        OperatorError: there is no such conflict or version, or it can't be read now.
        StoreUnavailable, StoreRefused, InvalidCredentials: the store was needed.
    """
    with ExitStack() as stack:
        journal = stack.enter_context(closing(Journal(configuration.state_dir, is_read_only=True)))
        conflict = chosen_conflict(journal, identity)
        store = stack.enter_context(closing(open_store(configuration, os.environ)))
        reader = ContentReader(
            journal.chunks,
            Spool(os.path.join(configuration.state_dir, b"spool")),
            retrying(store, SystemClock(), STORE_BUDGET_S),
            VolumeHasher(journal.setting("volume_key") or b""),
        )
        versions = [
            _named(reader, *_version(journal, configuration, conflict, which))
            for which in (before, after)
        ]
    return difference(*versions)


def _version(
    journal: Journal, configuration: Configuration, conflict: Conflict, which: str
) -> tuple[str, Content]:
    winner = conflict.winner_version
    if which == ANCESTOR and winner is not None:
        hasher = VolumeHasher(journal.setting("volume_key") or b"")
        kept = KeptVersions(journal, configuration.volume, hasher)
        put = common_ancestor((winner.dot, conflict.loser.dot), kept.put)
        if put is not None:
            return f"ancestor {put.dot.label} of {site_of(journal, put.dot)}", put.content
    found = {WINNER: winner, LOSER: conflict.loser}.get(which)
    if found is None:
        raise OperatorError(
            f"conflict {conflict.identity} has no {which}: the versions have nothing in common, or"
            " it was dropped from the history, or a directory has the name. Compare others with"
            " --from and --to (ancestor, winner, loser)."
        )
    name = f"{which} {found.dot.label} of {site_of(journal, found.dot)}"
    return name, found.content


def _named(reader: ContentReader, name: str, content: Content) -> NamedVersion:
    data = b"".join(reader.blocks(content)) if is_comparable(content) else None
    return NamedVersion(name, content, data)
