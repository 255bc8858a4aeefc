"""How often garbage is collected, and how long what was replaced is kept."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """When packs go that nobody needs any more.

    Attributes:
        every_s: between two looks at what is needed.
        history_s: for how long what was replaced or deleted is kept.
        grace_s: between the last word on a pack and its deletion.
    """

    every_s: float = 6 * 3600.0
    history_s: float = 30.0 * DAY_S
    grace_s: float = 2.0 * DAY_S
