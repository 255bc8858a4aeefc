"""Why a path is as it is: what is on this disk, what the volume has there, and what decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from conflict.ignore_patterns import ignore_patterns
from conflict.merged_tree import directories_at
from conflict.node import NodeState, Version
from conflict.operations import ROOT
from conflict.policy import policy_of
from conflict.rendering import Rendered, claimants_at, render
from conflict.report import conflicts
from conflict.synced import Path, SyncedEntry, entry_at_path
from conflict.version import ActorId, Dot
from geosync.engine.site import joined
from geosync.ignore_spec import IgnoreSpec
from geosync.journal.journal import Journal
from geosync.reporting.conflict_text import JsonObject, conflict_json, decision_text
from geosync.terminal import display_moment, display_name, human_size

_LEFT_ALONE: Final = "whatever is there: nobody looks"


@dataclass(frozen=True, slots=True)
class LiveReasons:
    """What only a running daemon knows of a path."""

    waiting: str | None = None  # what it waits for
    is_excluded: bool = False  # it is never captured here


def path_reasons(path: Path, journal: Journal, live: LiveReasons | None) -> JsonObject:
    """Returns all of it as JSON; docs/commands.md tells what the keys mean.

    Args:
        path: below the root.
        journal: of this site.
        live: from the daemon; None while it does not run.
    """
    policy = policy_of(journal.nodes.node(ROOT))
    rule = policy.rule_for(path)
    claimants = claimants_at(journal.nodes, directories_at(journal.nodes, path[:-1]), path[-1])
    wanted = render(path[-1], claimants, policy, rule)
    entry = entry_at_path(journal.synced, path)
    versions = _versions(state for state, _ in claimants)
    on_disk = _on_disk(entry, versions, policy.sites)
    in_volume = _in_volume(wanted, versions, policy.sites)
    is_directory = wanted.is_directory or (entry is not None and entry.is_directory)
    spec = IgnoreSpec(ignore_patterns(journal.nodes.node(ROOT)))
    ignored = spec.deciding(path, is_directory=is_directory)
    return {
        "path": display_name(joined(path)),
        "ignored_by": None if ignored is None else display_name(ignored),
        "on_disk": on_disk,
        "in_volume": in_volume,
        "is_same": _stands_for(entry) == _wanted_dots(wanted),
        "waiting": live.waiting if live is not None else None,
        "is_excluded": live.is_excluded if live is not None else None,
        "is_daemon_running": live is not None,
        "policy": rule.policy.value.decode(),
        "policy_rule": display_name(rule.glob),
        "conflicts": [
            conflict_json(each, journal) for each in conflicts(journal.nodes) if each.path == path
        ],
    }


def _versions(states: Iterable[NodeState]) -> dict[Dot, Version]:
    return {version.dot: version for state in states for version in state.versions.values()}


def _stands_for(entry: SyncedEntry | None) -> set[object]:
    if entry is None:
        return set()
    if entry.is_directory:
        return {claim.node for claim in entry.claims}
    return {dot for claim in entry.claims for dot in claim.content_dots}


def _wanted_dots(wanted: Rendered) -> set[object]:
    if wanted.is_directory:
        return {claim.node for claim in wanted.claims}
    return {dot for claim in wanted.claims for dot in claim.content_dots}


def _on_disk(
    entry: SyncedEntry | None, versions: Mapping[Dot, Version], sites: Mapping[ActorId, bytes]
) -> JsonObject | None:
    if entry is None:
        return None
    if entry.is_directory:
        return {"kind": "directory"}
    dots = sorted(cast("set[Dot]", _stands_for(entry)))
    found = next((versions[dot] for dot in dots if dot in versions), None)
    size_bytes = entry.content.size_bytes if entry.content is not None else None
    return _version_json(dots[0] if dots else None, found, size_bytes, sites)


def _in_volume(
    wanted: Rendered, versions: Mapping[Dot, Version], sites: Mapping[ActorId, bytes]
) -> JsonObject | None:
    if wanted.is_directory:
        return {"kind": "directory"}
    if wanted.version is None or wanted.content is None:
        return None
    found = versions.get(wanted.version)
    return _version_json(wanted.version, found, wanted.content.size_bytes, sites)


def _version_json(
    dot: Dot | None,
    version: Version | None,
    size_bytes: int | None,
    sites: Mapping[ActorId, bytes],
) -> JsonObject:
    return {
        "kind": version.content.kind.name.lower() if version is not None else "regular",
        "version": dot.label if dot is not None else None,
        "site": display_name(sites.get(dot.actor, b"")) if dot is not None else None,
        "written_at_ms": version.stamp.time_ms if version is not None else None,
        "size_bytes": size_bytes,
    }


def reasons_text(found: Mapping[str, object]) -> str:
    """Returns what `path_reasons` found, for a person."""
    lines = [str(found["path"])]
    is_ignored = found["ignored_by"] is not None
    lines.append(f"  on this disk    {_LEFT_ALONE if is_ignored else _shown(found['on_disk'])}")
    same = "the same" if found["is_same"] and not is_ignored else _shown(found["in_volume"])
    lines.append(f"  in the volume   {same}")
    lines += [f"  here it waits   {line}" for line in _waiting_lines(found)]
    lines.append(f"  policy          {found['policy']} (rule {found['policy_rule']})")
    for conflict in cast("list[Mapping[str, object]]", found["conflicts"]):
        lines += [
            f"  conflict        {conflict['id']}: {decision_text(conflict)}",
            f"    kept aside    {_shown(conflict['loser'])}",
            f"    where         {conflict['kept_at'] or 'in the history only'}",
        ]
    return "\n".join(lines)


def _waiting_lines(found: Mapping[str, object]) -> list[str]:
    if found["ignored_by"] is not None:
        return [f"it is ignored on all sites, by the pattern {found['ignored_by']}"]
    if found["is_excluded"]:
        return ["it is excluded here: the configuration's [[capture]] says so"]
    if found["waiting"]:
        return [str(found["waiting"])]
    if found["is_same"]:
        return []
    if not found["is_daemon_running"]:
        return ["the daemon is not running, so nothing is brought to this disk (geosync run)"]
    return ["it is about to be brought to this disk, or captured from it"]


def _shown(version: object) -> str:
    match version:
        case {"kind": "directory"}:
            return "a directory"
        case {"site": str(site), "size_bytes": int(size_bytes), "written_at_ms": written_ms}:
            when = f", {display_moment(written_ms)}" if isinstance(written_ms, int) else ""
            return f"{site or 'unknown site'}{when}, {human_size(size_bytes)}"
        case _:
            return "nothing"
