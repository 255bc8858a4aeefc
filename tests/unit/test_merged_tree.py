"""The merged tree's manners: it touches little, and refuses what no honest site writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from conflict.author import Author
from conflict.errors import MalformedValueError
from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import LiveLink, MergedTree
from conflict.node import LinkState, Location, NodeState, PlaceRecord
from conflict.operations import (
    MODE,
    ROOT,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    id_of,
)
from conflict.rendering import Claim
from conflict.stamp import HybridClock, Stamp
from conflict.version import ActorId, Dot, VersionVector
from tests.support.history import Site, content_of, tree_of


class CountingNodes:
    """Counts what is asked of a store."""

    def __init__(self, store: MemoryNodes) -> None:
        self.calls: Counter[str] = Counter()
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*arguments, **options)

        return counted


CHILDREN = 100_000
CALLS_MAX = 16
US = ActorId(b"1" * 16)


def _claim_of(counter: int) -> Claim:
    node = NodeId(id_of(Dot(US, counter)))
    content_dots = frozenset({Dot(US, counter + CHILDREN + 10)})
    return Claim(node, LinkId(node), frozenset({Dot(US, counter)}), content_dots)


@pytest.fixture(scope="module")
def big_store() -> MemoryNodes:
    """A store with a directory of CHILDREN files, and another directory, both in the root.

    The directory is of counter 1, the other one of counter 2, files of counters from 3 on.
    """
    store = MemoryNodes()
    directory = _claim_of(1).node
    for counter in range(1, CHILDREN + 3):
        claim = _claim_of(counter)
        is_directory = counter < 3
        location = Location(ROOT if is_directory else directory, b"%d" % counter)
        place = PlaceRecord(Dot(US, counter), Stamp(0, counter, US), location)
        state = NodeState(claim.node, is_directory, place.stamp)
        state.links[claim.link] = LinkState((place,), place)
        if is_directory:
            state.location = location
        store.save_node(state)
        store.add_live_link(location.parent, LiveLink(location.name, claim.node, claim.link))
        if not is_directory:
            (put,) = claim.content_dots
            state.absorb(Put(put, place.stamp, claim.node, claim.link, content_of("x")))
    state_of_directory = store.node(directory)
    assert state_of_directory is not None
    state_of_directory.live_child_count = CHILDREN
    return store


CHANGES_IN_A_BIG_TREE: dict[str, Callable[[Author], object]] = {
    "create": lambda author: author.create_file(_claim_of(1).node, b"n", content_of("n"), ()),
    "mkdir": lambda author: author.create_directory(_claim_of(1).node, b"m", ()),
    "edit": lambda author: author.write((_claim_of(5),), content_of("y"), ()),
    "chmod": lambda author: author.set_attributes((_claim_of(6),), ((MODE, 0o600),)),
    "move": lambda author: author.move((_claim_of(7),), ROOT, b"moved"),
    "link": lambda author: author.add_name(_claim_of(8), ROOT, b"linked"),
    "delete": lambda author: author.delete((_claim_of(9),), (), is_last_name=True),
    "rename directory": lambda author: author.move((_claim_of(1),), ROOT, b"renamed"),
    "move directory": lambda author: author.move((_claim_of(1),), _claim_of(2).node, b"below"),
    "delete directory": lambda author: author.delete((_claim_of(1),), (), is_last_name=True),
}


@pytest.mark.parametrize("what", CHANGES_IN_A_BIG_TREE)
def test_change_costs_what_it_touches(what: str, big_store: MemoryNodes) -> None:
    """Among 100,000 files, each operation makes a few store calls and lists no directory."""
    written_before = 10 * CHILDREN + 10 * list(CHANGES_IN_A_BIG_TREE).index(what)
    received = VersionVector({US: written_before})
    clock = HybridClock(US, ticks=10 * CHILDREN)
    author = Author(big_store, clock, received, now_ms=0)
    counting = CountingNodes(big_store)
    author._tree = MergedTree(counting)
    CHANGES_IN_A_BIG_TREE[what](author)
    transaction = author.transaction()
    assert transaction is not None
    assert counting.calls.total() <= CALLS_MAX * len(transaction.operations), counting.calls
    assert counting.calls["live_links_in"] == 0


def _hostile_operations() -> dict[str, Operation]:
    """Operations that an honest site never writes, against `f` (counter 1) and `d` (counter 3)."""
    actor = Site(1).actor
    file, directory = (NodeId(id_of(Dot(actor, counter))) for counter in (1, 3))
    nowhere = NodeId(id_of(Dot(actor, 99)))
    other = ActorId(b"9" * 16)
    dot, stamp = Dot(other, 1), Stamp(0, 2**60, other)
    new = NodeId(id_of(dot))
    content = content_of("x")
    return {
        "in no directory": Place(dot, stamp, new, LinkId(new), False, nowhere, b"n"),
        "in a file": Place(dot, stamp, new, LinkId(new), False, file, b"n"),
        "older than its parent": Place(
            dot, Stamp(0, 1, other), new, LinkId(new), False, directory, b"n"
        ),
        "of another's making": Place(dot, stamp, nowhere, LinkId(nowhere), False, ROOT, b"n"),
        "link to nothing": Place(dot, stamp, nowhere, LinkId(new), False, ROOT, b"n"),
        "link to a directory": Place(dot, stamp, directory, LinkId(new), False, ROOT, b"n"),
        "file as a directory": Place(dot, stamp, file, LinkId(file), True, ROOT, b"n"),
        "directory as a file": Place(dot, stamp, directory, LinkId(directory), False, ROOT, b"n"),
        "move of no name": Place(dot, stamp, file, LinkId(nowhere), False, ROOT, b"n"),
        "creation again": Place(Dot(actor, 1), stamp, file, LinkId(file), False, ROOT, b"n"),
        "write to nothing": Put(dot, stamp, nowhere, LinkId(nowhere), content),
        "write to a directory": Put(dot, stamp, directory, LinkId(directory), content),
        "write to the root": Put(dot, stamp, ROOT, LinkId(ROOT), content),
        "write through no name": Put(dot, stamp, file, LinkId(nowhere), content),
        "attributes of nothing": SetAttributes(dot, stamp, nowhere, ((MODE, 0o600),)),
        "deletion of nothing": Delete(dot, stamp, nowhere, LinkId(nowhere), frozenset()),
        "deletion of no name": Delete(dot, stamp, file, LinkId(nowhere), frozenset()),
        "settling of nothing": Drop(dot, stamp, nowhere, frozenset({dot})),
        "settling of a directory": Drop(dot, stamp, directory, frozenset({dot})),
    }


@pytest.mark.parametrize("what", _hostile_operations())
def test_hostile_operation_is_refused_and_changes_nothing(what: str) -> None:
    """What refers to nothing, or takes one thing for another, never reaches the store."""
    site = Site(1)
    site.create("f", "0")
    site.mkdir("d")
    counting = CountingNodes(MemoryNodes())
    tree = MergedTree(counting)
    for operation in site.operations:
        tree.apply(operation)
    before = tree_of(counting)
    counting.calls.clear()
    with pytest.raises(MalformedValueError):
        tree.apply(_hostile_operations()[what])
    assert set(counting.calls) <= {"node"}
    assert before == tree_of(counting)
