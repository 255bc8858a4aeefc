"""Mirroring: shows losing versions as files in the private directory, where no program looks."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from conflict.attributes import attributes_of
from conflict.observation import Attributes, DiskKind
from conflict.report import Conflict, conflicts
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    Applied,
    Expected,
    Failed,
    RelativePath,
)
from geosync.engine.content_stage import ContentStage
from geosync.engine.downloading import ContentUnavailable, StillComing
from geosync.engine.fetching import Fetcher
from geosync.engine.site import Site, joined
from geosync.event_log import event_logger

MIRROR: Final = b"conflicts"
_DIRECTORY: Final = Attributes(mode=0o700, owner=b"", group=b"", mtime_ns=0)
_UNDER_WAY: Final = b""  # in place of a digest: a copy that is half made, or half removed
_log = event_logger(__name__)


def mirror_path(conflict: Conflict) -> RelativePath:
    """Returns where a losing version is shown, for the policies that keep it outside."""
    return joined((PRIVATE_DIRECTORY, MIRROR, *conflict.path[:-1], conflict.copy_name))


class Mirror:
    """Keeps the private directory's copies as the merged tree wants them.

    They are made from the store and from nothing else, so they are never captured, and losing
    one loses nothing.
    """

    def __init__(self, site: Site, fetcher: Fetcher) -> None:
        self._site = site
        self._fetcher = fetcher
        self._stage = ContentStage(site, fetcher)

    def refresh(self) -> bool:
        """Adds what is missing and removes what is settled; returns whether all is as wanted."""
        wanted = {
            bytes(mirror_path(conflict)): conflict
            for conflict in conflicts(self._site.journal.nodes)
            if conflict.policy.shows_copies_outside or conflict.winner is None
        }
        there = self._site.journal.mirrored()
        stale = there.keys() - wanted.keys()
        new = {p: c for p, c in wanted.items() if there.get(p) != c.loser.content.digest}
        self._fetcher.hold(conflict.loser.content.digest for conflict in new.values())
        if not stale and not new:
            return True
        # CRASH: what is half made, or not durable yet, is gone through again at the next start.
        changing = [path for path in (*stale, *new) if there.get(path) != _UNDER_WAY]
        self._note(dict.fromkeys(changing, _UNDER_WAY))
        gone = [path for path in sorted(stale) if self._remove(RelativePath(path))]
        made = [path for path in sorted(new) if self._add(RelativePath(path), new[path])]
        self._site.disk.sync_changes()
        self._note(dict.fromkeys(gone) | {path: new[path].loser.content.digest for path in made})
        is_done = len(gone) + len(made) == len(stale) + len(new)
        if is_done:
            self._fetcher.hold(())
        return is_done

    def _note(self, digests: Mapping[bytes, bytes | None]) -> None:
        if digests:
            with self._site.journal.transaction():
                for path, digest in digests.items():
                    self._site.journal.set_mirrored(path, digest)

    def _add(self, path: RelativePath, conflict: Conflict) -> bool:
        """Returns whether the copy is there."""
        content = conflict.loser.content
        attributes = attributes_of(conflict.loser.attributes, is_directory=False)
        self._make_directories(path)
        try:
            self._fetcher.prefetch([content])
            staged = self._stage.stage(content, attributes)
        except StillComing:
            return False
        except ContentUnavailable as error:
            _log.info("conflict_copy_waits", path=path, reason=str(error))
            return False
        try:
            self._site.disk.sync_stage()
            outcome = self._site.disk.place_new(staged, path)
        finally:
            self._site.disk.discard_staged(staged)
            self._fetcher.forget()
        if not isinstance(outcome, Applied) and self._site.disk.observe(path) is None:
            _log.warning("conflict_copy_failed", path=path, reason=str(outcome))
            return False
        return True

    def _make_directories(self, path: RelativePath) -> None:
        parts = path.split(b"/")
        for depth in range(2, len(parts)):
            directory = RelativePath(b"/".join(parts[:depth]))
            if self._site.disk.observe(directory) is None:
                self._site.disk.make_directory(directory, _DIRECTORY)

    def _remove(self, path: RelativePath) -> bool:
        """Returns whether the copy is gone.

        CRASH: a copy that is in the trash already; the sweeper finds it.
        """
        found = self._site.disk.observe(path)
        if found is not None and found.kind is not DiskKind.DIRECTORY:
            outcome = self._site.disk.remove_file(path, Expected(found.handle, found.fingerprint))
            if not isinstance(outcome, Applied):
                return False
            if outcome.retired is not None:
                self._site.disk.discard_retired(outcome.retired)
        return self._remove_empty_directories(path)

    def _remove_empty_directories(self, path: RelativePath) -> bool:
        parts = path.split(b"/")
        for depth in range(len(parts) - 1, 2, -1):
            directory = RelativePath(b"/".join(parts[:depth]))
            found = self._site.disk.observe(directory)
            if found is None:
                continue
            outcome = self._site.disk.remove_directory(directory, Expected(found.handle))
            if isinstance(outcome, Failed) and outcome.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return True
            if not isinstance(outcome, Applied):
                return False
        return True
