"""Groups: files that belong together, as the configuration says or as their names and bytes tell.

An SQLite database with a companion beside it, and a git directory, are groups without being
declared: synced file by file while a program works in them, they arrive broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from conflict.observation import DirectoryListing, DiskEntry, DiskKind
from conflict.scan import Scan, directory_entry
from conflict.synced import Path, SyncedStore
from geosync.configuration.capture_rules import (
    SQLITE_COMPANIONS,
    SQLITE_INDEX,
    CaptureRule,
    CaptureRules,
    GroupKind,
    OpenFiles,
    database_name,
)

SQLITE_MAGIC: Final = b"SQLite format 3\0"
_SQLITE_PAGE_SIZE_BYTES_MIN: Final = 512
_GIT_NAMES: Final = frozenset((b"HEAD", b"objects", b"refs"))
_GIT_STATE: Final = frozenset(
    b"HEAD ORIG_HEAD FETCH_HEAD MERGE_HEAD index packed-refs config shallow".split()
)
_LOCK: Final = b".lock"
_UNDECLARED: Final = CaptureRule((), OpenFiles.WAIT)


class Databases(Protocol):
    """Tells by its first bytes what a file is."""

    def is_database(self, path: Path, entry: DiskEntry) -> bool:
        """Tells whether a file is an SQLite database; False when it can't be read."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """One group that a scan shows.

    Attributes:
        base: the database, or the directory.
        is_declared: whether the configuration names it.
        is_whole: whether all below the directory belongs to it; of a git directory that is not
            declared, only the files that say what is checked out belong to it.
    """

    kind: GroupKind
    base: Path
    rule: CaptureRule
    is_declared: bool
    is_whole: bool = True

    def contains(self, path: Path) -> bool:
        """Tells whether a path belongs to the group."""
        if self.kind is GroupKind.SQLITE:
            return path[:-1] == self.base[:-1] and self._is_database_name(path[-1:])
        depth = len(self.base)
        if self.is_whole:
            return path[:depth] == self.base and len(path) > depth
        is_in_it = len(path) == depth + 1 and path[:depth] == self.base
        return is_in_it and (path[-1] in _GIT_STATE or path[-1].endswith(_LOCK))

    def is_rebuilt(self, path: Path) -> bool:
        """Tells whether a path is of what SQLite makes anew by itself: that is never captured.

        It changes whenever somebody reads, and says what is true of one machine only.
        """
        is_of_database = self.kind is GroupKind.SQLITE and path[:-1] == self.base[:-1]
        return is_of_database and path[-1:] == (self.base[-1] + SQLITE_INDEX,)

    def directories(self, scan: Scan) -> list[Path]:
        """Returns the directories that the scan shows of the group, in order."""
        if self.kind is GroupKind.SQLITE:
            return [self.base[:-1]]
        if not self.is_whole:
            return [self.base]
        depth = len(self.base)
        return sorted(path for path in scan.listings if path[:depth] == self.base)

    def lock(self, scan: Scan) -> Path | None:
        """Returns the file by which a git command keeps others out, if there is one."""
        if self.kind is not GroupKind.GIT:
            return None
        return next(
            (
                (*path, entry.name)
                for path in self.directories(scan)
                for entry in scan.listings[path].entries
                if entry.name.endswith(_LOCK) and entry.kind is DiskKind.REGULAR
            ),
            None,
        )

    def _is_database_name(self, last: Path) -> bool:
        ends = {b"", *SQLITE_COMPANIONS} - {SQLITE_INDEX}
        return bool(last) and last[0] in {self.base[-1] + end for end in ends}


class Groups:
    """Finds groups in scans."""

    def __init__(self, rules: CaptureRules, synced: SyncedStore, databases: Databases) -> None:
        self._rules = rules
        self._synced = synced
        self._databases = databases

    def further_directories(self, listings: Mapping[Path, DirectoryListing]) -> set[Path]:
        """Returns directories that make groups complete of which a part was listed."""
        wanted: set[Path] = set()
        for path, listing in listings.items():
            found = self._rules.directory_rule(path)
            if found is not None and found[1].is_together:
                wanted.add(found[0])
                kinds = ((entry.name, entry.kind) for entry in listing.entries)
                wanted.update((*path, name) for name, kind in kinds if kind is DiskKind.DIRECTORY)
        return wanted - listings.keys()

    def find(self, scan: Scan, wanted: Iterable[Path]) -> list[Group]:
        """Returns the groups that are not excluded, sorted by base.

        Args:
            scan: complete in the sense of `further_directories`.
            wanted: the files that changed.
        """
        changed: dict[Path, set[bytes]] = {}
        for path in wanted:
            changed.setdefault(path[:-1], set()).add(path[-1])
        found: dict[Path, Group] = {}
        for path, listing in scan.listings.items():
            declared = self._rules.directory_rule(path)
            if declared is not None and declared[1].is_together:
                base, rule = declared
                found[base] = Group(rule.kind, base, rule.capture, is_declared=True)
                continue
            names = {entry.name: entry for entry in listing.entries}
            if declared is None and names.keys() >= _GIT_NAMES:
                group = Group(GroupKind.GIT, path, _UNDECLARED, is_declared=False, is_whole=False)
                found[path] = group
            for group in self._databases_in(path, listing, changed.get(path, set())):
                found[group.base] = group
        groups = (found[base] for base in sorted(found))
        return [group for group in groups if group.rule.open_files is not OpenFiles.EXCLUDE]

    def _databases_in(
        self, path: Path, listing: DirectoryListing, changed: set[bytes]
    ) -> Iterator[Group]:
        """Yields the databases of which something changed."""
        names = {entry.name: entry for entry in listing.entries}
        for name in sorted({database_name(name) for name in changed} | changed):
            base = (*path, name)
            rule = self._rules.database_rule(base)
            if rule is not None:
                if rule.is_together:
                    yield Group(GroupKind.SQLITE, base, rule.capture, is_declared=True)
                continue
            file = names.get(name)
            if file is None or file.kind is not DiskKind.REGULAR:
                continue
            if file.fingerprint.size_bytes % _SQLITE_PAGE_SIZE_BYTES_MIN:
                continue  # most files: no need to look for companions
            companions = {name + end for end in SQLITE_COMPANIONS}
            is_accompanied = companions & names.keys() or self._knows_any(path, listing, companions)
            if is_accompanied and self._databases.is_database(base, file):
                yield Group(GroupKind.SQLITE, base, _UNDECLARED, is_declared=False)

    def _knows_any(self, path: Path, listing: DirectoryListing, names: Iterable[bytes]) -> bool:
        directory = directory_entry(self._synced, path, listing)
        return directory is not None and any(
            self._synced.entry_at(directory.entry, name) for name in names
        )
