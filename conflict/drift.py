"""Drift: what programs changed on the disk of a site that writes nothing to its volume.

It is found by the same comparison of disk and synced tree as a capture's input, but nothing is
inferred from it: names are compared with names, and a renamed file is one that is gone and one
that is new. What the volume has in the same form already is no drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from conflict.joining import Known, Recognition
from conflict.merged_tree import NodeStore, directories_at
from conflict.observation import DirectoryListing, DiskEntry, DiskKind
from conflict.operations import NOTHING
from conflict.rendering import claimants_at
from conflict.scan import Scan, StableContent, contents_wanted, is_unchanged
from conflict.synced import Path, SyncedEntry, SyncedStore, entry_at_path


class DriftKind(StrEnum):
    """How the disk differs from what the volume brought there."""

    NEW = "new"  # the volume has nothing there
    CHANGED = "changed"  # another content
    ATTRIBUTES = "attributes"  # the same content with another mode, owner, time, …
    REPLACED = "replaced"  # another directory, or a file in place of a directory, or the reverse
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Drift:
    """One name that differs; what is below a new, replaced or missing directory goes with it."""

    path: Path
    kind: DriftKind
    found: DiskEntry | None  # None: gone
    known: SyncedEntry | None  # None: new


def is_wanted(nodes: NodeStore, path: Path) -> bool:
    """Tells whether the volume has anything at a path."""
    return bool(claimants_at(nodes, directories_at(nodes, path[:-1]), path[-1]))


def contents_in_question(
    nodes: NodeStore, synced: SyncedStore, scan: Scan, *, is_joining: bool
) -> Iterator[tuple[Path, DiskEntry]]:
    """Yields the files that must be read: those that changed, and new ones the volume may have."""
    for path, entry in contents_wanted(synced, scan):
        directory = entry_at_path(synced, path[:-1])
        is_known = directory and synced.entry_at(directory.entry, path[-1]) is not None
        if is_known or is_joining or is_wanted(nodes, path):
            yield path, entry


class Comparison:
    """Compares one scan with the synced tree, and corrects what the latter knows of equal files."""

    def __init__(
        self,
        nodes: NodeStore,
        synced: SyncedStore,
        contents: Mapping[Path, StableContent],
        recognition: Recognition,
    ) -> None:
        """Takes what is compared.

        Args:
            nodes: the merged tree.
            synced: is updated where the disk shows what the volume has.
            contents: of `contents_in_question`; without one, a file that changed is drift.
            recognition: what the volume has, or ever had, at a path.
        """
        self._nodes = nodes
        self._synced = synced
        self._contents = contents
        self._recognition = recognition
        self.recognised: list[Path] = []  # names that show what the volume has there, or had

    def run(self, scan: Scan) -> list[Drift]:
        """Returns the drift in the directories of a scan, sorted by path."""
        found: list[Drift] = []
        for path, listing in sorted(scan.listings.items()):
            directory = entry_at_path(self._synced, path)
            is_same = directory is not None and (
                not path or directory.handle == listing.directory.handle
            )
            if directory is not None and is_same:
                found.extend(self._in_directory(path, directory, listing))
        return sorted(found, key=lambda drift: drift.path)

    def _in_directory(
        self, path: Path, directory: SyncedEntry, listing: DirectoryListing
    ) -> Iterator[Drift]:
        names = {name for name, _ in listing.unreadable}
        for entry in listing.entries:
            names.add(entry.name)
            if entry.kind is not DiskKind.UNSUPPORTED:
                known = self._synced.entry_at(directory.entry, entry.name)
                below = (*path, entry.name)
                kind = self._new(below, directory, entry) if known is None else None
                if known is not None:
                    kind = self._known(below, known, entry)
                if kind is not None:
                    yield Drift(below, kind, entry, known)
        for known in list(self._synced.entries_in(directory.entry)):
            if known.name not in names:
                yield from self._gone((*path, known.name), known)

    def _gone(self, path: Path, known: SyncedEntry) -> Iterator[Drift]:
        if is_wanted(self._nodes, path) or known.copy_of:
            yield Drift(path, DriftKind.GONE, None, known)
        else:  # the volume has nothing there any more either
            forget(self._synced, known)
            self.recognised.append(path)

    def _new(self, path: Path, parent: SyncedEntry, entry: DiskEntry) -> DriftKind | None:
        content = self._contents.get(path)
        if entry.kind is DiskKind.DIRECTORY:
            found: object = self._recognition.directory(path)
        else:
            found = self._recognition.file(path, content.content) if content else None
        if not isinstance(found, Known):
            return DriftKind.NEW
        self.recognised.append(path)
        seen = content.entry if content else entry
        self._synced.save_entry(
            SyncedEntry(
                entry=self._synced.new_entry_id(),
                parent=parent.entry,
                name=entry.name,
                kind=seen.kind,
                handle=seen.handle,
                fingerprint=seen.fingerprint,
                attributes=seen.attributes,
                intended=seen.attributes,
                claims=found.claims,
                content=content.content if content else None,
            )
        )
        return None

    def _known(self, path: Path, known: SyncedEntry, entry: DiskEntry) -> DriftKind | None:
        is_directory = entry.kind is DiskKind.DIRECTORY
        if known.is_directory or is_directory:
            if known.handle != entry.handle or known.is_directory != is_directory:
                return DriftKind.REPLACED
            return self._directory(known, entry)
        if is_unchanged(known, entry):
            return None
        found = self._contents.get(path)
        if found is None:
            return DriftKind.CHANGED
        if found.content == known.content:
            return self._same_content(known, found.entry)
        recognised = self._recognition.file(path, found.content)
        if not isinstance(recognised, Known):
            return DriftKind.CHANGED
        self.recognised.append(path)
        now = _as_seen(known, found.entry)
        self._synced.save_entry(
            replace(now, claims=recognised.claims, content=found.content, intended=now.attributes)
        )
        return None

    def _directory(self, known: SyncedEntry, entry: DiskEntry) -> DriftKind | None:
        """The time of a directory follows from what is in it, and is no drift of its own."""
        before = replace(known.attributes, mtime_ns=entry.attributes.mtime_ns)
        return DriftKind.ATTRIBUTES if before != entry.attributes else None

    def _same_content(self, known: SyncedEntry, seen: DiskEntry) -> DriftKind | None:
        if known.attributes != seen.attributes:
            return DriftKind.ATTRIBUTES
        self._synced.save_entry(_as_seen(known, seen))
        return None


def forget(synced: SyncedStore, entry: SyncedEntry) -> None:
    """Takes an entry, with all below it, for not being on the disk: the planner brings it back."""
    for below in list(synced.entries_in(entry.entry)):
        forget(synced, below)
    synced.remove_entry(entry.entry)


def to_be_replaced(known: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    """Returns a drifted file's entry as the disk shows it, standing for no version.

    So the planner puts there what the volume has, and takes it away if the volume has nothing.
    """
    claims = tuple(replace(claim, content_dots=NOTHING) for claim in known.claims)
    seen = _as_seen(known, found)
    return replace(seen, claims=claims, content=None, intended=found.attributes)


def to_be_corrected(known: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    """Returns an entry with the attributes as they are, so that the planner sets the volume's."""
    return replace(_as_seen(known, found), intended=found.attributes)


def _as_seen(known: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    return replace(
        known,
        kind=found.kind,
        handle=found.handle,
        fingerprint=found.fingerprint,
        attributes=found.attributes,
    )
