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
from conflict.observation import DirectoryListing, DiskEntry, DiskKind
from conflict.operations import NodeId
from conflict.rendering import Claim
from conflict.synced import (
    PARKED,
    ROOT_ENTRY,
    EntryId,
    Path,
    SyncedEntry,
    SyncedStore,
    moved,
    path_of_entry,
)


@dataclass(frozen=True, slots=True)
class Scan:
    """Directories as they were seen on the disk."""

    listings: Mapping[Path, DirectoryListing]
    absent: frozenset[Path] = frozenset()  # directories that were looked for in vain
    unknown: frozenset[Path] = frozenset()  # directories that could not be read


@dataclass(frozen=True, slots=True)
class StableContent:
    """A file's content, and the entry as it was while the content was read."""

    entry: DiskEntry
    content: Content


@dataclass(slots=True)
class CaptureResult:
    """What is left over after the operations were written."""

    unconfirmed: set[EntryId] = field(default_factory=set)  # missing, perhaps only on the move
    skipped: set[Path] = field(default_factory=set)  # changed, but without stable content yet


def further_directories(synced: SyncedStore, scan: Scan) -> set[Path]:
    """Returns directories that must be listed too before `scan` can be understood.

    These are new directories, and those that a file or directory with a known inode came from.
    """
    wanted: set[Path] = {path[:-1] for path in scan.absent if path}
    for path, listing in scan.listings.items():
        parent = _directory_entry(synced, path, listing)
        for entry in listing.entries:
            at_name = synced.entry_at(parent.entry, entry.name) if parent is not None else None
            if at_name is not None and at_name.handle == entry.handle:
                continue
            known = synced.entries_of_handle(entry.handle)
            if entry.kind is DiskKind.DIRECTORY and not known:
                wanted.add((*path, entry.name))
            came_from = (path_of_entry(synced, other) for other in known)
            wanted.update(path[:-1] for path in came_from if path)
    return {p for p in wanted - scan.absent - scan.unknown if p not in scan.listings}


def contents_wanted(synced: SyncedStore, scan: Scan) -> Iterator[tuple[Path, DiskEntry]]:
    """Yields the files whose content must be read: the new ones and those whose stat changed."""
    for path, listing in sorted(scan.listings.items()):
        parent = _directory_entry(synced, path, listing)
        for entry in listing.entries:
            if entry.kind in (DiskKind.DIRECTORY, DiskKind.UNSUPPORTED):
                continue
            known = synced.entry_at(parent.entry, entry.name) if parent is not None else None
            if known is None or not _is_unchanged(known, entry):
                yield (*path, entry.name), entry


def capture(
    author: Author,
    synced: SyncedStore,
    scan: Scan,
    contents: Mapping[Path, StableContent],
    confirmed: Iterable[EntryId],
) -> CaptureResult:
    """Writes the operations for a scan and brings the synced tree up to date with the disk.

    Args:
        author: writes the operations.
        synced: is compared with the scan, and updated.
        scan: complete in the sense of `further_directories`.
        contents: of `contents_wanted`; what is missing there is left for the next time.
        confirmed: entries that were missing before; only they are taken for deleted.
    """
    return _Capture(author, synced, scan, contents, frozenset(confirmed)).run()


def _is_unchanged(known: SyncedEntry, entry: DiskEntry) -> bool:
    return (known.handle, known.fingerprint, known.attributes, known.kind) == (
        entry.handle,
        entry.fingerprint,
        entry.attributes,
        entry.kind,
    )


def _directory_entry(
    synced: SyncedStore, path: Path, listing: DirectoryListing
) -> SyncedEntry | None:
    if not path:
        return synced.entry(ROOT_ENTRY)
    known = synced.entries_of_handle(listing.directory.handle)
    return next((entry for entry in known if entry.is_directory), None)


class _Capture:
    def __init__(
        self,
        author: Author,
        synced: SyncedStore,
        scan: Scan,
        contents: Mapping[Path, StableContent],
        confirmed: frozenset[EntryId],
    ) -> None:
        self._author = author
        self._synced = synced
        self._scan = scan
        self._contents = contents
        self._confirmed = confirmed
        self._result = CaptureResult()
        self._listing_of: dict[EntryId, DirectoryListing] = {}
        self._names_of: dict[EntryId, dict[bytes, DiskEntry]] = {}
        self._seen_handles: set[bytes] = set()
        self._unread_handles: set[bytes] = set()
        self._sources: dict[tuple[Path, bytes], SyncedEntry] = {}  # new name -> where it was

    def run(self) -> CaptureResult:
        for path, listing in self._scan.listings.items():
            self._seen_handles.update(entry.handle for entry in listing.entries)
            known = _directory_entry(self._synced, path, listing)
            if known is not None:
                self._listing_of[known.entry] = listing
                self._names_of[known.entry] = {e.name: e for e in listing.entries}
        self._unread_handles = {
            entry.handle
            for path, entry in contents_wanted(self._synced, self._scan)
            if self._content_of(path, entry) is None
        }
        gone = list(self._gone())
        self._match_moves()
        sources = list(self._sources.values())
        moving = {source.entry for source in sources}
        for source in sources:
            self._synced.save_entry(moved(source, PARKED, b"%d" % source.entry))
        left = {source.parent for source in sources}
        self._delete([entry for entry in gone if entry.entry not in moving], left)
        for path, listing in sorted(self._scan.listings.items()):
            self._capture_directory(path, listing)
        self._put_back(sources)
        return self._result

    def _content_of(self, path: Path, entry: DiskEntry) -> StableContent | None:
        found = self._contents.get(path)
        return found if found is not None and found.entry.handle == entry.handle else None

    def _put_back(self, sources: list[SyncedEntry]) -> None:
        """Undoes moves whose new place could not be captured this time."""
        for source in sources:
            now = self._synced.entry(source.entry)
            if now is not None and now.parent == PARKED:
                self._synced.save_entry(moved(now, source.parent, source.name))

    # What is no longer where it was

    def _gone(self) -> Iterator[SyncedEntry]:
        """Yields entries that are not at their names any more, parents before children."""
        pending = [e for e in map(self._synced.entry, sorted(self._listing_of)) if e is not None]
        passed: set[EntryId] = set()
        for directory in pending:
            for child in list(self._synced.entries_in(directory.entry)):
                if child.entry not in passed and self._has_left(child):
                    yield from self._with_all_below(child, passed)

    def _has_left(self, entry: SyncedEntry) -> bool:
        listing = self._listing_of[entry.parent]
        if any(name == entry.name for name, _ in listing.unreadable):
            return False
        here = self._names_of[entry.parent].get(entry.name)
        if here is None:
            return True
        if entry.is_directory:
            return here.handle != entry.handle
        return here.kind in (DiskKind.DIRECTORY, DiskKind.UNSUPPORTED)

    def _with_all_below(self, entry: SyncedEntry, passed: set[EntryId]) -> Iterator[SyncedEntry]:
        passed.add(entry.entry)
        yield entry
        if entry.is_directory and entry.handle not in self._seen_handles:
            for child in list(self._synced.entries_in(entry.entry)):
                yield from self._with_all_below(child, passed)

    def _match_moves(self) -> None:
        """Pairs names that are new with inodes that were somewhere else."""
        taken: set[EntryId] = set()
        for path, listing in sorted(self._scan.listings.items()):
            parent = _directory_entry(self._synced, path, listing)
            for entry in listing.entries:
                at_name = self._synced.entry_at(parent.entry, entry.name) if parent else None
                if at_name is not None and self._keeps_name(at_name, entry):
                    continue
                if entry.handle in self._unread_handles:
                    continue
                for source in self._synced.entries_of_handle(entry.handle):
                    if source.entry not in taken and self._is_away(source, entry):
                        taken.add(source.entry)
                        self._sources[path, entry.name] = source
                        break

    def _keeps_name(self, known: SyncedEntry, entry: DiskEntry) -> bool:
        if known.is_directory or entry.kind is DiskKind.DIRECTORY:
            return known.handle == entry.handle
        return True

    def _is_away(self, entry: SyncedEntry, seen_as: DiskEntry | None = None) -> bool:
        """Tells whether the inode is certainly not at the entry's name any more."""
        if seen_as is not None and not entry.is_directory and seen_as.link_count == 1:
            return True
        if entry.parent in self._names_of:
            here = self._names_of[entry.parent].get(entry.name)
            return here is None or here.handle != entry.handle
        above = self._synced.entry(entry.parent)
        if above is None or above.entry == ROOT_ENTRY or above.handle in self._seen_handles:
            return False
        return self._is_away(above)

    def _delete(self, gone: list[SyncedEntry], left: set[EntryId]) -> None:
        """Writes deletions, but not of directories `left` by something that is on the move."""
        leaving = {entry.entry for entry in gone}
        for entry in reversed(gone):  # children before parents
            is_sure = entry.entry in self._confirmed or entry.handle in self._seen_handles
            is_sure = is_sure and entry.handle not in self._unread_handles
            is_needed = entry.entry in left or any(self._synced.entries_in(entry.entry))
            if not is_sure or is_needed:
                self._result.unconfirmed.add(entry.entry)
                continue
            if entry.copy_of:
                self._author.settle(entry.claims)
            else:
                others = self._other_names(entry, leaving)
                self._author.delete(entry.claims, entry.losers, is_last_name=not others)
            self._synced.remove_entry(entry.entry)

    def _other_names(
        self, entry: SyncedEntry, leaving: Iterable[EntryId] = ()
    ) -> list[SyncedEntry]:
        names = self._synced.entries_of_handle(entry.handle)
        return [e for e in names if e.entry != entry.entry and e.entry not in leaving]

    # What is there

    def _capture_directory(self, path: Path, listing: DirectoryListing) -> None:
        directory = _directory_entry(self._synced, path, listing)
        if directory is None:
            return  # its own name was skipped, so what is below waits too
        self._capture_own_attributes(directory, listing)
        for entry in listing.entries:
            if entry.kind is DiskKind.UNSUPPORTED:
                continue
            known = self._synced.entry_at(directory.entry, entry.name)
            if known is not None and not self._keeps_name(known, entry):
                self._result.skipped.add((*path, entry.name))  # until its leaving is confirmed
            elif entry.kind is DiskKind.DIRECTORY:
                self._capture_subdirectory(path, directory, known, entry)
            elif known is None or not _is_unchanged(known, entry):
                self._capture_file(path, directory, known, entry)

    def _capture_own_attributes(self, directory: SyncedEntry, listing: DirectoryListing) -> None:
        """A name that came or went changed the directory's own times, too."""
        seen = replace(listing.directory, name=directory.name)
        if directory.entry == ROOT_ENTRY or _is_unchanged(directory, seen):
            return
        written = changes(directory.attributes, seen.attributes)
        self._author.set_attributes(directory.claims, written)
        self._synced.save_entry(
            replace(
                directory,
                fingerprint=seen.fingerprint,
                attributes=seen.attributes,
                intended=amended(directory.intended, written),
            )
        )

    def _source(self, path: Path, entry: DiskEntry) -> SyncedEntry | None:
        matched = self._sources.get((path, entry.name))
        return self._synced.entry(matched.entry) if matched is not None else None

    def _capture_subdirectory(
        self, path: Path, parent: SyncedEntry, known: SyncedEntry | None, entry: DiskEntry
    ) -> None:
        if known is not None and _is_unchanged(known, entry):
            return
        source = known or self._source(path, entry)
        if source is None:
            if self._synced.entries_of_handle(entry.handle):
                self._result.skipped.add((*path, entry.name))  # seen at two places: in motion
                return
            written = changes(None, entry.attributes)
            claim = self._author.create_directory(_node(parent), entry.name, written)
            self._save_new(parent, entry, (claim,), None)
            return
        claims = source.claims
        if known is None:
            claims = self._author.move(claims, _node(parent), entry.name)
        written = changes(source.attributes, entry.attributes)
        self._author.set_attributes(claims, written)
        self._save(source, parent, entry, claims, None, written)

    def _capture_file(
        self, path: Path, parent: SyncedEntry, known: SyncedEntry | None, entry: DiskEntry
    ) -> None:
        found = self._content_of((*path, entry.name), entry)
        if found is None:
            self._result.skipped.add((*path, entry.name))
            return
        if known is not None and known.copy_of:
            self._author.settle(known.claims)
            self._synced.remove_entry(known.entry)
            known = None
        if known is not None and known.handle != found.entry.handle:
            known = self._unless_name_of_several(known, found)
        source = known or self._source(path, entry)
        if source is not None and source.copy_of:
            self._author.settle(source.claims)
            self._synced.remove_entry(source.entry)
            source = None
        if source is None:
            self._capture_new_file(parent, found)
            return
        claims, losers = source.claims, source.losers
        if known is None:
            claims = self._author.move(claims, _node(parent), entry.name)
            own = {claim.node for claim in claims}
            self._author.set_aside(loser for loser in losers if loser.node not in own)
            losers = tuple(loser for loser in losers if loser.node in own)
        self._write(replace(source, losers=losers), parent, claims, found)

    def _unless_name_of_several(
        self, known: SyncedEntry, found: StableContent
    ) -> SyncedEntry | None:
        """A name that left its hard links, or joined others, is a name of another file now."""
        joined = any(
            not self._is_away(other) for other in self._synced.entries_of_handle(found.entry.handle)
        )
        others = [other for other in self._other_names(known) if not self._is_away(other)]
        if not others and not joined:
            return known
        self._author.delete(known.claims, known.losers, is_last_name=not others)
        self._synced.remove_entry(known.entry)
        return None

    def _capture_new_file(self, parent: SyncedEntry, found: StableContent) -> None:
        names = self._synced.entries_of_handle(found.entry.handle)
        for other in names:
            if not other.is_directory and not other.copy_of and other.content == found.content:
                claim = self._author.add_name(other.claims[0], _node(parent), found.entry.name)
                self._save_new(parent, found.entry, (claim,), found.content)
                return
        written = changes(None, found.entry.attributes)
        claim = self._author.create_file(_node(parent), found.entry.name, found.content, written)
        self._save_new(parent, found.entry, (claim,), found.content)

    def _write(
        self,
        source: SyncedEntry,
        parent: SyncedEntry,
        claims: tuple[Claim, ...],
        found: StableContent,
    ) -> None:
        written = changes(source.attributes, found.entry.attributes)
        same = source.content is not None and source.content.digest == found.content.digest
        if same:
            self._author.set_attributes(claims, written)
        else:
            claims = self._author.write(claims, found.content, written, source.losers)
        self._save(source, parent, found.entry, claims, found.content, written)
        for other in self._other_names(source):
            if other.handle == found.entry.handle and not other.is_directory:
                dots = claims[0].content_dots
                self._synced.save_entry(
                    replace(
                        other,
                        fingerprint=found.entry.fingerprint,
                        attributes=found.entry.attributes,
                        intended=amended(other.intended, written),
                        claims=tuple(
                            replace(claim, content_dots=dots)
                            if claim.node == claims[0].node
                            else claim
                            for claim in other.claims
                        ),
                        content=found.content,
                    )
                )

    def _save(
        self,
        source: SyncedEntry,
        parent: SyncedEntry,
        entry: DiskEntry,
        claims: tuple[Claim, ...],
        content: Content | None,
        written: tuple[tuple[bytes, int | bytes | None], ...],
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


def _node(directory: SyncedEntry) -> NodeId:
    """Returns the node that new entries of a directory are placed in: the lowest of its nodes."""
    return min(directory.nodes)
