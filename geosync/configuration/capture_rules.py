"""What the operator says of files that are open all the time, and of files that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conflict.policy import is_match

Path = tuple[bytes, ...]

SQLITE_INDEX: Final = b"-shm"
SQLITE_COMPANIONS: Final = (b"-wal", SQLITE_INDEX, b"-journal")
SNAPSHOT_EVERY_S: Final = 10


class OpenFiles(StrEnum):
    """What is done with a changed file that a program has open for writing."""

    WAIT = "wait"  # it is captured once no program has it open for writing
    SNAPSHOT = "snapshot"  # it is captured as it is at one moment, every so often
    EXCLUDE = "exclude"  # it is never captured, whether it is open or not


class GroupKind(StrEnum):
    """How it is known which files belong together."""

    SQLITE = "sqlite"  # a database, with its -wal and -journal
    GIT = "git"  # a git directory with all below, while no git command holds a lock in it
    DIRECTORY = "directory"  # a directory with all below


@dataclass(frozen=True, slots=True)
class CaptureRule:
    """How the files are captured whose paths match.

    Attributes:
        globs: `*` and `?` within a name, `**` for any directories; without a slash, of the name.
        open_files: what is done while a program has one of them open for writing.
        snapshot_every_s: how long after a snapshot of an open file the next one is taken.
    """

    globs: tuple[bytes, ...]
    open_files: OpenFiles = OpenFiles.WAIT
    snapshot_every_s: int = SNAPSHOT_EVERY_S

    def matches(self, path: Path) -> bool:
        """Tells whether the rule is about a path."""
        return any(is_match(glob, path) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class GroupRule:
    """Files that belong together: they are captured in one transaction, or not at all.

    Attributes:
        kind: which files belong to what matches.
        capture: how, and which databases or directories.
        is_together: False for what is no group after all, and captured file by file.
    """

    kind: GroupKind
    capture: CaptureRule
    is_together: bool = True


WAIT_RULE: Final = CaptureRule(())


@dataclass(frozen=True, slots=True)
class CaptureRules:
    """All that a configuration says of capturing. The first rule that matches decides."""

    files: tuple[CaptureRule, ...] = ()
    groups: tuple[GroupRule, ...] = ()

    def rule_for(self, path: Path) -> CaptureRule:
        """Returns how a file is captured that belongs to no group."""
        return next((rule for rule in self.files if rule.matches(path)), WAIT_RULE)

    def database_rule(self, database: Path) -> GroupRule | None:
        """Returns what is said of an SQLite database."""
        rules = (rule for rule in self.groups if rule.kind is GroupKind.SQLITE)
        return next((rule for rule in rules if rule.capture.matches(database)), None)

    def directory_rule(self, path: Path) -> tuple[Path, GroupRule] | None:
        """Returns the outermost directory that is a group, at a path or above, and its rule."""
        rules = [rule for rule in self.groups if rule.kind is not GroupKind.SQLITE]
        for depth in range(1, len(path) + 1) if rules else ():
            for rule in rules:
                if rule.capture.matches(path[:depth]):
                    return path[:depth], rule
        return None

    @property
    def may_exclude(self) -> bool:
        """Tells whether anything can be excluded."""
        rules = (*self.files, *(group.capture for group in self.groups))
        return any(rule.open_files is OpenFiles.EXCLUDE for rule in rules)

    def is_excluded(self, path: Path) -> bool:
        """Tells whether a file is never captured."""
        within = self.directory_rule(path[:-1])
        if within is not None and within[1].is_together:
            return within[1].capture.open_files is OpenFiles.EXCLUDE
        group = self.database_rule((*path[:-1], database_name(path[-1])))
        if group is not None and group.is_together:
            return group.capture.open_files is OpenFiles.EXCLUDE
        return self.rule_for(path).open_files is OpenFiles.EXCLUDE


def database_name(name: bytes) -> bytes:
    """Returns the name of the database that a file would belong to; its own for all others."""
    for companion in SQLITE_COMPANIONS:
        if name.endswith(companion) and len(name) > len(companion):
            return name.removesuffix(companion)
    return name
