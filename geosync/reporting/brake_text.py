"""Brakes as people and programs read them: a few lines each, the plan of one, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from geosync.engine.brake_verdicts import KnownBrake
from geosync.terminal import display_name, human_duration, human_size

JsonObject = dict[str, object]

_WHAT: Final = {
    "deletion": "would be deleted",
    "change": "would be replaced",
    "encryption": "would be replaced by what looks encrypted",
}


def brake_json(brake: KnownBrake, *, now_ms: int) -> JsonObject:
    """Returns a brake as JSON knows it; docs/commands.md tells what the keys mean."""
    return {
        "id": brake.name,
        "site": brake.site,
        "is_here": brake.is_here,
        "holds": "capture" if brake.is_capture else "apply",
        "kind": brake.kind.value,
        "since_ms": brake.since_ms,
        "age_s": max(0, now_ms - brake.since_ms) / 1000,
        "reason": brake.reason,
        "verdict": None if brake.verdict is None else brake.verdict.name.lower(),
        "count": brake.amount.count,
        "size_bytes": brake.amount.size_bytes,
        "paths": [display_name(path) for path in brake.paths],
    }


def brakes_text(brakes: Sequence[dict[str, Any]]) -> str:
    """Returns brakes, as JSON knows them, with what to do."""
    return "\n\n".join("\n".join(_lines(brake)) for brake in brakes)


def _lines(brake: dict[str, Any]) -> Iterable[str]:
    where = f"at {brake['site']}" + (" (this site)" if brake["is_here"] else "")
    yield f"{brake['id']}  {where}, for {human_duration(brake['age_s'])}"
    yield f"  why      {brake['reason']}"
    what, size = _WHAT[brake["kind"]], human_size(brake["size_bytes"])
    yield f"  held     {brake['count']} files and directories ({size}) {what}"
    yield from _path_lines(brake)
    if brake["verdict"] is not None:
        yield f"  decided  {brake['verdict']}; what follows is being done there"
        return
    yield f"  decide   geosync brake approve {brake['id']}  (it shall be so, on all sites)"
    yield f"           geosync brake reject {brake['id']}   (the files shall be as they were)"


def _path_lines(brake: dict[str, Any]) -> Iterable[str]:
    """Yields all paths of a plan, or else the first few."""
    if "plan" in brake:
        for each in brake["plan"]:
            yield f"    {human_size(each['size_bytes']):>10}  {each['path']}"
        return
    for path in brake["paths"]:
        yield f"             {path}"
    if brake["count"] > len(brake["paths"]):
        yield f"             … and {brake['count'] - len(brake['paths'])} more"


def plan_json(plan: Iterable[tuple[bytes, int]]) -> list[JsonObject]:
    """Returns all that a brake holds, as JSON knows it."""
    return [{"path": display_name(path), "size_bytes": size_bytes} for path, size_bytes in plan]
