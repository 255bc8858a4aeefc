"""Which conflicts somebody asked for: by path, site, kind and age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conflict.policy import is_match


@dataclass(frozen=True, slots=True)
class ConflictFilter:
    """What a conflict must be like; None asks for nothing.

    Attributes:
        glob: of the path as it is shown, as in a conflict policy.
        site: wrote one of the versions.
        kind: as `kind` of its JSON.
        older_than_s: so long ago was the version written that was kept aside.
        newer_than_s: not so long ago.
    """

    glob: str | None = None
    site: str | None = None
    kind: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None

    def accepts(self, conflict: Mapping[str, object], now_ms: int) -> bool:
        """Tells whether a conflict, as its JSON tells it, is asked for."""
        path = tuple(str(conflict["path"]).encode().split(b"/"))
        age_s = self._age_s(conflict, now_ms)
        return (
            (self.glob is None or is_match(self.glob.encode(), path))
            and (self.site is None or self.site in _sites(conflict))
            and (self.kind is None or self.kind == conflict["kind"])
            and (self.older_than_s is None or age_s >= self.older_than_s)
            and (self.newer_than_s is None or age_s < self.newer_than_s)
        )

    def _age_s(self, conflict: Mapping[str, object], now_ms: int) -> float:
        match conflict:
            case {"loser": {"written_at_ms": int(written_at_ms)}} | {
                "since_ms": int(written_at_ms)
            }:
                return (now_ms - written_at_ms) / 1000
            case _:
                return 0.0


def _sites(conflict: Mapping[str, object]) -> set[object]:
    versions = (conflict.get("winner"), conflict.get("loser"))
    return {version["site"] for version in versions if isinstance(version, Mapping)}
