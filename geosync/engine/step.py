"""One step of a batch: an action with what was prepared for it."""

from __future__ import annotations

from dataclasses import dataclass

from conflict.actions import Action
from geosync.disk.interface import Staged


@dataclass(slots=True)
class Step:
    """One action with what was prepared for it."""

    action: Action
    staged: Staged | None = None
    why_not: str = "waits for another change"  # for the operator, if it can't be done now
