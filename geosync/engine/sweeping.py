"""Sweeping: watches displaced files until no program can write to them any more.

A program that had a file open while it was replaced goes on writing to the old inode. What it
writes there is captured as a version of its own, concurrent with the one that took the name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from conflict.attributes import changes
from conflict.author import Author
from conflict.content import Content
from conflict.node import Location
from conflict.observation import DiskEntry, DiskKind
from conflict.operations import ROOT
from conflict.rendering import Claim
from conflict.synced import path_of_entry
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    Applied,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    Expected,
    Retired,
)
from geosync.engine.authoring import author_of, save_written
from geosync.engine.drifting import keep_aside
from geosync.engine.forgetting import may_write_about
from geosync.engine.intake import Intake
from geosync.engine.link_times import LinkTimes
from geosync.engine.places import NEVER_SEEN
from geosync.engine.set_aside import is_set_aside
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from geosync.journal.journal import RetiredFile

WATCHED_FOR_MS: Final = 60_000
_log = event_logger(__name__)


class _Links(NamedTuple):
    """What became of files of which a sweep let some names go."""

    left: dict[bytes, DiskEntry]  # handle -> as the names that stay show it
    times: LinkTimes


class Sweeper:
    """Empties the trash, one displaced file after the other."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool

    def sweep(self) -> set[Location]:
        """Lets go what was watched long enough; returns the names that late writes touched.

        Raises:
            OSError: the state directory can't be written.
        """
        touched: set[Location] = set()
        known = self._site.journal.retired()
        now_ms = self._site.now_ms()
        in_trash = {retired.token: retired for retired in self._site.disk.retired()}
        links = _Links({}, LinkTimes())
        for record in known:
            there = in_trash.get(record.token)
            if there is None:
                self._forget(record)
            elif there.entry.link_count > 1:  # it has other names, under which it is watched
                self._let_go_of_link(record, there, links)
            elif there.entry.fingerprint != record.fingerprint and _is_file(there):
                touched |= self._take_late_write(record, there)
            elif abs(now_ms - record.since_ms) >= WATCHED_FOR_MS:
                self._let_go(record, there)
        for token in sorted(in_trash.keys() - {record.token for record in known}):
            touched |= self._look_at_stray(in_trash[token])
        if links.left:
            with self._site.journal.transaction():
                links.times.settle(self._site.journal)
        return touched

    def _take_late_write(self, record: RetiredFile, there: Retired) -> set[Location]:
        """Captures what a program wrote; where nothing is captured, it is drift, and kept."""
        if self._site.role.may_capture:
            return self._capture_late_write(record, there)
        if record.fingerprint != NEVER_SEEN and self._keep_aside(there, self._path(record)):
            self._forget(record)
        elif record.fingerprint == NEVER_SEEN:
            self._judge_stray(record, there)
        return set()

    def _judge_stray(self, record: RetiredFile, there: Retired) -> None:
        """Keeps a file of which it is not known whether a program wrote it, if it holds news."""
        intake = Intake(self._site, self._spool)
        try:
            content = self._content_of(there, intake)
        except (EntryBusy, EntryUnreadable, EntryVanished):
            return
        is_same = content is not None and record.was.content == content
        if is_same or not intake.has_news:
            self._let_go(record, there)
        elif self._keep_aside(there, self._path(record)):
            self._forget(record)

    def _path(self, record: RetiredFile) -> bytes:
        """Returns where a displaced file was; b"" when its directory is gone."""
        synced, was = self._site.journal.synced, record.was
        above = synced.entry(was.parent)
        path = path_of_entry(synced, above) if above is not None else None
        return b"" if path is None else joined((*path, was.name))

    def _keep_aside(self, there: Retired, path: bytes) -> bool:
        source = joined((PRIVATE_DIRECTORY, b"trash", there.token))
        expected = Expected(there.entry.handle)
        return keep_aside(self._site, source, path, expected, is_moved=True)

    def _look_at_stray(self, there: Retired) -> set[Location]:
        """Looks at a file of which nobody knows how it came into the trash.

        CRASH: mostly a conflict copy of our own, which can go. What was never captured is a
        program's: it becomes a file at the root.
        """
        site = self._site
        intake = Intake(site, self._spool)
        try:
            content = self._content_of(there, intake)
        except (EntryBusy, EntryUnreadable, EntryVanished):
            return set()
        is_news = content is not None and not is_set_aside(site.journal, content.digest)
        if content is None or not intake.has_news or not is_news:
            site.disk.discard_retired(there)
            return set()
        if not site.role.may_capture:
            self._keep_aside(there, b"found-" + there.token)
            return set()
        intake.finish_packs()
        with site.journal.transaction():
            author = author_of(site)
            name = b"found-" + there.token
            author.create_file(ROOT, name, content, changes(None, there.entry.attributes))
            intake.commit()
            save_written(site, author)
        _log.warning("stray_file_captured", name=name, size_bytes=content.size_bytes)
        return author.touched

    def _content_of(self, there: Retired, intake: Intake) -> Content | None:
        if not _is_file(there):
            return None
        with self._site.disk.open_retired(there) as reader:
            return intake.take_retired(reader)

    def _let_go(self, record: RetiredFile, there: Retired) -> Retired | None:
        """Lets one name go if nobody writes to it; returns what its file is now under others."""
        outcome = self._site.disk.discard_retired(there)
        if not isinstance(outcome, Applied):
            return None
        self._forget(record)
        return outcome.retired

    def _let_go_of_link(self, record: RetiredFile, there: Retired, links: _Links) -> None:
        """Lets one of several names go; the others, here and in the volume, show another time."""
        entry = links.left.get(there.entry.handle, there.entry)
        if entry.link_count == 1:  # the others went just now: the next sweep looks at the last one
            return
        left = self._let_go(record, replace(there, entry=entry))
        if left is not None:
            links.left[entry.handle] = left.entry
            links.times.note(entry.handle, entry.fingerprint, left.entry.fingerprint)

    def _forget(self, record: RetiredFile) -> None:
        with self._site.journal.transaction():
            self._site.journal.remove_retired(record.token)

    def _capture_late_write(self, record: RetiredFile, there: Retired) -> set[Location]:
        """Writes a version that replaces what the program had open, and nothing newer."""
        site = self._site
        intake = Intake(site, self._spool)
        try:
            content = self._content_of(there, intake)
        except (EntryBusy, EntryUnreadable, EntryVanished):
            return set()  # still being written; the next sweep looks again
        assert content is not None
        intake.finish_packs()
        now = replace(record, fingerprint=there.entry.fingerprint, since_ms=site.now_ms())
        was = record.was
        is_same = was.content is not None and was.content.digest == content.digest
        is_stray = record.fingerprint == NEVER_SEEN  # one of our own, unless it holds news
        with site.journal.transaction():
            author = author_of(site)
            if not is_same and (intake.has_news or not is_stray):
                claims = _written(site, author, record, there, content)
                now = replace(now, was=replace(was, claims=claims, content=content))
                intake.commit()
            if save_written(site, author) is not None:
                _log.warning("late_write_captured", name=was.name, size_bytes=content.size_bytes)
            site.journal.add_retired(now)
        return author.touched


def _written(
    site: Site, author: Author, record: RetiredFile, there: Retired, content: Content
) -> tuple[Claim, ...]:
    """Writes the version. Of a file that is deleted, and about to be forgotten, it is a new one."""
    was = record.was
    if may_write_about(site, was.claims):
        return author.write(was.claims, content, changes(was.attributes, there.entry.attributes))
    attributes = changes(None, there.entry.attributes)
    return (author.create_file(ROOT, b"found-" + record.token, content, attributes),)


def _is_file(retired: Retired) -> bool:
    return retired.entry.kind is DiskKind.REGULAR
