"""Capture: infers from what the disk shows which operations happened here.

Identity sticks to the name for files: a tracked name with another inode (a program saved by
writing a new file and renaming it over the old one) is a new version of the same file. A file
that vanished while its inode shows up under a free name was moved. Directories are their inode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from conflict.attributes import amended, changes
from conflict.author import Author
from conflict.content import Content
from conflict.departures import Departures, Slot
from conflict.joining import Beside, Known, Recognition
from conflict.observation import DirectoryListing, DiskEntry, DiskKind
from conflict.operations import AttributeChanges, NodeId
from conflict.rendering import Claim
from conflict.scan import (
    Scan,
    StableContent,
    contents_wanted,
    directory_entry,
    further_directories,
    is_unchanged,
    keeps_name,
)
from conflict.synced import PARKED, ROOT_ENTRY, EntryId, Path, SyncedEntry, SyncedStore, moved

__all__ = [
    "CaptureResult",
    "Scan",
    "StableContent",
    "capture",
    "contents_wanted",
    "further_directories",
]


@dataclass(slots=True)
class CaptureResult:
    """What is left over after the operations were written."""

    unconfirmed: set[EntryId] = field(default_factory=set)  # missing, perhaps only on the move
    skipped: set[Path] = field(default_factory=set)  # changed, but without stable content yet
    waiting: dict[EntryId, Path] = field(default_factory=dict)  # see Departures.waiting
    recognised: set[Path] = field(default_factory=set)  # perhaps not as the volume has them


def capture(
    author: Author,
    synced: SyncedStore,
    scan: Scan,
    contents: Mapping[Path, StableContent],
    confirmed: Iterable[EntryId],
    recognition: Recognition | None = None,
) -> CaptureResult:
    """Writes the operations for a scan and brings the synced tree up to date with the disk.

    Args:
        author: writes the operations.
        synced: is compared with the scan, and updated.
        scan: complete in the sense of `further_directories`.
        contents: of `contents_wanted`; what is missing there is left for the next time.
        confirmed: entries that were missing before; only they are taken for deleted.
        recognition: of a site that joins: what it finds on its disk may be the volume's.
    """
    departures = Departures(synced, scan, contents, frozenset(confirmed))
    return _Capture(author, synced, scan, contents, departures, recognition).run()


_NOT_FILES = (DiskKind.DIRECTORY, DiskKind.UNSUPPORTED)


class _Capture:
    def __init__(
        self,
        author: Author,
        synced: SyncedStore,
        scan: Scan,
        contents: Mapping[Path, StableContent],
        departures: Departures,
        recognition: Recognition | None,
    ) -> None:
        self._recognition = recognition
        self._author = author
        self._synced = synced
        self._scan = scan
        self._contents = contents
        self._departures = departures
        self._skipped: set[Path] = set()
        self._recognised: set[Path] = set()

    def run(self) -> CaptureResult:
        moved_entries = self._departures.moved.values()
        for entry in moved_entries:  # their names are free now, whoever takes them first
            self._synced.save_entry(moved(entry, PARKED, b"%d" % entry.entry))
        for entry in self._departures.deleted:
            self._delete(entry)
        listings = sorted(self._scan.listings.items())
        for path, listing in listings:
            self._capture_directory(path, listing)
        self._capture_known_files()
        self._capture_new_files()
        parked = [e.entry for e in moved_entries if self._is_parked(e.entry)]
        assert not parked, f"entries {parked} have left their names and are nowhere"
        departures = self._departures
        return CaptureResult(
            departures.unconfirmed, self._skipped, departures.waiting, self._recognised
        )

    def _is_parked(self, entry: EntryId) -> bool:
        now = self._synced.entry(entry)
        return now is not None and now.parent == PARKED

    # What is no longer where it was

    def _delete(self, entry: SyncedEntry) -> None:
        if entry.copy_of:
            self._author.settle(entry.claims)
        else:
            is_last_name = not self._other_names(entry)
            self._author.delete(entry.claims, entry.losers, is_last_name=is_last_name)
        self._synced.remove_entry(entry.entry)

    def _other_names(self, entry: SyncedEntry) -> list[SyncedEntry]:
        names = self._synced.entries_of_handle(entry.handle)
        return [other for other in names if other.entry != entry.entry]

    # Directories

    def _capture_directory(self, path: Path, listing: DirectoryListing) -> None:
        directory = directory_entry(self._synced, path, listing)
        if directory is None:  # its own name was skipped, so what is below waits too
            below = ((*path, entry.name) for entry in listing.entries)
            self._skipped.update(each for each in below if each in self._contents)
            return
        self._capture_own_attributes(directory, listing)
        for entry in listing.entries:
            known = self._synced.entry_at(directory.entry, entry.name)
            if known is not None and not keeps_name(known, entry):
                self._skipped.add((*path, entry.name))  # until its leaving is confirmed
            elif entry.kind is DiskKind.DIRECTORY:
                self._capture_subdirectory(path, directory, known, entry)

    def _capture_own_attributes(self, directory: SyncedEntry, listing: DirectoryListing) -> None:
        """A name that came or went changed the directory's own times, too."""
        seen = replace(listing.directory, name=directory.name)
        if directory.entry == ROOT_ENTRY or is_unchanged(directory, seen):
            return
        written = changes(directory.attributes, seen.attributes)
        self._author.set_attributes(directory.claims, written)
        self._synced.save_entry(_as_written(directory, seen, written))

    def _capture_subdirectory(
        self, path: Path, parent: SyncedEntry, known: SyncedEntry | None, entry: DiskEntry
    ) -> None:
        if known is not None and is_unchanged(known, entry):
            return
        source = known or self._moved_to(path, entry)
        if source is None:
            if self._synced.entries_of_handle(entry.handle):
                self._skipped.add((*path, entry.name))  # seen at two places: in motion
                return
            self._capture_new_directory(path, parent, entry)
            return
        written = changes(source.attributes, entry.attributes)
        claims = source.claims if known is not None else self._move(source, parent, entry)
        self._author.set_attributes(claims, written)
        self._save(source, parent, entry, claims, None, written)

    def _move(
        self, source: SyncedEntry, parent: SyncedEntry, entry: DiskEntry
    ) -> tuple[Claim, ...]:
        """Writes the move of a directory; returns what it stands for then.

        One that was one with others, which a program has moved into what was left of one of them,
        is that one no more: no node is below itself. What the volume has in it is moved by a plan.
        """
        node = min(parent.nodes - source.nodes, default=_node(parent))
        claims = tuple(claim for claim in source.claims if claim.node != node)
        if claims:
            return self._author.move(claims, node, entry.name)
        shown = changes(None, entry.attributes)
        return (self._author.create_directory(node, entry.name, shown),)

    def _capture_new_directory(self, path: Path, parent: SyncedEntry, entry: DiskEntry) -> None:
        known = self._recognition.directory((*path, entry.name)) if self._recognition else None
        if known is not None:
            self._recognised.add((*path, entry.name))
            self._save_new(parent, entry, known.claims, None)
            return
        written = changes(None, entry.attributes)
        claim = self._author.create_directory(_node(parent), entry.name, written)
        self._save_new(parent, entry, (claim,), None)

    def _moved_to(self, path: Path, entry: DiskEntry) -> SyncedEntry | None:
        source = self._departures.moved.get(Slot(path, entry.name))
        return self._synced.entry(source.entry) if source is not None else None

    # Files

    def _files(self) -> Iterator[tuple[Path, SyncedEntry, DiskEntry, SyncedEntry | None]]:
        """Yields path, directory, entry and synced entry of each file that can be captured."""
        for path, listing in sorted(self._scan.listings.items()):
            directory = directory_entry(self._synced, path, listing)
            for entry in listing.entries if directory is not None else ():
                if directory is not None and entry.kind not in _NOT_FILES:
                    known = self._synced.entry_at(directory.entry, entry.name)
                    if known is None or keeps_name(known, entry):
                        yield path, directory, entry, known

    def _capture_known_files(self) -> None:
        """Captures what was on the disk before, perhaps under another name."""
        for path, directory, entry, known in self._files():
            if known is not None and is_unchanged(known, entry):
                continue
            found = self._content_of(path, entry)
            is_open = known is not None and self._departures.may_part(known, entry)
            if found is None or is_open:
                self._skipped.add((*path, entry.name))
                continue
            source = known or self._moved_to(path, entry)
            if source is not None and source.copy_of:
                self._capture_copy(directory, source, found)
            elif source is not None:
                self._capture_known_file(directory, source, found)

    def _capture_new_files(self) -> None:
        """Captures the other files; one may be a further name of a file that is known by now."""
        for path, directory, entry, known in self._files():
            found = self._content_of(path, entry)
            is_new = known is None and found is not None
            if found is not None and is_new and not self._recognise(path, directory, found):
                self._capture_new_file(path, directory, found)

    def _recognise(self, path: Path, parent: SyncedEntry, found: StableContent) -> bool:
        """Tells whether the volume knows the file, or another one in its place."""
        here = (*path, found.entry.name)
        match self._recognition.file(here, found.content) if self._recognition else None:
            case Known(claims=claims):
                self._recognised.add(here)
                self._save_new(parent, found.entry, claims, found.content)
                return True
            case Beside(claim=claim):
                self._recognised.add(here)
                claim = self._author.write_beside(claim, found.content, found.entry.attributes)
                self._save_new(parent, found.entry, (claim,), found.content)
                return True
            case _:
                return False

    def _content_of(self, path: Path, entry: DiskEntry) -> StableContent | None:
        found = self._contents.get((*path, entry.name))
        return found if found is not None and found.entry.handle == entry.handle else None

    def _capture_copy(self, parent: SyncedEntry, copy: SyncedEntry, found: StableContent) -> None:
        """A conflict copy that was edited or moved is a file of its own: the conflict is settled.

        One that only got another hard link outside the volume, as by a backup, is what it was.
        """
        seen = found.entry
        known = (copy.parent, copy.handle, copy.content, copy.attributes)
        if known == (parent.entry, seen.handle, found.content, seen.attributes):
            self._synced.save_entry(replace(copy, fingerprint=seen.fingerprint))
            return
        self._author.settle(copy.claims)
        self._synced.remove_entry(copy.entry)

    def _capture_known_file(
        self, parent: SyncedEntry, source: SyncedEntry, found: StableContent
    ) -> None:
        claims, losers = source.claims, source.losers
        if source.parent == PARKED:
            claims = self._author.move(claims, _node(parent), found.entry.name)
            own = {claim.node for claim in claims}
            self._author.set_aside(loser for loser in losers if loser.node not in own)
            losers = tuple(loser for loser in losers if loser.node in own)
        self._write(replace(source, losers=losers), parent, claims, found)

    def _capture_new_file(self, path: Path, parent: SyncedEntry, found: StableContent) -> None:
        for other in self._synced.entries_of_handle(found.entry.handle):
            has_lost = self._departures.has_lost(other, found.entry)
            if has_lost or other.is_directory or other.copy_of:
                continue
            if other.content != found.content:  # it was written, and the other name not looked at
                self._skipped.add((*path, found.entry.name))
                return
            claim = self._author.add_name(other.claims[0], _node(parent), found.entry.name)
            self._save_new(parent, found.entry, (claim,), found.content)
            return
        written = changes(None, found.entry.attributes)
        claim = self._author.create_file(_node(parent), found.entry.name, found.content, written)
        self._save_new(parent, found.entry, (claim,), found.content)
        self._part_from(frozenset({claim.node}), found.entry.handle)

    def _write(
        self,
        source: SyncedEntry,
        parent: SyncedEntry,
        claims: tuple[Claim, ...],
        found: StableContent,
    ) -> None:
        written = changes(source.attributes, found.entry.attributes)
        twin = self._twin(source, found)
        if twin is not None:
            claims = tuple(replace(c, content_dots=twin.claims[0].content_dots) for c in claims[:1])
        elif source.content is not None and source.content.digest == found.content.digest:
            self._author.set_attributes(claims, written)
        else:
            claims = self._author.write(claims, found.content, written, source.losers)
        self._save(source, parent, found.entry, claims, found.content, written)
        self._write_through_other_names(source, claims[0], found, written)
        self._part_from(source.nodes, found.entry.handle)

    def _write_through_other_names(
        self, source: SyncedEntry, claim: Claim, found: StableContent, written: AttributeChanges
    ) -> None:
        """Notes that the other names of an inode show the same now; most often they do already."""
        seen = found.entry
        for other in self._other_names(source):
            is_there = not self._departures.has_lost(other, seen)
            if other.handle != seen.handle or other.is_directory or not is_there:
                continue
            mine = [each for each in other.claims if each.node == claim.node]
            is_known = all(each.content_dots == claim.content_dots for each in mine)
            if is_known and not written and _shows(other, found):
                continue
            self._synced.save_entry(
                replace(
                    _as_written(other, seen, written),
                    claims=tuple(
                        replace(each, content_dots=claim.content_dots) if each in mine else each
                        for each in other.claims
                    ),
                    content=found.content,
                )
            )

    def _part_from(self, nodes: frozenset[NodeId], handle: bytes) -> None:
        """Notes that an inode is this file's now, for names of others that held it before.

        They hold another one, which could not be read yet. Else the two would be taken for hard
        links of each other.
        """
        for other in self._synced.entries_of_handle(handle):
            is_theirs = any(claim.node in nodes for claim in other.claims)
            is_others = not is_theirs and other.parent != PARKED
            if is_others and self._departures.is_away(other):
                self._synced.save_entry(replace(other, handle=b"left %d" % other.entry))

    def _twin(self, source: SyncedEntry, found: StableContent) -> SyncedEntry | None:
        """Returns another name of the file that got the same new inode and was captured before."""
        for other in self._other_names(replace(source, handle=found.entry.handle)):
            is_elsewhere = source.handle != other.handle and other.content == found.content
            if is_elsewhere and len(source.claims) == 1 and other.nodes == source.nodes:
                return other
        return None

    def _save(
        self,
        source: SyncedEntry,
        parent: SyncedEntry,
        entry: DiskEntry,
        claims: tuple[Claim, ...],
        content: Content | None,
        written: AttributeChanges,
    ) -> None:
        self._synced.save_entry(
            replace(
                source,
                parent=parent.entry,
                name=entry.name,
                kind=entry.kind,
                handle=entry.handle,
                fingerprint=entry.fingerprint,
                attributes=entry.attributes,
                intended=amended(source.intended, written),
                claims=claims,
                content=content,
            )
        )

    def _save_new(
        self,
        parent: SyncedEntry,
        entry: DiskEntry,
        claims: tuple[Claim, ...],
        content: Content | None,
    ) -> None:
        self._synced.save_entry(
            SyncedEntry(
                entry=self._synced.new_entry_id(),
                parent=parent.entry,
                name=entry.name,
                kind=entry.kind,
                handle=entry.handle,
                fingerprint=entry.fingerprint,
                attributes=entry.attributes,
                intended=entry.attributes,
                claims=claims,
                content=content,
            )
        )


def _as_written(entry: SyncedEntry, seen: DiskEntry, written: AttributeChanges) -> SyncedEntry:
    """Returns an entry whose inode shows this, since these attributes were written."""
    return replace(
        entry,
        fingerprint=seen.fingerprint,
        attributes=seen.attributes,
        intended=amended(entry.intended, written),
    )


def _shows(entry: SyncedEntry, found: StableContent) -> bool:
    shown = (found.entry.fingerprint, found.entry.attributes, found.content)
    return (entry.fingerprint, entry.attributes, entry.content) == shown


def _node(directory: SyncedEntry) -> NodeId:
    """Returns the node that new entries of a directory are placed in: the lowest of its nodes."""
    return min(directory.nodes)
