"""The synced tree: what this site last wrote to, or read from, its disk.

It is the base of every comparison: disk against synced shows what happened here, merged against
synced shows what is to be done here. It records observations only, never intentions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NewType, Protocol

from conflict.content import Content
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, LinkId, NodeId
from conflict.rendering import Claim

EntryId = NewType("EntryId", int)  # local to this site's journal; survives renames
ROOT_ENTRY = EntryId(0)
PARKED = EntryId(-1)  # parent of what was moved out of the way; its names are unique for ever

Path = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SyncedEntry:
    """One name on this site's disk that is part of the volume."""

    entry: EntryId
    parent: EntryId
    name: bytes
    kind: DiskKind
    handle: bytes
    fingerprint: Fingerprint
    attributes: Attributes  # as the disk showed them
    intended: Attributes  # as the volume wants them; differs where this site may not set them
    claims: tuple[Claim, ...]  # what the entry stands for
    content: Content | None = None  # None for directories
    losers: tuple[Claim, ...] = ()  # conflicts that were shown with it
    copy_of: bytes = b""  # this is a conflict copy beside the file of that name

    @property
    def is_directory(self) -> bool:
        """Tells whether other entries can be below."""
        return self.kind is DiskKind.DIRECTORY

    @property
    def nodes(self) -> frozenset[NodeId]:
        """The nodes that the entry stands for."""
        return frozenset(claim.node for claim in self.claims)


ROOT_CLAIM = Claim(ROOT, LinkId(ROOT), frozenset())
_ROOT_ATTRIBUTES = Attributes(mode=0o755, owner=b"", group=b"", mtime_ns=0)
ROOT_SYNCED = SyncedEntry(
    entry=ROOT_ENTRY,
    parent=PARKED,  # of which it is no child: no store yields it there
    name=b"",
    kind=DiskKind.DIRECTORY,
    handle=b"",
    fingerprint=Fingerprint(0, 0, 0),
    attributes=_ROOT_ATTRIBUTES,
    intended=_ROOT_ATTRIBUTES,
    claims=(ROOT_CLAIM,),
)


class SyncedStore(Protocol):
    """Where the synced tree is kept. All reads see all earlier writes."""

    def entry(self, entry: EntryId) -> SyncedEntry | None:
        """Returns an entry; ROOT_ENTRY exists always."""
        ...

    def entry_at(self, parent: EntryId, name: bytes) -> SyncedEntry | None:
        """Returns the entry of a name."""
        ...

    def entries_in(self, parent: EntryId) -> Iterator[SyncedEntry]:
        """Yields the entries of a directory (or PARKED), sorted by name."""
        ...

    def entries_of_handle(self, handle: bytes) -> list[SyncedEntry]:
        """Returns the names of one inode, sorted by entry."""
        ...

    def entries_of_node(self, node: NodeId) -> list[SyncedEntry]:
        """Returns the entries that stand for a node, sorted by entry."""
        ...

    def copies_of(self, parent: EntryId, name: bytes) -> list[SyncedEntry]:
        """Returns the conflict copies that lie beside a file, sorted by name."""
        ...

    def save_entry(self, entry: SyncedEntry) -> None:
        """Adds or replaces an entry."""
        ...

    def remove_entry(self, entry: EntryId) -> None:
        """Forgets an entry. What is below it must be forgotten before."""
        ...

    def new_entry_id(self) -> EntryId:
        """Returns an id that was never used before."""
        ...


class MemorySynced:
    """A synced tree in memory, on top of another one that it never changes, or on its own.

    New ids are negative on top of another one, and so meet none of that one's.
    """

    def __init__(self, base: SyncedStore | None = None) -> None:
        self._base = base
        self._entries: dict[EntryId, SyncedEntry | None] = {}  # None: removed here
        self._index: dict[tuple[object, ...], set[EntryId]] = {}
        self._step = 1 if base is None else -1
        self._last = ROOT_ENTRY if base is None else PARKED

    def entry(self, entry: EntryId) -> SyncedEntry | None:
        """See SyncedStore."""
        if entry == ROOT_ENTRY:
            return ROOT_SYNCED
        if entry in self._entries:
            return self._entries[entry]
        if self._base is None or entry < ROOT_ENTRY:  # a new one, which the other knows nothing of
            return None
        return self._base.entry(entry)

    def entry_at(self, parent: EntryId, name: bytes) -> SyncedEntry | None:
        """See SyncedStore."""
        for own in self._own("name", parent, name):
            return own
        below = self._base.entry_at(parent, name) if self._base is not None else None
        return below if below is not None and below.entry not in self._entries else None

    def entries_in(self, parent: EntryId) -> Iterator[SyncedEntry]:
        """See SyncedStore."""
        below = self._base.entries_in(parent) if self._base is not None else iter(())
        found = self._own("parent", parent)
        found.extend(e for e in below if e.entry not in self._entries)
        yield from sorted(found, key=lambda e: e.name)

    def entries_of_handle(self, handle: bytes) -> list[SyncedEntry]:
        """See SyncedStore."""
        below = self._base.entries_of_handle(handle) if self._base is not None else []
        return self._joined(below, self._own("handle", handle))

    def entries_of_node(self, node: NodeId) -> list[SyncedEntry]:
        """See SyncedStore."""
        below = self._base.entries_of_node(node) if self._base is not None else []
        return self._joined(below, self._own("node", node))

    def copies_of(self, parent: EntryId, name: bytes) -> list[SyncedEntry]:
        """See SyncedStore."""
        below = self._base.copies_of(parent, name) if self._base is not None else []
        joined = self._joined(below, self._own("copy", parent, name))
        return sorted(joined, key=lambda e: e.name)

    def save_entry(self, entry: SyncedEntry) -> None:
        """See SyncedStore."""
        there = self.entry_at(entry.parent, entry.name)
        assert there is None or there.entry == entry.entry, f"{entry} takes the name of {there}"
        self._unindex(entry.entry)
        self._entries[entry.entry] = entry
        for key in _index_keys(entry):
            self._index.setdefault(key, set()).add(entry.entry)

    def remove_entry(self, entry: EntryId) -> None:
        """See SyncedStore."""
        self._unindex(entry)
        self._entries[entry] = None

    def new_entry_id(self) -> EntryId:
        """See SyncedStore."""
        self._last = EntryId(self._last + self._step)
        return self._last

    def _unindex(self, entry: EntryId) -> None:
        known = self._entries.get(entry)
        if known is not None:
            for key in _index_keys(known):
                self._index[key].discard(entry)

    def _own(self, *key: object) -> list[SyncedEntry]:
        numbers = self._index.get(key)
        if not numbers:
            return []
        found = (self._entries[entry] for entry in sorted(numbers))
        return [entry for entry in found if entry is not None]

    def _joined(self, below: list[SyncedEntry], own: list[SyncedEntry]) -> list[SyncedEntry]:
        if not below:
            return own
        kept = [e for e in below if e.entry not in self._entries]
        return sorted([*kept, *own], key=lambda e: e.entry)


def _index_keys(entry: SyncedEntry) -> Iterator[tuple[object, ...]]:
    yield ("name", entry.parent, entry.name)
    yield ("parent", entry.parent)
    yield ("handle", entry.handle)
    yield from (("node", node) for node in entry.nodes)
    if entry.copy_of:
        yield ("copy", entry.parent, entry.copy_of)


def path_of_entry(store: SyncedStore, entry: SyncedEntry) -> Path | None:
    """Returns the names from the root to an entry; None when it lies in a parked directory."""
    names: list[bytes] = []
    while entry.entry != ROOT_ENTRY:
        names.append(entry.name)
        if entry.parent == PARKED:
            return None
        above = store.entry(entry.parent)
        assert above is not None
        entry = above
    return tuple(reversed(names))


def entry_at_path(store: SyncedStore, path: Path) -> SyncedEntry | None:
    """Returns the entry at a path, None when nothing of the volume is there."""
    entry = store.entry(ROOT_ENTRY)
    for name in path:
        entry = store.entry_at(entry.entry, name) if entry is not None else None
    return entry


def moved(entry: SyncedEntry, parent: EntryId, name: bytes) -> SyncedEntry:
    """Returns the entry under another name."""
    return replace(entry, parent=parent, name=name)
