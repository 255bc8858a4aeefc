"""The versions of one conflict, for commands that compare or merge them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from conflict.ancestry import common_ancestor
from conflict.content import Content
from conflict.rendering import ConflictKind
from conflict.report import Conflict
from geosync.assembly.assembly import open_store, retrying
from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import Configuration
from geosync.engine.content_reading import ContentReader
from geosync.engine.kept_versions import KeptVersions
from geosync.engine.resolving import chosen_conflict
from geosync.engine.spool import Spool
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.reporting.conflict_text import site_of
from transport.hashing import VolumeHasher

STORE_BUDGET_S: Final = 10.0
ANCESTOR, WINNER, LOSER = "ancestor", "winner", "loser"


class ConflictVersions:
    """Reads the journal and, where something is not at hand, the store.

    Attributes:
        conflict: whose versions these are.
    """

    def __init__(
        self, conflict: Conflict, journal: Journal, volume: str, reader: ContentReader
    ) -> None:
        self.conflict = conflict
        self._journal = journal
        self._volume = volume
        self._reader = reader

    def version(self, which: str) -> tuple[str, Content] | None:
        """Returns a version and what to call it; None when there is no such version."""
        winner, loser = self.conflict.winner_version, self.conflict.loser
        if which == ANCESTOR:
            return self._ancestor()
        found = {WINNER: winner, LOSER: loser}.get(which)
        if found is None:
            return None
        return f"{which} {found.dot.label} of {site_of(self._journal, found.dot)}", found.content

    def _ancestor(self) -> tuple[str, Content] | None:
        winner, loser = self.conflict.winner_version, self.conflict.loser
        if winner is None or self.conflict.kind is not ConflictKind.CONTENT:
            return None
        hasher = VolumeHasher(self._journal.setting("volume_key") or b"")
        kept = KeptVersions(self._journal, self._volume, hasher)
        put = common_ancestor((winner.dot, loser.dot), kept.put)
        if put is None:
            return None
        return f"{ANCESTOR} {put.dot.label} of {site_of(self._journal, put.dot)}", put.content

    def required(self, which: str) -> tuple[str, Content]:
        """As `version`. Raises OperatorError when there is no such version."""
        found = self.version(which)
        if found is None:
            raise OperatorError(
                f"conflict {self.conflict.identity} has no {which}: the versions have nothing in"
                " common, or it was dropped from the history, or a directory has the name. Compare"
                " others with --from and --to (ancestor, winner, loser)."
            )
        return found

    def data(self, content: Content) -> bytes:
        """Reads a content. Raises OperatorError, StoreUnavailable, StoreRefused."""
        return b"".join(self._reader.blocks(content))


@contextmanager
def conflict_versions(configuration: Configuration, identity: str) -> Iterator[ConflictVersions]:
    """Opens what the versions of a conflict, given by its identity or path, are read from.

    Raises:
        OperatorError: there is no such conflict, or several.
        InvalidCredentials: see `open_store`.
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
        yield ConflictVersions(conflict, journal, configuration.volume, reader)
