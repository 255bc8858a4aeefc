"""The synced tree in the journal answers as the one in memory, also after a rollback or restart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, LinkId, NodeId, id_of
from conflict.rendering import Claim
from conflict.synced import (
    PARKED,
    ROOT_ENTRY,
    EntryId,
    MemorySynced,
    SyncedEntry,
    SyncedStore,
)
from conflict.version import ActorId, Dot
from geosync.journal import synced_entries as journal_synced
from geosync.journal.journal import Journal
from tests.support.journal_strategies import synced_entries
from tests.support.local_sites import quick_directory

ENTRIES = [EntryId(number) for number in (1, 2, 3, 4)]
PARENTS = [ROOT_ENTRY, PARKED, EntryId(1), EntryId(2)]
NAMES = [b"a", b"\xff\n"]
HANDLES = [b"inode 1", b"inode 2", b""]
NODES = [ROOT, *(NodeId(id_of(Dot(ActorId(b"a" * 16), counter))) for counter in (1, 2))]
Step = Callable[[SyncedStore], None]


def _save(entry: SyncedEntry) -> Step:
    """Saves an entry, unless another one has its name: a name has one entry."""

    def step(store: SyncedStore) -> None:
        occupant = store.entry_at(entry.parent, entry.name)
        if occupant is None or occupant.entry == entry.entry:
            store.save_entry(entry)

    return step


def _remove(entry: EntryId) -> Step:
    return lambda store: store.remove_entry(entry)


steps: st.SearchStrategy[Step] = st.one_of(
    synced_entries(
        st.sampled_from(ENTRIES),
        st.sampled_from(PARENTS),
        st.sampled_from(NAMES),
        st.sampled_from(NODES),
        st.sampled_from(HANDLES),
    ).map(_save),
    st.sampled_from(ENTRIES).map(_remove),
)
endings = st.sampled_from(("commit", "commit", "roll back", "start again"))
histories = st.lists(st.tuples(st.lists(steps, max_size=8), endings), max_size=6)


def _answers(store: SyncedStore) -> list[object]:
    places = [(parent, name) for parent in PARENTS for name in NAMES]
    return [
        [store.entry(entry) for entry in (ROOT_ENTRY, *ENTRIES)],
        [store.entry_at(*place) for place in places],
        [list(store.entries_in(parent)) for parent in PARENTS],
        [store.entries_of_handle(handle) for handle in HANDLES],
        [store.entries_of_node(node) for node in NODES],
        [store.copies_of(*place) for place in places],
    ]


class _RollBackError(Exception):
    pass


@pytest.mark.parametrize("cached_entries_max", [0, 10_000])
@settings(max_examples=30, deadline=None)
@given(histories)
def test_the_journal_answers_as_the_memory(
    cached_entries_max: int, history: list[tuple[list[Step], str]]
) -> None:
    memory = MemorySynced()
    with pytest.MonkeyPatch.context() as patch, quick_directory() as state_dir:
        patch.setattr(journal_synced, "CACHED_ENTRIES_MAX", cached_entries_max)
        journal = Journal(state_dir)
        for done, ending in history:
            before = copy.deepcopy(memory)
            try:
                with journal.transaction():
                    for step in done:
                        step(journal.synced)
                        step(memory)
                        assert _answers(journal.synced) == _answers(memory)
                    if ending == "roll back":
                        raise _RollBackError
            except _RollBackError:
                memory = before
            if ending == "start again":
                journal.close()
                journal = Journal(state_dir)
            assert _answers(journal.synced) == _answers(memory)
            in_all = sum(memory.entry(entry) is not None for entry in ENTRIES)
            assert journal.synced.count() == in_all
        journal.close()


def _entry(number: int, name: bytes) -> SyncedEntry:
    attributes = Attributes(0o644, b"", b"", 0)
    return SyncedEntry(
        entry=EntryId(number),
        parent=ROOT_ENTRY,
        name=name,
        kind=DiskKind.REGULAR,
        handle=name,
        fingerprint=Fingerprint(0, 0, 0),
        attributes=attributes,
        intended=attributes,
        claims=(Claim(NODES[1], LinkId(NODES[1]), frozenset()),),
    )


def test_a_new_number_is_never_that_of_an_entry_that_recovery_brought_back() -> None:
    """Its number was given before the crash, by a process that is gone."""
    with quick_directory() as state_dir:
        journal = Journal(state_dir)
        journal.synced.save_entry(_entry(3, b"found by recovery"))
        assert journal.synced.new_entry_id() == EntryId(4)
        journal.close()


def test_numbers_go_on_after_a_restart() -> None:
    with quick_directory() as state_dir:
        journal = Journal(state_dir)
        journal.synced.save_entry(replace(_entry(0, b"a"), entry=journal.synced.new_entry_id()))
        journal.close()
        journal = Journal(state_dir)
        assert journal.synced.new_entry_id() == EntryId(2)
        journal.close()


def test_what_could_not_be_set_is_counted_and_forgotten_with_its_entry() -> None:
    with quick_directory() as state_dir:
        journal = Journal(state_dir)
        _check_unset(journal)
        journal.close()


def _check_unset(journal: Journal) -> None:
    alice = Attributes(0o644, b"alice", b"staff", 5, ((b"acl.access:user:bob", b"rw-"),))
    root = Attributes(0o644, b"root", b"staff", 5)
    entries = [
        SyncedEntry(
            entry=EntryId(number),
            parent=ROOT_ENTRY,
            name=b"%d" % number,
            kind=DiskKind.REGULAR,
            handle=b"%d" % number,
            fingerprint=Fingerprint(0, 0, 0),
            attributes=root,
            intended=alice,
            claims=(),
        )
        for number in (1, 2)
    ]
    with journal.transaction():
        for entry in entries:
            journal.synced.save_entry(entry)
    found = {part.part: (part.count, part.example) for part in journal.synced.unset_parts()}
    assert found == {b"owner alice": (2, 1), b"acl user:bob": (2, 1)}
    assert journal.synced.entries_with_unset(b"owner alice") == {1, 2}
    assert journal.synced.entries_with_unset(b"owner alice", 1) == {1}
    with journal.transaction():
        journal.synced.remove_entry(EntryId(1))
        journal.synced.save_entry(replace(entries[1], attributes=replace(alice, mode=0o600)))
    assert [part.part for part in journal.synced.unset_parts()] == [b"mode"]
    with journal.transaction():
        journal.synced.save_entry(replace(entries[1], attributes=alice))
    assert journal.synced.unset_parts() == []


def test_what_another_process_wrote_is_counted() -> None:
    with quick_directory() as state_dir:
        here, other = Journal(state_dir), Journal(state_dir)
        with here.transaction():
            here.synced.save_entry(_entry(1, b"a"))
        assert (here.synced.count(), other.synced.count()) == (1, 1)
        with other.transaction():
            other.synced.save_entry(_entry(2, b"b"))
        assert (here.synced.count(), other.synced.count()) == (2, 2)
        here.close()
        other.close()
