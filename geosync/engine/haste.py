"""Haste: what a cycle need not do since another one follows, and what its caller knows already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from conflict.synced import Path
from conflict.version import ActorId


@dataclass(frozen=True, slots=True)
class Haste:
    """How a cycle is to be short. Whoever asks for haste runs the next cycle when `has_more`.

    Attributes:
        logs: whose logs to look at; None: all that there are, and what else the store may tell.
        is_prompt: what arrives first is shown on the disk before more is looked for.
        quiet: directories which a name has left, and in which nothing has happened since for as
            long as it takes to believe that; nothing is under way in others, either.
    """

    logs: frozenset[ActorId] | None = None
    is_prompt: bool = False
    quiet: frozenset[Path] = field(default_factory=frozenset)


AT_LEISURE: Final = Haste()
