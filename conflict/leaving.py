"""What leaves its name: it is moved on if it is wanted elsewhere, and removed at the end if not.

What has to make room at once is parked meanwhile; this breaks cycles of renames, too.
"""

from __future__ import annotations

from collections.abc import Callable

from conflict.actions import Park
from conflict.agenda import Agenda
from conflict.picture import Picture
from conflict.synced import PARKED, ROOT_ENTRY, EntryId, Path, SyncedEntry, moved


class Leaving:
    """The entries of one plan that nobody wants where they are."""

    def __init__(
        self, picture: Picture, agenda: Agenda, is_held: Callable[[SyncedEntry], bool]
    ) -> None:
        self._picture = picture
        self._agenda = agenda
        self._is_held = is_held  # until a person decided: it leaves no name
        self._leaving: dict[EntryId, SyncedEntry] = {}
        self._opened: set[EntryId] = set()

    def leave(self, entry: SyncedEntry) -> None:
        """Has an entry removed at the end, unless it is moved to its new name before."""
        if self._is_held(entry):
            return
        self._leaving.setdefault(entry.entry, entry)
        for path in self._picture.wanted_paths(entry):
            self._agenda.add(path)

    def stay(self, entry: SyncedEntry) -> None:
        """Keeps an entry: it is where it is wanted now."""
        self._leaving.pop(entry.entry, None)

    def leave_parked(self) -> None:
        """Whatever an interrupted run left parked is to go where it belongs."""
        for parked in self._picture.synced.entries_in(PARKED):
            self.leave(parked)

    def bring_out(self, parked: EntryId) -> None:
        """Moves a parked directory to a visible name: a program has changed what is in it.

        No scan looks where it is parked. From there it goes where it belongs.
        """
        entry = self._picture.synced.entry(parked)
        if entry is not None:
            self._brought_out(entry)

    def clear(self, here: SyncedEntry | None, path: Path) -> None:
        """Frees a name at once."""
        if here is None:
            return
        if here.is_directory or self._picture.is_wanted_elsewhere(here, path):
            self._park(here)
        else:
            self.stay(here)
            self._picture.remove(here)

    def open_directories(self) -> bool:
        """Lets what is in leaving directories leave; tells whether there were any new ones.

        A directory is looked into only when it was not moved: renaming a large one stays cheap.
        """
        found = [e for e in self._leaving.values() if e.entry not in self._opened]
        for entry in found:
            self._opened.add(entry.entry)
            for child in list(self._picture.synced.entries_in(entry.entry)):
                self.leave(child)
        return bool(found)

    def remove(self) -> None:
        """Removes what nobody moved away, children before their directories."""
        synced = self._picture.synced
        leaving = [e for e in map(synced.entry, self._leaving) if e is not None]
        for entry in sorted(leaving, key=self._depth, reverse=True):
            if not any(synced.entries_in(entry.entry)):  # else something below could not leave
                self._picture.remove(self._brought_out(entry))

    def _park(self, entry: SyncedEntry) -> None:
        self._picture.retimed.add(entry.parent)
        becomes = moved(entry, PARKED, b"%s-%d" % (entry.handle.hex().encode(), entry.entry))
        self._picture.do(Park(entry, becomes), becomes)
        self.leave(becomes)

    def _brought_out(self, entry: SyncedEntry) -> SyncedEntry:
        """Moves a parked directory to a visible name before it is removed there.

        RACE: a program may have made a file in it that nobody captured yet. Then the removal
        fails, the file is seen in the volume, and its capture brings the directory back.
        """
        root = self._picture.synced.entry(ROOT_ENTRY)
        if entry.parent != PARKED or not entry.is_directory or root is None:
            return entry
        name = b".gs-parked-%d" % entry.entry
        while self._picture.synced.entry_at(ROOT_ENTRY, name) is not None:
            name += b"~"
        return self._picture.move(entry, root, name)

    def _depth(self, entry: SyncedEntry) -> int:
        depth = 0
        above: SyncedEntry | None = entry
        while above is not None and above.entry != ROOT_ENTRY:
            depth += 1
            above = self._picture.synced.entry(above.parent)
        return depth
