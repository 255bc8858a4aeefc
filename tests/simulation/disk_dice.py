"""Faults of a simulated disk: how likely each is, and the dice that decide."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass

from geosync.disk.interface import EntryUnreadable


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """How likely each fault is at each chance it has, from 0 (never) to 1."""

    stage_full: float = 0.0  # ENOSPC from the beginning of an entry in the stage, or a write there
    read_error: float = 0.0  # EIO from a listing, an entry or a block of content
    busy: float = 0.0  # another program has the file open
    refused: float = 0.0  # EIO from a change
    sync_error: float = 0.0  # EIO from a sync


NO_FAULTS = DiskFaults()


@dataclass(slots=True)
class DiskDice:
    """Decides about faults with a random stream of its own.

    Attributes:
        faults: may be exchanged at any time; `NO_FAULTS` ends them.
    """

    fate: random.Random
    faults: DiskFaults = NO_FAULTS

    def require_space(self) -> None:
        """Raises OSError (ENOSPC) when the dice say so."""
        if self._hits(self.faults.stage_full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def require_readable(self, path: bytes) -> None:
        """Raises EntryUnreadable (EIO) when the dice say so."""
        if self.fails_to_read():
            raise EntryUnreadable(f"cannot read {path!r}: {os.strerror(errno.EIO)}; check the disk")

    def require_synced(self) -> None:
        """Raises OSError (EIO) when the dice say so."""
        if self._hits(self.faults.sync_error):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fails_to_read(self) -> bool:
        """Tells whether an entry can't be read."""
        return self._hits(self.faults.read_error)

    def is_busy(self) -> bool:
        """Tells whether some other program has a file open."""
        return self._hits(self.faults.busy)

    def require_granted(self) -> None:
        """Raises OSError (EIO) when the dice say so."""
        if self._hits(self.faults.refused):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _hits(self, rate: float) -> bool:
        return rate > 0 and self.fate.random() < rate
