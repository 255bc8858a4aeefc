"""Contents that a disk has damaged, of which a copy was set aside: nobody takes them for news."""

from __future__ import annotations

from typing import Final

from conflict.content import DIGEST_SIZE_BYTES
from geosync.journal.journal import Journal

REMEMBERED_MAX: Final = 64
_SETTING: Final = "damaged_contents"  # their digests, joined, the latest last


def note_set_aside(journal: Journal, digest: bytes) -> None:
    """Remembers a damaged content. Belongs into a transaction."""
    known = (journal.setting(_SETTING) or b"") + digest
    journal.set_setting(_SETTING, known[-REMEMBERED_MAX * DIGEST_SIZE_BYTES :])


def is_set_aside(journal: Journal, digest: bytes) -> bool:
    """Tells whether a content is one of the last ones that were set aside."""
    known = journal.setting(_SETTING) or b""
    starts = range(0, len(known), DIGEST_SIZE_BYTES)
    return any(known[start : start + DIGEST_SIZE_BYTES] == digest for start in starts)
