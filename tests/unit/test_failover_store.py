"""Several endpoints of one store: the nearest that works; nobody waits twice for one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.recording_store import RecordingStore
from transport.errors import (
    CorruptObject,
    ObjectCollision,
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)
from transport.failover_store import PROBE_EVERY_S, FailoverStore
from transport.memory_store import MemoryStore
from transport.object_names import VOLUME_RECORD

NEAR, MIDDLE, FAR = "near", "middle", "far"


@dataclass
class Rig:
    """Three endpoints of one store, each of which may fail, and time that a test lets pass."""

    now_s: float = 1000.0
    failures: dict[str, Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    probes: list[Callable[[], object]] = field(default_factory=list)
    memory: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.store = FailoverStore(
            [(name, self._endpoint(name)) for name in (NEAR, MIDDLE, FAR)],
            monotonic=lambda: self.now_s,
            in_background=self.probes.append,
            on_change=lambda name, problem: self.told.append((name, problem)),
        )

    def _endpoint(self, name: str) -> RecordingStore:
        def ask(method: str, asked: str) -> None:
            self.asked.append(name)
            if name in self.failures:
                raise self.failures[name]

        return RecordingStore(self.memory, before=ask)

    def who_answers(self) -> list[str]:
        """Asks for something, and returns the endpoints that were asked."""
        self.asked.clear()
        assert self.store.get("log/a", size_bytes_max=9) == b"body"
        return list(self.asked)

    def in_use(self) -> str:
        (name,) = (each.name for each in self.store.endpoints() if each.is_in_use)
        return name

    def probe(self) -> None:
        for probe in self.probes:
            probe()
        self.probes.clear()


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.memory.put_once("log/a", b"body")
    made.memory.put_once(VOLUME_RECORD, b"record")
    for name in (NEAR, MIDDLE, FAR):  # each has shown the record, one after the other
        made.failures = {other: down(other) for other in (NEAR, MIDDLE, FAR) if other != name}
        made.store.get("log/a", size_bytes_max=9)
    made.failures.clear()
    made.now_s += PROBE_EVERY_S
    made.store.get("log/a", size_bytes_max=9)
    made.probe()
    made.asked.clear()
    made.told.clear()
    return made


def down(name: str) -> StoreUnavailable:
    return StoreUnavailable(f"{name} is down")


def other_store(*records: bytes) -> MemoryStore:
    store = MemoryStore()
    for record in records:
        store.put_once(VOLUME_RECORD, record)
    return store


def failover(*stores: MemoryStore) -> FailoverStore:
    return FailoverStore(
        [(str(number), store) for number, store in enumerate(stores)],
        monotonic=lambda: 0.0,
        in_background=lambda _: None,
        on_change=lambda *_: None,
    )


class DownStore(MemoryStore):
    """An endpoint that is down from some moment on."""

    is_down = False

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        if self.is_down:
            raise down(name)
        return super().get(name, size_bytes_max=size_bytes_max)

    def put_once(self, name: str, body: bytes) -> None:
        if self.is_down:
            raise down(name)
        super().put_once(name, body)


@pytest.mark.parametrize("foreign", [other_store(), other_store(b"another record")])
@pytest.mark.parametrize("is_down_from_the_start", [True, False])
def test_nothing_is_written_to_another_store_that_the_configuration_names_by_mistake(
    foreign: MemoryStore, is_down_from_the_start: bool
) -> None:
    own = DownStore()
    own.put_once(VOLUME_RECORD, b"record")
    store = failover(own, foreign)
    if not is_down_from_the_start:
        store.put_once("log/a", b"body")
    own.is_down = True
    if is_down_from_the_start and list(foreign.list_names("volume/")):
        return  # nobody could tell which of the two is right
    before = list(foreign.list_names("log/"))
    with pytest.raises(StoreUnavailable):
        store.put_once("log/b", b"body")
    assert list(foreign.list_names("log/")) == before
    own.is_down = False
    store.put_once("log/b", b"body")
    assert store.get("log/b", size_bytes_max=9) == b"body"


def test_a_volume_is_created_through_the_nearest_and_then_known_at_all() -> None:
    shared = MemoryStore()
    store = failover(shared, shared)
    store.prepare()
    with pytest.raises(ObjectNotVisible):
        store.get(VOLUME_RECORD, size_bytes_max=9)
    with pytest.raises(StoreUnavailable, match="geosync doctor"):
        store.put_once("log/a", b"body")
    store.put_once(VOLUME_RECORD, b"record")
    store.put_once("log/a", b"body")


def test_the_nearest_is_asked_while_it_works(rig: Rig) -> None:
    assert rig.who_answers() == [NEAR]
    assert rig.in_use() == NEAR
    assert rig.told == []


@pytest.mark.parametrize("failure", [down(NEAR), StoreRefused("not here")])
def test_one_that_fails_is_replaced_at_once_and_then_left_alone(
    rig: Rig, failure: Exception
) -> None:
    rig.failures[NEAR] = failure
    assert rig.who_answers() == [NEAR, MIDDLE]
    assert rig.who_answers() == [MIDDLE]
    assert rig.in_use() == MIDDLE
    assert rig.told == [(NEAR, str(failure))]
    near = rig.store.endpoints()[0]
    assert (near.problem, near.down_for_s) == (str(failure), 0.0)


def test_a_write_goes_on_elsewhere_with_the_same_bytes(rig: Rig) -> None:
    """What failed may have stored it: equal bytes that are there count as stored."""
    rig.memory.put_once("log/b", b"bytes")
    rig.failures[NEAR] = down(NEAR)
    rig.store.put_once("log/b", b"bytes")
    with pytest.raises(ObjectCollision):
        rig.store.put_once("log/b", b"other bytes")


@pytest.mark.parametrize(
    "answer", [ObjectNotVisible("a"), CorruptObject("a"), ObjectCollision("a")]
)
def test_an_answer_is_no_failure(rig: Rig, answer: Exception) -> None:
    rig.failures[NEAR] = answer
    with pytest.raises(type(answer)):
        rig.store.get("log/a", size_bytes_max=9)
    assert rig.asked == [NEAR]
    assert rig.in_use() == NEAR


def test_the_nearest_is_used_again_once_a_probe_finds_it_well(rig: Rig) -> None:
    rig.failures[NEAR] = down(NEAR)
    rig.who_answers()
    rig.now_s += PROBE_EVERY_S - 0.1
    rig.who_answers()
    assert rig.probes == []
    rig.now_s += 0.2
    for _ in range(5):
        assert rig.who_answers() == [MIDDLE]
    assert len(rig.probes) == 1, "one probe at a time"
    rig.probe()
    assert rig.who_answers() == [MIDDLE], "still down"
    assert rig.probes == [], "and not hammered"
    rig.now_s += PROBE_EVERY_S
    del rig.failures[NEAR]
    rig.who_answers()
    rig.probe()
    assert rig.who_answers() == [NEAR]
    assert rig.told == [(NEAR, "near is down"), (NEAR, "")]


def test_a_probe_of_a_volume_without_a_record_is_an_answer(rig: Rig) -> None:
    rig.memory.delete(VOLUME_RECORD)
    rig.failures[NEAR] = down(NEAR)
    rig.who_answers()
    del rig.failures[NEAR]
    rig.now_s += PROBE_EVERY_S
    rig.who_answers()
    rig.probe()
    assert rig.in_use() == NEAR


def test_when_all_fail_each_is_asked_and_all_are_told(rig: Rig) -> None:
    rig.failures |= {name: down(name) for name in (NEAR, MIDDLE, FAR)}
    with pytest.raises(StoreUnavailable) as failure:
        rig.store.get("log/a", size_bytes_max=9)
    assert rig.asked == [NEAR, MIDDLE, FAR]
    for name in (NEAR, MIDDLE, FAR):
        assert f"through {name}: {name} is down" in str(failure.value)
    del rig.failures[FAR]
    assert rig.who_answers() == [NEAR, MIDDLE, FAR]
    assert rig.who_answers() == [FAR]
    rig.failures = {FAR: down(FAR)}
    assert rig.who_answers() == [FAR, NEAR], "those that failed before are the last resort"
    assert rig.in_use() == NEAR


def test_all_refuse_is_refused_and_one_that_can_not_tell_is_unavailable(rig: Rig) -> None:
    rig.failures |= dict.fromkeys((NEAR, MIDDLE, FAR), StoreRefused("no"))
    with pytest.raises(StoreRefused):
        rig.store.get("log/a", size_bytes_max=9)
    rig.failures[FAR] = StoreUnavailable("slow down", retry_after_s=7)
    with pytest.raises(StoreUnavailable) as failure:
        rig.store.get("log/a", size_bytes_max=9)
    assert failure.value.retry_after_s == 7


def test_a_listing_that_breaks_off_is_begun_anew_elsewhere(rig: Rig) -> None:
    rig.failures[NEAR] = down(NEAR)
    assert list(rig.store.list_names("log/")) == ["log/a"]
    assert rig.asked == [NEAR, MIDDLE]


def test_counters_are_those_of_all(rig: Rig) -> None:
    rig.who_answers()
    counters = rig.store.counters()
    assert counters.requests == 3 * rig.memory.counters().requests  # one memory, three doors
    assert [each.name for each in counters.endpoints] == [NEAR, MIDDLE, FAR]
