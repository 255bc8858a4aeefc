"""Attributes that this site could not set: told to the operator, and set once that is possible.

The volume keeps what it wants; a disk that shows something else is no change by anybody. Nothing
is tried again just because time passes: only when a user appears whose name was unknown, and, for
a few files, at the start, since the daemon may have got other rights or another file system.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conflict.synced import EntryId, Path, path_of_entry
from geosync.engine.site import Site
from geosync.journal.synced_entries import UnsetPart
from geosync.journal.unset_parts import EXTENDED, GROUP, LIST, MODE, MTIME, OWNER, RETRY
from geosync.terminal import display_name

_PREFIX: Final = b"attributes: "
_PROBES_MAX: Final = 20  # files for which a part is tried again at the start
_USER: Final = b"user:"
_GROUP_OF_LIST: Final = b"group:"
_REASONS: Final = {
    MODE: "have another mode here. Setuid and setgid need the owner, and allow_setuid = true; any"
    " mode needs a daemon that owns the file, or runs as root",
    MTIME: "have another time here: this file system can't hold theirs, or the daemon may not set"
    " it",
    EXTENDED: "lack extended attributes here, or have more of them: this file system can't hold"
    " them, or the daemon may not set them",
}


class UnsetAttributes:
    """Looks at what could not be set, as the journal counts it."""

    def __init__(self, site: Site) -> None:
        """Sees what an earlier run left; the first check tells of it and tries some of it again."""
        self._site = site
        self._unknown: set[bytes] = set()  # parts that are about somebody who is unknown here
        self._is_first = True
        # Files of which a part is to be tried, or was tried, once more: of those that an earlier
        # run left, as what this one can't set it knows already.
        self._probes = self._left_before()
        self._told: set[bytes] = set()
        for problem in site.journal.problems():
            if problem.subject.startswith(_PREFIX):
                site.report(problem.subject, None)

    def check(self) -> set[Path]:
        """Tells what could not be set; returns where it is to be tried again now.

        CRASH: entries that are to be tried again are known by a row in the journal; the first
        check of the next run returns them.
        """
        synced = self._site.journal.synced
        parts = {found.part: found for found in synced.unset_parts()}
        waiting = synced.entries_with_unset(RETRY) if parts.pop(RETRY, None) else set()
        unknown = {part for part in parts if self._is_unknown(part)}
        retry: set[EntryId] = set()
        for part in (self._unknown & parts.keys()) - unknown:
            retry |= synced.entries_with_unset(part)
        self._unknown = unknown
        paths: set[Path] = set()
        if self._is_first:
            self._is_first = False
            paths = self._paths(waiting)
            retry |= self._begin_probes(unknown)
        else:
            retry |= self._end_probes(waiting)
        self._tell(parts)
        return paths | self._retry(retry)

    def _left_before(self) -> dict[bytes, set[EntryId]]:
        synced = self._site.journal.synced
        parts = [found.part for found in synced.unset_parts() if found.part != RETRY]
        return {part: synced.entries_with_unset(part, _PROBES_MAX) for part in parts}

    def _begin_probes(self, unknown: set[bytes]) -> set[EntryId]:
        """Returns the files to begin with: those that still lack something that may be set now."""
        synced = self._site.journal.synced
        for part in self._probes:
            self._probes[part] &= synced.entries_with_unset(part)
        self._probes = {p: found for p, found in self._probes.items() if found and p not in unknown}
        return {entry for found in self._probes.values() for entry in found}

    def _end_probes(self, waiting: set[EntryId]) -> set[EntryId]:
        """Returns what is like something that could be set this time."""
        retry: set[EntryId] = set()
        for part, probes in list(self._probes.items()):
            if probes & waiting:
                continue
            del self._probes[part]
            left = self._site.journal.synced.entries_with_unset(part)
            if not probes <= left:
                retry |= left - probes
        return retry

    def _retry(self, entries: set[EntryId]) -> set[Path]:
        """Makes the plan see a difference: it plans nothing where all was tried already."""
        journal = self._site.journal
        if not entries:
            return set()
        with journal.transaction():
            for entry_id in sorted(entries):
                entry = journal.synced.entry(entry_id)
                if entry is not None:
                    intended = replace(entry.intended, owner=b"")
                    journal.synced.save_entry(replace(entry, intended=intended))
        return self._paths(entries)

    def _paths(self, entries: set[EntryId]) -> set[Path]:
        synced = self._site.journal.synced
        found = (synced.entry(entry) for entry in entries)
        paths = {path_of_entry(synced, entry) for entry in found if entry is not None}
        return {path for path in paths if path}

    def _is_unknown(self, part: bytes) -> bool:
        disk = self._site.disk
        if part.startswith(OWNER):
            return not disk.knows_user(part.removeprefix(OWNER))
        if part.startswith(GROUP):
            return not disk.knows_group(part.removeprefix(GROUP))
        subject = part.removeprefix(LIST)
        if part.startswith(LIST) and subject.startswith(_USER) and subject != _USER:
            return not disk.knows_user(subject.removeprefix(_USER))
        if (
            part.startswith(LIST)
            and subject.startswith(_GROUP_OF_LIST)
            and subject != _GROUP_OF_LIST
        ):
            return not disk.knows_group(subject.removeprefix(_GROUP_OF_LIST))
        return False

    def _tell(self, parts: dict[bytes, UnsetPart]) -> None:
        for part in self._told - parts.keys():
            self._site.report(_PREFIX + part, None)
        for part, found in parts.items():
            self._site.report(_PREFIX + part, self._text(found))
        self._told = set(parts)

    def _text(self, found: UnsetPart) -> str:
        files = f"{found.count} files and directories, such as {self._example(found.example)},"
        part = found.part
        if part in _REASONS:
            text = f"{files} {_REASONS[part]}"
        elif part.startswith(LIST):
            who = display_name(part.removeprefix(LIST))
            why = self._why(part, "this file system has no access control lists, or the daemon")
            text = f"{files} lack the entry {who} of their access control lists here: {why}"
        else:
            kind, name = ("user", OWNER) if part.startswith(OWNER) else ("group", GROUP)
            who = display_name(part.removeprefix(name))
            why = self._why(part, "the daemon")
            text = f"{files} do not belong to the {kind} {who} here: {why}"
        return f"{text}. The volume keeps what it wants, and other sites get it."

    def _why(self, part: bytes, who_may_not: str) -> str:
        if part in self._unknown:
            return (
                "the name is unknown on this machine. Create it, or say in the configuration, in"
                " [owners] or [groups], who is meant; then this is mended by itself"
            )
        return f"{who_may_not} may not set it. Run it as root, or as a user who may"

    def _example(self, entry_id: EntryId) -> str:
        paths = self._paths({entry_id})
        return display_name(b"/".join(paths.pop())) if paths else "one that is on the move"
