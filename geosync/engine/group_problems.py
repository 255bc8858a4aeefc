"""Groups that nobody declared and that a program works in: told to the operator as a problem."""

from __future__ import annotations

from typing import Final

from conflict.scan import Scan
from conflict.synced import Path
from geosync.configuration.capture_rules import GroupKind, OpenFiles
from geosync.engine.groups import Group
from geosync.engine.reading import Read
from geosync.engine.site import Site, joined

TOLD_AFTER_S: Final = 10.0
_PREFIX: Final = b"group "
_WHAT_TO_DO: Final = {
    GroupKind.SQLITE: (
        "is an SQLite database that a program uses, and must not be synced file by file while it"
        " runs. Nothing of it is captured until the program closes it. To have it captured while"
        ' it is open, name it in the configuration: [[file_group]] with kind = "sqlite" and'
        ' open_files = "snapshot"; to leave it out, with open_files = "exclude"'
    ),
    GroupKind.GIT: (
        "is a git directory in which a command is at work, or was killed. Its index and HEAD are"
        " captured once the *.lock file in it is gone: remove that if no git command runs. To have"
        " all of it captured together, name it in the configuration: [[file_group]] with"
        ' kind = "git"'
    ),
    GroupKind.DIRECTORY: "is a directory that belongs together and does not hold still",
}


class GroupProblems:
    """Knows which groups wait since when, and of which the operator was told."""

    def __init__(self, site: Site) -> None:
        """Forgets what an earlier run told."""
        self._site = site
        self._held_since_s: dict[Path, float] = {}
        for problem in site.journal.problems():
            if problem.subject.startswith(_PREFIX):
                site.report(problem.subject, None)

    def tell(self, scan: Scan, read: Read) -> None:
        """Tells what has waited for too long, and what is over.

        Args:
            scan: what was looked at.
            read: what was read of it, and what was held back.
        """
        now_s = self._site.clock.monotonic_s()
        held = {group.base: (group, reason) for group, reason in read.held.items()}
        looked_at = scan.listings.keys() | scan.absent
        for base in [b for b in self._held_since_s if b not in held]:
            if base in looked_at or base[:-1] in looked_at:
                del self._held_since_s[base]
                self._site.report(_PREFIX + joined(base), None)
        for base, (group, reason) in held.items():
            since_s = self._held_since_s.setdefault(base, now_s)
            if now_s - since_s >= TOLD_AFTER_S and _is_worth_telling(group):
                text = f"{_WHAT_TO_DO[group.kind]} ({reason})."
                self._site.report(_PREFIX + joined(base), text)


def _is_worth_telling(group: Group) -> bool:
    """A group that was declared, and is to be waited for, does what the operator wants."""
    return not group.is_declared or group.rule.open_files is OpenFiles.SNAPSHOT
