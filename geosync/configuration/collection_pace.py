"""How often garbage is collected, and how long what was replaced is kept."""

from __future__ import annotations

from dataclasses import dataclass

COLLECTION_HOURS = 6
HISTORY_DAYS = 30
GRACE_HOURS = 48
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class CollectionPace:
    """When packs go that nobody needs any more.

    Attributes:
        every_s: between two looks at what is needed.
        history_s: for how long what was replaced or deleted is kept.
        grace_s: between the last word on a pack and its deletion.
    """

    every_s: float = COLLECTION_HOURS * _HOUR_S
    history_s: float = HISTORY_DAYS * 24 * _HOUR_S
    grace_s: float = GRACE_HOURS * _HOUR_S


def collection_pace(collection_hours: int, history_days: int, grace_hours: int) -> CollectionPace:
    """Returns the pace that a configuration tells in hours and days."""
    return CollectionPace(
        collection_hours * _HOUR_S, history_days * 24 * _HOUR_S, grace_hours * _HOUR_S
    )
