"""Conflicts as people and programs read them: a table, one in full, and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from conflict.node import Version
from conflict.operations import ROOT, id_of
from conflict.policy import ConflictPolicy, policy_of
from conflict.rendering import ConflictKind
from conflict.report import Conflict, Decision
from conflict.version import ActorId, Dot
from geosync.engine.mirroring import mirror_path
from geosync.engine.site import joined
from geosync.journal.journal import Journal
from geosync.terminal import display_moment, display_name, human_size, plain_table

JsonObject = dict[str, object]

_KINDS: dict[str, str] = {
    ConflictKind.CONTENT.value: "both sites wrote the file",
    ConflictKind.NAME.value: "both sites made a file of this name",
    ConflictKind.DIRECTORY.value: "another site made a directory of this name",
    ConflictKind.DELETED.value: "the file was deleted while this version waited",
}


_DECISIONS: dict[str, str] = {
    Decision.DIRECTORY.value: "a directory has the name before files",
    Decision.DELETED.value: "whoever deleted the file had this version beside it",
    Decision.SITE_PRIORITY.value: "the policy of this path prefers the other site",
    Decision.ASIDE.value: "it was left beside the version that has the name",
    Decision.PLACED_LATER.value: "the other file got the name later, by the sites' clocks",
    Decision.EPOCH.value: "the other version was written under a later primary",
    Decision.WRITTEN_LATER.value: "the other version was written later, by the sites' clocks",
}


def conflict_json(conflict: Conflict, journal: Journal) -> JsonObject:
    """Returns a conflict as JSON knows it; docs/commands.md tells what the keys mean."""
    sites = policy_of(journal.nodes.node(ROOT)).sites
    winner = conflict.winner_version
    return {
        "id": conflict.identity,
        "path": display_name(joined(conflict.path)),
        "kind": conflict.kind.value,
        "policy": conflict.policy.value.decode(),
        "decided_by": conflict.decision.value,
        "left_because": _left_because(conflict, journal),
        "winner": None if winner is None else _version_json(winner, sites),
        "loser": _version_json(conflict.loser, sites),
        "kept_at": _kept_at(conflict),
    }


def _left_because(conflict: Conflict, journal: Journal) -> str | None:
    """Returns why the policy of the path did not settle it, as far as this site tried."""
    if not conflict.policy.computes_content:
        return None
    return journal.settlements.reason(id_of(conflict.loser.dot))


def site_of(journal: Journal, dot: Dot) -> str:
    """Returns the name of the site that wrote a version."""
    sites = policy_of(journal.nodes.node(ROOT)).sites
    return display_name(sites.get(dot.actor, b"")) or "an unknown site"


def _version_json(version: Version, sites: Mapping[ActorId, bytes]) -> JsonObject:
    return {
        "site": display_name(sites.get(version.dot.actor, b"")),
        "actor": version.dot.actor.hex(),
        "counter": version.dot.counter,
        "written_at_ms": version.stamp.time_ms,
        "kind": version.content.kind.name.lower(),
        "size_bytes": version.content.size_bytes,
    }


def _kept_at(conflict: Conflict) -> str | None:
    """Returns where the losing version can be read, relative to the root; None: nowhere."""
    match conflict.policy:
        case ConflictPolicy.BESIDE if conflict.winner is not None:
            return display_name(joined((*conflict.path[:-1], conflict.copy_name)))
        case ConflictPolicy.NEWEST:
            return None
        case _:
            return display_name(mirror_path(conflict))


def decision_text(found: Mapping[str, object]) -> str:
    """Returns which rule decided a conflict that its JSON tells of, in words."""
    code = str(found["decided_by"])
    return _DECISIONS.get(code, code)


def conflict_table(found: Iterable[Mapping[str, object]]) -> str:
    """Returns conflicts, as their JSON tells them, as a table."""
    rows = [
        (str(each["id"]), str(each["path"]), who_wrote(each["winner"]), who_wrote(each["loser"]))
        for each in found
    ]
    return plain_table(("conflict", "path", "has the name", "was kept aside"), rows)


def conflict_line(found: Mapping[str, object]) -> str:
    """Returns one conflict, or drift, as its JSON tells it, on one line."""
    if found.get("loser") is None:
        return f"{found['kind']} {found['path']}"
    loser, winner = who_wrote(found["loser"]), who_wrote(found["winner"])
    return f"{found['id']} {found['path']}: {loser} was kept aside, {winner} has the name"


def conflict_text(found: Mapping[str, object]) -> str:
    """Returns one conflict, as its JSON tells it, in full."""
    kept_at = found["kept_at"]
    return "\n".join(
        (
            f"conflict {found['id']} about {found['path']}",
            f"  what happened   {_KINDS.get(str(found['kind']), str(found['kind']))}",
            f"  has the name    {who_wrote(found['winner'])}",
            f"  was kept aside  {who_wrote(found['loser'])}",
            f"  where           {kept_at or 'in the history only'}",
            f"  decided by      {decision_text(found)}",
            f"  policy          {found['policy']}",
            *([f"  not merged      {why}"] if (why := found["left_because"]) else []),
            "",
            f"To settle it: geosync conflicts resolve {found['id']} --take winner|loser|both",
            "(both: the one that was kept aside becomes a file of its own), or by another content:",
            "--merge, --edit or --file FILE. It can be undone: geosync conflicts undo",
        )
    )


def who_wrote(version: object, size: Callable[[int], str] = human_size) -> str:
    """Returns who wrote a version, as its JSON tells it, when, and how much."""
    match version:
        case {"site": str(site), "written_at_ms": int(written_ms), "size_bytes": int(size_bytes)}:
            return f"{site or 'unknown site'}, {display_moment(written_ms)}, {size(size_bytes)}"
        case _:
            return "nothing, or a directory"
