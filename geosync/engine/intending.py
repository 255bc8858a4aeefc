"""Intending: says what each change of a batch leaves at its place, for recovery to find out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from conflict.actions import (
    Adopt,
    ApplyAttributes,
    LinkFile,
    MakeDirectory,
    Move,
    Park,
    PlaceFile,
    RemoveDirectory,
    RemoveFile,
    ReplaceFile,
)
from conflict.content import Content
from conflict.synced import EntryId, SyncedStore
from geosync.engine.planned_entries import PlannedEntries
from geosync.engine.step import Step
from geosync.journal.journal import ANY_DIRECTORY, Intent


def intents_of(steps: Iterable[Step], entries: PlannedEntries, synced: SyncedStore) -> list[Intent]:
    """Returns an intent for each step that will change the disk, in order."""
    intentions = _Intentions(entries, synced)
    found = (intentions.of(step) for step in steps)
    return [intent for intent in found if intent is not None]


class _Intentions:
    """Each given that those before it were made."""

    def __init__(self, entries: PlannedEntries, synced: SyncedStore) -> None:
        self._entries = entries
        self._synced = synced
        self._handles: dict[EntryId, bytes] = {}

    def of(self, step: Step) -> Intent | None:
        action = step.action
        if isinstance(action, (RemoveFile, RemoveDirectory)):
            entry = self._entries.id_of(action.expected.entry)
            return Intent(entry, action.expected.handle, None)
        handle = self._handle_left_by(step)
        if handle is None:
            return None
        assert not isinstance(action, Adopt)
        becomes = self._entries.realised(action.becomes)
        self._handles[becomes.entry] = handle
        return Intent(becomes.entry, handle, becomes)

    def _handle_left_by(self, step: Step) -> bytes | None:
        action = step.action
        match action:
            case PlaceFile() | ReplaceFile():
                return step.staged.handle if step.staged is not None else None
            case Move() | Park() | ApplyAttributes():
                return self._handle(action.expected.entry, action.expected.content)
            case LinkFile():
                return self._handle(action.source, action.becomes.content)
            case MakeDirectory():
                return ANY_DIRECTORY
            case Adopt() | RemoveFile() | RemoveDirectory():
                return None
            case _:
                assert_never(action)

    def _handle(self, entry: EntryId, content: Content | None) -> bytes | None:
        """Returns the inode of an entry once the changes before this one are made.

        None when it can't have the content that the plan expects by then.
        """
        real = self._entries.id_of(entry)
        if real in self._handles:
            return self._handles[real]
        now = self._synced.entry(real)
        return now.handle if now is not None and now.content == content else None
