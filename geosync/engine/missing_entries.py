"""Missing entries: what is not at its name any more, until it is certain that it was deleted.

It may only have moved. So it counts as deleted when it was missing for a moment, and when all
directories that were waiting to be looked at by then have been looked at: it may be in any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from conflict.scan import Scan, directory_entry
from conflict.synced import EntryId, Path, SyncedStore, path_of_entry

CONFIRM_DELETE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Missing:
    since_s: float
    turn: int  # of looking at directories


class MissingEntries:
    """Remembers what is missing, since when, and where it was seen instead."""

    def __init__(self, synced: SyncedStore) -> None:
        self._synced = synced
        self._missing: dict[EntryId, _Missing] = {}
        self._looked_s = -math.inf  # when it was last looked for
        self._seen_in: dict[EntryId, Path] = {}  # at a name that could not be taken yet

    def __bool__(self) -> bool:
        return bool(self._missing)

    def clear(self) -> None:
        """Forgets all."""
        self._missing.clear()
        self._seen_in.clear()

    def due(self, now_s: float) -> set[Path]:
        """Returns the directories in which it may be certain now; not each time, but now and then.

        Args:
            now_s: of the monotonic clock.
        """
        paths: set[Path] = set()
        due_s = self.due_s()
        if due_s is None or now_s < due_s:
            return paths
        self._looked_s = now_s
        for entry_id, missing in list(self._missing.items()):
            entry = self._synced.entry(entry_id)
            path = path_of_entry(self._synced, entry) if entry is not None else None
            if path is None:
                del self._missing[entry_id]
            elif now_s - missing.since_s >= CONFIRM_DELETE_S:
                paths.add(path[:-1])
        return paths

    def due_s(self) -> float | None:
        """Returns when `due` has something, on the monotonic clock; None: never."""
        since_s = min((missing.since_s for missing in self._missing.values()), default=None)
        if since_s is None:
            return None
        return max(since_s, self._looked_s) + CONFIRM_DELETE_S

    def confirmed(self, turn: int, now_s: float) -> set[EntryId]:
        """Returns what is certainly gone, if it is still missing.

        Args:
            turn: in which the directories are looked at now.
            now_s: of the monotonic clock.
        """
        return {
            entry
            for entry, missing in self._missing.items()
            if now_s - missing.since_s >= CONFIRM_DELETE_S and turn > missing.turn
        }

    def places_of(self, entries: AbstractSet[EntryId]) -> set[Path]:
        """Returns where some were seen, with all directories above.

        They were in directories that can't be captured before others have left their names, so
        no look at the directories of their own names tells of them.
        """
        found = {self._seen_in[entry] for entry in entries & self._seen_in.keys()}
        return {path[:depth] for path in found for depth in range(len(path) + 1)}

    def missing_s(self, now_s: float) -> dict[EntryId, float]:
        """Returns for how long each is missing."""
        return {entry: now_s - missing.since_s for entry, missing in self._missing.items()}

    def forget(self, entries: Iterable[EntryId]) -> None:
        """Forgets some."""
        for entry in entries:
            self._missing.pop(entry, None)
            self._seen_in.pop(entry, None)

    def note(
        self,
        missing: AbstractSet[EntryId],
        seen_in: Mapping[EntryId, Path],
        scan: Scan,
        turn: int,
        now_s: float,
    ) -> None:
        """Says what a look at the disk has shown.

        Args:
            missing: all that was found to be missing.
            seen_in: where some of it was seen, at names that can't be taken yet.
            scan: what was looked at.
            turn: in which.
            now_s: of the monotonic clock.
        """
        for entry in missing:
            self._missing.setdefault(entry, _Missing(now_s, turn))
        self._forget_found(missing, scan)
        for entry, path in list(self._seen_in.items()):
            if entry not in self._missing or path in scan.listings or path in scan.absent:
                del self._seen_in[entry]
        self._seen_in |= seen_in

    def _forget_found(self, missing: AbstractSet[EntryId], scan: Scan) -> None:
        listed = {directory_entry(self._synced, *item) for item in scan.listings.items()}
        directories = {directory.entry for directory in listed if directory is not None}
        for entry_id in [e for e in self._missing if e not in missing]:
            entry = self._synced.entry(entry_id)
            # At the same path there may be another directory, which says nothing of this one.
            if entry is None or entry.parent in directories:
                del self._missing[entry_id]
