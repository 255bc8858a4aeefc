"""A prospect: what capturing a scan would take away, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from conflict.brakes import Amount
from conflict.content import Content
from conflict.departures import Departures, Slot
from conflict.scan import Scan, StableContent, directory_entry, keeps_name
from conflict.synced import EntryId, Path, SyncedEntry, SyncedStore


class Replaced(NamedTuple):
    """A file that has another content, perhaps under another name."""

    entry: SyncedEntry
    now_at: Path
    content: Content


@dataclass(frozen=True, slots=True)
class Prospect:
    """What would go. A file that was moved goes only as far as its content was replaced.

    Attributes:
        deleted: files and directories; conflict copies are none.
        replaced: files whose content is another one now.
        created: files that are new, by their names.
        unconfirmed: entries that are missing, perhaps only on the move.
        paths: where the scan shows these entries, or where they are missing; those below a
            missing directory have none.
    """

    deleted: dict[EntryId, SyncedEntry] = field(default_factory=dict)
    replaced: dict[EntryId, Replaced] = field(default_factory=dict)
    created: dict[Path, Content] = field(default_factory=dict)
    unconfirmed: frozenset[EntryId] = frozenset()
    paths: dict[EntryId, Path] = field(default_factory=dict)

    def size_of(self, entry: EntryId) -> int:
        """Returns how large the content is that goes, in bytes."""
        found = self.deleted.get(entry)
        known = found if found is not None else self.replaced[entry].entry
        return known.content.size_bytes if known.content is not None else 0

    def amount(self, entries: set[EntryId]) -> Amount:
        """Returns how much goes with some of the entries."""
        return Amount(len(entries), sum(map(self.size_of, entries)))


def prospect(
    synced: SyncedStore,
    scan: Scan,
    contents: Mapping[Path, StableContent],
    confirmed: frozenset[EntryId],
) -> Prospect:
    """Looks ahead; takes what `conflict.capture.capture` takes, and changes nothing."""
    departures = Departures(synced, scan, contents, confirmed)
    deleted = {entry.entry: entry for entry in departures.deleted if not entry.copy_of}
    found = Prospect(deleted=deleted, unconfirmed=frozenset(departures.unconfirmed))
    at = _directories(synced, scan)
    for entry in deleted.values():
        if entry.parent in at:
            found.paths[entry.entry] = (*at[entry.parent], entry.name)
    for path, content in contents.items():
        _add_file(synced, departures, path, content, found)
    return found


def _add_file(
    synced: SyncedStore,
    departures: Departures,
    path: Path,
    read: StableContent,
    found: Prospect,
) -> None:
    directory = departures.directory_at(path[:-1])
    known = synced.entry_at(directory.entry, path[-1]) if directory is not None else None
    if known is None or not keeps_name(known, read.entry):
        known = departures.moved.get(Slot(path[:-1], path[-1]))
    if known is None:
        found.created[path] = read.content
        return
    is_replaced = known.content is not None and known.content.digest != read.content.digest
    if is_replaced and not known.copy_of and known.entry not in found.deleted:
        found.replaced[known.entry] = Replaced(known, path, read.content)
        found.paths[known.entry] = path


def _directories(synced: SyncedStore, scan: Scan) -> dict[EntryId, Path]:
    known = {path: directory_entry(synced, path, at) for path, at in scan.listings.items()}
    return {entry.entry: path for path, entry in known.items() if entry is not None}
