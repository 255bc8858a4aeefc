"""The merged tree in the journal answers as the one in memory, also after a rollback or restart."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import DirectoryMove, LiveLink, NodeStore
from conflict.node import Location, NodeState
from conflict.operations import ROOT, LinkId, NodeId, id_of
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot
from geosync.journal import nodes as journal_nodes
from geosync.journal.journal import Journal
from tests.support.journal_strategies import moves, node_states, stamps
from tests.support.local_sites import quick_directory

ACTOR = ActorId(b"a" * 16)
CREATED = [NodeId(id_of(Dot(ACTOR, counter))) for counter in (1, 2, 3)]
NODES = [ROOT, *CREATED]
NAMES = [b"a", b"\xff", b"a b"]
Step = Callable[[NodeStore], None]
LiveName = tuple[NodeId, LiveLink]


def _save(state: NodeState, is_contested: bool | None) -> Step:
    def step(store: NodeStore) -> None:
        store.save_node(copy.deepcopy(state))
        if is_contested is not None:
            store.set_contested(state.node, is_contested=is_contested)

    return step


def _change_in_place(node: NodeId, live_child_count: int) -> Step:
    """Changes a state that was read, as the merged tree does."""

    def step(store: NodeStore) -> None:
        state = store.node(node)
        if state is not None:
            state.live_child_count = live_child_count
            store.save_node(state)

    return step


def _toggle(live_name: LiveName) -> Step:
    parent, live = live_name

    def step(store: NodeStore) -> None:
        if live in store.live_links_at(Location(parent, live.name)):
            store.remove_live_link(parent, live)
        else:
            store.add_live_link(parent, live)

    return step


def _save_move(move: DirectoryMove) -> Step:
    return lambda store: store.save_move(move)


live_names: st.SearchStrategy[LiveName] = st.tuples(
    st.sampled_from(NODES),
    st.builds(
        LiveLink,
        st.sampled_from(NAMES),
        st.sampled_from(CREATED),
        st.sampled_from(CREATED).map(LinkId),
    ),
)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(_save, node_states(st.sampled_from(NODES)), st.sampled_from((None, True, False))),
    st.builds(_change_in_place, st.sampled_from(NODES), st.integers(0, 9)),
    live_names.map(_toggle),
    moves.map(_save_move),
)
endings = st.sampled_from(("commit", "commit", "roll back", "start again"))
histories = st.lists(st.tuples(st.lists(steps, max_size=6), endings), max_size=6)


def _answers(store: NodeStore, since: Stamp) -> list[object]:
    names = [Location(parent, name) for parent in NODES for name in NAMES]
    return [
        [copy.deepcopy(store.node(node)) for node in NODES],
        [store.live_links_at(at) for at in names],
        [list(store.live_links_in(parent)) for parent in NODES],
        store.moves_after(since),
        store.moves_after(Stamp(0, 0, ActorId(bytes(16)))),
        list(store.contested_nodes()),
        list(store.crowded_locations()),
    ]


class _RollBackError(Exception):
    pass


def _run(journal: Journal, memory: MemoryNodes, done: list[Step], since: Stamp) -> None:
    for step in done:
        step(journal.nodes)
        step(memory)
        assert _answers(journal.nodes, since) == _answers(memory, since)


@pytest.mark.parametrize("cached_nodes_max", [0, 2, 20_000])
@settings(max_examples=25, deadline=None)
@given(history=histories, since=stamps)
def test_the_journal_answers_as_the_memory(
    cached_nodes_max: int, history: list[tuple[list[Step], str]], since: Stamp
) -> None:
    memory = MemoryNodes()
    with pytest.MonkeyPatch.context() as patch, quick_directory() as state_dir:
        patch.setattr(journal_nodes, "CACHED_NODES_MAX", cached_nodes_max)
        journal = Journal(state_dir)
        for done, ending in history:
            before = copy.deepcopy(memory)
            try:
                with journal.transaction():
                    _run(journal, memory, done, since)
                    if ending == "roll back":
                        raise _RollBackError
            except _RollBackError:
                memory = before
            if ending == "start again":
                journal.close()
                journal = Journal(state_dir)
            assert _answers(journal.nodes, since) == _answers(memory, since)
        journal.close()


def test_a_state_that_was_changed_in_place_and_rolled_back_is_forgotten() -> None:
    with quick_directory() as state_dir:
        journal = Journal(state_dir)
        with journal.transaction():
            journal.nodes.save_node(NodeState(CREATED[0], True, Stamp(0, 1, ACTOR)))

        def change_and_fail() -> None:
            with journal.transaction():
                _change_in_place(CREATED[0], 7)(journal.nodes)
                raise _RollBackError

        with pytest.raises(_RollBackError):
            change_and_fail()
        found = journal.nodes.node(CREATED[0])
        assert found is not None
        assert found.live_child_count == 0
        journal.close()


@given(states=st.lists(node_states(st.sampled_from(NODES)), min_size=4, max_size=4))
@settings(max_examples=5, deadline=None)
def test_whoever_only_reads_nodes_does_not_fill_the_memory(states: list[NodeState]) -> None:
    many = [NodeId(id_of(Dot(ACTOR, counter))) for counter in range(1, 40)]
    with pytest.MonkeyPatch.context() as patch, quick_directory() as state_dir:
        patch.setattr(journal_nodes, "CACHED_NODES_MAX", 8)
        journal = Journal(state_dir)
        with journal.transaction():
            for number, node in enumerate(many):
                state = copy.deepcopy(states[number % len(states)])
                state.node = node
                journal.nodes.save_node(state)
        for node in many:
            assert journal.nodes.node(node) is not None
            assert len(journal.nodes._cache) <= 9
        with journal.transaction():  # they may be changed in place here
            read = [journal.nodes.node(node) for node in many]
            assert [journal.nodes.node(node) for node in many] == read
            assert all(journal.nodes.node(state.node) is state for state in read if state)
        journal.close()
