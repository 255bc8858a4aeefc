"""Collecting: what nobody needs goes from the store; what anybody needs never does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from conflict.collection import Condemn, Doom, Spare, Told, Verdict, Verdicts, judge
from conflict.version import ActorId, Dot, VersionVector
from geosync.engine.retiring import retire
from geosync.engine.reuse import Reuse, verdicts
from tests.support.collecting_sites import PACE, collecting_sites, while_time_passes
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.pair_of_sites import Pair
from tests.support.recording_store import let_pass
from transport.collection_record import decode_verdict, encode_verdict
from transport.directory_store import DirectoryStore
from transport.errors import CorruptObject, StoreRefused
from transport.memory_store import MemoryStore
from transport.msgpack_codec import encode
from transport.object_names import PACKS_PREFIX, pack_name

A, B = (ActorId(bytes([n]) * 16) for n in range(1, 3))
P, Q = pack_name(A, 1), pack_name(A, 2)
SIZE_BYTES = 40_000


def _verdicts(*told: tuple[ActorId, int, Verdict]) -> Verdicts:
    return Verdicts(Told(Dot(actor, counter), verdict) for actor, counter, verdict in told)


def test_a_condemned_pack_is_judged_once_all_have_applied_that() -> None:
    state = _verdicts((A, 5, Condemn((P, Q))))
    assert state.forbidden == {P, Q}
    assert state.to_judge(A, VersionVector({A: 4})) == []
    assert state.to_judge(A, VersionVector({A: 5})) == [P, Q]
    assert state.to_judge(B, VersionVector({A: 5})) == []
    assert judge([P, Q], {P}) == (Spare((P,)), Doom((Q,)))
    judged = _verdicts((A, 5, Condemn((P, Q))), (A, 6, Spare((P,))), (A, 7, Doom((Q,))))
    assert judged.forbidden == {Q}
    assert judged.to_judge(A, VersionVector({A: 7})) == []
    assert judged.to_delete(VersionVector({A: 6})) == []
    assert judged.to_delete(VersionVector({A: 7})) == [Q]


@pytest.mark.parametrize("verdict", [Condemn((P, Q)), Spare((P,)), Doom((Q,))])
def test_a_verdict_is_read_as_it_was_written(verdict: Verdict) -> None:
    assert decode_verdict(encode_verdict(verdict)) == verdict


@pytest.mark.parametrize(
    "body", [b"", encode(()), encode((9, (P.encode(),))), encode((0, ())), encode((0, (b"log/x",)))]
)
def test_what_is_no_verdict_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptObject):
        decode_verdict(body)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Pair]:
    with collecting_sites(store) as pair:
        yield pair


def _packs(store: MemoryStore) -> list[str]:
    return list(store.list_names(PACKS_PREFIX))


def test_a_replaced_content_goes_once_it_is_no_longer_kept(sites: Pair, store: MemoryStore) -> None:
    bari, cnaf = sites
    bari.write(b"file", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    (first,) = _packs(store)
    bari.write(b"file", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    assert first in _packs(store)
    while_time_passes(bari, cnaf, seconds=50)
    assert first in _packs(store), "it is kept for a minute"
    while_time_passes(bari, cnaf)
    (second,) = _packs(store)
    assert second != first
    with local_sites(store, "late") as (late,):
        settle(late, bari, cnaf)
        assert disk_tree(late.root) == disk_tree(bari.root)


def test_a_deleted_file_goes_and_one_that_is_there_never_does(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    bari.write(b"kept", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    kept = _packs(store)
    bari.write(b"gone", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    os.unlink(cnaf.path(b"gone"))
    settle(bari, cnaf)
    while_time_passes(bari, cnaf)
    assert _packs(store) == kept


def test_nothing_goes_while_a_site_has_not_told_that_it_knows(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    content = os.urandom(SIZE_BYTES)
    bari.write(b"file", content)
    settle(bari, cnaf)
    cnaf.write(b"copy", content)
    cnaf.cycle_alone()
    os.unlink(bari.path(b"file"))
    while_time_passes(bari)
    (pack,) = _packs(store)
    assert pack in verdicts(bari.journal).forbidden
    settle(bari, cnaf)
    while_time_passes(bari, cnaf)
    assert _packs(store) == [pack], "the copy refers to it: it was spared"
    assert pack not in verdicts(bari.journal).forbidden
    with local_sites(store, "late") as (late,):
        settle(late, bari, cnaf)
        assert late.read(b"copy") == content


def test_what_is_condemned_is_stored_anew_by_whoever_needs_it(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    content = os.urandom(SIZE_BYTES)
    bari.write(b"file", content)
    settle(bari, cnaf)
    (pack,) = _packs(store)
    os.unlink(bari.path(b"file"))
    settle(bari, cnaf)
    for _ in range(100):
        if pack in verdicts(cnaf.journal).forbidden:
            break
        run(bari, cnaf, rounds=1)
    (digest,) = bari.journal.chunks.locations_in(pack)
    assert not Reuse(cnaf.engine.site).is_kept(digest)
    cnaf.write(b"again", content)
    while_time_passes(bari, cnaf)
    assert len(_packs(store)) == 1
    assert _packs(store) != [pack]
    with local_sites(store, "late") as (late,):
        settle(late, bari, cnaf)
        assert late.read(b"again") == content


def test_a_new_site_refers_to_others_packs_only_once_their_owner_knows_it(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    content = os.urandom(SIZE_BYTES)
    bari.write(b"file", content)
    settle(bari, cnaf)
    with local_sites(store, "late") as (late,):
        late.cycle()
        late.cycle()
        (pack,) = _packs(store)
        (digest,) = bari.journal.chunks.locations_in(pack)
        assert late.journal.chunks.is_known(digest)
        assert not Reuse(late.engine.site).is_kept(digest)
        settle(late, bari, cnaf)
        run(late, bari, cnaf)
        assert Reuse(late.engine.site).is_kept(digest)


def test_in_doubt_nothing_is_condemned(sites: Pair, store: MemoryStore) -> None:
    """A log that can't be read may tell of something that needs it."""
    bari, cnaf = sites
    bari.write(b"file", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    os.unlink(bari.path(b"file"))
    settle(bari, cnaf)
    log = cnaf.journal.log.actor(cnaf.engine.site.actor)
    assert log is not None
    store.put_once(f"log/{log.actor.hex()}/{log.next_sequence:016x}", b"damaged")
    bari.cycle()
    assert bari.engine.upkeep.doubt(bari.cycle()) == "the log of a site can't be read"
    while_time_passes(bari)
    assert verdicts(bari.journal).forbidden == frozenset()


def test_a_store_that_lets_nothing_be_deleted_is_told(sites: Pair, store: MemoryStore) -> None:
    bari, cnaf = sites
    bari.write(b"file", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    os.unlink(bari.path(b"file"))
    settle(bari, cnaf)
    bari.link.before = _refuse_deletion
    while_time_passes(bari, cnaf)
    assert "may delete objects" in bari.problems()["collection"]
    assert len(_packs(store)) == 1
    bari.link.before = let_pass
    while_time_passes(bari, cnaf, seconds=60)
    assert _packs(store) == []
    assert "collection" not in bari.problems()


def test_what_little_is_needed_of_a_pack_is_written_anew(sites: Pair, store: MemoryStore) -> None:
    bari, cnaf = sites
    for number in range(10):
        bari.write(b"file%d" % number, os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    before = _packs(store)
    kept = bari.read(b"file3")
    for number in {*range(10)} - {3}:
        os.unlink(bari.path(b"file%d" % number))
    settle(bari, cnaf)
    while_time_passes(bari, cnaf, seconds=500)
    assert not set(before) & set(_packs(store))
    with local_sites(store, "late") as (late,):
        settle(late, bari, cnaf)
        assert late.read(b"file3") == kept


def test_packs_of_a_retired_site_are_collected_by_who_fenced_it(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    cnaf.write(b"kept", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    kept = _packs(store)
    cnaf.write(b"gone", os.urandom(SIZE_BYTES))
    settle(bari, cnaf)
    orphan = pack_name(cnaf.engine.site.actor, 77)
    store.put_once(orphan, b"of which no segment tells")
    run(bari, cnaf)
    cnaf.close()
    os.unlink(bari.path(b"gone"))
    settle(bari)
    retire(bari.engine.site, "cnaf")
    while_time_passes(bari, seconds=600)
    assert _packs(store) == kept


@pytest.mark.parametrize("seed", range(2))
def test_the_store_stays_small_while_sites_write_at_random(tmp_path: Path, seed: int) -> None:
    """Contents are replaced, deleted, copied and moved at three sites, which are cut off at times.

    What is left is at most four times what is needed, as of a pack a quarter is to be needed.
    """
    store = DirectoryStore(os.fsencode(tmp_path / "store"))
    store.prepare()
    with local_sites(store, "bari", "cnaf", "lyon", collection_pace=PACE) as sites:
        random = Random(seed)
        for _ in range(50):
            _act(random.choice(sites), random)
            for site in sites:
                site.cycle_alone() if random.random() < 0.3 else site.cycle()
        settle(*sites)
        while_time_passes(*sites, seconds=900)
        live_size_bytes = sum(map(len, _contents(sites[0])))
        stored = sum(len(store.get(name, size_bytes_max=10**9)) for name in _packs(store))
        assert stored <= 4 * live_size_bytes + SIZE_BYTES
        with local_sites(store, "late") as (late,):
            settle(late, *sites)
            trees = [disk_tree(site.root) for site in (late, *sites)]
            assert all(tree == trees[0] for tree in trees)


def _act(site: LocalSite, random: Random) -> None:
    names = [b"file%d" % number for number in range(8)]
    name, other = random.sample(names, 2)
    is_there = os.path.exists(site.path(name))
    match random.randrange(5):
        case 0 if is_there:
            os.unlink(site.path(name))
        case 1 if is_there:
            site.write(other, site.read(name))
        case 2 if is_there:
            os.rename(site.path(name), site.path(other))
        case _:
            site.write(name, random.randbytes(SIZE_BYTES))


def _contents(site: LocalSite) -> set[bytes]:
    """Returns all that is in files, conflict copies included."""
    found = set()
    for directory, _, names in os.walk(site.root):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                found.add(file.read())
    return found


def _refuse_deletion(method: str, name: str) -> None:
    if method == "delete":
        raise StoreRefused(f"may not delete {name}")


def test_verdicts_go_once_all_have_the_answer_and_the_pack_is_gone_for_good() -> None:
    state = _verdicts(
        (A, 5, Condemn((P, Q))), (A, 6, Spare((P,))), (A, 7, Doom((Q,))), (A, 8, Condemn((P,)))
    )
    assert list(state.obsolete(VersionVector({A: 6}), lambda _: True)) == []
    over = list(state.obsolete(VersionVector({A: 8}), lambda _: True))
    assert over == [Dot(A, 5), Dot(A, 7)], "the pack is condemned again, and was spared before"
    assert list(state.obsolete(VersionVector({A: 8}), lambda _: False)) == [Dot(A, 5)]


def test_what_was_said_of_packs_is_forgotten_in_the_end(sites: Pair, store: MemoryStore) -> None:
    bari, cnaf = sites
    for number in range(3):
        bari.write(b"file", os.urandom(SIZE_BYTES))
        settle(bari, cnaf)
        while_time_passes(bari, cnaf)
        assert bool(verdicts(bari.journal).doomed) == (number > 0)
    for _ in range(12):
        bari.time.advance(86_400)
        while_time_passes(bari, cnaf, seconds=60)
    for site in (bari, cnaf):
        assert not verdicts(site.journal).doomed
        assert not site.problems()
    assert len(_packs(store)) == 1
