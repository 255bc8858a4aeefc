"""Unchanged directories: a full look found all as it is known, and a glance shows the same still.

A look at everything, with nothing changed, then costs little more than to ask the file system for
all names. Kept in memory only: the first look after a start is a full one.
"""

from __future__ import annotations

from conflict.observation import DirectoryListing
from conflict.scan import Scan, directory_entry, is_unchanged
from conflict.synced import EntryId, Path, SyncedEntry
from geosync.disk.interface import DiskError, Glance
from geosync.engine.site import Site, joined


class UnchangedDirectories:
    """Remembers what glances showed, as long as what is known of the disk stays the same."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._glances: dict[Path, bytes] = {}
        self._paths: dict[EntryId, Path] = {}

    def glance(self, path: Path) -> Glance | None:
        """Looks at a directory; None where that is not enough to know what is there."""
        self._forget_changed()
        known = self._glances.get(path)
        if known is None:
            return None
        try:
            seen = self._site.disk.glance(joined(path))
        except DiskError:
            return None  # whoever takes a full look finds out more
        return seen if seen.digest == known else None

    def note(self, scan: Scan) -> None:
        """Is told of full looks, once their changes are captured."""
        self._forget_changed()
        for path in (*scan.listings, *scan.absent, *scan.unknown):
            self._glances.pop(path, None)
        for path, listing in scan.listings.items():
            directory = self._directory_as_known(path, listing) if listing.glance else None
            if directory is not None:
                self._glances[path] = listing.glance
                self._paths[directory.entry] = path

    def forget(self) -> None:
        """Has everything looked at in full once more."""
        self._glances.clear()
        self._paths.clear()

    def _forget_changed(self) -> None:
        for entry in self._site.journal.synced.take_changed():
            path = self._paths.pop(entry, None)
            if path is not None:
                self._glances.pop(path, None)

    def _directory_as_known(self, path: Path, listing: DirectoryListing) -> SyncedEntry | None:
        """Returns a directory if there is nothing at all to be captured in it."""
        synced = self._site.journal.synced
        directory = directory_entry(synced, path, listing)
        if directory is None or (path and not is_unchanged(directory, listing.directory)):
            return None
        known = {entry.name: entry for entry in synced.entries_in(directory.entry)}
        is_as_known = len(known) == len(listing.entries) and all(
            entry.name in known
            and is_unchanged(known[entry.name], entry)
            and known[entry.name].attributes == entry.attributes
            for entry in listing.entries
        )
        return directory if is_as_known else None
