"""What must hold of sites when all have heard of everything; the checks say what went wrong."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from conflict.merged_tree import MergedTree
from conflict.operations import (
    MTIME_NS,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    check_name,
)
from conflict.projection import project
from conflict.rendering import Claim
from conflict.version import Dot, VersionVector
from tests.support.history import CopyingNodes, Site, Tree, mtime_of, text_of, tree_of


def assert_tree_is_the_defined_one(site: Site) -> None:
    """The tree that was kept up to date is the projection of what the site received."""
    assert project(site.operations).entries == tree_of(site.merged), "not the defined tree"


def assert_converged(sites: Sequence[Site], rng: random.Random) -> None:
    """All disks are equal, and equal to what other orders of arrival make."""
    first, *others = sites
    for other in others:
        assert first.disk == other.disk, "trees differ"
        assert first.orphans == other.orphans, "conflicts without files differ"
    store = CopyingNodes()
    tree = MergedTree(store)
    for operation in in_another_order(first, rng):
        tree.apply(operation)
    assert first.disk == tree_of(store), "another order of arrival makes another tree"
    shuffled = first.operations
    rng.shuffle(shuffled)
    assert first.disk == project(shuffled).entries, "not the defined tree"


def in_another_order(site: Site, rng: random.Random) -> list[Operation]:
    """Returns a site's operations in another order in which they could have arrived."""
    waiting = list(site.transactions)
    vector = VersionVector()
    ordered: list[Operation] = []
    while waiting:
        ready = [transaction for transaction in waiting if vector.covers(transaction.received)]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        vector = vector.join({chosen.actor: chosen.last_counter})
        ordered += chosen.operations
    return ordered


def shown_dots(site: Site) -> set[Dot]:
    """Returns the versions that a site shows: at a name, as conflict copies, or as orphans."""
    claims: list[Claim] = [claim for found in site.orphans.values() for claim in found]
    for entry in site.disk.values():
        claims += [*entry.claims, *(claim for copy in entry.copies for claim in copy.claims)]
    return {dot for claim in claims for dot in claim.content_dots}


def assert_nothing_is_lost(sites: Sequence[Site]) -> None:
    """Each version is shown, or a user parted with it: overwrote, deleted or settled it.

    Taking away one of several names parts with a version when all names went, each taken away
    by somebody who kept another.
    """
    site = sites[0]
    discarded = set().union(*(other.discarded for other in sites))
    unlinked = set().union(*(other.unlinked for other in sites))
    links: dict[NodeId, set[LinkId]] = defaultdict(set)
    for operation in site.operations:
        if isinstance(operation, Place):
            links[operation.node].add(operation.link)
    accounted = shown_dots(site) | discarded
    for operation in site.operations:
        if isinstance(operation, Put) and operation.dot not in accounted:
            unlinked_all = {(operation.dot, link) for link in links[operation.node]} <= unlinked
            assert unlinked_all, f"{text_of(operation.content)!r} is lost"


def assert_tree_is_sound(tree: Tree) -> None:
    """Every entry is in a directory that is there; copies have legal names of their own."""
    for path, entry in tree.items():
        assert not path[:-1] or tree[path[:-1]].is_directory, f"{path!r} is in no directory"
        assert entry.claims, f"{path!r} stands for nothing"
        copy_names = [copy.copy_name for copy in entry.copies]
        for name in copy_names:
            check_name(name)
        assert len(set(copy_names)) == len(copy_names), f"copies of {path!r} share a name"


def assert_conflicts_are_bounded(site: Site) -> None:
    """A path has one copy at most for each version that could be there, all different."""
    states = project(site.operations).states
    for path, entry in site.disk.items():
        claims = [*entry.claims, *(claim for copy in entry.copies for claim in copy.claims)]
        files = {claim.node for claim in claims if not states[claim.node].is_directory}
        versions = sum(len(states[node].visible_versions()) for node in files)
        bound = versions - (not entry.is_directory)
        assert len(entry.copies) <= bound, f"too many conflicts of {path!r}"
        texts = [text_of(copy.version.content) for copy in entry.copies]
        distinct = {*texts, text_of(entry.content)}
        assert len(distinct) == len(texts) + 1, f"equal contents in conflict at {path!r}"


def assert_times_belong_to_contents(tree: Tree) -> None:
    """No file has the modification time of a version that is not there."""
    for path, entry in tree.items():
        if not entry.is_directory:
            time_ns = dict(entry.attributes)[MTIME_NS]
            assert time_ns == mtime_of(text_of(entry.content)), f"{path!r} has another's time"


def assert_stamps_are_causal(site: Site) -> None:
    """Each operation is later than those on the same node that its author had."""
    earlier_by_node: dict[NodeId, list[Operation]] = defaultdict(list)
    for transaction in site.transactions:
        for operation in transaction:
            for earlier in earlier_by_node[operation.node]:
                if transaction.received.includes(earlier.dot):
                    assert earlier.stamp < operation.stamp, f"{operation.dot} is not later"
            if isinstance(operation, Place | Put | SetAttributes):
                earlier_by_node[operation.node].append(operation)
