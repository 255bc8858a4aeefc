"""Lost packs: whoever has the content supplies it again, by itself, and all sites learn of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from conflict.errors import MalformedValueError
from conflict.operations import Topic
from conflict.supply import Supplied, Want, is_answered, turn_of
from conflict.version import ActorId, Dot
from geosync.engine.authoring import declare
from geosync.engine.lost_chunks import WANTED_AFTER_S
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore
from transport.errors import ObjectNotVisible
from transport.memory_store import MemoryStore
from transport.msgpack_codec import encode
from transport.object_names import pack_name
from transport.supply_record import (
    WANTED_CHUNKS_MAX,
    WANTED_PACKS_MAX,
    decode_supply,
    encode_supply,
)
from transport.wire_errors import NewerFormatError, WireFormatError

BARI, CNAF, DESY = (ActorId(bytes([number]) * 16) for number in (1, 2, 3))
LARGE = 40_000  # more than travels in a segment


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def sites(store: RecordingStore) -> Iterator[list[LocalSite]]:
    with local_sites(store, "bari", "cnaf", "desy") as opened:
        yield opened


def packs_in(store: RecordingStore) -> list[str]:
    return list(store.list_names("packs/"))


def lose(store: RecordingStore, *names: str) -> None:
    for name in names:
        store.delete(name)


def damage(store: RecordingStore, name: str) -> None:
    memory = store.store
    assert isinstance(memory, MemoryStore)
    body = bytearray(memory._bodies[name])
    body[len(body) // 2] ^= 1
    memory._bodies[name] = bytes(body)


def wait(*sites: LocalSite, for_s: float = WANTED_AFTER_S + 200) -> None:
    """Lets the sites run for some simulated time."""
    for _ in range(int(for_s / 3.5 / len(sites)) + 1):
        for site in sites:
            site.cycle()


def declared(site: LocalSite) -> list[object]:
    found = site.journal.declarations.of_topic(Topic.SUPPLY)
    return [decode_supply(each.operation.body) for each in found]


# A pack that is lost before everybody has it


@pytest.mark.parametrize("trouble", [lose, damage])
def test_a_lost_pack_is_supplied_again_by_a_site_that_has_the_files(
    store: RecordingStore, sites: list[LocalSite], trouble
) -> None:
    bari, cnaf, desy = sites
    contents = {b"%d" % number: os.urandom(LARGE) for number in range(3)}
    for name, content in contents.items():
        bari.write(name, content)
    settle(bari, cnaf)
    before = packs_in(store)
    trouble(store, *before)
    wait(bari, cnaf, desy)
    settle(bari, cnaf, desy)
    assert {name: desy.read(name) for name in contents} == contents
    assert set(packs_in(store)) - set(before), "it has a new name"
    assert "contents that are lost" not in desy.problems()
    for site in sites:
        assert not any(isinstance(each, Want) for each in declared(site)), "answered, so forgotten"


def test_one_site_answers_and_the_others_need_not(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, cnaf, desy = sites
    bari.write(b"film", os.urandom(LARGE))
    settle(bari, cnaf)
    before = packs_in(store)
    lose(store, *before)
    wait(bari, cnaf, desy)
    settle(bari, cnaf, desy)
    assert len(set(packs_in(store)) - set(before)) == 1


def test_nothing_is_wanted_before_its_time(store: RecordingStore, sites: list[LocalSite]) -> None:
    bari, _, desy = sites
    bari.write(b"film", os.urandom(LARGE))
    settle(bari)
    lose(store, *packs_in(store))
    wait(desy, for_s=WANTED_AFTER_S * 0.8)
    assert declared(desy) == []


def test_a_pack_that_only_is_not_visible_yet_is_wanted_once_and_harmlessly(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, cnaf, desy = sites
    bari.write(b"film", os.urandom(LARGE))
    settle(bari, cnaf)
    (name,) = packs_in(store)

    def hide(method: str, asked: str) -> None:
        if asked == name and method == "get_range":
            raise ObjectNotVisible(asked)

    desy.link.before = hide
    wait(bari, cnaf, desy)
    settle(bari, cnaf, desy)
    assert desy.read(b"film") == bari.read(b"film")
    assert len(packs_in(store)) == 2


def test_what_nobody_has_stays_a_problem_until_somebody_puts_it_back(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, cnaf, desy = sites
    film = os.urandom(LARGE)
    bari.write(b"film", film)
    settle(bari)
    lose(store, *packs_in(store))
    bari.write(b"film", os.urandom(LARGE))  # the version before lives on nowhere
    desy.cycle()  # knows of the first one only
    bari.close()
    wait(cnaf, desy)
    assert "geosync verify" in desy.problems()["contents that are lost"]
    assert not os.path.exists(desy.path(b"film"))
    cnaf.write(b"from a backup", film)
    wait(cnaf, desy, for_s=4000)
    settle(cnaf, desy)
    assert desy.read(b"film") == film
    assert "contents that are lost" not in desy.problems()


def test_a_want_that_nobody_needs_any_more_brings_nothing_about(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, _, desy = sites
    bari.write(b"film", os.urandom(LARGE))
    settle(bari)
    lose(store, *packs_in(store))
    wait(desy)
    os.unlink(bari.path(b"film"))
    before = len(packs_in(store))
    settle(bari, desy)
    wait(bari, desy)
    assert len(packs_in(store)) - before <= 1
    assert os.listdir(desy.root) == [b".geosync"]


def test_a_declaration_that_can_not_be_read_stops_its_log_and_no_other(
    sites: list[LocalSite],
) -> None:
    bari, cnaf, desy = sites
    settle(bari, cnaf, desy)
    declare(bari.engine.site, Topic.SUPPLY, encode((7, ())))
    run(bari, cnaf, desy, rounds=3)
    desy.write(b"film", b"goes on")
    run(bari, cnaf, desy, rounds=3)
    assert cnaf.read(b"film") == b"goes on"
    assert "update geosync" in cnaf.problems()[bari.label]


# The record and its rules


def _digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_statements_come_back_equal() -> None:
    packs = [pack_name(BARI, number) for number in range(3)]
    for statement in (
        Want({}),
        Want({_digest(1): frozenset(packs), _digest(2): frozenset()}),
        Supplied(()),
        Supplied(tuple(packs)),
    ):
        assert decode_supply(encode_supply(statement)) == statement


def test_the_largest_want_fits_into_a_declaration() -> None:
    per_chunk = WANTED_PACKS_MAX // WANTED_CHUNKS_MAX
    want = Want(
        {
            _digest(number): frozenset(pack_name(CNAF, number * 10 + i) for i in range(per_chunk))
            for number in range(WANTED_CHUNKS_MAX)
        }
    )
    assert len(encode_supply(want)) < 512 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        encode(()),
        encode((0,)),
        encode((0, (b"short", ()))),
        encode((0, (_digest(1), (b"log/x/1",)))),
        encode((0, (_digest(1),))),
        encode((1, (b"packs/../../etc/passwd",))),
        encode((1, 5)),
    ],
)
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(WireFormatError):
        decode_supply(body)


def test_a_later_kind_asks_for_an_update() -> None:
    with pytest.raises(NewerFormatError, match="update geosync"):
        decode_supply(encode((2, ())))


def test_random_bytes_are_refused_or_read() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        try:
            decode_supply(dice.randbytes(dice.randrange(60)))
        except MalformedValueError:
            continue


def test_only_a_place_that_was_not_tried_answers() -> None:
    assert not is_answered(frozenset({"a", "b"}), {"a", "b"})
    assert not is_answered(frozenset(), ())
    assert is_answered(frozenset({"a"}), {"a", "b"})


def test_each_actor_has_a_turn_of_its_own() -> None:
    actors = [BARI, CNAF, DESY]
    for counter in range(5):
        dot = Dot(BARI, counter + 1)
        assert sorted(turn_of(dot, each, actors) for each in actors) == [0, 1, 2]
    assert turn_of(Dot(BARI, 1), DESY, []) == 0
