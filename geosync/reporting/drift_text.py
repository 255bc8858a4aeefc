"""Drift as people and programs read it: in the list of conflicts, and in the status."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from conflict.drift import DriftKind
from geosync.configuration.volume_configuration import Configuration
from geosync.journal.journal import Journal
from geosync.terminal import display_name, human_duration, plain_table

KIND: Final = "drift"
SET_ASIDE: Final = "set aside"

JsonObject = dict[str, object]

_DIFFERS: dict[str, str] = {
    DriftKind.NEW: "is not in the volume",
    DriftKind.CHANGED: "was changed here",
    DriftKind.ATTRIBUTES: "has other attributes here",
    DriftKind.REPLACED: "is something else here",
    DriftKind.GONE: "was removed here",
    SET_ASIDE: "was put back as the volume has it; what was here is kept",
}


def drift_json(configuration: Configuration, journal: Journal) -> list[JsonObject]:
    """Returns drift, and what is kept of drift that was put back; docs/commands.md tells the keys.

    What somebody has taken from where it was kept is not told any more.
    """
    there = [
        _json(each.path, each.kind, each.since_ms, None, configuration)
        for each in journal.drift.all()
    ]
    kept = [
        _json(each.path, SET_ASIDE, each.since_ms, each.kept_at, configuration)
        for each in journal.drift.set_aside()
        if os.path.lexists(os.path.join(configuration.root, each.kept_at))
    ]
    return there + kept


def _json(
    path: bytes, differs: str, since_ms: int, kept_at: bytes | None, configuration: Configuration
) -> JsonObject:
    return {
        "id": None,
        "path": display_name(path),
        "kind": KIND,
        "policy": configuration.drift.value,
        "differs": differs,
        "since_ms": since_ms,
        "kept_at": None if kept_at is None else display_name(kept_at),
    }


def drift_table(found: Iterable[Mapping[str, object]], *, now_ms: int) -> str:
    """Returns drift, as its JSON tells it, as a table."""
    rows = [
        (
            str(each["path"]) or "(unknown)",
            _DIFFERS[str(each["differs"])],
            f"{_since(each, now_ms)} ago",
            str(each["kept_at"] or "at its name"),
        )
        for each in found
    ]
    return plain_table(("drift", "differs", "since", "where it is"), rows)


def _since(each: Mapping[str, object], now_ms: int) -> str:
    since_ms = each["since_ms"]
    assert isinstance(since_ms, int)
    return human_duration(max(0, now_ms - since_ms) / 1000)
