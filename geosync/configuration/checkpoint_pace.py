"""How often checkpoints are written."""

from __future__ import annotations

from dataclasses import dataclass

OPERATIONS = 10_000
HOURS = 24


@dataclass(frozen=True, slots=True)
class CheckpointPace:
    """When the next checkpoint is due, whoever writes it.

    Attributes:
        operations: after so many operations of all sites together.
        hours: after so many hours, if anything was written in them.
    """

    operations: int = OPERATIONS
    hours: int = HOURS
