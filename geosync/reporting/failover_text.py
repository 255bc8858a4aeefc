"""Who is the primary, and what was written late, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from conflict.fencing import LateKind
from conflict.operations import ROOT
from conflict.policy import policy_of
from conflict.report import Conflict
from conflict.version import Dot
from geosync.engine.roles import succession_of
from geosync.journal.drift import LateWrite
from geosync.journal.journal import Journal
from geosync.terminal import display_moment, display_name, plain_table

JsonObject = dict[str, object]

_BECAME: dict[str, str] = {
    LateKind.CREATED: "stays: it is new and replaces nothing",
    LateKind.WRITTEN: "was settled, or replaced by its own author",
    LateKind.DELETED: "did not count: the primary's file stays",
    LateKind.MOVED: "did not count: the primary's name stays",
    LateKind.ATTRIBUTES: "did not count: the primary's attributes stay",
}


def failover_json(journal: Journal, conflicts: Iterable[Conflict]) -> JsonObject:
    """Returns who is the primary and what was written late; docs/commands.md tells the keys."""
    known = succession_of(journal)
    current = known.current
    losers = {conflict.loser.dot: conflict.identity for conflict in conflicts}
    sites = policy_of(journal.nodes.node(ROOT)).sites
    return {
        "primary": None if current is None else current.site,
        "number": 0 if current is None else current.number,
        "is_released": current is not None and current.barrier is not None,
        "not_back": sorted(
            {
                tenure.site
                for tenure in known.tenures
                if tenure.barrier is None and tenure != current
            }
        ),
        "late_writes": [
            {
                "path": display_name(late.path),
                "what": late.what,
                "site": display_name(sites.get(late.dot.actor, b"")),
                "written_at_ms": late.written_at_ms,
                "conflict": losers.get(late.dot),
                "became": _became(late, losers),
            }
            for late in journal.drift.late_writes()
        ],
    }


def _became(late: LateWrite, losers: Mapping[Dot, str]) -> str:
    identity = losers.get(late.dot)
    return _BECAME[late.what] if identity is None else f"is kept as conflict {identity}"


def failover_text(found: Mapping[str, object]) -> str:
    """Returns the same, as its JSON tells it, for people."""
    late = found["late_writes"]
    assert isinstance(late, list)
    not_back = found["not_back"]
    assert isinstance(not_back, list)
    lines = [_primary(found)]
    lines += [
        f"{site} was replaced by force and has not been heard of since: it may have written more"
        for site in not_back
    ]
    return "\n".join((*lines, _late_table(late)))


def _primary(found: Mapping[str, object]) -> str:
    if found["primary"] is None:
        return "no site has been the primary of this volume yet"
    what = "was demoted; no site is the primary now" if found["is_released"] else "is the primary"
    return f"{found['primary']} {what} (epoch {found['number']})"


def _late_table(late: list[Mapping[str, object]]) -> str:
    if not late:
        return "nothing was written late by a former primary"
    rows = [
        (
            str(each["path"]) or "(the root)",
            str(each["what"]),
            f"{each['site'] or 'unknown site'}, "
            + display_moment(cast("int", each["written_at_ms"])),
            str(each["became"]),
        )
        for each in late
    ]
    return plain_table(("written late", "what", "by", "what became of it"), rows)
