"""Where synced entries are on the disk, and what they become once the disk was looked at."""

from __future__ import annotations

from dataclasses import replace

from conflict.observation import DiskEntry, DiskKind
from conflict.synced import PARKED, ROOT_ENTRY, SyncedEntry
from geosync.disk.interface import RelativePath
from geosync.engine.site import Site, joined


def path_on_disk(site: Site, entry: SyncedEntry) -> RelativePath | None:
    """Returns where an entry is on the disk; None when a directory above it is unknown."""
    names: list[bytes] = []
    while entry.entry != ROOT_ENTRY:
        if entry.parent == PARKED:
            return joined((site.disk.parked_path(entry.handle), *reversed(names)))
        names.append(entry.name)
        above = site.journal.synced.entry(entry.parent)
        if above is None:
            return None
        entry = above
    return joined(tuple(reversed(names)))


def as_seen(entry: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    """Returns the entry with what the disk shows now."""
    return replace(
        entry,
        name=entry.name if entry.parent == PARKED else found.name,
        kind=found.kind if found.kind is not DiskKind.UNSUPPORTED else entry.kind,
        handle=found.handle,
        fingerprint=found.fingerprint,
        attributes=found.attributes,
    )
