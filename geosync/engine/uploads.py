"""Uploads: packs of large files on their way to the store, while the engine does other things."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from typing import Final

from geosync.engine.respooling import respool
from geosync.engine.retry_pace import RetryPace
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from transport.errors import OperationUnderWay, StoreRefused, StoreUnavailable

RETRY_S: Final = 1.0
RETRY_S_MAX: Final = 15.0
_log = event_logger(__name__)


def send_pack(site: Site, spool: Spool, name: str) -> str:
    """Stores a pack that is in the spool; any thread may do so. Returns its name.

    Raises:
        StoreUnavailable, StoreRefused, ObjectCollision: see ObjectStore.put_once.
        OSError: the pack can't be read.
    """
    body = spool.read(name)
    site.store.put_once(name, body)
    _log.debug("pack_stored", name=name, size_bytes=len(body))
    return name


def note_pack_stored(site: Site, spool: Spool, name: str) -> None:
    """Remembers that the store has a pack."""
    with site.journal.transaction():
        site.journal.chunks.mark_pack_stored(name)
    # CRASH: a stored pack whose file is still in the spool; removed at the next start.
    spool.remove(name)


class Uploads:
    """Sends the packs of large files in threads of the pool, a few at a time.

    Attributes:
        failure: why a pack could not be stored that was noted last; None: all could.
    """

    def __init__(self, site: Site, spool: Spool) -> None:
        self.failure: StoreUnavailable | StoreRefused | None = None
        self._site = site
        self._spool = spool
        self._pace = RetryPace(first_s=RETRY_S, longest_s=RETRY_S_MAX)
        self._under_way: dict[str, Future[str]] = {}

    def is_under_way(self) -> bool:
        """Tells whether anything is being sent."""
        return bool(self._under_way)

    def is_any_over(self) -> bool:
        """Tells whether something has been sent of which nobody has taken note."""
        return any(future.done() for future in self._under_way.values())

    def tend(self, first: Collection[str] = ()) -> bool:
        """Takes note of what was sent, and begins to send more.

        Args:
            first: packs that are sent before the others.

        Returns:
            Whether the store has got anything since the last time.

        Raises:
            ObjectCollision: another daemon writes this actor's packs.
            OSError, DiskError: a pack can't be read, nor made again now.
        """
        self.failure = None
        has_stored = self._take_note()
        if self._pace.is_due(self._site.clock.monotonic_s()):
            self._begin(first)
            has_stored = self._take_note() or has_stored
        return has_stored

    def _take_note(self) -> bool:
        is_any = False
        for name, future in [each for each in self._under_way.items() if each[1].done()]:
            del self._under_way[name]
            try:
                future.result()
            except OperationUnderWay:
                continue  # it goes on in the background; whoever begins it again joins it
            except (StoreUnavailable, StoreRefused) as error:
                self.failure = error
                self._pace.note_failure(self._site.clock.monotonic_s())
            else:
                self._pace.note_success()
                note_pack_stored(self._site, self._spool, name)
                is_any = True
        return is_any

    def _begin(self, first: Collection[str]) -> None:
        waiting = [name for name in self.waiting() if name not in self._under_way]
        waiting.sort(key=lambda name: (name not in first, name))
        for name in waiting[: self._site.pool.workers - len(self._under_way)]:
            if not self._spool.has(name):
                respool(self._site, self._spool, name, is_ahead=True)
                continue
            self._under_way[name] = self._site.pool.begin(self._send, name)

    def _send(self, name: str) -> str:
        return send_pack(self._site, self._spool, name)

    def waiting(self) -> list[str]:
        """Returns the packs of large files that the store does not have, oldest first."""
        chunks = self._site.journal.chunks
        ahead = chunks.packs_ahead()
        return [name for name in chunks.packs_to_store() if name in ahead]
