"""What can't be read on the disk: told to the operator until it can be read, or is gone."""

from __future__ import annotations

from typing import Final

from conflict.capture import Scan
from conflict.observation import DirectoryListing, DiskKind
from conflict.synced import Path
from geosync.engine.site import Site, joined

_PREFIX: Final = b"path "
_SKIPPED: Final = "left alone: a socket or device is never synced, a FIFO only with fifos = true"


class Unreadable:
    """Knows what the operator was told of."""

    def __init__(self, site: Site) -> None:
        """Forgets what an earlier run told; the first scan tells again."""
        self._site = site
        self._told: dict[Path, bool] = {}  # path -> whether it is a directory
        for problem in site.journal.problems():
            if problem.subject.startswith(_PREFIX):
                site.report(problem.subject, None)

    def tell(self, scan: Scan, directories: dict[Path, str], files: dict[Path, str]) -> None:
        """Tells what could not be read this time, and what of earlier times is over.

        Args:
            scan: what was looked at.
            directories: of these, those that could not be listed, and why.
            files: those whose content could not be read, and why.
        """
        found = {path: (reason, True) for path, reason in directories.items()}
        for path, listing in scan.listings.items():
            entries = _unreadable_entries(path, listing)
            found.update((entry, (reason, False)) for entry, reason in entries.items())
        found.update((path, (reason, False)) for path, reason in files.items())
        for path, is_directory in list(self._told.items()):
            if path not in found and _is_over(path, scan, is_directory=is_directory):
                del self._told[path]
                self._site.report(_PREFIX + joined(path), None)
        for path, (reason, is_directory) in found.items():
            self._told[path] = is_directory
            self._site.report(_PREFIX + joined(path), reason)


def _unreadable_entries(path: Path, listing: DirectoryListing) -> dict[Path, str]:
    found = {
        (*path, entry.name): _SKIPPED
        for entry in listing.entries
        if entry.kind is DiskKind.UNSUPPORTED
    }
    found.update(((*path, name), reason) for name, reason in listing.unreadable)
    return found


def _is_over(path: Path, scan: Scan, *, is_directory: bool) -> bool:
    """Tells whether a scan looked at the path, or at where it was, and could read it."""
    if path in scan.listings or (path[:-1] in scan.listings and path and not is_directory):
        return True
    directories = [path[:depth] for depth in range(len(path) + is_directory)]
    return any(_is_no_directory(directory, scan) for directory in directories)


def _is_no_directory(path: Path, scan: Scan) -> bool:
    if path in scan.absent:
        return True
    above = scan.listings.get(path[:-1]) if path else None
    if above is None:
        return False
    names = {entry.name for entry in above.entries if entry.kind is DiskKind.DIRECTORY}
    return path[-1] not in names | {name for name, _ in above.unreadable}
