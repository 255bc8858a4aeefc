"""Who takes part in a volume, and what all who do have on their disks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from conflict.version import VersionVector


def known_to_all(vectors: Iterable[VersionVector]) -> VersionVector:
    """Returns what every one of the vectors includes; nothing for no vectors."""
    return reduce(_meet, vectors, None) or VersionVector()


def _meet(one: VersionVector | None, other: VersionVector) -> VersionVector:
    if one is None:
        return other
    return VersionVector({a: min(n, other[a]) for a, n in one.items() if a in other})
