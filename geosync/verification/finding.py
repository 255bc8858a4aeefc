"""A finding of `geosync verify`: what is not as it should be, and what would repair it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique


@unique
class Level(StrEnum):
    """How bad it is; the values are JSON, and never change."""

    NOTE = "note"
    """Nothing is damaged, and nothing needs to be done."""
    DAMAGE = "damage"
    UNKNOWN = "unknown"
    """It could not be checked."""


@unique
class Kind(StrEnum):
    """What is not as it should be; the values are JSON, and never change."""

    JOURNAL_DAMAGED = "journal_damaged"
    LOG_BROKEN = "log_broken"
    FILE_DAMAGED = "file_damaged"
    FILE_CHANGED = "file_changed"
    FILE_UNREADABLE = "file_unreadable"
    PACK_MISSING = "pack_missing"
    PACK_DAMAGED = "pack_damaged"
    CONTENT_UNKNOWN = "content_unknown"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_DAMAGED = "segment_damaged"
    SEGMENT_FOREIGN = "segment_foreign"
    STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: what.
        level: how bad it is.
        subject: the path or object, as it is shown.
        text: what was found, in words.
        remedy: what to do; empty when nothing is to be done.
        lost: chunks that no place in the store gives, with the packs that were tried for each.
        segment: number of a segment of ours to be stored again.
        file: path of a file whose content is to be put back.
    """

    kind: Kind
    level: Level
    subject: str
    text: str
    remedy: str = ""
    lost: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    segment: int | None = None
    file: bytes | None = None

    @property
    def is_repairable(self) -> bool:
        """Tells whether `--repair` can do something about it."""
        return bool(self.lost) or self.segment is not None or self.file is not None


@dataclass(slots=True)
class Checked:
    """How much was looked at."""

    files: int = 0
    file_size_bytes: int = 0
    chunks: int = 0
    packs: int = 0
    segments: int = 0
