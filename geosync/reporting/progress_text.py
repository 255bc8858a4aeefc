"""Progress as people and programs read it: how far, how fast, how long still."""

from __future__ import annotations

from typing import Final

from geosync.engine.progress import Advance, Stage
from geosync.terminal import human_duration, human_size

_UNITS: Final = {
    Stage.READING: "operations",
    Stage.COMPARING: "names",
    Stage.BRINGING: "files",
    Stage.SENDING: "files",
}

JsonObject = dict[str, object]


def progress_json(advance: Advance | None) -> JsonObject | None:
    """Returns it as the JSON of the status has it; None: nothing that takes long is under way."""
    if advance is None:
        return None
    return {
        "stage": advance.stage.value,
        "unit": _UNITS[advance.stage],
        "done": advance.done,
        "total": advance.total,
        "bytes_done": advance.bytes_done,
        "bytes_total": advance.bytes_total,
        "lasts_s": advance.lasts_s,
        "rate_per_s": advance.rate,
        "bytes_per_s": advance.bytes_rate,
        "share": advance.share,
        "left_s": advance.left_s,
        "text": progress_text(advance),
    }


def progress_text(advance: Advance) -> str:
    """Returns it in one line: `bringing files: 1200 of 5000 files, 1.2 GiB of 8.0 GiB, …`."""
    unit = _UNITS[advance.stage]
    of_total = "" if advance.total is None else f" of {advance.total}"
    parts = [f"{advance.done}{of_total} {unit}"]
    if advance.bytes_total:
        parts.append(f"{human_size(advance.bytes_done)} of {human_size(advance.bytes_total)}")
    if advance.bytes_total and advance.bytes_rate is not None:
        parts.append(f"{human_size(round(advance.bytes_rate))}/s")
    elif advance.rate is not None:
        parts.append(f"{advance.rate:.0f} {unit}/s")
    if advance.left_s:
        parts.append(f"about {human_duration(advance.left_s)} left")
    return f"{advance.stage.value}: {', '.join(parts)}"
