"""What the store loses of logs and packs is noticed by itself, and comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.operations import Topic
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.engine.restocking import FIRST_LOOK_AFTER_S, LOOK_EVERY_S, OTHERS_LATER_BY_S
from tests.support.damage import damage_unseen
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import ACTORS_PREFIX, PACKS_PREFIX, log_prefix, parse_pack_name
from transport.object_store import EndpointState, StoreCounters

LARGE = 40_000  # more than travels in a segment


class Endpoints(MemoryStore):
    """A store that says by which endpoint it is reached, and whose listings may lag."""

    def __init__(self) -> None:
        super().__init__()
        self.in_use = "near"
        self.is_lagging = False

    def list_names(self, prefix: str) -> Iterator[str]:
        """As a store that has yet to update its listings."""
        return iter(()) if self.is_lagging else super().list_names(prefix)

    def counters(self) -> StoreCounters:
        """Tells the endpoint."""
        return StoreCounters(endpoints=(EndpointState(self.in_use, is_in_use=True),))

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Returns all objects whose names begin so."""
        return {name: self.get(name, size_bytes_max=10**8) for name in self.list_names(prefix)}

    def lose(self, prefix: str) -> dict[str, bytes]:
        """Loses these, and is reached by another endpoint from now on; returns what they were."""
        self.in_use = "far"
        lost = self.contents(prefix)
        for name in lost:
            self.delete(name)
        return lost


@pytest.fixture
def store() -> Endpoints:
    return Endpoints()


@pytest.fixture
def sites(store: Endpoints) -> Iterator[list[LocalSite]]:
    with local_sites(store, "bari", "cnaf", "desy") as opened:
        settle(*opened)
        yield opened


def wait(*sites: LocalSite, for_s: float) -> None:
    """Lets the sites run for so long, with a cycle of each only now and then."""
    end_s = sites[0].engine.site.clock.monotonic_s() + for_s
    while sites[0].engine.site.clock.monotonic_s() < end_s:
        run(*sites, rounds=2)
        sites[0].time.advance(min(30.0, for_s / 20))
    run(*sites, rounds=2)


def log_of(site: LocalSite) -> str:
    return log_prefix(site.engine.site.actor)


def stored(site: LocalSite) -> list[str]:
    return site.link.names("put_once")


# Logs


def test_a_site_stores_its_lost_segments_again_and_who_waits_for_them_goes_on(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    bari, cnaf, desy = sites
    for number in range(3):
        bari.write(b"%d" % number, b"while desy is away")
        settle(bari, cnaf)
    lost = store.lose(log_of(bari))
    run(desy)
    assert os.listdir(desy.root) == [b".geosync"]
    run(bari)
    assert lost.items() <= store.contents(log_of(bari)).items()
    settle(*sites)
    assert desy.read(b"2") == b"while desy is away"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_loss_that_no_endpoint_tells_of_is_noticed_in_time(
    store: Endpoints, sites: list[LocalSite], is_restarted: bool
) -> None:
    bari, _, _ = sites
    wait(bari, for_s=FIRST_LOOK_AFTER_S)
    lost = store.lose(log_of(bari))
    store.in_use = "near"
    if is_restarted:
        bari.reopen()
    wait(bari, for_s=FIRST_LOOK_AFTER_S if is_restarted else LOOK_EVERY_S)
    assert lost.items() <= store.contents(log_of(bari)).items()


def test_who_has_read_a_log_stores_it_again_when_its_owner_is_lost_as_well(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    bari, cnaf, desy = sites
    bari.write(b"only", b"in the lost region")
    settle(bari, cnaf)
    prefix = log_of(bari)
    lost = store.lose(prefix)
    bari.close()
    wait(cnaf, desy, for_s=OTHERS_LATER_BY_S / 2)
    assert store.contents(prefix) == {}, "the owner would do it"
    wait(cnaf, desy, for_s=OTHERS_LATER_BY_S)
    assert store.contents(prefix) == lost
    settle(cnaf, desy)
    assert desy.read(b"only") == b"in the lost region"


def test_a_lost_announcement_is_made_again(store: Endpoints, sites: list[LocalSite]) -> None:
    lost = store.lose(ACTORS_PREFIX)
    run(*sites)
    assert store.contents(ACTORS_PREFIX) == lost


def test_where_nothing_is_lost_nothing_is_stored(store: Endpoints, sites: list[LocalSite]) -> None:
    for site in sites:
        site.write(site.name.encode(), os.urandom(LARGE))
    settle(*sites)
    before = [len(stored(site)) for site in sites]
    store.in_use = "far"
    wait(*sites, for_s=OTHERS_LATER_BY_S * 2)
    assert [len(stored(site)) for site in sites] == before


def test_a_listing_that_lags_is_no_loss(store: Endpoints, sites: list[LocalSite]) -> None:
    bari = sites[0]
    bari.write(b"film", os.urandom(LARGE))
    settle(*sites)
    store.is_lagging, store.in_use = True, "far"
    before = len(stored(bari))
    wait(bari, for_s=OTHERS_LATER_BY_S * 2)
    assert [name for name in stored(bari)[before:] if not name.startswith(ACTORS_PREFIX)] == []
    assert bari.journal.declarations.of_topic(Topic.SUPPLY) == []


def test_what_was_cut_off_a_log_stays_gone_and_the_cut_itself_comes_back(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    for site in sites:
        site.checkpoint_pace = CheckpointPace(operations=10)
        site.reopen()
    for number in range(3):
        for name in range(12):
            sites[0].write(b"%d %d" % (number, name), b"")
        settle(*sites)
        wait(*sites, for_s=300)
    bari = sites[0]
    cuts = f"checkpoints/{bari.engine.site.actor.hex()}/cut/"
    segments, lost = store.contents("log/"), store.lose(cuts)
    assert lost
    assert min(segments) != f"{log_of(bari)}{0:016x}"
    wait(*sites, for_s=OTHERS_LATER_BY_S * 2)
    settle(*sites)
    assert store.contents("log/").keys() >= segments.keys()
    assert min(store.contents(log_of(bari))) == min(
        n for n in segments if n.startswith(log_of(bari))
    )
    newest = max(lost)
    assert store.contents(cuts) == {newest: lost[newest]}


# Packs


def test_a_lost_pack_comes_back_before_anybody_needs_it(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    bari = sites[0]
    film = os.urandom(LARGE)
    bari.write(b"film", film)
    settle(*sites)
    lost = store.lose(PACKS_PREFIX)
    wait(*sites, for_s=OTHERS_LATER_BY_S * 4)
    assert len(store.contents(PACKS_PREFIX)) == len(lost) == 1
    for site in sites:
        site.close()
    with local_sites(store, "late") as (late,):
        settle(late)
        assert late.read(b"film") == film


def test_a_pack_of_which_nothing_is_needed_is_not_missed(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    bari = sites[0]
    bari.write(b"film", os.urandom(LARGE))
    settle(*sites)
    os.unlink(bari.path(b"film"))
    settle(*sites)
    store.lose(PACKS_PREFIX)
    wait(*sites, for_s=OTHERS_LATER_BY_S * 4)
    assert store.contents(PACKS_PREFIX) == {}
    assert bari.journal.declarations.of_topic(Topic.SUPPLY) == []


def test_whoever_has_the_file_supplies_it_and_no_collection_takes_the_lost_place_for_a_copy(
    store: Endpoints, sites: list[LocalSite]
) -> None:
    """Of two copies of a chunk the one of the highest actor is kept, if it is there."""
    for site in sites:
        site.collection_pace = CollectionPace(every_s=100.0, history_s=60.0, grace_s=30.0)
        site.reopen()
    owner = max(sites, key=lambda site: site.engine.site.actor)
    film = os.urandom(LARGE)
    owner.write(b"film", film)
    settle(*sites)
    (lost,) = store.lose(PACKS_PREFIX)
    damage_unseen(owner.path(b"film"), 7)  # so that the owner can't supply it
    wait(*sites, for_s=OTHERS_LATER_BY_S * 8)
    (supplied,) = store.contents(PACKS_PREFIX)
    assert parse_pack_name(supplied).actor != parse_pack_name(lost).actor
    with local_sites(store, "late") as (late,):
        settle(*sites, late)
        assert late.read(b"film") == film
