"""Ignoring: what the volume's patterns name stays on each disk as it is, and travels nowhere.

What is ignored is forgotten: it is no longer known to be on this disk, so nothing of it can be
missing or changed. It stays in the volume, if it was there. When a pattern goes, the disk is
looked at as a site does that joins: equal files are recognised, nothing is taken for deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from conflict.errors import MalformedValueError
from conflict.ignore_patterns import add_pattern, ignore_patterns, remove_pattern
from conflict.node import Location
from conflict.observation import DirectoryListing, DiskKind
from conflict.operations import ROOT, AttributeChanges
from conflict.synced import ROOT_ENTRY, EntryId, Path, SyncedEntry
from geosync.disk.interface import EntryUnreadable, EntryVanished
from geosync.engine.authoring import author_of, save_written
from geosync.engine.site import Site, joined
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.exit_codes import ExitCode
from geosync.ignore_spec import IgnoreSpec, check_pattern
from geosync.journal.journal import Journal

_ACTED_ON: Final = "ignore_patterns"  # a setting of the journal: the patterns that hold here
_log = event_logger(__name__)


class Ignoring:
    """Has the patterns that were received hold on this disk. Used by the control thread.

    They hold from one moment on, `site.ignored`: nothing is captured or applied in between.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        stored = site.journal.setting(_ACTED_ON) or b""
        self._former = [IgnoreSpec(tuple(stored.split(b"\n")) if stored else ())]
        site.ignored = self._former[0]

    def tend(self) -> bool:
        """Has new patterns hold; returns whether the disk is to be looked at for what went.

        CRASH: what was ignored until now stays noted until `finish`; the next start looks again.
        """
        journal = self._site.journal
        patterns = ignore_patterns(journal.nodes.node(ROOT))
        before = self._site.ignored
        if patterns == before.patterns:
            return False
        self._site.ignored = spec = IgnoreSpec(patterns)
        with journal.transaction():
            count = sum(_forget(journal, entry) for entry in list(_ignored(journal, spec)))
            is_only_more = _is_only_more(before.patterns, patterns)
            if is_only_more and len(self._former) == 1:
                self._former = [spec]
                journal.set_setting(_ACTED_ON, b"\n".join(patterns))
        _log.info("patterns_hold", patterns=len(patterns), forgotten=count)
        if not is_only_more:
            self._former.append(before)
        return not is_only_more

    def finish(self) -> None:
        """Says that the disk was looked at: nothing is ignored any more but by the patterns."""
        self._former = [self._site.ignored]
        self._site.journal.set_setting(_ACTED_ON, b"\n".join(self._site.ignored.patterns))

    def was_ignored(self, path: Path) -> bool:
        """Tells whether a path was ignored until the patterns changed."""
        return any(
            spec.is_ignored(path, is_directory=kind)
            for spec in self._former
            for kind in (True, False)
        )


def _is_only_more(before: tuple[bytes, ...], after: tuple[bytes, ...]) -> bool:
    """Tells whether all that was ignored still is: patterns were added that take nothing back."""
    added = after[len(before) :]
    return after[: len(before)] == before and not any(each.startswith(b"!") for each in added)


def _ignored(journal: Journal, spec: IgnoreSpec) -> Iterator[SyncedEntry]:
    """Yields what is known of the disk and ignored, of a directory nothing below it."""
    pending: list[tuple[EntryId, Path]] = [(ROOT_ENTRY, ())]
    while pending:
        directory, path = pending.pop()
        for entry in journal.synced.entries_in(directory):
            below = (*path, entry.name)
            if spec.is_ignored(below, is_directory=entry.is_directory):
                yield entry
            elif entry.is_directory:
                pending.append((entry.entry, below))


def _forget(journal: Journal, entry: SyncedEntry) -> int:
    count = sum(_forget(journal, child) for child in list(journal.synced.entries_in(entry.entry)))
    journal.synced.remove_entry(entry.entry)
    return count + 1


# What is on the disk


def without_ignored(site: Site, path: Path, listing: DirectoryListing) -> DirectoryListing:
    """Returns a listing without what is ignored, and without directories that hold nothing else.

    Such a directory is left where the volume has it no more; it is no new one.
    """
    if not site.ignored:
        return listing

    def is_hidden(name: bytes, kind: DiskKind, handle: bytes) -> bool:
        is_directory = kind is DiskKind.DIRECTORY
        if site.ignored.is_ignored((*path, name), is_directory=is_directory):
            return True
        is_new = is_directory and not any(site.journal.synced.entries_of_handle(handle))
        return is_new and holds_only_ignored(site, (*path, name))

    kept = (each for each in listing.entries if not is_hidden(each.name, each.kind, each.handle))
    return replace(listing, entries=tuple(kept))


def holds_only_ignored(site: Site, path: Path) -> bool:
    """Tells whether a directory of the disk holds something, and all of it is ignored."""
    if not site.ignored:
        return False
    try:
        entries = site.disk.list_directory(joined(path)).entries
    except (EntryVanished, EntryUnreadable):
        return False
    return bool(entries) and all(
        site.ignored.is_ignored((*path, each.name), is_directory=each.kind is DiskKind.DIRECTORY)
        or (each.kind is DiskKind.DIRECTORY and holds_only_ignored(site, (*path, each.name)))
        for each in entries
    )


# Decisions


def ignore(site: Site, pattern: bytes) -> set[Location]:
    """Writes one more pattern, for all sites. Returns what it touches. Raises OperatorError."""
    check_pattern(pattern)
    root = site.journal.nodes.node(ROOT)
    if pattern in ignore_patterns(root):
        return set()
    try:
        return _write(site, add_pattern(root, pattern))
    except MalformedValueError as error:
        raise OperatorError(f"{error}. Nothing was changed.", ExitCode.BAD_USAGE) from error


def ignore_no_more(site: Site, pattern: bytes) -> set[Location]:
    """Writes that a pattern is gone, for all sites. Returns what it touches.

    Raises:
        OperatorError: there is no such pattern.
    """
    if pattern not in ignore_patterns(site.journal.nodes.node(ROOT)):
        raise OperatorError(
            f"{pattern.decode(errors='replace')!r} is none of the volume's patterns: `geosync"
            " ignore list` shows them. Nothing was changed."
        )
    return _write(site, remove_pattern(pattern))


def _write(site: Site, changes: AttributeChanges) -> set[Location]:
    with site.journal.transaction():
        author = author_of(site)
        author.set_root_attributes(changes)
        save_written(site, author)
    return author.touched
