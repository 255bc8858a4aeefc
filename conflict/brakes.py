"""Brakes: when so much would be deleted or replaced at once that a person is asked first.

Only contents that go are counted: what is moved or renamed stays, and so does what is new. A file
that changes again and again counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

EMPTIED_ROOT_ENTRIES_MIN: Final = 10  # of fewer, deleting them all is no mass deletion
ENCRYPTED_FILES_MIN: Final = 20
COMPRESSIBLE_SHARE_MAX: Final = 0.9  # of its size: what is left of a content that compresses
INCOMPRESSIBLE_SHARE_MIN: Final = 0.97
_MIB: Final = 1024 * 1024


class BrakeKind(StrEnum):
    """What a brake stops."""

    DELETION = "deletion"
    CHANGE = "change"
    ENCRYPTION = "encryption"


class OnEncryption(StrEnum):
    """What is done when many files become what encryption makes of them."""

    OFF = "off"
    ALARM = "alarm"
    BRAKE = "brake"


@dataclass(frozen=True, slots=True)
class Amount:
    """How many files and directories, and how large their contents are together."""

    count: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may go without anybody being asked.

    Attributes:
        count: within the window; more may go as long as they are no more than `percent`.
        percent: of all files and directories, within the window.
        size_mib: of their contents, within the window; 0: as much as there is.
        per_hour: how many within an hour; 0: as many as there are.
    """

    count: int
    percent: int
    size_mib: int
    per_hour: int

    def divided_by(self, share: int) -> Limit:
        """Returns a limit of so much less."""
        return Limit(
            self.count // share,
            self.percent // share,
            -(-self.size_mib // share),  # never 0, which would be no limit
            -(-self.per_hour // share),
        )


@dataclass(frozen=True, slots=True)
class BrakeLimits:
    """The brakes of one site.

    Attributes:
        is_on: whether there are any.
        window_s: the time within which is counted.
        is_empty_root_held: whether it needs a person that a root lost all that was in it.
    """

    is_on: bool = True
    window_s: int = 600
    deletions: Limit = field(default=Limit(count=50, percent=10, size_mib=20_480, per_hour=10_000))
    changes: Limit = field(default=Limit(count=100, percent=25, size_mib=0, per_hour=0))
    is_empty_root_held: bool = True
    on_encryption: OnEncryption = OnEncryption.ALARM

    def divided_by(self, share: int) -> BrakeLimits:
        """Returns brakes that engage for so much less."""
        changes, deletions = self.changes.divided_by(share), self.deletions.divided_by(share)
        return replace(self, changes=changes, deletions=deletions)

    def limit_of(self, kind: BrakeKind) -> Limit:
        """Returns what counts for deletions or for changes."""
        return self.deletions if kind is BrakeKind.DELETION else self.changes


NO_BRAKES: Final = BrakeLimits(is_on=False)
_DONE: Final = {
    BrakeKind.DELETION: "deleted",
    BrakeKind.CHANGE: "changed",
    BrakeKind.ENCRYPTION: "changed",
}


def reason_to_brake(
    limits: BrakeLimits, kind: BrakeKind, lately: Amount, last_hour_count: int, entries: int
) -> str | None:
    """Tells why a person is to be asked, None when there is no need.

    Args:
        limits: of this site.
        kind: deletions or changes.
        lately: what went within the window, with what would go now.
        last_hour_count: the same within an hour.
        entries: of the tree as it was before the window.
    """
    limit, done = limits.limit_of(kind), _DONE[kind]
    if not limits.is_on:
        return None
    within = f"within {_duration(limits.window_s)}"
    if lately.count > limit.count and lately.count * 100 > limit.percent * entries:
        share = f"{lately.count} of {entries} files and directories are {done} {within}"
        return f"{share}, more than {limit.count} and more than {limit.percent} %"
    if limit.size_mib and lately.size_bytes > limit.size_mib * _MIB:
        amount = f"{lately.size_bytes // _MIB} MiB are {done} {within}"
        return f"{amount}, more than {limit.size_mib} MiB"
    if limit.per_hour and last_hour_count > limit.per_hour:
        return f"{last_hour_count} files are {done} within an hour, more than {limit.per_hour}"
    return None


def reason_of_empty_root(limits: BrakeLimits, entries: int) -> str | None:
    """As `reason_to_brake`, of a root in which nothing is left of so many entries."""
    if limits.is_on and limits.is_empty_root_held and entries >= EMPTIED_ROOT_ENTRIES_MIN:
        return f"the directory is empty, where {entries} files and directories were"
    return None


def reason_of_encryption(limits: BrakeLimits, files: int, suffix: str) -> str | None:
    """As `reason_to_brake`, of files whose contents stopped to compress within the window."""
    is_on = limits.is_on and limits.on_encryption is not OnEncryption.OFF
    if not is_on or files < ENCRYPTED_FILES_MIN:
        return None
    names = f", with names that end in {suffix}" if suffix else ""
    return (
        f"{files} files were replaced within {_duration(limits.window_s)} by contents that do not"
        f" compress, as theirs did before{names}: encryption looks like that"
    )


def looks_encrypted(before_share: float | None, now_share: float | None) -> bool:
    """Tells whether a content compressed and what replaced it does not.

    Args:
        before_share: compressed size over size; None where nobody knows.
        now_share: the same of the new content.
    """
    if before_share is None or now_share is None:
        return False
    return before_share <= COMPRESSIBLE_SHARE_MAX and now_share >= INCOMPRESSIBLE_SHARE_MIN


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds % 60 == 0 and seconds > 60 else f"{seconds} s"
