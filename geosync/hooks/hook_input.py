"""What a hook's program is told: its standard input, and the variables of its environment."""

from __future__ import annotations

import json

from geosync.configuration.hook_rules import HookInput
from geosync.hooks.hook_queue import HookRun, Occurrence
from geosync.terminal import display_name


def variables(run: HookRun, volume: str, site: str, root: bytes) -> dict[str, str]:
    """Returns the variables that every program gets."""
    return {
        "GEOSYNC_VOLUME": volume,
        "GEOSYNC_SITE": site,
        "GEOSYNC_ROOT": root.decode("utf-8", "surrogateescape"),
        "GEOSYNC_OCCASION": run.occasion.value,
        "GEOSYNC_COUNT": str(len(run.occurrences)),
    }


def standard_input(run: HookRun, volume: str, site: str) -> bytes:
    """Returns what the program reads."""
    if run.hook.input is HookInput.PATHS:
        paths = dict.fromkeys(b"/".join(each.path) for each in run.occurrences if each.path)
        return b"".join(path + b"\0" for path in paths)
    told = {
        "volume": volume,
        "site": site,
        "occasion": run.occasion.value,
        "is_cut": run.is_cut,
        "occurrences": [_told(each) for each in run.occurrences],
    }
    return json.dumps(told).encode() + b"\n"


def _told(occurrence: Occurrence) -> dict[str, str | int]:
    told: dict[str, str | int] = dict(occurrence.facts)
    if occurrence.path is not None:
        path = b"/".join(occurrence.path)
        told["path"] = display_name(path)
        told["path_hex"] = path.hex()
    return told
