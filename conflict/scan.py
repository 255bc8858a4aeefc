"""A scan: directories as they were seen on the disk, and how they compare with the synced tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from conflict.content import Content
from conflict.observation import Attributes, DirectoryListing, DiskEntry, DiskKind
from conflict.synced import ROOT_ENTRY, Path, SyncedEntry, SyncedStore, path_of_entry


@dataclass(frozen=True, slots=True)
class Scan:
    """Directories as they were seen on the disk."""

    listings: Mapping[Path, DirectoryListing]
    absent: frozenset[Path] = frozenset()  # directories that were looked for in vain
    unknown: frozenset[Path] = frozenset()  # directories that could not be read


@dataclass(frozen=True, slots=True)
class StableContent:
    """A file's content, and the entry as it was while the content was read."""

    entry: DiskEntry
    content: Content


def further_directories(synced: SyncedStore, scan: Scan) -> set[Path]:
    """Returns directories that must be listed too before `scan` can be understood.

    These are new directories, those that a file or directory with a known inode came from, those
    that hold other names of a file that lacks some of them, and those above one that is not known
    yet, in whose name something else was before.
    """
    wanted: set[Path] = {path[:-1] for path in scan.absent if path}
    traced: set[bytes] = set()  # inodes: of all names of a file, the same comes out
    for path, listing in scan.listings.items():
        parent = directory_entry(synced, path, listing)
        if parent is None:
            wanted.add(path[:-1])
        known_names = _names_in(synced, parent)
        for entry in listing.entries:
            at_name = known_names.get(entry.name)
            is_at_name = at_name is not None and at_name.handle == entry.handle
            if at_name is not None and is_at_name and not _lacks_names(synced, at_name, entry):
                continue
            known = synced.entries_of_handle(entry.handle)
            if entry.kind is DiskKind.DIRECTORY and not known:
                wanted.add((*path, entry.name))
            if entry.handle not in traced:
                traced.add(entry.handle)
                came_from = (path_of_entry(synced, other) for other in known)
                wanted.update(path[:-1] for path in came_from if path)
    return {p for p in wanted - scan.absent - scan.unknown if p not in scan.listings}


def _names_in(synced: SyncedStore, parent: SyncedEntry | None) -> dict[bytes, SyncedEntry]:
    """Returns what is known of a directory, at once: a listing shows all of it as well."""
    return {} if parent is None else {each.name: each for each in synced.entries_in(parent.entry)}


def _lacks_names(synced: SyncedStore, known: SyncedEntry, entry: DiskEntry) -> bool:
    """Tells whether a file has fewer hard links than names that are known: some are gone.

    What is written to it now must not be taken for the content of those.
    """
    if entry.kind is DiskKind.DIRECTORY or is_unchanged(known, entry):
        return False
    return len(list(synced.entries_of_handle(entry.handle))) > entry.link_count


def contents_wanted(synced: SyncedStore, scan: Scan) -> Iterator[tuple[Path, DiskEntry]]:
    """Yields the files whose content must be read: the new ones and those whose stat changed."""
    for path, listing in sorted(scan.listings.items()):
        parent = directory_entry(synced, path, listing)
        known_names = _names_in(synced, parent)
        for entry in listing.entries:
            if entry.kind in (DiskKind.DIRECTORY, DiskKind.UNSUPPORTED):
                continue
            known = known_names.get(entry.name)
            if known is None or not is_unchanged(known, entry):
                yield (*path, entry.name), entry


def without_new_fifos(
    synced: SyncedStore, path: Path, listing: DirectoryListing
) -> DirectoryListing:
    """Returns a listing in which FIFOs that are not part of the volume are left alone.

    One that is part of it stays so: else it would look deleted where new ones are not wanted.
    """
    parent = directory_entry(synced, path, listing)
    return replace(
        listing,
        entries=tuple(
            replace(entry, kind=DiskKind.UNSUPPORTED)
            if entry.kind is DiskKind.FIFO and not _is_known_fifo(synced, parent, entry)
            else entry
            for entry in listing.entries
        ),
    )


def _is_known_fifo(synced: SyncedStore, parent: SyncedEntry | None, entry: DiskEntry) -> bool:
    known = synced.entries_of_handle(entry.handle)
    at_name = synced.entry_at(parent.entry, entry.name) if parent is not None else None
    if at_name is not None:
        known = [*known, at_name]
    return any(other.kind is DiskKind.FIFO for other in known)


def directory_entry(
    synced: SyncedStore, path: Path, listing: DirectoryListing
) -> SyncedEntry | None:
    """Returns the synced entry of a listed directory, wherever it was before."""
    if not path:
        return synced.entry(ROOT_ENTRY)
    known = synced.entries_of_handle(listing.directory.handle)
    return next((entry for entry in known if entry.is_directory), None)


def is_unchanged(known: SyncedEntry, entry: DiskEntry) -> bool:
    """Tells whether the disk shows what it showed before.

    Without a change of its inode a file can't have lost its owner, only the owner his name: a name
    service that does not answer must not give the files of all sites to a number.
    """
    if (known.handle, known.fingerprint, known.kind) != (
        entry.handle,
        entry.fingerprint,
        entry.kind,
    ):
        return False
    before, now = known.attributes, entry.attributes
    return before == now or _has_lost_names(before, now)


def _has_lost_names(before: Attributes, now: Attributes) -> bool:
    new_keys = {key for key, _ in now.extended} - {key for key, _ in before.extended}
    return (
        (now.owner != before.owner and now.owner.startswith(b"#"))
        or (now.group != before.group and now.group.startswith(b"#"))
        or any(key.startswith(b"acl.") and b":#" in key for key in new_keys)
    )


def keeps_name(known: SyncedEntry, entry: DiskEntry) -> bool:
    """Tells whether the entry of a name goes on: a directory is its inode, a file its name."""
    if known.is_directory or entry.kind is DiskKind.DIRECTORY:
        return known.handle == entry.handle
    return entry.kind is not DiskKind.UNSUPPORTED
