"""What was settled at this site, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from geosync.journal.settlements import Settlement
from geosync.terminal import display_moment, display_name, plain_table

JsonObject = dict[str, object]

_CHOICES: Final = {
    "winner": "the winner stayed",
    "loser": "the loser took the name",
    "both": "both stayed",
    "content": "another content took the name",
}


def settlement_json(settlement: Settlement) -> JsonObject:
    """Returns a settlement as JSON knows it; docs/commands.md tells what the keys mean."""
    return {
        "id": settlement.conflict,
        "path": display_name(settlement.path),
        "choice": settlement.choice,
        "settled_at_ms": settlement.settled_at_ms,
        "is_undone": settlement.is_undone,
    }


def settlements_text(found: Iterable[Mapping[str, object]]) -> str:
    """Returns settlements, as their JSON tells them, as a table."""
    rows = [
        (
            str(each["id"]),
            str(each["path"]),
            display_moment(int(str(each["settled_at_ms"]))),
            _CHOICES.get(str(each["choice"]), str(each["choice"])),
            "undone" if each["is_undone"] else "",
        )
        for each in found
    ]
    return plain_table(("conflict", "path", "settled", "how", ""), rows)
