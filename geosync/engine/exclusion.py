"""Exclusion: files that are never captured. What was captured before stays as it was then."""

from __future__ import annotations

from dataclasses import replace

from conflict.observation import DirectoryListing, DiskKind
from conflict.scan import directory_entry
from conflict.synced import Path, SyncedEntry
from geosync.engine.site import Site
from geosync.engine.veil import departed, veiled_listing


class Exclusion:
    """Hides excluded files from the capture, and remembers them for the operator."""

    def __init__(self, site: Site) -> None:
        self._synced = site.journal.synced
        self._journal = site.journal
        self._rules = site.capture_rules
        self._names: dict[Path, set[bytes]] = {}

    def applied_to(self, path: Path, listing: DirectoryListing) -> DirectoryListing:
        """Returns a listing in which excluded files are as they are known, or not there.

        The known name of one whose inode is elsewhere, or gone, loses its inode: else another
        name of that inode, which is not excluded, would be taken for a hard link of it.
        """
        if not self._rules.may_exclude:
            return listing
        directories = {e.name for e in listing.entries if e.kind is DiskKind.DIRECTORY}
        known = directory_entry(self._synced, path, listing)
        if known is not None:
            below = self._synced.entries_in(known.entry)
            directories |= {e.name for e in below if e.is_directory}

        def is_excluded(file: Path) -> bool:
            is_file = len(file) > len(path) and file[-1] not in directories
            return is_file and self._rules.is_excluded(file)

        names = {e.name for e in listing.entries if is_excluded((*path, e.name))}
        self._names.pop(path, None)
        if names:
            self._names[path] = names
        self._part_from_inodes(list(departed(self._synced, path, listing, is_excluded)))
        return veiled_listing(self._synced, path, listing, is_excluded)

    def _part_from_inodes(self, gone: list[SyncedEntry]) -> None:
        parted = {e.entry: replace(e, handle=b"excluded %d" % e.entry) for e in gone}
        if any(parted[known.entry] != known for known in gone):
            with self._journal.transaction():
                for known in parted.values():
                    self._synced.save_entry(known)

    def paths(self) -> list[Path]:
        """Returns what is excluded in the directories that were listed, sorted."""
        return sorted((*path, name) for path, names in self._names.items() for name in names)
