"""Records of the journal: what is packed is what is unpacked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.merged_tree import DirectoryMove
from conflict.node import NodeState
from conflict.operations import Transaction
from conflict.synced import PARKED, EntryId, SyncedEntry
from geosync.journal.records import (
    pack_move,
    pack_node,
    pack_synced,
    pack_transaction,
    pack_whole_entry,
    unpack_move,
    unpack_node,
    unpack_synced,
    unpack_transaction,
    unpack_whole_entry,
)
from tests.support.journal_strategies import moves, node_states, synced_entries
from tests.support.strategies import actor_ids, logs
from transport.msgpack_codec import encode
from transport.operation_codec import encode_operation, encode_vector
from transport.wire_errors import WireFormatError

entry_ids = st.one_of(st.just(PARKED), st.integers(0, 2**62)).map(EntryId)
entries = synced_entries(entry_ids, entry_ids)


@settings(deadline=None)
@given(node_states())
def test_the_state_of_a_node_comes_back(state: NodeState) -> None:
    back = unpack_node(state.node, pack_node(state))
    assert back == state
    assert list(back.links) == list(state.links)


@settings(deadline=None)
@given(moves)
def test_a_move_of_a_directory_comes_back(move: DirectoryMove) -> None:
    assert unpack_move(move.stamp, pack_move(move)) == move


@settings(deadline=None)
@given(entries)
def test_a_synced_entry_comes_back(entry: SyncedEntry) -> None:
    columns = (entry.entry, entry.parent, entry.name, entry.handle, entry.copy_of)
    assert unpack_synced(*columns, pack_synced(entry)) == entry
    assert unpack_whole_entry(pack_whole_entry(entry)) == entry


@settings(deadline=None)
@given(entries)
def test_an_entry_whose_attributes_are_as_wanted_is_stored_shorter(entry: SyncedEntry) -> None:
    as_wanted = replace(entry, intended=entry.attributes)
    assert unpack_whole_entry(pack_whole_entry(as_wanted)) == as_wanted
    if entry.intended != entry.attributes:
        assert len(pack_synced(as_wanted)) < len(pack_synced(entry))


@settings(deadline=None)
@given(actor_ids.flatmap(logs))
def test_a_transaction_comes_back(log: tuple[Transaction, ...]) -> None:
    for transaction in log:
        assert unpack_transaction(pack_transaction(transaction)) == transaction


@settings(deadline=None)
@given(actor_ids.flatmap(logs))
def test_a_transaction_that_an_older_geosync_kept_comes_back(log: tuple[Transaction, ...]) -> None:
    """It packed each operation on its own."""
    for transaction in log:
        operations = tuple(map(encode_operation, transaction.operations))
        kept = encode((encode_vector(transaction.received), operations))
        assert unpack_transaction(kept) == transaction


def test_a_damaged_record_is_an_error_of_ours() -> None:
    with pytest.raises(WireFormatError, match="a record of this machine is damaged"):
        unpack_whole_entry(b"\xc1 no msgpack begins so")
