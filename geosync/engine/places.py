"""Where synced entries are on the disk, and what they become once the disk was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from conflict.observation import DiskEntry, DiskKind
from conflict.operations import NOTHING
from conflict.synced import PARKED, ROOT_ENTRY, EntryId, SyncedEntry
from geosync.disk.interface import UNCERTAIN, EntryUnreadable, RelativePath
from geosync.engine.site import Site, joined

NEVER_SEEN: Final = UNCERTAIN  # differs from any real one


def path_on_disk(site: Site, entry: SyncedEntry) -> RelativePath | None:
    """Returns where an entry is on the disk; None when a directory above it is unknown."""
    names: list[bytes] = []
    while entry.entry != ROOT_ENTRY:
        if entry.parent == PARKED:
            return joined((site.disk.parked_path(entry.name), *reversed(names)))
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


def replacing_nothing(was: SyncedEntry) -> SyncedEntry:
    """Returns what a file is a version of when nobody knows which version it replaced.

    It becomes a conflict of all that are there: rather one too many than one that is lost.
    """
    claims = tuple(replace(claim, content_dots=NOTHING) for claim in was.claims)
    return replace(was, claims=claims, content=None)


def note_own_times(site: Site, directories: Iterable[EntryId]) -> None:
    """Remembers the mtime that our own changes gave to directories; the planner restores it.

    Else a crash before it is restored would make it look like a change by a program.

    RACE: a program may put a file there at the same moment; the mtime is restored all the same.
    """
    for directory in sorted(directories):
        entry = site.journal.synced.entry(directory)
        path = path_on_disk(site, entry) if entry is not None else None
        if entry is None or path is None or directory == ROOT_ENTRY:
            continue
        try:
            found = site.disk.observe(path)
        except EntryUnreadable:
            continue
        if found is not None and found.handle == entry.handle:
            mtime_ns = found.attributes.mtime_ns
            site.journal.synced.save_entry(
                replace(
                    entry,
                    fingerprint=found.fingerprint,
                    attributes=replace(entry.attributes, mtime_ns=mtime_ns),
                    intended=replace(entry.intended, mtime_ns=mtime_ns),
                )
            )
