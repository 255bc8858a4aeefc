"""Drifting: what becomes of changes by programs on a site that captures nothing.

They are listed and left alone, or put back as the volume has it; then what was on the disk is set
aside in the private directory before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from conflict.drift import (
    Comparison,
    Drift,
    DriftKind,
    contents_in_question,
    forget,
    to_be_corrected,
    to_be_replaced,
)
from conflict.joining import Recognition
from conflict.observation import Attributes, Fingerprint
from conflict.scan import Scan, StableContent
from conflict.synced import Path, entry_at_path
from geosync.configuration.volume_configuration import DriftPolicy
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    Applied,
    DiskError,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    Expected,
    RelativePath,
)
from geosync.engine.intake import Intake
from geosync.engine.site import Site, joined, split
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from geosync.journal.drift import KnownDrift, SetAside

SET_ASIDE: Final = b"drift"  # in the private directory
REVERT_AFTER_MS: Final = 1000  # a program may be in the middle of saving a file
REVERTING: Final = "reverting"
"""Setting of the journal: 1 while the synced tree may tell of drift that is not put back yet."""

_DIRECTORY: Final = Attributes(mode=0o700, owner=b"", group=b"", mtime_ns=0)
_WAITS: Final = "was changed on this site, and is to be put back as the volume has it"
_log = event_logger(__name__)


@dataclass(slots=True)
class Look:
    """What a look at some directories brought.

    Attributes:
        contents: of the files that were read.
        to_apply: names at which the disk may be brought to what the volume has.
        waiting: drift that is to be put back and could not be yet.
    """

    contents: dict[Path, StableContent]
    to_apply: set[Path] = field(default_factory=set)
    waiting: dict[Path, str] = field(default_factory=dict)


class Drifting:
    """Finds drift, and puts it back where the configuration says so."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._judged: dict[Path, tuple[bytes, Fingerprint]] = {}  # drift that was read before

    def look(self, scan: Scan, recognition: Recognition | None) -> Look:
        """Compares what was seen with what the volume brought there.

        Args:
            scan: of some directories.
            recognition: while the site joins: what lies on its disk may be the volume's.
        """
        site = self._site
        contents = self._read(scan, is_joining=recognition is not None)
        with site.journal.transaction():
            comparison = Comparison(
                site.journal.nodes,
                site.journal.synced,
                contents,
                recognition or Recognition(site.journal.nodes, (), ()),
            )
            found = comparison.run(scan)
            since_ms = self._save(scan, found)
        look = Look(contents, to_apply=set(comparison.recognised))
        self._judged |= {
            drift.path: (drift.found.handle, contents[drift.path].entry.fingerprint)
            for drift in found
            if drift.kind is DriftKind.CHANGED and drift.found and drift.path in contents
        }
        if site.drift is DriftPolicy.REVERT and recognition is None:
            for drift in found:
                try:
                    self._put_back(drift, since_ms[drift.path], look)
                except (OSError, DiskError) as error:
                    look.waiting[drift.path] = f"{_WAITS}: {error}"
        return look

    def _read(self, scan: Scan, *, is_joining: bool) -> dict[Path, StableContent]:
        journal = self._site.journal
        intake = Intake(self._site, self._spool, is_keeping=False)
        contents: dict[Path, StableContent] = {}
        wanted = contents_in_question(journal.nodes, journal.synced, scan, is_joining=is_joining)
        for path, entry in wanted:
            if self._judged.get(path) == (entry.handle, entry.fingerprint):
                continue
            try:
                contents[path] = intake.take(path, entry)
            except (EntryBusy, EntryVanished, EntryUnreadable):
                continue  # it differs as far as anybody can tell
        return contents

    def _save(self, scan: Scan, found: Iterable[Drift]) -> dict[Path, int]:
        """Keeps the drift of the directories that were seen; returns since when it is there."""
        journal = self._site.journal
        known = {split(drift.path): drift for drift in journal.drift.all()}
        now_ms = self._site.now_ms()
        kinds = {drift.path: drift.kind for drift in found}
        over = [
            path
            for path in known
            if path not in kinds
            and (path[:-1] in scan.listings or entry_at_path(journal.synced, path[:-1]) is None)
        ]
        journal.drift.remove(joined(path) for path in over)
        for path in over:
            self._judged.pop(path, None)
        for path, kind in kinds.items():
            if path not in known or known[path].kind != kind:
                journal.drift.save(KnownDrift(joined(path), kind, now_ms))
        new = kinds.keys() - known.keys()
        if new:
            _log.warning("drift_found", count=len(new), first=joined(min(new)))
        return {path: known[path].since_ms if path in known else now_ms for path in kinds}

    # Putting back

    def _put_back(self, drift: Drift, since_ms: int, look: Look) -> None:
        is_ripe = abs(self._site.now_ms() - since_ms) >= REVERT_AFTER_MS
        if not is_ripe or not self._is_put_back(drift):
            look.waiting[drift.path] = _WAITS
            return
        look.to_apply.add(drift.path)
        if drift.known is not None and drift.known.copy_of:
            look.to_apply.add((*drift.path[:-1], drift.known.copy_of))
        with self._site.journal.transaction():
            self._site.journal.drift.remove([joined(drift.path)])
        _log.warning("drift_reverted", path=joined(drift.path), kind=drift.kind.value)

    def _is_put_back(self, drift: Drift) -> bool:
        """Returns whether the planner knows now what is to be done there."""
        synced, path = self._site.journal.synced, joined(drift.path)
        seen = drift.found
        if seen is not None and drift.kind in (DriftKind.NEW, DriftKind.REPLACED):
            if not self._keep(path, Expected(seen.handle), is_moved=True):
                return False
        elif seen is not None and drift.kind is DriftKind.CHANGED:
            if not self._keep(path, Expected(seen.handle, seen.fingerprint), is_moved=False):
                return False
            now = self._site.disk.observe(path)
            if now is None or now.handle != seen.handle:
                return False  # a program was faster; the next look finds what there is
            seen = now
        if drift.known is None:
            return True
        # CRASH: from here on it is no drift any more, but what is to be replaced: a start in
        # between has to compare all that the volume has with the synced tree.
        with self._site.journal.transaction():
            self._site.journal.set_setting(REVERTING, 1)
            match drift.kind:
                case DriftKind.CHANGED if seen is not None:
                    synced.save_entry(to_be_replaced(drift.known, seen))
                case DriftKind.ATTRIBUTES if seen is not None:
                    synced.save_entry(to_be_corrected(drift.known, seen))
                case _:
                    forget(synced, drift.known)
        return True

    def _keep(self, path: RelativePath, expected: Expected, *, is_moved: bool) -> bool:
        """Gives what is at a path a name in the private directory: instead of its own, or too.

        A file that the volume has an own version of keeps its name until that takes it, so that
        readers never miss it.
        """
        return keep_aside(self._site, path, path, expected, is_moved=is_moved)


def keep_aside(
    site: Site, source: RelativePath, path: bytes, expected: Expected, *, is_moved: bool
) -> bool:
    """Keeps a file or directory in the private directory, durably; returns whether it is there.

    CRASH: the journal names the place before anything is there, so that nothing is there unnamed.

    Args:
        site: whose disk it is.
        source: where it is.
        path: where it was in the volume, for the operator; b"" when nobody knows.
        expected: what must be there.
        is_moved: it leaves its name.
    """
    now_ms = site.now_ms()
    directory = _fresh_directory(site, now_ms)
    if directory is None:
        return False
    kept_at = RelativePath(directory + b"/" + split(path or source)[-1])
    with site.journal.transaction():
        site.journal.drift.add_set_aside(SetAside(kept_at, path, now_ms))
    if is_moved:
        outcome = site.disk.move(source, kept_at, expected)
    else:
        outcome = site.disk.link(source, expected, kept_at, None)
    if not isinstance(outcome, Applied):
        with site.journal.transaction():
            site.journal.drift.remove_set_aside(kept_at)
        found = site.disk.observe(directory)
        if found is not None:
            site.disk.remove_directory(directory, Expected(found.handle))
        _log.warning("not_set_aside", path=source, outcome=type(outcome).__name__)
        return False
    site.disk.sync_changes()
    _log.warning("set_aside", path=path, kept_at=kept_at)
    return True


def note_reverted(site: Site) -> None:
    """Says that nothing is left in which the disk should differ from the merged tree."""
    if site.journal.integer_setting(REVERTING):
        with site.journal.transaction():
            site.journal.set_setting(REVERTING, 0)


def forget_what_is_gone(site: Site) -> None:
    """Forgets what was set aside and is not there: a person removed it, or a crash came before.

    Raises:
        DiskError: the private directory can't be read.
    """
    for kept in site.journal.drift.set_aside():
        kept_at = RelativePath(kept.kept_at)
        if site.disk.observe(kept_at) is not None:
            continue
        directory = joined(split(kept_at)[:-1])
        found = site.disk.observe(directory)
        if found is not None:
            site.disk.remove_directory(directory, Expected(found.handle))
        with site.journal.transaction():
            site.journal.drift.remove_set_aside(kept_at)


def _fresh_directory(site: Site, now_ms: int) -> RelativePath | None:
    """Makes a directory of its own for one thing that is set aside: so it keeps its name."""
    above = joined((PRIVATE_DIRECTORY, SET_ASIDE))
    if site.disk.observe(above) is None:
        site.disk.make_directory(above, _DIRECTORY)
    for number in range(1000):
        directory = joined((PRIVATE_DIRECTORY, SET_ASIDE, b"%d-%d" % (now_ms, number)))
        if site.disk.observe(directory) is None:
            outcome = site.disk.make_directory(directory, _DIRECTORY)
            return directory if isinstance(outcome, Applied) else None
    return None
