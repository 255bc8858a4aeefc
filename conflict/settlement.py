"""Settlement: which conflicts a site is to settle by itself, and which site goes first.

Policies that compute a content (union, merge, command) never run inside the projection: one site
writes a version that replaces all that it was made of, as a person would. Any number of sites may
do that at once, since equal inputs make equal contents, and equal contents are no conflict. The
order of sites only avoids needless work.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

from conflict.content import Content, ContentKind
from conflict.merged_tree import NodeStore, directories_at
from conflict.node import Version
from conflict.operations import MTIME_NS, ROOT, AttributeChanges, Context, NodeId
from conflict.policy import PolicyRule, VolumePolicy, policy_of
from conflict.rendering import Claim, claimants_at, render
from conflict.report import contended_paths
from conflict.version import Dot

Path = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Contention:
    """All versions that compete for one name, which a site is to settle.

    Attributes:
        path: the name.
        rule: that says so.
        versions: different contents, the one with the lowest stamp first.
        winner: the one that has the name.
        claims: what the entry of the name stands for.
        losers: what the others stand for.
    """

    path: Path
    rule: PolicyRule
    versions: tuple[Version, ...]
    winner: Version
    claims: tuple[Claim, ...]
    losers: tuple[Claim, ...]

    @property
    def dots(self) -> Context:
        """All versions that are settled with it."""
        return frozenset(d for claim in (*self.claims, *self.losers) for d in claim.content_dots)

    @property
    def identity(self) -> bytes:
        """Tells contentions apart: another version, or another rule, makes another one."""
        dots = b"".join(dot.actor + dot.counter.to_bytes(8, "big") for dot in sorted(self.dots))
        return dots + self.rule.text.encode()

    @property
    def replaced(self) -> tuple[Claim, ...]:
        """The claims for writing what settles it: all versions of that file are replaced."""
        first, *others = self.claims
        siblings = (each.content_dots for each in self.losers if each.node == first.node)
        return replace(first, content_dots=first.content_dots.union(*siblings)), *others

    @property
    def other_files(self) -> tuple[Claim, ...]:
        """Losing files of the same name, which go with what settles it."""
        return tuple(each for each in self.losers if each.node != self.claims[0].node)

    @property
    def attributes(self) -> AttributeChanges:
        """Those of what settles it: of two sites that write it at once, the same."""
        times = [dict(version.attributes).get(MTIME_NS) for version in self.versions]
        known = [time_ns for time_ns in times if isinstance(time_ns, int)]
        return ((MTIME_NS, max(known)),) if known else ()

    def sites_in_turn(self, policy: VolumePolicy) -> list[bytes]:
        """Returns all known sites, in the order in which they are to try.

        Who wrote the version that has the name goes first: nothing else has to be fetched there.
        """
        authors = [self.winner, *sorted(self.versions, key=lambda v: v.stamp, reverse=True)]
        names = [policy.sites.get(version.dot.actor, b"") for version in authors]
        names += sorted(set(policy.sites.values()))
        return [name for name in dict.fromkeys(names) if name]


def contentions(nodes: NodeStore, held: Container[NodeId] = ()) -> Iterator[Contention]:
    """Yields what sites are to settle by themselves, sorted by path.

    Left to a person: what competes with a directory or is no regular file, what was written under
    a former primary, and what a brake holds.
    """
    policy = policy_of(nodes.node(ROOT))
    if not any(rule.policy.computes_content for rule in policy.rules):
        return
    for path in sorted(contended_paths(nodes)):
        rule = policy.rule_for(path)
        if not rule.policy.computes_content:
            continue
        found = _contention(nodes, policy, rule, path)
        if found is not None and not any(c.node in held for c in (*found.claims, *found.losers)):
            yield found


def _contention(
    nodes: NodeStore, policy: VolumePolicy, rule: PolicyRule, path: Path
) -> Contention | None:
    claimants = claimants_at(nodes, directories_at(nodes, path[:-1]), path[-1])
    rendered = render(path[-1], claimants, policy, rule)
    if not rendered.copies or rendered.version is None:
        return None
    known = {v.dot: v for state, _ in claimants for v in state.versions.values()}
    winner = known[rendered.version]
    versions = sorted((winner, *(copy.version for copy in rendered.copies)), key=lambda v: v.stamp)
    is_settled_by_sites = len({version.stamp.epoch for version in versions}) == 1 and all(
        version.content.kind is ContentKind.REGULAR for version in versions
    )
    losers = tuple(claim for copy in rendered.copies for claim in copy.claims)
    contention = Contention(path, rule, tuple(versions), winner, rendered.claims, losers)
    return contention if is_settled_by_sites else None


def ancestor_dots(contention: Contention) -> list[Dot] | None:
    """Returns the versions whose common ancestor is wanted; None when they have none.

    Files that were created under one name by two sites come from nothing.
    """
    return None if contention.other_files else [version.dot for version in contention.versions]


def contents_of(contention: Contention) -> tuple[Content, ...]:
    """Returns the contents to be made one, those of earlier stamps first."""
    return tuple(version.content for version in contention.versions)
