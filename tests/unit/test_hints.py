"""Hints: what one says, who may say it, what it makes a site do, and what happens without it."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conflict.version import ACTOR_SIZE_BYTES, actor_id
from geosync.clock import SystemClock
from geosync.configuration.hints import HintSettings
from geosync.configuration.volume_configuration import (
    default_configuration_text,
    parse_configuration,
)
from geosync.daemon.hint_service import HintService, hint_service
from geosync.engine.haste import Haste
from geosync.errors import ConfigurationError, OperatorError
from geosync.hints.hint_channel import PACKETS_A_SECOND_MAX, HintChannel, read_secret
from geosync.hints.packet import (
    PACKET_SIZE_BYTES,
    Hint,
    decode_hint,
    encode_hint,
    hint_key,
)
from geosync.hints.pending_hints import LOOKS_MAX, VOUCHED_FOR_S, PendingHints
from geosync.network_address import NetworkAddress, parse_address
from geosync.reporting.status import HintState
from tests.support.await_condition import await_condition
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore
from transport.object_names import segment_name

ACTOR = actor_id(bytes(range(ACTOR_SIZE_BYTES)))
OTHER = actor_id(bytes(ACTOR_SIZE_BYTES))
SECRET = b"0123456789abcdef0123456789abcdef"
KEY = hint_key(SECRET, "redmine")
LOOPBACK = NetworkAddress("127.0.0.1", 0)


# What one says


def test_a_hint_is_read_by_who_knows_the_secret() -> None:
    packet = encode_hint(Hint(ACTOR, 7), KEY)
    assert len(packet) == PACKET_SIZE_BYTES
    assert decode_hint(packet, KEY) == Hint(ACTOR, 7)


@pytest.mark.parametrize("position", range(PACKET_SIZE_BYTES))
def test_a_hint_with_any_byte_changed_is_no_hint(position: int) -> None:
    packet = bytearray(encode_hint(Hint(ACTOR, 7), KEY))
    packet[position] ^= 1
    assert decode_hint(bytes(packet), KEY) is None


def test_what_is_no_hint_of_this_volume_is_refused() -> None:
    packet = encode_hint(Hint(ACTOR, 7), KEY)
    assert decode_hint(packet, hint_key(SECRET, "wiki")) is None
    assert decode_hint(packet, hint_key(b"another secret, long enough", "redmine")) is None
    for wrong in (b"", packet[:-1], packet + b"x", os.urandom(1400)):
        assert decode_hint(wrong, KEY) is None


# What it makes a site do


def test_a_hint_that_was_heard_before_tells_nothing() -> None:
    pending = PendingHints()
    assert pending.note(Hint(ACTOR, 7), 0.0)
    assert not pending.note(Hint(ACTOR, 7), 1.0)
    assert not pending.note(Hint(ACTOR, 6), 1.0)
    assert pending.note(Hint(ACTOR, 8), 1.0)
    assert pending.note(Hint(OTHER, 1), 1.0)


def test_a_hint_of_what_is_read_already_is_forgotten() -> None:
    pending = PendingHints()
    pending.note(Hint(ACTOR, 7), 0.0)
    assert pending.due(0.0, lambda _: 7) == {ACTOR}
    assert pending.due(0.0, lambda _: 8) == set()
    assert pending.next_due_s() is None


def test_a_hint_of_an_actor_that_this_site_does_not_read_is_forgotten() -> None:
    pending = PendingHints()
    pending.note(Hint(ACTOR, 7), 0.0)
    assert pending.due(0.0, lambda _: None) == set()


def test_what_is_not_visible_yet_is_looked_for_less_and_less_often_and_not_for_ever() -> None:
    pending = PendingHints()
    pending.note(Hint(ACTOR, 7), 0.0)
    looks: list[float] = []
    while (due_s := pending.next_due_s()) is not None:
        due = pending.due(due_s, lambda _: 7)
        looks += [due_s] * len(due)
        pending.note_look(due, due_s)
    pauses = [after - before for before, after in itertools.pairwise(looks)]
    assert len(looks) == LOOKS_MAX
    assert pauses == sorted(pauses)
    assert looks[-1] < 1.0


def test_logs_are_vouched_for_while_each_is_heard_and_read() -> None:
    pending = PendingHints()
    following = {ACTOR: 8, OTHER: 2}
    assert pending.vouched_for_since_s({}, 0.0) is None
    pending.note(Hint(ACTOR, 7), 0.0)
    assert pending.vouched_for_since_s(following, 0.0) is None  # nobody has heard the other one
    assert pending.not_heard(following, 0.0) == {OTHER}
    pending.note(Hint(OTHER, 1), 1.0)
    assert pending.vouched_for_since_s(following, 1.0) == 0.0
    pending.note(Hint(ACTOR, 7), 2.0)  # said again
    assert pending.vouched_for_since_s(following, 2.0) == 1.0
    assert pending.vouched_for_since_s(following, 1.0 + VOUCHED_FOR_S) == 1.0
    assert pending.vouched_for_since_s(following, 1.1 + VOUCHED_FOR_S) is None
    pending.note(Hint(OTHER, 2), 3.0)  # not read yet
    assert pending.vouched_for_since_s(following, 3.0) is None
    assert pending.vouched_for_since_s({ACTOR: 8, OTHER: 3}, 3.0) == 2.0


def test_a_hint_from_long_ago_vouches_for_nothing() -> None:
    pending = PendingHints()
    pending.note(Hint(ACTOR, 7), 0.0)
    pending.note(Hint(ACTOR, 6), 100.0)
    assert pending.vouched_for_since_s({ACTOR: 8}, 100.0) is None


def test_a_hinted_cycle_asks_for_the_named_log_alone_and_a_change_asks_for_none() -> None:
    """One change costs one PUT here, and one GET there."""
    with local_sites(MemoryStore(), "bari", "cnaf", "roma") as (bari, cnaf, roma):
        settle(bari, cnaf, roma)
        stored = news_of(bari)
        bari.write(b"file", b"by bari")
        bari.link.calls.clear()
        bari.engine.cycle({(): False}, Haste(frozenset(), is_prompt=True))
        assert [method for method, _ in bari.link.calls] == ["put_once"]
        actor = bari.engine.site.actor
        assert stored == [cnaf.engine.next_sequence(actor)]
        cnaf.link.calls.clear()
        cnaf.engine.cycle({}, Haste(frozenset((actor,)), is_prompt=True))
        assert cnaf.read(b"file") == b"by bari"
        assert cnaf.link.calls == [("get", segment_name(actor, stored[0]))]
        assert cnaf.engine.next_sequence(actor) == stored[0] + 1
        assert cnaf.engine.next_sequence(cnaf.engine.site.actor) is None


def news_of(site: LocalSite) -> list[int]:
    """Collects the segments of which the others would be told at once."""
    stored: list[int] = []

    def take(sequence: int, *, is_news: bool) -> None:
        stored.extend([sequence] * is_news)

    site.engine.site.on_stored = take
    return stored


def test_nobody_is_told_at_once_of_a_segment_that_only_acknowledges() -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        settle(bari, cnaf)
        stored = news_of(cnaf)
        bari.write(b"file", b"by bari")
        settle(bari, cnaf)
        assert not cnaf.engine.owes_acknowledgement()
        assert stored == []


# The way there


@pytest.fixture
def secret_file(tmp_path: Path) -> bytes:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o640)
    return os.fsencode(path)


@contextmanager
def channel(settings: HintSettings, heard: list[Hint]) -> Iterator[HintChannel]:
    def take(hint: Hint) -> bool:
        heard.append(hint)
        return heard.count(hint) == 1

    opened = HintChannel(settings, "redmine", take)
    opened.start()
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def mouth_to(ear: HintChannel, secret_file: bytes) -> Iterator[HintChannel]:
    """Opens a channel that tells this one."""
    with channel(HintSettings(None, (address_of(ear),), secret_file), []) as mouth:
        yield mouth


def address_of(ear: HintChannel) -> NetworkAddress:
    address = parse_address(ear.state.address)
    assert address is not None
    return address


def test_a_hint_arrives_at_a_peer_and_a_forged_one_is_counted(secret_file: bytes) -> None:
    heard: list[Hint] = []
    with channel(HintSettings(LOOPBACK, (), secret_file), heard) as ear:
        with mouth_to(ear, secret_file) as mouth:
            mouth.tell(Hint(ACTOR, 7))
            await_condition(lambda: heard, "the hint arrives")
            assert mouth.state.sent == 1
        address, before = address_of(ear), ear.state.old  # nobody says anything again now
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forger.sendto(b"x" * PACKET_SIZE_BYTES, (address.host, address.port))
            forger.sendto(encode_hint(Hint(ACTOR, 7), KEY), (address.host, address.port))
            await_condition(
                lambda: ear.state.refused and ear.state.old > before, "both are counted"
            )
        assert set(heard) == {Hint(ACTOR, 7)}
        assert (ear.state.heard, ear.state.refused) == (1, 1)


def test_a_hint_is_said_again_and_again_and_what_is_no_news_with_it(secret_file: bytes) -> None:
    heard: list[Hint] = []
    with (
        channel(HintSettings(LOOPBACK, (), secret_file), heard) as ear,
        mouth_to(ear, secret_file) as mouth,
    ):
        mouth.tell(Hint(ACTOR, 7))
        await_condition(lambda: heard.count(Hint(ACTOR, 7)) > 2, "it is said again")
        mouth.tell(Hint(ACTOR, 8), is_news=False)
        await_condition(lambda: Hint(ACTOR, 8) in heard, "it goes with a repeat")
        assert mouth.state.sent == 1


def test_a_flood_is_not_listened_to_beyond_a_rate(secret_file: bytes) -> None:
    with channel(HintSettings(LOOPBACK, (), secret_file), []) as ear:
        address = address_of(ear)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:

            def flood() -> bool:
                for _ in range(PACKETS_A_SECOND_MAX):
                    forger.sendto(b"nonsense", (address.host, address.port))
                return ear.state.limited > 0

            await_condition(flood, "the rate is limited")


def test_a_peer_without_an_address_is_told_of_and_the_others_hear_it(secret_file: bytes) -> None:
    heard: list[Hint] = []
    with channel(HintSettings(LOOPBACK, (), secret_file), heard) as ear:
        address = address_of(ear)
        peers = (NetworkAddress("no.such.invalid", 9), address)
        with channel(HintSettings(None, peers, secret_file), []) as mouth:
            mouth.tell(Hint(ACTOR, 7))
            await_condition(lambda: heard, "the hint arrives")
            assert "no.such.invalid:9" in mouth.state.problem


def test_a_secret_that_is_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(OperatorError, match=r"No such file.*head -c 32"):
        read_secret(os.fsencode(path))
    path.write_bytes(b"short\n")
    path.chmod(0o600)
    with pytest.raises(OperatorError, match="has 5 bytes, and needs at least 16"):
        read_secret(os.fsencode(path))
    path.write_bytes(SECRET)
    path.chmod(0o644)
    with pytest.raises(OperatorError, match="chmod o="):
        read_secret(os.fsencode(path))
    path.chmod(0o640)
    assert read_secret(os.fsencode(path)) == SECRET


# In a daemon


MINIMAL = {"volume": "redmine", "site": "bari", "root": "/srv/files"}


def test_news_wake_the_control_thread_once(secret_file: bytes) -> None:
    woken: list[bool] = []
    clock = SystemClock()
    table = {"listen": "127.0.0.1:0", "secret_file": os.fsdecode(secret_file)}
    configuration = parse_configuration(MINIMAL | {"hints": table}, "test")
    with hint_service(configuration, clock, lambda: woken.append(True)) as service:
        assert service.problem == ""
        assert service.take(Hint(ACTOR, 7))
        assert not service.take(Hint(ACTOR, 7))
        assert woken == [True]
        assert service.due(lambda _: 7) == {ACTOR}
        service.note_look(frozenset((ACTOR,)))
        assert service.due(lambda _: 8) == frozenset()


def test_hints_that_cannot_be_heard_are_a_problem_and_no_failure() -> None:
    table = {"listen": "127.0.0.1:0", "secret_file": "/nowhere/secret"}
    configuration = parse_configuration(MINIMAL | {"hints": table}, "test")
    with hint_service(configuration, SystemClock(), lambda: None) as service:
        assert "/nowhere/secret" in service.problem
        assert "polls alone" in service.problem
        assert service.state({}) is None
        service.tell(ACTOR, 7, is_news=True)  # nobody hears it


def test_a_service_tells_its_peers_and_counts(secret_file: bytes) -> None:
    heard: list[Hint] = []
    with channel(HintSettings(LOOPBACK, (), secret_file), heard) as ear:
        service = HintService(SystemClock().monotonic_s)
        with mouth_to(ear, secret_file) as mouth:
            service.use(mouth, lambda: None)
            service.tell(ACTOR, 7, is_news=True)
            await_condition(lambda: Hint(ACTOR, 7) in heard, "the hint arrives")
            service.take(Hint(OTHER, 1))
            state = service.state({ACTOR: "roma", OTHER: "cnaf"})
            assert state == HintState(peers=(ear.state.address,), sent=1, not_heard=("roma",))
            assert service.vouched_for_since_s({OTHER: 2}) is not None
            assert service.vouched_for_since_s({ACTOR: 8, OTHER: 2}) is None


# The configuration


def test_the_table_is_read_and_written_as_it_was() -> None:
    table = {
        "listen": "[::]:8485",
        "peers": ["geneva.example.org:8485", "[2001:db8::1]:8485"],
        "secret_file": "/etc/geosync/hints.secret",
    }
    configuration = parse_configuration(MINIMAL | {"hints": table}, "test")
    hints = configuration.hints
    assert hints.listen == NetworkAddress("::", 8485)
    assert [str(peer) for peer in hints.peers] == table["peers"]
    text = default_configuration_text(configuration)
    assert 'secret_file = "/etc/geosync/hints.secret"' in text.splitlines()
    assert parse_configuration(MINIMAL, "test").hints == HintSettings()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"listen": "0.0.0.0:8485"}, "[hints] secret_file: found nothing"),
        ({"listen": "8485", "secret_file": "/s"}, "[hints] listen"),
        ({"peers": ["geneva"], "secret_file": "/s"}, "[hints] peers"),
        ({"peers": ["geneva:0"], "secret_file": "/s"}, "[hints] peers"),
        ({"peers": "geneva:8485", "secret_file": "/s"}, "[hints] peers"),
        ({"secret": "sesame"}, "[hints] secret"),
    ],
)
def test_what_is_wrong_in_the_table_is_told(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_configuration(MINIMAL | {"hints": table}, "test")
    assert words.split(":", maxsplit=1)[0] in str(raised.value)
