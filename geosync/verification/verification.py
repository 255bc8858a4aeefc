"""The whole verification, from what explains most to what takes longest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from conflict.version import actor_id
from geosync.assembly.transfer_pool import TransferPool
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.engine.mending import MENDING
from geosync.errors import OperatorError
from geosync.journal.database import FILE_NAME
from geosync.journal.journal import Journal
from geosync.terminal import display_name
from geosync.verification.disk_check import DiskCheck
from geosync.verification.finding import Checked, Finding, Kind, Level
from geosync.verification.rest import Rest
from geosync.verification.store_check import StoreCheck, Volume
from transport.hashing import VolumeHasher
from transport.object_store import ObjectStore


class Verification:
    """Looks at everything once, beside a running daemon or without one.

    Attributes:
        checked: how much was looked at, while it goes on.
    """

    def __init__(
        self, configuration: Configuration, store: ObjectStore, clock: Clock, *, is_fast: bool
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._clock = clock
        self._rest = Rest(clock, is_fast=is_fast)
        self.checked = Checked()

    def findings(self, *, is_deep: bool) -> Iterator[Finding]:
        """Yields what is not as it should be.

        Args:
            is_deep: whether each chunk in the store is read and proven.

        Raises:
            OperatorError: the site has not joined, or its journal or root can't be opened.
        """
        with closing(Journal(self._configuration.state_dir, is_read_only=True)) as journal:
            volume = self._volume(journal)
            damages = journal.damages()
            for text in damages:
                yield self._journal_finding(text)
            if damages:
                return  # what it says of disk and store can't be relied on
            if journal.integer_setting(MENDING):
                yield _unfinished()
            yield from self._disk_findings(journal, volume)
            yield from self._store_findings(journal, volume, is_deep=is_deep)

    def _volume(self, journal: Journal) -> Volume:
        actor, key = journal.setting("actor"), journal.setting("volume_key")
        if actor is None or key is None:
            raise OperatorError(
                f"site {self._configuration.site} has not joined the volume"
                f" {self._configuration.volume} yet: there is nothing to verify"
            )
        return Volume(self._configuration.volume, actor_id(actor), VolumeHasher(key))

    def _journal_finding(self, text: str) -> Finding:
        return Finding(
            Kind.JOURNAL_DAMAGED,
            Level.DAMAGE,
            display_name(FILE_NAME),
            text,
            "stop the daemon, move the journal away (keep it) and start again: the site joins the"
            " volume anew with the files it has; then look at the disk",
        )

    def _disk_findings(self, journal: Journal, volume: Volume) -> Iterator[Finding]:
        root = self._configuration.root
        with closing(DiskCheck(root, journal, volume.hasher, self._clock, self._rest)) as check:
            yield from check.findings()
            self.checked.files = check.checked.files
            self.checked.file_size_bytes = check.checked.file_size_bytes

    def _store_findings(
        self, journal: Journal, volume: Volume, *, is_deep: bool
    ) -> Iterator[Finding]:
        check = StoreCheck(volume, journal, self._store, self._clock, self._rest)
        yield from check.log_findings()
        with closing(TransferPool(self._configuration.tuning.transfer_workers)) as pool:
            yield from check.content_findings(pool, is_deep=is_deep)
        self.checked.segments = check.checked.segments
        self.checked.chunks = check.checked.chunks
        self.checked.packs = check.checked.packs


def _unfinished() -> Finding:
    return Finding(
        Kind.FILE_DAMAGED,
        Level.DAMAGE,
        "a repair that was begun",
        "damaged files that were found before are not put back yet",
        "the daemon goes on with it by itself: geosync status tells what it waits for",
    )
