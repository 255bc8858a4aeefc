"""One cycle of the engine: what it did, and how the failure of one part leaves the others going."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from conflict.errors import GeosyncError
from conflict.synced import Path
from geosync.disk.interface import DiskError
from geosync.engine.incarnation import Superseded
from geosync.engine.site import Site
from geosync.event_log import event_logger
from transport.errors import (
    ObjectCollision,
    OperationUnderWay,
    StoreRefused,
    StoreUnavailable,
)

STORE: Final = b"store"
DISK: Final = b"disk"
_log = event_logger(__name__)


@dataclass(slots=True)
class Cycle:
    """What one cycle did."""

    captured: int = 0  # operations
    received: int = 0  # operations
    applied: int = 0  # changes of the disk
    ahead: int = 0  # packs of large files that others still send, begun to be brought
    arrived: set[Path] = field(default_factory=set)  # the names that these changed
    published: bool = False
    has_more: bool = False  # the next cycle has work already, without any event
    is_reading: bool = False  # and a part of it is to read on in the logs of others
    blocked: dict[Path, str] = field(default_factory=dict)
    store_error: GeosyncError | None = None
    disk_error: Exception | None = None

    @property
    def did_work(self) -> bool:
        """Tells whether anything changed, here or in the store."""
        return bool(self.captured or self.received or self.applied or self.published or self.ahead)


class Attempts:
    """Runs the parts of cycles, and tells when what they need fails and is mended.

    Attributes:
        superseded: why this journal's log is another's now: nothing is done with it any more.
    """

    def __init__(self, site: Site, on_store_failure: Callable[[], None]) -> None:
        self.superseded: str | None = None
        self._site = site
        self._on_store_failure = on_store_failure
        self._failing: set[bytes] = set()

    def on_store(
        self, cycle: Cycle, part: Callable[[], None], *, despite_failure: bool = False
    ) -> None:
        """Runs what needs the store; without it the rest goes on.

        A store that refuses one thing, such as writing, is still asked for the others. So is one
        that can't write at present, or still does, for what only reads (`despite_failure`): most
        of a cluster may be down, and a large upload may take an hour.
        """
        if isinstance(cycle.store_error, StoreUnavailable) and not despite_failure:
            return
        try:
            part()
        except OperationUnderWay as error:
            cycle.store_error = error  # no failure: the rest waits for a later cycle
        except (StoreUnavailable, StoreRefused) as error:
            cycle.store_error = error
            self._on_store_failure()
            if self.superseded is None:  # which needs somebody, and stays told
                self._site.report(STORE, str(error))
            self.note_failure(STORE, str(error))
        except (ObjectCollision, Superseded) as error:
            self.superseded = str(error)
            cycle.store_error = error
            _log.error("superseded", reason=str(error))

    def on_disk(self, cycle: Cycle, part: Callable[[], None]) -> None:
        """Runs what needs the disk, unless that failed in this cycle already."""
        if cycle.disk_error is not None:
            return
        try:
            part()
        except (OSError, DiskError) as error:
            cycle.disk_error = error
            text = f"{error}. Nothing is taken for deleted; all goes on once this is mended."
            self._site.report(DISK, text)
            self.note_failure(DISK, str(error))

    def note_failure(self, subject: bytes, reason: str) -> None:
        """Logs a failure when it begins, not in every cycle that it lasts."""
        if subject not in self._failing:
            self._failing.add(subject)
            _log.warning(f"{subject.decode()}_failed", reason=reason)

    def note_mended(self, subject: bytes) -> None:
        """Says that what may have failed works."""
        self._site.report(subject, None)
        if subject in self._failing:
            self._failing.remove(subject)
            _log.info(f"{subject.decode()}_mended")
