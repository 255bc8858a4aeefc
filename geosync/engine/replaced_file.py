"""The file that a new version replaces, as a source of what both versions have in common.

Of a large file of which a few bytes changed, only the chunks around these come from the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from conflict.content import Content
from conflict.synced import Path


@dataclass(frozen=True, slots=True)
class ReplacedFile:
    """A regular file on this disk, with the content that it is believed to have."""

    path: Path
    handle: bytes
    content: Content
