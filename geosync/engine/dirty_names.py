"""Names at which the disk may differ from the merged tree; they follow their directories."""

from __future__ import annotations

from collections.abc import Iterable

from conflict.merged_tree import directories_at, path_of
from conflict.node import Location
from conflict.operations import ROOT
from conflict.synced import EntryId, Path, entry_at_path, path_of_entry
from geosync.journal.journal import Journal


class DirtyNames:
    """Remembers each name in the merged tree's directory and in the one on the disk.

    A path alone would mean another file after somebody renamed a directory above it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._merged: set[Location] = set()
        self._synced: set[tuple[EntryId, bytes]] = set()

    def __bool__(self) -> bool:
        return bool(self._merged or self._synced)

    def add(self, locations: Iterable[Location]) -> None:
        """Adds names of the merged tree."""
        self._merged.update(locations)

    def add_entry(self, parent: EntryId, name: bytes) -> None:
        """Adds a name on the disk."""
        self._synced.add((parent, name))

    def add_paths(self, paths: Iterable[Path]) -> None:
        """Adds what these paths mean at present; the root is none of them."""
        for path in paths:
            together = directories_at(self._journal.nodes, path[:-1])
            self._merged.update(Location(node, path[-1]) for node in together)
            directory = entry_at_path(self._journal.synced, path[:-1])
            if directory is not None:
                self._synced.add((directory.entry, path[-1]))

    def paths(self) -> set[Path]:
        """Returns where the names are now, in either tree; what is forgotten is nowhere."""
        nodes = self._journal.nodes
        known = (at for at in self._merged if at.parent == ROOT or nodes.node(at.parent))
        merged = {path_of(nodes, at) for at in known}
        return merged | set(self._synced_paths().values())

    def displaced(self, paths: set[Path]) -> DirtyNames:
        """Returns the names on the disk that are at none of these paths, as they once were.

        Those in a directory that is parked are at no path until it is brought back.
        """
        found = DirtyNames(self._journal)
        at = self._synced_paths()
        is_there = self._journal.synced.entry_at
        found._synced = {
            slot for slot in self._synced if is_there(*slot) and at.get(slot) not in paths
        }
        return found

    def update(self, other: DirtyNames) -> None:
        """Adds all names of another set."""
        self._merged |= other._merged
        self._synced |= other._synced

    def _synced_paths(self) -> dict[tuple[EntryId, bytes], Path]:
        found: dict[tuple[EntryId, bytes], Path] = {}
        for parent, name in self._synced:
            directory = self._journal.synced.entry(parent)
            if directory is not None:
                above = path_of_entry(self._journal.synced, directory)
                if above is not None:
                    found[parent, name] = (*above, name)
        return found

    def clear(self) -> None:
        """Forgets all."""
        self._merged.clear()
        self._synced.clear()
