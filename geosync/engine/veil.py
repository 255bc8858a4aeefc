"""A veil over names of a scan: below it, the disk seems to be as it is known.

What is veiled is neither captured nor taken for deleted or moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from conflict.observation import DirectoryListing, DiskEntry
from conflict.scan import Scan, directory_entry, is_unchanged
from conflict.synced import Path, SyncedEntry, SyncedStore, path_of_entry


def veiled(synced: SyncedStore, scan: Scan, is_veiled: Callable[[Path], bool]) -> Scan:
    """Returns a scan in which all veiled names are as the synced tree knows them.

    Args:
        synced: what is known.
        scan: what was seen.
        is_veiled: tells whether something is veiled, by its path.
    """
    listings = {
        path: veiled_listing(synced, path, listing, is_veiled)
        for path, listing in scan.listings.items()
        if not is_veiled(path) or _is_known_here(synced, path, listing)
    }
    absent = frozenset(path for path in scan.absent if not is_veiled(path))
    return Scan(listings, absent, scan.unknown)


def veiled_listing(
    synced: SyncedStore,
    path: Path,
    listing: DirectoryListing,
    is_veiled: Callable[[Path], bool],
) -> DirectoryListing:
    """Returns one directory as `veiled` shows it."""
    directory = directory_entry(synced, path, listing)
    entries = {entry.name: entry for entry in listing.entries if not is_veiled((*path, entry.name))}
    seen = {entry.name: entry for entry in listing.entries}
    for known in synced.entries_in(directory.entry) if directory is not None else ():
        if is_veiled((*path, known.name)):
            entries[known.name] = _as_known(known, seen.get(known.name))
    return replace(
        listing,
        directory=_as_known(directory, listing.directory)
        if directory is not None and is_veiled(path)
        else listing.directory,
        entries=tuple(entries[name] for name in sorted(entries)),
    )


def departed(
    synced: SyncedStore, path: Path, listing: DirectoryListing, is_veiled: Callable[[Path], bool]
) -> Iterator[SyncedEntry]:
    """Yields veiled entries whose inode is not at their name any more."""
    directory = directory_entry(synced, path, listing)
    handles = {entry.name: entry.handle for entry in listing.entries}
    for known in synced.entries_in(directory.entry) if directory is not None else ():
        if is_veiled((*path, known.name)) and handles.get(known.name) != known.handle:
            yield known


def _is_known_here(synced: SyncedStore, path: Path, listing: DirectoryListing) -> bool:
    directory = directory_entry(synced, path, listing)
    return directory is not None and path_of_entry(synced, directory) == path


def _as_known(known: SyncedEntry, seen: DiskEntry | None) -> DiskEntry:
    if seen is not None and is_unchanged(known, seen):
        return seen
    return DiskEntry(
        name=known.name,
        kind=known.kind,
        handle=known.handle,
        fingerprint=known.fingerprint,
        attributes=known.attributes,
        link_count=2,  # it may have other names: nothing follows from seeing it here
        target=known.content.target if known.content is not None else b"",
    )
