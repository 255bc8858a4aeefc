"""Retirement: a lost site is fenced by those who remain, and comes back without a loss."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.membership import Fence, Frozen, Inherited, Membership, Stated, Suspect
from conflict.version import ActorId, Dot, VersionVector
from geosync.engine import silence
from geosync.engine.retiring import retire
from geosync.engine.stability import live_actors, stable
from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import Hook, let_pass
from tests.support.rejoining import rejoin
from transport.errors import CorruptObject, ObjectNotVisible
from transport.membership_record import decode_statement, encode_statement
from transport.memory_store import MemoryStore
from transport.msgpack_codec import encode
from transport.object_names import log_prefix

A, B, C = (ActorId(bytes([n]) * 16) for n in range(1, 4))
Three = tuple[LocalSite, LocalSite, LocalSite]


def _stated(*statements: tuple[ActorId, int, Suspect | Frozen | Fence]) -> Membership:
    return Membership(Stated(Dot(actor, n), what) for actor, n, what in statements)


def test_an_actor_is_fenced_at_the_farthest_that_anybody_has_read() -> None:
    suspected = (A, 1, Suspect(C))
    received = VersionVector({C: 4})
    assert _stated(suspected).due(A, (A, B, C), received) == [Frozen(C, 4)]
    one = _stated(suspected, (A, 2, Frozen(C, 4)))
    assert one.due(A, (A, B, C), received) == []
    assert one.awaited(C, (A, B, C)) == {B}
    both = _stated(suspected, (A, 2, Frozen(C, 4)), (B, 1, Frozen(C, 6)))
    assert both.due(A, (A, B, C), received) == [Fence(C, 6)]
    assert both.due(B, (A, B, C), VersionVector({C: 6})) == [], "one of them says it"
    fenced = _stated(suspected, (A, 2, Frozen(C, 4)), (B, 1, Frozen(C, 6)), (A, 3, Fence(C, 6)))
    assert fenced.due(A, (A, B, C), received) == []
    assert fenced.live((A, B, C), received) == {A, B, C}, "until all of it was read"
    assert fenced.live((A, B, C), VersionVector({C: 6})) == {A, B}


def test_whoever_began_a_retirement_may_be_lost_in_between() -> None:
    """B takes over where A stopped: what is to be stated follows from what everybody knows."""
    begun = ((A, 1, Suspect(C)), (A, 2, Frozen(C, 4)), (B, 1, Frozen(C, 2)))
    assert _stated(*begun).due(B, (A, B, C), VersionVector({C: 2})) == []
    lost = _stated(*begun, (B, 2, Suspect(A)), (B, 3, Frozen(A, 2)))
    due = lost.due(B, (A, B, C), VersionVector({A: 2, C: 2}))
    assert due == [Fence(A, 2), Fence(C, 4)]


def test_logs_are_read_up_to_where_they_were_frozen_and_then_up_to_the_fence() -> None:
    assert _stated((A, 1, Suspect(C))).limit(C, B) is None
    frozen = _stated((A, 1, Suspect(C)), (B, 1, Frozen(C, 3)))
    assert (frozen.limit(C, B), frozen.limit(C, A)) == (3, None)
    assert _stated((A, 1, Suspect(C)), (A, 2, Fence(C, 5)), (B, 1, Fence(C, 7))).limit(C, B) == 7


def test_a_fresh_journal_reads_nothing_of_a_suspect_that_the_one_before_knew_of() -> None:
    state = Membership([], Inherited(frozenset({C}), {}))
    assert state.limit(C, A) == 0
    assert state.due(A, (A, C), VersionVector()) == [Frozen(C, 0)]
    assert Membership([], Inherited(frozenset({C}), {C: 9})).limit(C, A) == 9


def test_packs_of_a_fenced_actor_are_in_the_care_of_whoever_fenced_it() -> None:
    state = _stated((A, 3, Fence(C, 6)), (B, 4, Fence(A, 3)))
    assert state.owner_of(C) == B
    assert state.owner_of(B) == B


@pytest.mark.parametrize("statement", [Suspect(A), Frozen(B, 0), Fence(C, 12)])
def test_a_statement_is_read_as_it_was_written(statement: Suspect | Frozen | Fence) -> None:
    assert decode_statement(encode_statement(statement)) == statement


@pytest.mark.parametrize(
    "body", [b"", encode(()), encode((7, A)), encode((0, A, 1)), encode((1, A)), encode((0, b"a"))]
)
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptObject):
        decode_statement(body)


def test_silence_is_to_owe_ones_word(sites: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a site that is lost; in a volume where nobody writes nobody owes anything."""
    bari, cnaf, lost = sites
    monkeypatch.setattr(silence, "SILENT_S_MAX", 600.0)
    for _ in range(15):
        run(bari, cnaf, lost, rounds=1)
        bari.time.advance(60)
    assert _told_of_silence(bari) == []
    lost.close()
    bari.write(b"news", b"of bari")
    for _ in range(8):
        run(bari, cnaf, rounds=1)
        bari.time.advance(60)
    assert _told_of_silence(bari) == []
    for _ in range(8):
        run(bari, cnaf, rounds=1)
        bari.time.advance(60)
    (text,) = _told_of_silence(bari)
    assert "geosync site retire lost" in text
    lost.open()
    for _ in range(3):
        run(bari, cnaf, lost, rounds=1)
        bari.time.advance(60)
    assert _told_of_silence(bari) == []


def test_an_earlier_incarnation_is_retired_once_it_is_silent_and_a_clone_at_work_is_not(
    sites: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    bari, cnaf, lost = sites
    monkeypatch.setattr(silence, "SILENT_S_MAX", 600.0)
    clone = LocalSite(os.path.join(lost.base, b"clone"), "lost", lost.store, lost.time)
    clone.incarnation = 1
    clone.open()
    try:
        for _ in range(15):
            run(bari, cnaf, lost, clone, rounds=1)
            bari.time.advance(60)
        assert {_actor(lost), _actor(clone)} <= live_actors(bari.engine.site)
        before = _actor(lost)
        lost.close()
        clone.write(b"news", b"of the clone")
        for _ in range(15):
            run(bari, cnaf, clone, rounds=1)
            bari.time.advance(60)
        assert before not in live_actors(bari.engine.site)
        assert _actor(clone) in live_actors(bari.engine.site)
    finally:
        clone.close()


def _told_of_silence(site: LocalSite) -> list[str]:
    return [text for subject, text in site.problems().items() if subject.startswith("silence")]


@pytest.fixture
def sites() -> Iterator[Three]:
    with local_sites(MemoryStore(), "bari", "cnaf", "lost") as (bari, cnaf, lost):
        bari.write(b"common", b"of bari")
        settle(bari, cnaf, lost)
        run(bari, cnaf, lost)
        yield bari, cnaf, lost


def _actor(site: LocalSite) -> ActorId:
    return site.engine.site.actor


def test_a_lost_site_holds_back_stability_until_it_is_retired(sites: Three) -> None:
    bari, cnaf, lost = sites
    lost.close()
    bari.write(b"news", b"of bari")
    settle(bari, cnaf)
    run(bari, cnaf)
    written = bari.engine.own_counter()
    assert stable(bari.engine.site).counter_of(_actor(bari)) < written
    assert len(retire(bari.engine.site, "lost")) == 1
    settle(bari, cnaf)
    run(bari, cnaf)
    both = {_actor(bari), _actor(cnaf)}
    assert live_actors(bari.engine.site) == live_actors(cnaf.engine.site) == both
    assert stable(cnaf.engine.site).counter_of(_actor(bari)) >= written


def test_retired_is_who_takes_part_and_is_somebody_else(sites: Three) -> None:
    bari, _, _ = sites
    with pytest.raises(OperatorError, match="no site 'paris'"):
        retire(bari.engine.site, "paris")
    with pytest.raises(OperatorError, match="is this site itself"):
        retire(bari.engine.site, "bari")


def test_a_retired_site_that_returns_joins_anew_and_loses_nothing(sites: Three) -> None:
    """It wrote before it was cut off, while it was, and it can't tell that it is retired."""
    bari, cnaf, lost = sites
    lost.write(b"published", b"seen by all")
    settle(*sites)
    lost.write(b"captured", b"while it was cut off")
    lost.write(b"common", b"changed while it was cut off")
    lost.cycle_alone()
    retire(bari.engine.site, "lost")
    bari.write(b"news", b"of bari")
    settle(bari, cnaf)
    run(bari, cnaf)
    before = lost.engine.site.actor
    lost.write(b"not captured", b"just before it came back")
    lost.cycle()
    assert "retired" in (lost.engine.superseded or "")
    assert b"news" not in disk_tree(lost.root), "nothing is applied any more"
    rejoin(lost)
    settle(*sites)
    run(*sites)
    assert disk_tree(lost.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert lost.read(b"captured") == b"while it was cut off"
    assert lost.read(b"not captured") == b"just before it came back"
    assert lost.read(b"published") == b"seen by all"
    found = {lost.read(b"common")} | {
        conflict.loser.content.digest for conflict in lost.engine.conflicts()
    }
    assert len(found) == 2, "both versions of what both had are there"
    assert before not in live_actors(lost.engine.site)
    assert live_actors(lost.engine.site) == {_actor(site) for site in sites}


@pytest.mark.parametrize("has_news", [True, False])
def test_a_site_reads_whether_it_was_retired_before_it_publishes(
    sites: Three, has_news: bool
) -> None:
    """Whatever it captured before it was stopped, or captures first of all."""
    bari, cnaf, lost = sites
    if has_news:
        lost.write(b"captured", b"before it was stopped")
        lost.cycle_alone()
    lost.close()
    retire(bari.engine.site, "lost")
    settle(bari, cnaf)
    run(bari, cnaf)
    lost.write(b"written", b"while it was stopped")
    lost.open()
    lost.link.calls.clear()
    lost.cycle()
    assert "retired" in (lost.engine.superseded or "")
    assert lost.link.names("put_once") == []


def test_what_a_retired_site_published_beyond_the_fence_comes_again(sites: Three) -> None:
    """Its log goes on where the others stopped reading it."""
    bari, cnaf, lost = sites
    bari.link.before = cnaf.link.before = _not_of(lost)
    lost.write(b"late", b"published, and read by nobody")
    lost.cycle()
    retire(bari.engine.site, "lost")
    settle(bari, cnaf)
    bari.link.before = cnaf.link.before = let_pass
    run(bari, cnaf)
    assert b"late" not in disk_tree(bari.root)
    lost.cycle()
    rejoin(lost)
    settle(*sites)
    assert disk_tree(lost.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert bari.read(b"late") == b"published, and read by nobody"


def test_what_somebody_has_built_upon_is_read_before_the_fence_is_set(sites: Three) -> None:
    """Who stopped earlier could not read the others' word otherwise, and all would wait."""
    bari, cnaf, lost = sites
    bari.link.before = _not_of(lost)
    lost.write(b"late", b"read by cnaf only")
    lost.cycle()
    cnaf.engine.cycle({})
    retire(bari.engine.site, "lost")
    bari.cycle()
    bari.link.before = let_pass
    settle(bari, cnaf)
    assert bari.read(b"late") == cnaf.read(b"late") == b"read by cnaf only"
    assert _actor(lost) not in live_actors(bari.engine.site) | live_actors(cnaf.engine.site)


def test_a_site_that_read_what_is_void_joins_anew(sites: Three) -> None:
    """It was no part of the volume when the fence was set, or nobody knew that it was."""
    bari, cnaf, lost = sites
    cnaf.close()
    shutil.rmtree(cnaf.state_dir)
    lost.write(b"late", b"published, and read by nobody")
    bari.link.before = _not_of(lost)
    lost.cycle()
    retire(bari.engine.site, "lost")
    retire(bari.engine.site, "cnaf")
    run(bari)
    bari.link.before = let_pass
    run(bari)
    assert live_actors(bari.engine.site) == {_actor(bari)}
    cnaf.incarnation += 1
    cnaf.open()
    run(cnaf)
    assert "read more of the log" in (cnaf.engine.superseded or "")
    rejoin(cnaf)
    lost.cycle()
    rejoin(lost)
    settle(*sites)
    assert disk_tree(lost.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert bari.read(b"late") == b"published, and read by nobody"


def _not_of(other: LocalSite) -> Hook:
    """Lets everything pass but reading the other site's log."""
    prefix = log_prefix(_actor(other))

    def before(method: str, name: str) -> None:
        if method == "get" and name.startswith(prefix):
            raise ObjectNotVisible(name)

    return before


def test_of_a_retirement_only_the_fence_is_kept_in_mind() -> None:
    state = _stated(
        (A, 1, Suspect(C)), (A, 2, Frozen(C, 4)), (B, 1, Frozen(C, 2)), (A, 3, Fence(C, 4))
    )
    assert list(state.obsolete(VersionVector({A: 2, B: 1}))) == []
    assert list(state.obsolete(VersionVector({A: 3}))) == [Dot(A, 1), Dot(A, 2)]
    kept = _stated((A, 3, Fence(C, 4)))
    assert kept.is_retired(C)
    assert kept.limit(C, B) == 4
