"""Departures: which entries are not at their names any more, and where they are instead.

All is decided before anything is written, so that a departure that can't be understood yet (a name
that still belongs to another entry, a file that can't be read now, a directory that seems to be
below itself since it moved during the scan) is as if it had not been seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from conflict.observation import DiskEntry
from conflict.operations import NodeId
from conflict.scan import Scan, StableContent, contents_wanted, directory_entry, keeps_name
from conflict.synced import ROOT_ENTRY, EntryId, Path, SyncedEntry, SyncedStore


class Slot(NamedTuple):
    """A name that the scan shows."""

    directory: Path
    name: bytes


class Departures:
    """Compares a scan with the synced tree.

    Attributes:
        moved: what is now at a new name, by that name.
        deleted: entries that are certainly gone, children before their directories; among them
            names that are still there, but are names of another file now.
        unconfirmed: entries that are missing, perhaps only on the move.
        waiting: of these, what was seen at a new name that can't be taken yet: the directory of
            that name.
    """

    def __init__(
        self,
        synced: SyncedStore,
        scan: Scan,
        contents: Mapping[Path, StableContent],
        confirmed: frozenset[EntryId],
    ) -> None:
        self._synced = synced
        self._scan = scan
        self._confirmed = confirmed
        self._names_of: dict[EntryId, dict[bytes, DiskEntry]] = {}
        self._unreadable: set[tuple[EntryId, bytes]] = set()
        self._seen_handles: set[bytes] = set()
        self._seen = {p: {e.name: e for e in at.entries} for p, at in scan.listings.items()}
        self._known = {p: directory_entry(synced, p, at) for p, at in scan.listings.items()}
        for path, listing in scan.listings.items():
            self._seen_handles.update(
                entry.handle for entry in (listing.directory, *listing.entries)
            )
            known = self._known[path]
            if known is not None:
                self._names_of[known.entry] = self._seen[path]
                self._unreadable.update((known.entry, name) for name, _ in listing.unreadable)
        self._unread_handles = {
            entry.handle
            for path, entry in contents_wanted(synced, scan)
            if path not in contents or contents[path].entry.handle != entry.handle
        }
        gone = list(self._gone())
        self._gone_entries = {entry.entry for entry in gone}
        self.moved = self._candidates()
        self._moving: set[EntryId] = set()
        self.waiting: dict[EntryId, Path] = {}
        while stuck := self._stuck():
            self.waiting |= {self.moved[slot].entry: slot.directory for slot in stuck}
            self.moved = {slot: e for slot, e in self.moved.items() if slot not in stuck}
        leaving = [entry for entry in reversed(gone) if entry.entry not in self._moving]
        self.deleted = [entry for entry in leaving if self._is_deleted(entry)]
        self.unconfirmed = {e.entry for e in leaving} - {e.entry for e in self.deleted}
        self.deleted += self._parted()

    def is_away(self, entry: SyncedEntry, seen_as: DiskEntry | None = None) -> bool:
        """Tells whether the inode is certainly not at the entry's name any more.

        Args:
            entry: of the synced tree.
            seen_as: what the scan shows of its inode elsewhere.
        """
        if entry.parent in self._names_of:
            here = self._names_of[entry.parent].get(entry.name)
            return here is None or here.handle != entry.handle
        if seen_as is not None and (entry.is_directory or seen_as.link_count == 1):
            return True
        above = self._synced.entry(entry.parent)
        if above is None or above.entry == ROOT_ENTRY or above.handle in self._seen_handles:
            return False
        return self.is_away(above)

    def may_part(self, known: SyncedEntry, seen: DiskEntry) -> bool:
        """Tells whether it is open yet to which file the new inode of a name belongs.

        Another name of that inode could not be read, so the two may be a file of their own. Or
        another name of the inode before is missing: where it moved, the file went with it.
        """
        if known.handle == seen.handle:
            return False
        return seen.handle in self._unread_handles or any(
            mate.entry in self.unconfirmed and not mate.copy_of
            for mate in self._synced.entries_of_handle(known.handle)
        )

    def has_lost(self, entry: SyncedEntry, seen_as: DiskEntry) -> bool:
        """Tells whether the entry's name is no name of its file any more, as seen elsewhere.

        A name in a directory that was moved is one still.
        """
        if entry.parent in self._names_of:
            here = self._names_of[entry.parent].get(entry.name)
            return here is None or here.handle != entry.handle
        return seen_as.link_count == 1

    def _now_at(self, entry: SyncedEntry) -> DiskEntry | None:
        """Returns what carries on an entry under its name, as far as the scan shows it."""
        here = self._names_of.get(entry.parent, {}).get(entry.name)
        return here if here is not None and keeps_name(entry, here) else None

    def _gone(self) -> Iterator[SyncedEntry]:
        """Yields entries that are not at their names any more, parents before children."""
        pending = [e for e in map(self._synced.entry, sorted(self._names_of)) if e is not None]
        passed: set[EntryId] = set()
        for directory in pending:
            for child in list(self._synced.entries_in(directory.entry)):
                if child.entry not in passed and self._has_left(child):
                    yield from self._with_all_below(child, passed)

    def _has_left(self, entry: SyncedEntry) -> bool:
        if (entry.parent, entry.name) in self._unreadable:
            return False
        here = self._names_of[entry.parent].get(entry.name)
        return here is None or not keeps_name(entry, here)

    def _with_all_below(self, entry: SyncedEntry, passed: set[EntryId]) -> Iterator[SyncedEntry]:
        passed.add(entry.entry)
        yield entry
        if entry.is_directory and entry.handle not in self._seen_handles:
            for child in list(self._synced.entries_in(entry.entry)):
                if child.entry not in passed:
                    yield from self._with_all_below(child, passed)

    # Moves

    def _candidates(self) -> dict[Slot, SyncedEntry]:
        """Pairs names that are new with inodes that were somewhere else."""
        taken: set[EntryId] = set()
        found: dict[Slot, SyncedEntry] = {}
        for path, listing in sorted(self._scan.listings.items()):
            for entry in listing.entries:
                at_name = self._entry_at(path, entry.name)
                if at_name is not None and keeps_name(at_name, entry):
                    continue
                for source in self._synced.entries_of_handle(entry.handle):
                    is_free = source.entry not in taken and self._now_at(source) is None
                    if is_free and self.is_away(source, entry):
                        taken.add(source.entry)
                        found[Slot(path, entry.name)] = source
                        break
        return found

    def directory_at(self, path: Path) -> SyncedEntry | None:
        """Returns the synced entry of a directory that was listed, wherever it was before."""
        return self._known[path]

    def _entry_at(self, path: Path, name: bytes) -> SyncedEntry | None:
        parent = self._known[path]
        return self._synced.entry_at(parent.entry, name) if parent is not None else None

    def _stuck(self) -> set[Slot]:
        """Returns moves whose new name can't be taken yet; then those that end in a circle."""
        self._moving = {entry.entry for entry in self.moved.values()}
        stuck = {
            slot
            for slot, entry in self.moved.items()
            if entry.handle in self._unread_handles or not self._is_free(slot, entry.handle)
        }
        return stuck or set(self._circular())

    def _is_free(self, slot: Slot, handle: bytes) -> bool:
        """Tells whether the inode that was seen at a name can be captured there."""
        seen = self._seen.get(slot.directory, {}).get(slot.name)
        if seen is None or seen.handle != handle:
            return False
        at_name = self._entry_at(*slot)
        if at_name is not None and not keeps_name(at_name, seen):
            is_leaving = at_name.entry in self._moving or self._is_deleted(at_name)
            if not is_leaving:
                return False
        listing = self._scan.listings[slot.directory]
        return self._known[slot.directory] is not None or self._is_free(
            Slot(slot.directory[:-1], slot.directory[-1]), listing.directory.handle
        )

    def _circular(self) -> Iterator[Slot]:
        """Yields moves of directories that would put them below themselves."""
        new_place = {entry.entry: slot.directory for slot, entry in self.moved.items()}
        for slot, entry in self.moved.items():
            passed: set[EntryId] = set()
            above: SyncedEntry | None = entry
            while above is not None and above.entry not in passed and above.entry != ROOT_ENTRY:
                passed.add(above.entry)
                if above.entry in new_place:
                    above = self._known_directory(new_place[above.entry])
                else:
                    above = self._synced.entry(above.parent)
            if above is not None and above.entry in passed:
                yield slot

    def _known_directory(self, path: Path) -> SyncedEntry | None:
        """Returns the directory at a path that was listed, or the nearest known one above it."""
        while True:
            found = self._known[path]
            if found is not None or path[:-1] not in self._scan.listings:
                return found
            path = path[:-1]

    # Deletions

    def _is_deleted(self, entry: SyncedEntry) -> bool:
        """Tells whether an entry is certainly gone, with all that is in it."""
        if entry.entry not in self._gone_entries or entry.handle in self._unread_handles:
            return False
        if entry.entry in self.waiting:
            return False
        is_elsewhere = entry.handle in self._seen_handles
        has_no_name = is_elsewhere and not entry.is_directory
        is_sure = entry.entry in self._confirmed or has_no_name
        if not is_sure or (entry.is_directory and is_elsewhere):
            return False
        return all(
            child.entry in self._moving or self._is_deleted(child)
            for child in self._synced.entries_in(entry.entry)
        )

    # Hard links

    def _parted(self) -> list[SyncedEntry]:
        """Returns names whose new inode can't be a new version of the file that they named.

        One file is one inode. So a name parts from its hard links when it alone got another inode,
        and from its file when that inode is another file's; of several, the first one stays.
        """
        found = []
        file_of: dict[bytes, NodeId] = {}
        for path, names in sorted(self._seen.items()):
            for name, seen in sorted(names.items()):
                known = self._entry_at(path, name)
                if known is None or self._now_at(known) is None or known.handle == seen.handle:
                    continue
                if seen.handle in self._unread_handles:
                    continue
                node = known.claims[0].node
                if self._has_parted(known, seen) or file_of.setdefault(seen.handle, node) != node:
                    found.append(known)
        return found

    def _has_parted(self, known: SyncedEntry, seen: DiskEntry) -> bool:
        node = known.claims[0].node
        for mate in self._synced.entries_of_node(node):
            if mate.entry == known.entry or mate.claims[0].node != node or mate.copy_of:
                continue
            now = self._now_at(mate)
            is_before = mate.entry < known.entry and now is not None and now.handle != seen.handle
            if is_before or self._is_somewhere(mate):
                return True
        joined = self._synced.entries_of_handle(seen.handle)
        return any(self._is_somewhere(mate) and not mate.copy_of for mate in joined)

    def _is_somewhere(self, entry: SyncedEntry) -> bool:
        """Tells whether the inode still has this name, or another one instead."""
        return entry.entry in self._moving or not self.is_away(entry)
