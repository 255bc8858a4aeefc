"""Actions: what is to be done to a disk, each with what it expects to find there.

Every action carries the synced entry that stands for its result; handle and fingerprint in it
are those from before and are replaced by what the disk shows once the action was done.
"""

from __future__ import annotations

from dataclasses import dataclass

from conflict.content import Content
from conflict.observation import Attributes
from conflict.synced import EntryId, SyncedEntry


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Makes a directory where the name is free."""

    becomes: SyncedEntry
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class PlaceFile:
    """Puts a staged file at a free name."""

    becomes: SyncedEntry
    content: Content
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class ReplaceFile:
    """Swaps a staged file with the one that is there."""

    expected: SyncedEntry
    becomes: SyncedEntry
    content: Content
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class LinkFile:
    """Gives a file one more name, free or taken by the file `expected`."""

    source: EntryId
    expected: SyncedEntry | None
    becomes: SyncedEntry


@dataclass(frozen=True, slots=True)
class Move:
    """Renames a file or directory to a free name. A parked one leaves its parking place."""

    expected: SyncedEntry
    becomes: SyncedEntry


@dataclass(frozen=True, slots=True)
class Park:
    """Moves an entry out of the way; another action takes it from there."""

    expected: SyncedEntry
    becomes: SyncedEntry


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Takes a file away; the disk keeps the inode until nobody can write to it any more."""

    expected: SyncedEntry


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Removes a directory that is empty but for what is not part of the volume."""

    expected: SyncedEntry


@dataclass(frozen=True, slots=True)
class ApplyAttributes:
    """Sets mode, owner, times and the like."""

    expected: SyncedEntry
    becomes: SyncedEntry
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Adopt:
    """Changes nothing on the disk: the entry that is there stands for more, or other, versions."""

    becomes: SyncedEntry


Action = (
    MakeDirectory
    | PlaceFile
    | ReplaceFile
    | LinkFile
    | Move
    | Park
    | RemoveFile
    | RemoveDirectory
    | ApplyAttributes
    | Adopt
)


def entries_of(action: Action) -> tuple[SyncedEntry, ...]:
    """Returns what an action expects to find, and what becomes of it, as far as it has both."""
    found = (getattr(action, "expected", None), getattr(action, "becomes", None))
    return tuple(entry for entry in found if entry is not None)
