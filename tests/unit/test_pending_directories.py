"""Directories that wait to be looked at: when everything that waited has been looked at."""

from __future__ import annotations

from geosync.engine.pending_directories import PendingDirectories


def _take_all(pending: PendingDirectories) -> list[tuple[bytes, ...]]:
    taken = []
    while pending:
        taken.append(pending.take()[0])
    return taken


def test_a_turn_is_over_once_all_that_waited_in_it_was_looked_at() -> None:
    pending = PendingDirectories()
    pending.add({(): False, (b"a",): False})
    assert pending.take()[0] == ()
    turn = pending.turn
    pending.add({(b"b",): False})
    assert pending.take()[0] == (b"a",)
    assert pending.turn == turn
    assert pending.take()[0] == (b"b",)
    assert pending.turn == turn + 1


def test_a_look_in_vain_ends_no_turn() -> None:
    """Else what only moved to a directory that was not looked at would count as deleted."""
    pending = PendingDirectories()
    pending.add({(b"a",): False, (b"b",): False})
    pending.take()
    pending.finish()
    turn = pending.turn
    pending.add({(): False})
    assert _take_all(pending) == [(b"b",), ()]
    pending.put_back()
    assert pending.turn == turn
    assert pending.take()[0] == ()
    assert pending.turn == turn, "b still waits"
    assert pending.take()[0] == (b"b",)
    pending.finish()
    pending.add({(): False})
    pending.take()
    assert pending.turn == turn + 1
