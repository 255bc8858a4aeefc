"""Ahead: packs of a large file that another site still sends, brought before the file is known.

A site tells of the packs of a large file as it stores them, and of the file when all are stored. By
then most of them are here. Nothing depends on this: what is not here comes from the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from conflict.errors import GeosyncError
from conflict.operations import Put, Transaction
from geosync.engine.background_work import BackgroundWork
from geosync.engine.site import Site
from transport.errors import OperationUnderWay
from transport.object_names import parse_pack_name
from transport.segment import Segment

BUDGET_SIZE_BYTES: Final = 2 * 1024 * 1024 * 1024
PACK_SIZE_BYTES_MIN: Final = 1024 * 1024  # smaller ones are no large file's
STATE_RESERVE_BYTES: Final = 64 * 1024 * 1024  # of the state directory's disk, for the journal
KEPT_S: Final = 1800.0  # without news of its site: the file is given up, or not wanted here
_PATIENCE_MAX: Final = 120  # so often the store is asked for a pack that it still sends


class _Is(Enum):
    WANTED = "wanted"
    COMING = "coming"
    HERE = "here"


@dataclass(slots=True)
class _Pack:
    size_bytes: int
    state: _Is = _Is.WANTED


class Ahead:
    """Brings packs in the background, and keeps them as files until they are used.

    The control thread says which; any thread may read them. Nothing here survives the process.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._directory = os.path.join(site.state_dir, b"ahead")
        self._work = BackgroundWork(site)
        self._changed = threading.Condition()
        self._packs: dict[str, _Pack] = {}
        self._announced: dict[str, int] = {}  # what was told of since `begin`: pack -> size
        self._announced_with: dict[bytes, str] = {}  # the digests in it -> pack
        self._news_s = site.clock.monotonic_s()
        self._clear()

    # What to bring: the control thread's part

    def announced(self, segment: Segment, known: Iterable[bytes]) -> None:
        """Notes what a segment tells of, and what its transactions need.

        Args:
            segment: of another site, as it was taken in.
            known: the chunks it tells of that were known before: they are stored anew, and what
                needs them is here.
        """
        passed = set(known) | _needed(segment.transactions)
        sizes: dict[str, int] = {}
        skipped = {at.pack for digest, at in segment.pack_entries.items() if digest in passed}
        for digest, at in segment.pack_entries.items():
            if at.pack not in skipped and at.pack not in self._packs:
                end = at.offset + at.stored_size_bytes
                sizes[at.pack] = max(sizes.get(at.pack, 0), end)
                self._announced_with[digest] = at.pack
        self._announced.update(sizes)
        for digest in passed & self._announced_with.keys():
            self._announced.pop(self._announced_with[digest], None)

    def begin(self) -> int:
        """Begins to bring what was announced and is not needed yet; returns how many packs.

        For when all is read that there is to read: what was needed long ago is known then.
        """
        now_s = self._site.clock.monotonic_s()
        found = {n: s for n, s in self._announced.items() if s >= PACK_SIZE_BYTES_MIN}
        self._announced, self._announced_with = {}, {}
        if found:
            self._news_s = now_s
        elif self._packs and now_s - self._news_s > KEPT_S:
            self._work.clear()
            with self._changed:
                self._packs = {n: p for n, p in self._packs.items() if p.state is _Is.COMING}
            self._clear()
        begun = [name for name, size in sorted(found.items()) if self._is_admitted(name, size)]
        self._work.add(partial(self._bring, name) for name in begun)
        return len(begun)

    def _is_admitted(self, name: str, size_bytes: int) -> bool:
        with self._changed:
            taken = sum(pack.size_bytes for pack in self._packs.values())
            if taken + size_bytes > BUDGET_SIZE_BYTES or name in self._packs:
                return False
            self._packs[name] = _Pack(size_bytes)
            return True

    # What is here: for any thread

    def read_range(self, name: str, offset_bytes: int, size_bytes: int) -> bytes | None:
        """Returns a part of a pack, waiting for it while it comes; None where it is not here."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_coming(name))
            pack = self._packs.get(name)
            if pack is None:
                return None
            if pack.state is _Is.WANTED or offset_bytes + size_bytes > pack.size_bytes:
                del self._packs[name]  # whoever asks brings it himself
                self._remove(name)
                return None
        try:
            with open(self._path(name), "rb") as file:
                return os.pread(file.fileno(), size_bytes, offset_bytes)
        except OSError:
            self.discard(name)
            return None

    def discard(self, name: str) -> None:
        """Forgets a pack that was used, or is damaged. Never raises."""
        with self._changed:
            if not self._is_coming(name) and self._packs.pop(name, None) is not None:
                self._remove(name)

    def _is_coming(self, name: str) -> bool:
        pack = self._packs.get(name)
        return pack is not None and pack.state is _Is.COMING

    # In the background

    def _bring(self, name: str) -> None:
        """Brings one pack. Whatever goes wrong, it comes from the store when it is needed."""
        with self._changed:
            pack = self._packs.get(name)
            if pack is None:
                return
            pack.state = _Is.COMING
        is_here = False
        try:
            if self._has_room(pack.size_bytes):
                self._write(name, self._fetched(name, pack.size_bytes))
                is_here = True
        except (GeosyncError, OSError):
            self._remove(name)
        finally:
            with self._changed:
                if is_here:
                    pack.state = _Is.HERE
                else:
                    del self._packs[name]
                self._changed.notify_all()

    def _fetched(self, name: str, size_bytes: int) -> bytes:
        for _ in range(_PATIENCE_MAX):
            with suppress(OperationUnderWay):
                return self._site.store.get_range(name, 0, size_bytes)
        raise OperationUnderWay(f"{name} does not come")

    def _has_room(self, size_bytes: int) -> bool:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        space = os.statvfs(self._directory)
        return size_bytes + STATE_RESERVE_BYTES <= space.f_bavail * space.f_frsize

    def _write(self, name: str, body: bytes) -> None:
        """Keeps it until it is used; a crash may tear it, as nothing reads it after that."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path(name), flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)

    def _path(self, name: str) -> bytes:
        pack = parse_pack_name(name)
        return os.path.join(self._directory, b"%s-%012x" % (pack.actor.hex().encode(), pack.number))

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self._path(name))

    def _clear(self) -> None:
        """Removes all that is not coming just now. Never raises."""
        coming = {os.path.basename(self._path(name)) for name in self._packs}
        with suppress(OSError):
            for found in os.listdir(self._directory):
                if found not in coming:
                    os.unlink(os.path.join(self._directory, found))


def _needed(transactions: Iterable[Transaction]) -> set[bytes]:
    puts = (each for transaction in transactions for each in transaction if isinstance(each, Put))
    return {chunk.digest for put in puts for chunk in put.content.chunks}
