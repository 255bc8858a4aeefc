"""The table [brakes] of a configuration."""

from __future__ import annotations

from typing import Final

from conflict.brakes import BrakeLimits, Limit
from geosync.configuration.table_reader import TableReader

_DEFAULT: Final = BrakeLimits()
_COUNT_MAX: Final = 1_000_000_000
_WINDOW_S_MAX: Final = 86_400
_MEANINGS: Final = {
    "enabled": "false: nothing is held, whatever happens.",
    "window_s": "The time within which is counted, in seconds.",
    "deleted_count": "Held are deletions of more than so many files and directories,",
    "deleted_percent": "if they are also more than so many percent of all,",
    "deleted_mib": "or of more than so many MiB (0: any number),",
    "deleted_per_hour": "or of more than so many within an hour (0: any number).",
    "changed_count": "The same for files whose contents are replaced.",
    "changed_percent": "",
    "changed_mib": "",
    "changed_per_hour": "",
    "emptied_root": "Whether a directory is held in which nothing is left.",
    "encryption": 'Files that look encrypted by a program: "alarm", "brake" (held) or "off".',
}


def read_brake_limits(reader: TableReader) -> BrakeLimits:
    """Reads the table; what is wrong is added to the reader's problems."""
    reader.refuse_unknown(tuple(_MEANINGS))
    return BrakeLimits(
        is_on=reader.truth("enabled", default=_DEFAULT.is_on),
        window_s=reader.number("window_s", _DEFAULT.window_s, 1, _WINDOW_S_MAX),
        deletions=_limit(reader, "deleted", _DEFAULT.deletions),
        changes=_limit(reader, "changed", _DEFAULT.changes),
        is_empty_root_held=reader.truth("emptied_root", default=_DEFAULT.is_empty_root_held),
        on_encryption=reader.choice("encryption", _DEFAULT.on_encryption),
    )


def _limit(reader: TableReader, what: str, default: Limit) -> Limit:
    return Limit(
        count=reader.number(f"{what}_count", default.count, 0, _COUNT_MAX),
        percent=reader.number(f"{what}_percent", default.percent, 0, 100),
        size_mib=reader.number(f"{what}_mib", default.size_mib, 0, _COUNT_MAX),
        per_hour=reader.number(f"{what}_per_hour", default.per_hour, 0, _COUNT_MAX),
    )


def brake_lines(limits: BrakeLimits) -> str:
    """Writes the table's lines as `read_brake_limits` reads them; defaults behind a #."""
    values, defaults = _values(limits), _values(_DEFAULT)
    lines = []
    for key, meaning in _MEANINGS.items():
        if meaning:
            lines.append(f"# {meaning}")
        lines.append(f"{'# ' if values[key] == defaults[key] else ''}{key} = {values[key]}")
    return "\n".join(lines)


def _values(limits: BrakeLimits) -> dict[str, str]:
    found = {
        "enabled": str(limits.is_on).lower(),
        "window_s": str(limits.window_s),
        "emptied_root": str(limits.is_empty_root_held).lower(),
        "encryption": f'"{limits.on_encryption}"',
    }
    for what, limit in (("deleted", limits.deletions), ("changed", limits.changes)):
        found[f"{what}_count"] = str(limit.count)
        found[f"{what}_percent"] = str(limit.percent)
        found[f"{what}_mib"] = str(limit.size_mib)
        found[f"{what}_per_hour"] = str(limit.per_hour)
    return found
