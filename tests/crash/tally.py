"""What became of the crashes of one scenario."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts crashes, and keeps what failed after some: where it crashed -> why it failed."""

    crashes: int = 0
    failures: dict[str, str] = field(default_factory=dict)
