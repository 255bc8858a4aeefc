"""Whether the journal's tables are intact, and refer to what is there."""

from __future__ import annotations

import sqlite3
from typing import Final

DAMAGES_TOLD_MAX: Final = 20

_DANGLING: Final = {
    "entries on the disk whose directory is not known": (
        "SELECT count(*) FROM synced AS s WHERE s.parent > 0"
        " AND NOT EXISTS (SELECT 1 FROM synced AS p WHERE p.entry = s.parent)"
    ),
    "files of the volume that belong to no entry on the disk that is known": (
        "SELECT count(*) FROM synced_node AS n"
        " WHERE NOT EXISTS (SELECT 1 FROM synced AS s WHERE s.entry = n.entry)"
    ),
    "names in the volume of which the file is not known": (
        "SELECT count(*) FROM live_link AS l"
        " WHERE NOT EXISTS (SELECT 1 FROM node AS n WHERE n.node = l.node)"
    ),
}


def damages(connection: sqlite3.Connection) -> list[str]:
    """Returns what is wrong, in words; nothing for a journal that is intact."""
    try:
        found = [
            row[0] for row in connection.execute(f"PRAGMA integrity_check({DAMAGES_TOLD_MAX})")
        ]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    if found != ["ok"]:
        return [str(each) for each in found]
    told = []
    for what, query in _DANGLING.items():
        count = connection.execute(query).fetchone()[0]
        if count:
            told.append(f"{count} {what}")
    return told
