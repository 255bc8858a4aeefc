"""Planned entries: what a plan calls by numbers of its own, and what the journal calls it."""

from __future__ import annotations

from dataclasses import replace

from conflict.actions import Action
from conflict.synced import PARKED, EntryId, Path, SyncedEntry, path_of_entry
from geosync.engine.site import Site, split


class PlannedEntries:
    """Finds the synced entries that the actions of one plan are about."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ids: dict[EntryId, EntryId] = {}
        self._realised: dict[EntryId, tuple[SyncedEntry, SyncedEntry]] = {}  # planned, real

    def give_id(self, action: Action) -> None:
        """The planner numbers new entries below zero; the journal gives them numbers of its own."""
        becomes = getattr(action, "becomes", None)
        if becomes is not None and becomes.entry < PARKED and becomes.entry not in self._ids:
            self._ids[becomes.entry] = self._site.journal.synced.new_entry_id()

    def id_of(self, entry: EntryId) -> EntryId:
        """Returns the journal's number of an entry."""
        return self._ids.get(entry, entry)

    def realised(self, entry: SyncedEntry) -> SyncedEntry:
        """Returns a planned entry with the journal's numbers."""
        own, parent = self.id_of(entry.entry), self.id_of(entry.parent)
        if (own, parent) == (entry.entry, entry.parent):
            return entry
        planned, real = self._realised.get(own, (None, None))
        if real is None or planned is not entry or real.parent != parent:
            real = replace(entry, entry=own, parent=parent)
            self._realised[own] = (entry, real)  # asked for again and again while it is made
        return real

    def current(self, expected: SyncedEntry) -> SyncedEntry | None:
        """Returns the entry as it is now, None unless it is what and where the plan expects.

        It is not when an earlier change could not be made: to go on would record a content that
        is not on the disk, and what is there would be taken for a program's later write.
        """
        wanted = self.realised(expected)
        now = self._site.journal.synced.entry(wanted.entry)
        is_there = now is not None and (now.parent, now.name) == (wanted.parent, wanted.name)
        return now if now is not None and is_there and now.content == wanted.content else None

    def path(self, entry: SyncedEntry) -> Path | None:
        """Returns where a planned entry is, or will be; None when its directory is not there."""
        realised = self.realised(entry)
        if realised.parent == PARKED:
            return split(self._site.disk.parked_path(realised.name))
        above = self._site.journal.synced.entry(realised.parent)
        path = path_of_entry(self._site.journal.synced, above) if above is not None else None
        return None if path is None else (*path, realised.name)
