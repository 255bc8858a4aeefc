"""The conflict report: which versions lost, to what, by which rule, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.naming import copy_name
from conflict.node import Location, NodeState, Version
from conflict.operations import ROOT, NodeId
from conflict.policy import ConflictPolicy, PolicyRule, VolumePolicy, policy_of
from conflict.rendering import (
    Claim,
    ConflictCopy,
    ConflictKind,
    Rendered,
    claimants_at,
    render,
)
from conflict.version import Dot

Path = tuple[bytes, ...]


class Decision(StrEnum):
    """Which rule kept a version from its name."""

    DIRECTORY = "directory"  # a directory has the name before files
    DELETED = "deleted"  # the file was deleted by somebody who had this version beside it
    SITE_PRIORITY = "site-priority"  # the policy of the path prefers the other site
    ASIDE = "aside"  # it was written, or left, as a version beside the one that has the name
    PLACED_LATER = "placed-later"  # the other file got the name later
    EPOCH = "epoch"  # the other version was written under a later primary
    WRITTEN_LATER = "written-later"  # the other version was written later, by the sites' clocks


@dataclass(frozen=True, slots=True)
class Conflict:
    """One version that is kept although it is not at its name."""

    path: Path
    kind: ConflictKind
    loser: Version
    claims: tuple[Claim, ...]  # settling the conflict drops these
    copy_name: bytes
    winner: Rendered | None  # what has the name; None when the file was deleted
    winner_version: Version | None  # None for a directory
    policy: ConflictPolicy
    decision: Decision

    @property
    def identity(self) -> str:
        """A short name for commands: the losing version's dot."""
        return self.loser.dot.label


def conflicts(nodes: NodeStore) -> Iterator[Conflict]:
    """Yields all open conflicts, sorted by path."""
    policy = policy_of(nodes.node(ROOT))
    found = [
        *(c for path in contended_paths(nodes) for c in _at_name(nodes, policy, path)),
        *_orphans(nodes, policy),
    ]
    yield from sorted(found, key=lambda c: (c.path, c.loser.dot))


def contended_paths(nodes: NodeStore) -> set[Path]:
    """Returns the names that several versions or files may claim: where policies decide."""
    locations: set[Location] = set(nodes.crowded_locations())
    for node in nodes.contested_nodes():
        state = nodes.node(node)
        if state is not None:
            locations.update(state.presence().values())
    paths = {path_of(nodes, at) for at in locations}
    return paths | _paths_in_joined_directories(nodes, paths)


def _paths_in_joined_directories(nodes: NodeStore, crowded: set[Path]) -> set[Path]:
    """Returns the names that two directories of one name both hold: one name, two places."""
    found: set[Path] = set()
    pending = sorted(crowded)
    while pending:
        path = pending.pop()
        together = directories_at(nodes, path)
        if len(together) < 2:
            continue
        seen: dict[bytes, NodeId] = {}
        for node in together:
            for live in nodes.live_links_in(node):
                if seen.setdefault(live.name, node) != node:
                    found.add((*path, live.name))
                    pending.append((*path, live.name))
    return found


def _at_name(nodes: NodeStore, policy: VolumePolicy, path: Path) -> Iterator[Conflict]:
    rule = policy.rule_for(path)
    claimants = claimants_at(nodes, directories_at(nodes, path[:-1]), path[-1])
    rendered = render(path[-1], claimants, policy, rule)
    versions = {v.dot: v for state, _ in claimants for v in state.versions.values()}
    winner = versions.get(rendered.version) if rendered.version is not None else None
    for copy in rendered.copies:
        yield Conflict(
            path=path,
            kind=copy.kind,
            loser=copy.version,
            claims=copy.claims,
            copy_name=copy.copy_name,
            winner=rendered,
            winner_version=winner,
            policy=rule.policy,
            decision=_decision(copy, winner, policy, rule),
        )


def _decision(
    copy: ConflictCopy, winner: Version | None, policy: VolumePolicy, rule: PolicyRule
) -> Decision:
    if winner is None:
        return Decision.DIRECTORY
    loser = copy.version
    if policy.rank(rule, loser.dot) != policy.rank(rule, winner.dot):
        return Decision.SITE_PRIORITY
    if copy.kind is ConflictKind.NAME:
        return Decision.PLACED_LATER
    if loser.is_aside and not winner.is_aside:
        return Decision.ASIDE
    if loser.stamp.epoch != winner.stamp.epoch:
        return Decision.EPOCH
    return Decision.WRITTEN_LATER


def _orphans(nodes: NodeStore, policy: VolumePolicy) -> Iterator[Conflict]:
    for node in nodes.contested_nodes():
        state = nodes.node(node)
        if state is None:
            continue
        for version in state.orphaned_versions():
            link = state.links[version.via]
            path = path_of(nodes, link.location)
            rule = policy.rule_for(path)
            if rule.policy is ConflictPolicy.NEWEST:
                continue
            yield Conflict(
                path=path,
                kind=ConflictKind.DELETED,
                loser=version,
                claims=(_claim(state, version.dot),),
                copy_name=copy_name(path[-1], version.dot, version.stamp),
                winner=None,
                winner_version=None,
                policy=rule.policy,
                decision=Decision.DELETED,
            )


def _claim(state: NodeState, dot: Dot) -> Claim:
    link = state.versions[dot].via
    return Claim(state.node, link, state.links[link].place_dots, frozenset({dot}))
