"""A tree that was loaded from a checkpoint is the tree that all operations make, for good."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from conflict.checkpoint import BEGINNING, canonical, check_whole, restore
from conflict.merged_tree import DirectoryMove, MergedTree
from conflict.node import NodeState
from conflict.operations import Transaction
from conflict.version import ActorId, VersionVector
from tests.property.test_projection_properties import histories, many
from tests.support.history import CopyingNodes, deliver, orphans_of, tree_of
from tests.support.random_users import RandomHistory
from transport.checkpoint import Manifest, PartsWriter, decode_part
from transport.checkpoint_records import Record
from transport.hashing import VolumeHasher

HASHER = VolumeHasher(bytes(32))
WRITER = ActorId(b"w" * 16)
sizes = st.sampled_from((1, 300, 10**6))


def _records(store: CopyingNodes) -> Iterator[Record]:
    yield from store.all_nodes()
    yield from store.moves_after(BEGINNING)


def _written(store: CopyingNodes, size_bytes: int) -> tuple[Manifest, list[bytes]]:
    writer = PartsWriter(HASHER, size_bytes)
    parts = list(writer.parts(_records(store)))
    digests = tuple(map(HASHER.chain_digest, parts))
    return Manifest("v", "s", WRITER, 0, 0, (), writer.tree_digest, digests), parts


def _loaded(manifest: Manifest, parts: list[bytes]) -> CopyingNodes:
    store = CopyingNodes()
    for index, part in enumerate(parts):
        for record in decode_part(part, HASHER, manifest, index):
            if isinstance(record, NodeState):
                restore(store, record)
            elif isinstance(record, DirectoryMove):
                store.save_move(record)
    check_whole(store, store.all_nodes())
    return store


def _later(
    transactions: list[Transaction], received: VersionVector, rng: random.Random
) -> Iterator[Transaction]:
    """Yields what is not received yet, in some order in which it may arrive."""
    waiting = [t for t in transactions if not received.includes(t.operations[-1].dot)]
    while waiting:
        ready = [each for each in waiting if received.covers(each.received)]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        received = received.join({chosen.actor: chosen.last_counter})
        yield chosen


@many(150)
@given(histories, st.integers(0, 80), sizes)
def test_a_checkpoint_and_what_came_later_make_the_tree_that_all_operations_make(
    history: tuple[int, int, int], more: int, size_bytes: int
) -> None:
    """Names, versions, conflicts and directories are equal after every later operation."""
    seed, site_count, steps = history
    running = RandomHistory(seed, site_count)
    for _ in range(steps):
        site = running.step()
    received = site.received
    replayed = CopyingNodes()
    tree = MergedTree(replayed)
    for operation in site.operations:
        tree.apply(operation)
    loaded = _loaded(*_written(replayed, size_bytes))
    for _ in range(more):
        running.step()
    deliver(running.sites, running.rng)
    everything = running.sites[0].transactions
    both = [MergedTree(replayed), MergedTree(loaded)]
    assert tree_of(replayed) == tree_of(loaded)
    for transaction in _later(everything, received, running.rng):
        for operation in transaction:
            touched = [each.apply(operation) for each in both]
            assert touched[0] == touched[1]
        assert tree_of(replayed) == tree_of(loaded)
        assert orphans_of(replayed) == orphans_of(loaded)
    assert [canonical(s) for s in replayed.all_nodes()] == [
        canonical(s) for s in loaded.all_nodes()
    ]
    assert replayed.moves_after(BEGINNING) == loaded.moves_after(BEGINNING)
    assert list(replayed.crowded_locations()) == list(loaded.crowded_locations())


@many(150)
@given(histories, sizes)
def test_equal_knowledge_makes_equal_bytes(history: tuple[int, int, int], size_bytes: int) -> None:
    """Whatever the order in which the operations came."""
    seed, site_count, steps = history
    running = RandomHistory(seed, site_count)
    for _ in range(steps):
        running.step()
    running.heal()
    first, *others = [_written(site.merged, size_bytes) for site in running.sites]
    assert all(other == first for other in others)
