"""Files go to a new directory, which takes the name of the old one: they stay what they are."""

from __future__ import annotations

import os

import pytest

from conflict.operations import Delete
from conflict.synced import entry_at_path
from geosync.engine import capturing
from geosync.engine.uncertain_files import UncertainFiles
from tests.support.local_sites import LocalSite, local_sites, operations_of
from transport.memory_store import MemoryStore


def _replace_directory(site: LocalSite) -> None:
    os.makedirs(site.path(b"new/below"))
    os.rename(site.path(b"d/below/file"), site.path(b"new/below/file"))
    os.rmdir(site.path(b"d/below"))
    os.rmdir(site.path(b"d"))
    os.rename(site.path(b"new"), site.path(b"d"))


def _settle(*sites: LocalSite) -> None:
    """Lets all sites look at everything, however many looks that takes, until they are done."""
    while any(_look_at_everything(site) for site in sites):
        pass


def _look_at_everything(site: LocalSite) -> bool:
    cycle = site.cycle()
    did_work = cycle.did_work
    while cycle.has_more:
        cycle = site.engine.cycle({})
        did_work = did_work or cycle.did_work
    return did_work or not site.engine.is_settled()


@pytest.mark.parametrize("at_once", [1, 2, 3, 2000])
def test_a_file_in_a_directory_that_replaces_its_own_is_still_the_same(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many looks it takes to see all of them."""
    monkeypatch.setattr(capturing, "ENTRIES_AT_ONCE_MAX", at_once)
    store = MemoryStore()
    with local_sites(store, "here", "away") as (here, away):
        here.write(b"d/below/file", b"content")
        _settle(here, away)
        before = entry_at_path(here.journal.synced, (b"d", b"below", b"file"))
        assert before is not None
        _replace_directory(here)
        _settle(here, away)
        after = entry_at_path(here.journal.synced, (b"d", b"below", b"file"))
        assert after is not None
        assert after.nodes == before.nodes
        deleted = {o.node for o in operations_of(here, store) if isinstance(o, Delete)}
        assert not deleted & before.nodes
        assert away.read(b"d/below/file") == b"content"


def test_what_is_in_a_directory_that_replaces_another_is_captured_without_another_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was looked at before it could take the name, while there was always more to look at."""
    monkeypatch.setattr(capturing, "ENTRIES_AT_ONCE_MAX", 1)
    monkeypatch.setattr(UncertainFiles, "due", lambda _: set())  # a new file's time is coarse
    store = MemoryStore()
    with local_sites(store, "here", "away") as (here, away):
        busy = {(b"busy",): False, (b"hectic",): False}
        os.mkdir(here.path(b"d"))
        for path in (b"busy/file", b"hectic/file"):
            here.write(path, b"content")
        _settle(here, away)
        os.rmdir(here.path(b"d"))
        here.write(b"d/new", b"content")
        here.engine.cycle({(): True})
        for _ in range(10):
            here.time.advance(1)
            here.engine.cycle(busy)
        while here.engine.cycle({}).has_more or not here.engine.is_settled():
            here.time.advance(1)
        _settle(away)
        assert away.read(b"d/new") == b"content"
