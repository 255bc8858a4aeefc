"""The last changes of all sites, and what another site lacks, read from the logs once."""

from __future__ import annotations

import os

from geosync.reporting.recent_operations import Backlog, RecentOperations
from geosync.reporting.transfer_rate import WINDOW_S, TransferRate
from tests.support.local_sites import VOLUME, LocalSite, local_sites, settle
from transport.memory_store import MemoryStore


def _looked(site: LocalSite, recent: RecentOperations | None = None) -> RecentOperations:
    found = recent or RecentOperations(VOLUME)
    found.look(site.journal)
    return found


def _shown(site: LocalSite, recent: RecentOperations) -> list[tuple[str, str, str, int | None]]:
    return [
        (each.site, each.what, each.path, each.size_bytes) for each in recent.changes(site.journal)
    ]


def test_changes_of_all_sites_are_told_once_each_by_their_names_of_now() -> None:
    with local_sites(MemoryStore(), "bari", "rome") as [bari, rome]:
        seen_by_bari = RecentOperations(VOLUME)
        bari.write(b"dir/a\n.txt", b"12345")
        settle(bari, rome)
        _looked(bari, seen_by_bari)
        os.rename(bari.path(b"dir"), bari.path(b"renamed"))
        rome.write(b"from rome", b"1")
        settle(bari, rome)
        rome.write(b"renamed/a\n.txt", b"1234567")
        os.unlink(rome.path(b"from rome"))
        settle(bari, rome)
        _looked(bari, seen_by_bari)
        told = _shown(bari, seen_by_bari)
        assert ("bari", "created", r"renamed/a\n.txt", 5) in told
        assert ("bari", "renamed", "renamed", None) in told
        assert ("rome", "written", r"renamed/a\n.txt", 7) in told
        assert ("rome", "deleted", "from rome", None) in told
        assert told.index(("rome", "written", r"renamed/a\n.txt", 7)) < told.index(
            ("bari", "created", r"renamed/a\n.txt", 5)
        )
        assert _shown(rome, _looked(rome)) == told == _shown(bari, _looked(bari))


def test_what_is_not_published_yet_is_told_and_not_twice_later() -> None:
    with local_sites(MemoryStore(), "bari") as [bari]:
        settle(bari)
        recent = _looked(bari)
        bari.write(b"file", b"123")
        for _ in range(3):
            bari.cycle_alone()
        _looked(bari, recent)
        before = _shown(bari, recent)
        assert ("bari", "created", "file", 3) in before
        settle(bari)
        _looked(bari, recent)
        assert _shown(bari, recent) == before


def test_a_backlog_is_what_came_after_a_counter() -> None:
    with local_sites(MemoryStore(), "bari") as [bari]:
        settle(bari)
        actor = bari.engine.site.actor
        before = bari.journal.log.received().counter_of(actor)
        bari.write(b"first", b"12345")
        settle(bari)
        between = bari.journal.log.received().counter_of(actor)
        bari.write(b"second", b"1234567")
        settle(bari)
        recent = _looked(bari)
        whole = recent.backlog(bari.journal, actor, before)
        assert whole == Backlog(12, "first")
        assert recent.backlog(bari.journal, actor, between) == Backlog(7, "second")
        last = bari.journal.log.received().counter_of(actor)
        assert recent.backlog(bari.journal, actor, last) == Backlog(0, "")


def test_a_log_that_is_too_long_to_be_looked_through_has_no_known_backlog(monkeypatch) -> None:
    monkeypatch.setattr("geosync.reporting.recent_operations.READ_BACK_BYTES", 1)
    with local_sites(MemoryStore(), "bari") as [bari]:
        for number in range(5):
            bari.write(b"file %d" % number, b"1")
            settle(bari)
        recent, actor = _looked(bari), bari.engine.site.actor
        assert recent.backlog(bari.journal, actor, 1) is None
        assert ("bari", "created", "file 4", 1) in _shown(bari, recent)
        assert ("bari", "created", "file 0", 1) not in _shown(bari, recent)


def test_a_damaged_segment_is_left_out() -> None:
    with local_sites(MemoryStore(), "bari") as [bari]:
        bari.write(b"file", b"1")
        settle(bari)
        bari.journal._connection.execute("UPDATE segment SET object = x'00'")
        bari.reopen()
        assert _shown(bari, _looked(bari)) == []


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = TransferRate()
    assert rate.per_s() == 0.0
    rate.note(0.0, 0)
    rate.note(10.0, 1000)
    assert rate.per_s() == 100.0
    rate.note(10.0 + 2 * WINDOW_S, 1000)
    assert rate.per_s() < 40.0
    rate.note(11.0 + 3 * WINDOW_S, 1000)
    assert rate.per_s() == 0.0
    rate.note(12.0 + 3 * WINDOW_S, 5)  # a new store counts from 0
    assert rate.per_s() == 0.0
