"""The synced tree in the journal: conflict.synced.SyncedStore over SQLite."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import NodeId
from conflict.synced import PARKED, ROOT_CLAIM, ROOT_ENTRY, EntryId, SyncedEntry
from geosync.journal.records import pack_synced, unpack_synced
from geosync.journal.unset_parts import unset_parts

CACHED_ENTRIES_MAX = 6_000  # then of each kind all but the newest quarter is forgotten
_COLUMNS = "SELECT entry, parent, name, handle, copy_of, record FROM synced"
_NO_ATTRIBUTES = Attributes(mode=0o755, owner=b"", group=b"", mtime_ns=0)
_ROOT = SyncedEntry(
    entry=ROOT_ENTRY,
    parent=PARKED,
    name=b"",
    kind=DiskKind.DIRECTORY,
    handle=b"",
    fingerprint=Fingerprint(0, 0, 0),
    attributes=_NO_ATTRIBUTES,
    intended=_NO_ATTRIBUTES,
    claims=(ROOT_CLAIM,),
)


@dataclass(frozen=True, slots=True)
class UnsetPart:
    """A part of the attributes that could not be set, of so many entries, one of which is told."""

    part: bytes
    count: int
    example: EntryId


class JournalSynced:
    """Reads and writes at once; the journal's transactions make changes one.

    A few thousand entries are kept in memory as well, since a scan asks for each several times: by
    their numbers, names and inodes, and what was looked for in vain.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cache: dict[EntryId, SyncedEntry] = {}
        self._names: dict[tuple[EntryId, bytes], SyncedEntry | None] = {}
        self._handles: dict[bytes, list[SyncedEntry]] = {}  # sorted by entry
        self._changed: set[EntryId] = set()
        self._count: tuple[int, int] | None = None  # of entries, and the data version it is of
        row = connection.execute("SELECT max(entry) FROM synced").fetchone()
        self._last_entry = self._last_saved = row[0] or 0
        copy = connection.execute("SELECT 1 FROM synced WHERE copy_of <> x'' LIMIT 1").fetchone()
        self._has_copies = copy is not None  # perhaps

    def entry(self, entry: EntryId) -> SyncedEntry | None:
        """See SyncedStore."""
        if entry == ROOT_ENTRY:
            return _ROOT
        cached = self._cache.get(entry)
        return cached if cached is not None else self._first("WHERE entry = ?", entry)

    def entry_at(self, parent: EntryId, name: bytes) -> SyncedEntry | None:
        """See SyncedStore."""
        key = (parent, name)
        if key not in self._names:
            self._names[key] = self._first("WHERE parent = ? AND name = ?", parent, name)
        return self._names[key]

    def entries_in(self, parent: EntryId) -> Iterator[SyncedEntry]:
        """See SyncedStore."""
        found = self._all("WHERE parent = ? ORDER BY name", parent)
        self._names.update(((parent, entry.name), entry) for entry in found)
        return iter(found)

    def entries_of_handle(self, handle: bytes) -> list[SyncedEntry]:
        """See SyncedStore."""
        known = self._handles.get(handle)
        if known is None:
            known = self._all("WHERE handle = ? ORDER BY entry", handle)
            self._handles[handle] = known
        return list(known)

    def entries_of_node(self, node: NodeId) -> list[SyncedEntry]:
        """See SyncedStore."""
        return self._all(
            "WHERE entry IN (SELECT entry FROM synced_node WHERE node = ?) ORDER BY entry", node
        )

    def copies_of(self, parent: EntryId, name: bytes) -> list[SyncedEntry]:
        """See SyncedStore."""
        if not self._has_copies:
            return []
        return self._all(
            "WHERE parent = ? AND copy_of = ? AND copy_of <> x'' ORDER BY name", parent, name
        )

    def forget_cached(self) -> None:
        """Drops what is kept in memory: the transaction was rolled back."""
        self._cache.clear()
        self._names.clear()
        self._handles.clear()
        self._count = None

    def save_entry(self, entry: SyncedEntry) -> None:
        """See SyncedStore."""
        before = self._saved(entry.entry)
        # An entry that recovery brings back has an id that was given before the crash.
        self._last_entry = max(self._last_entry, entry.entry)
        self._last_saved = max(self._last_saved, entry.entry)
        self._has_copies = self._has_copies or bool(entry.copy_of)
        self._connection.execute(
            "INSERT OR REPLACE INTO synced VALUES (?, ?, ?, ?, ?, ?)",
            (
                entry.entry,
                entry.parent,
                entry.name,
                entry.handle,
                entry.copy_of,
                pack_synced(entry),
            ),
        )
        self._remember_nodes(entry.entry, before, entry.nodes)
        self._remember_unset(before, entry)
        if before is not None:
            self._drop(before)
        else:
            self._note_count(1)
        self._keep(entry)
        self._note_changed(entry)

    def remove_entry(self, entry: EntryId) -> None:
        """See SyncedStore."""
        before = self._saved(entry)
        if before is None:
            return
        self._remember_nodes(entry, before, frozenset())
        self._remember_unset(before, None)
        self._connection.execute("DELETE FROM synced WHERE entry = ?", (entry,))
        self._drop(before)
        self._note_count(-1)

    def take_changed(self) -> set[EntryId]:
        """Returns once which directories were changed, or something in them, perhaps in vain."""
        changed, self._changed = self._changed, set()
        return changed

    def new_entry_id(self) -> EntryId:
        """See SyncedStore."""
        self._last_entry += 1
        return EntryId(self._last_entry)

    def count(self) -> int:
        """Returns how many entries there are, the root not counted."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if self._count is None or self._count[1] != version:  # another process may have written
            (counted,) = self._connection.execute("SELECT count(*) FROM synced").fetchone()
            self._count = (counted, version)
        return self._count[0]

    def _note_count(self, by: int) -> None:
        if self._count is not None:
            self._count = (self._count[0] + by, self._count[1])

    def unset_parts(self) -> list[UnsetPart]:
        """Returns what could not be set on this disk, sorted; see geosync.journal.unset_parts."""
        rows = self._connection.execute(
            "SELECT part, count(*), min(entry) FROM unset GROUP BY part ORDER BY part"
        )
        return [UnsetPart(part, count, EntryId(entry)) for part, count, entry in rows]

    def entries_with_unset(self, part: bytes, count_max: int = -1) -> set[EntryId]:
        """Returns the entries, or some of them, of which this part could not be set."""
        rows = self._connection.execute(
            "SELECT entry FROM unset WHERE part = ? ORDER BY entry LIMIT ?", (part, count_max)
        )
        return {EntryId(entry) for (entry,) in rows}

    def _remember_unset(self, before: SyncedEntry | None, now: SyncedEntry | None) -> None:
        if before is not None and before.intended != before.attributes:
            self._connection.execute("DELETE FROM unset WHERE entry = ?", (before.entry,))
        if now is not None and now.intended != now.attributes:
            parts = unset_parts(
                now.intended, now.attributes, is_symlink=now.kind is DiskKind.SYMLINK
            )
            rows = [(part, now.entry) for part in sorted(parts)]
            self._connection.executemany("INSERT INTO unset VALUES (?, ?)", rows)

    def _saved(self, entry: EntryId) -> SyncedEntry | None:
        """Returns what is stored of an entry; nobody needs to look for one with a fresh number."""
        return self.entry(entry) if entry <= self._last_saved else None

    def _note_changed(self, entry: SyncedEntry) -> None:
        self._changed.add(entry.parent)
        if entry.is_directory:
            self._changed.add(entry.entry)

    def _drop(self, before: SyncedEntry) -> None:
        """Takes an entry, as it was, out of memory."""
        self._note_changed(before)
        self._cache.pop(before.entry, None)
        self._names.pop((before.parent, before.name), None)
        known = self._handles.get(before.handle)
        if known is not None:
            gone = known.pop(bisect_left(known, before.entry, key=_number))
            assert gone.entry == before.entry, "what is stored of an inode is kept in full"

    def _keep(self, entry: SyncedEntry) -> None:
        """Keeps in memory what was just saved: most often it is asked for again."""
        self._cache[entry.entry] = entry
        self._names[entry.parent, entry.name] = entry
        known = self._handles.get(entry.handle)
        if known is not None:
            insort(known, entry, key=_number)

    def _remember_nodes(
        self, entry: EntryId, before: SyncedEntry | None, nodes: frozenset[NodeId]
    ) -> None:
        former = before.nodes if before is not None else frozenset()
        for node in former - nodes:
            self._connection.execute(
                "DELETE FROM synced_node WHERE node = ? AND entry = ?", (node, entry)
            )
        for node in nodes - former:
            self._connection.execute("INSERT INTO synced_node VALUES (?, ?)", (node, entry))

    def _first(self, condition: str, *values: Any) -> SyncedEntry | None:
        found = self._all(f"{condition} LIMIT 1", *values)
        return found[0] if found else None

    def _all(self, condition: str, *values: Any) -> list[SyncedEntry]:
        rows = self._connection.execute(f"{_COLUMNS} {condition}", values).fetchall()
        kept = len(self._cache) + len(self._names) + len(self._handles)
        if kept > CACHED_ENTRIES_MAX:
            _forget_oldest(self._cache)
            _forget_oldest(self._names)
            _forget_oldest(self._handles)
        return [self._unpacked(row) for row in rows]

    def _unpacked(self, row: tuple[Any, ...]) -> SyncedEntry:
        cached = self._cache.get(row[0])
        if cached is None:
            cached = unpack_synced(*row)
            self._cache[cached.entry] = cached
        return cached


def _forget_oldest(kept: dict[Any, Any]) -> None:
    for key in list(islice(kept, max(0, len(kept) - CACHED_ENTRIES_MAX // 4))):
        del kept[key]


def _number(entry: SyncedEntry) -> EntryId:
    return entry.entry
