"""What the Swift store makes of broken connections, failing servers and nonsense."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from conflict.errors import MalformedValueError
from geosync.demo.swift_server import SwiftServer
from tests.support.canned_server import Answer, CannedServer
from tests.support.faulty_relay import Break, FaultyRelay, Way
from transport.errors import (
    CorruptObject,
    ObjectCollision,
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)
from transport.object_store import AREAS
from transport.retrying_store import RetryingStore
from transport.swift_credentials import resolve_credentials
from transport.swift_session import SwiftAccess, SwiftSession
from transport.swift_store import SwiftStore, open_swift_store

BODY = os.urandom(300_000)
SIZE_BYTES_MAX = 1 << 20
HTML = Answer(200, {"Content-Type": "text/html"}, b"<html>Please log in to the hotel WLAN</html>")


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def object_answer(body: bytes, **headers: str) -> Answer:
    return Answer(200, {"ETag": md5(body)} | headers, body)


def login(server: SwiftServer, key: str = "") -> SwiftAccess:
    table = {"auth_url": server.auth_url, "user": server.user, "key": key or server.key}
    store = open_swift_store(resolve_credentials(table, {}), "any")
    access = store._session.access()
    store.close()
    return access


def at(
    access: SwiftAccess, volume: str = "any", *, timeout_s: float = 20.0, user: str = "somebody"
) -> SwiftStore:
    return SwiftStore(SwiftSession(lambda: access), volume, user=user, timeout_s=timeout_s)


def open_at(url: str) -> SwiftStore:
    """A store with its usual timeouts."""
    access = SwiftAccess(f"{url}/v1/AUTH_test", "token")
    return SwiftStore(SwiftSession(lambda: access), "any", user="somebody")


def ask_again(store: SwiftStore) -> RetryingStore:
    """Repeats without waiting."""
    return RetryingStore(
        store,
        budget_s=60,
        sleep=lambda _: None,
        monotonic=lambda: 0.0,
        random=random.Random(0),
    )


@pytest.fixture
def relay(swift_server: SwiftServer) -> Iterator[FaultyRelay]:
    with FaultyRelay(swift_server.proxy_address()) as relay:
        yield relay


@pytest.fixture
def store(
    swift_server: SwiftServer, relay: FaultyRelay, fresh_swift_volume_name: str
) -> Iterator[SwiftStore]:
    """A store whose requests go through the relay; a server silent for a second is lost."""
    access = login(swift_server)
    parts = urlsplit(access.storage_url)
    behind = parts._replace(netloc=f"127.0.0.1:{relay.address[1]}").geturl()
    store = at(SwiftAccess(behind, access.token), fresh_swift_volume_name, timeout_s=1.0)
    store.prepare()
    yield store
    store.close()


@pytest.mark.parametrize("kind", list(Break))
@pytest.mark.parametrize("after_bytes", [0, 100_000])
def test_a_get_that_breaks_off_is_an_error_and_never_a_shorter_object(
    store: SwiftStore, relay: FaultyRelay, kind: Break, after_bytes: int
) -> None:
    store.put_once("packs/a", BODY)
    for read in (
        lambda: store.get("packs/a", size_bytes_max=SIZE_BYTES_MAX),
        lambda: store.get_range("packs/a", 1000, 200_000),
    ):
        relay.arm(Way.TO_CLIENT, after_bytes, kind)
        with pytest.raises(StoreUnavailable, match=r"packs/a at http://127"):
            read()
        assert relay.broken.is_set()
    assert store.get("packs/a", size_bytes_max=SIZE_BYTES_MAX) == BODY


@pytest.mark.parametrize("kind", list(Break))
def test_a_put_whose_answer_is_lost_is_unknown_and_repeating_it_succeeds(
    store: SwiftStore, relay: FaultyRelay, kind: Break
) -> None:
    relay.arm(Way.TO_CLIENT, 0, kind)
    with pytest.raises(StoreUnavailable):
        store.put_once("packs/a", BODY)
    assert relay.broken.is_set()
    assert store.get("packs/a", size_bytes_max=SIZE_BYTES_MAX) == BODY
    store.put_once("packs/a", BODY)
    with pytest.raises(ObjectCollision):
        store.put_once("packs/a", BODY[::-1])


@pytest.mark.parametrize("kind", list(Break))
def test_a_put_that_breaks_off_stores_no_part_of_it(
    store: SwiftStore, relay: FaultyRelay, kind: Break
) -> None:
    relay.arm(Way.TO_SERVER, 100_000, kind)
    with pytest.raises(StoreUnavailable):
        store.put_once("packs/a", BODY)
    with pytest.raises(ObjectNotVisible):
        store.get("packs/a", size_bytes_max=SIZE_BYTES_MAX)
    store.put_once("packs/a", BODY)
    assert store.get("packs/a", size_bytes_max=SIZE_BYTES_MAX) == BODY


def test_retrying_hides_faults_of_the_network(store: SwiftStore, relay: FaultyRelay) -> None:
    patient = ask_again(store)
    relay.arm(Way.TO_CLIENT, 0, Break.RESET)
    patient.put_once("packs/a", BODY)
    relay.arm(Way.TO_CLIENT, 100_000, Break.CLOSE)
    assert patient.get("packs/a", size_bytes_max=SIZE_BYTES_MAX) == BODY
    relay.arm(Way.TO_CLIENT, 10, Break.CLOSE)
    assert list(patient.list_names("packs/")) == ["packs/a"]
    relay.arm(Way.TO_CLIENT, 0, Break.CLOSE)
    patient.delete("packs/a")
    assert relay.broken.is_set()


def test_requests_of_one_thread_share_one_connection(store: SwiftStore, relay: FaultyRelay) -> None:
    """A poll for the next segment is mostly answered 404: that keeps the connection too."""
    for number in range(3):
        store.put_once(f"log/{number}", BODY)
        store.get(f"log/{number}", size_bytes_max=SIZE_BYTES_MAX)
        store.get_range(f"log/{number}", 5, 10)
        with pytest.raises(ObjectNotVisible):
            store.get("log/next", size_bytes_max=SIZE_BYTES_MAX)
    with pytest.raises(ObjectCollision):
        store.put_once("log/1", BODY[::-1])
    list(store.list_names("log/"))
    store.delete("log/1")
    assert relay.connections == 1


def test_a_store_that_is_out_of_reach_is_unavailable(store: SwiftStore, relay: FaultyRelay) -> None:
    store.close()
    relay.is_refusing = True
    for operation in operations(store):
        with pytest.raises(StoreUnavailable):
            operation()


def operations(store: SwiftStore) -> list[Callable[[], object]]:
    return [
        lambda: store.put_once("log/a", b"body"),
        lambda: store.get("log/a", size_bytes_max=10),
        lambda: store.get_range("log/a", 0, 4),
        lambda: list(store.list_names("log/")),
        lambda: store.delete("log/a"),
        store.prepare,
    ]


OPERATIONS = range(6)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        Answer(302, {"Location": "/portal"}),
        Answer(200),
        Answer(200, {"Content-Length": "1000000"}, b"short"),
        Answer(200, {"Content-Length": "-5"}),
        Answer(203, {"ETag": "ä".encode().decode("latin-1")}, b"body"),
        Answer(500),
        Answer(503),
        Answer(507),
        Answer(408),
        Answer(429),
        Answer(498),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body[:5].decode()}-{len(answer.headers)}",
)
def test_nonsense_and_failures_are_unavailable_whatever_is_asked(
    answer: Answer, operation: int
) -> None:
    with CannedServer(answer) as server:
        store = open_at(server.url)
        with pytest.raises(StoreUnavailable):
            operations(store)[operation]()
        assert not any(asked.path.startswith("/portal") for asked in server.asked)
        store.close()


def test_a_connection_that_is_new_may_take_long_to_upload() -> None:
    """On a new connection urllib3 lets a connect timeout end the upload too; there is none.

    The server takes longer to read than any connect timeout that somebody might put there.
    """
    body = bytes(16 << 20)

    def serve(listener: socket.socket) -> None:
        end, _ = listener.accept()
        with end, end.makefile("rb") as reader:
            while reader.readline() != b"\r\n":
                pass
            threading.Event().wait(4.0)
            assert reader.read(len(body)) == body
            end.sendall(f"HTTP/1.1 201 Created\r\nETag: {md5(body)}\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, listener)
        port = listener.getsockname()[1]
        store = open_at(f"http://127.0.0.1:{port}")
        store.put_once("packs/a", body)
        store.close()
        served.result()


@pytest.mark.parametrize("status", [400, 403, 405, 411, 413, 451])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_answer_that_asks_for_an_operator_is_refused(status: int, operation: int) -> None:
    with CannedServer(Answer(status)) as server:
        store = open_at(server.url)
        with pytest.raises(StoreRefused, match=str(status)):
            operations(store)[operation]()
        store.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_token_refused_twice_is_refused_and_names_the_user(operation: int) -> None:
    logins = []
    with CannedServer(Answer(401)) as server:

        def login_again() -> SwiftAccess:
            logins.append(1)
            return SwiftAccess(f"{server.url}/v1/AUTH_test", f"token-{len(logins)}")

        store = SwiftStore(SwiftSession(login_again), "any", user="ann at http://login")
        with pytest.raises(StoreRefused, match="ann at http://login") as refusal:
            operations(store)[operation]()
        store.close()
    assert "token-" not in str(refusal.value)
    tokens = [asked.headers["x-auth-token"] for asked in server.asked]
    # Preparing also asks whether a container is there when it may not create it.
    assert tokens[:2] == ["token-1", "token-2"]


def test_a_store_says_how_long_it_wants_to_be_left_alone() -> None:
    with CannedServer(Answer(503, {"Retry-After": "7"}), Answer(503)) as server:
        store = open_at(server.url)
        with pytest.raises(StoreUnavailable) as first:
            store.delete("log/a")
        with pytest.raises(StoreUnavailable) as second:
            store.delete("log/a")
        store.close()
    assert (first.value.retry_after_s, second.value.retry_after_s) == (7.0, None)


def put_against(*answers: Answer) -> list[str]:
    """Puts b"body" and returns the methods that were needed."""
    with CannedServer(*answers) as server:
        store = open_at(server.url)
        try:
            store.put_once("log/a", b"body")
        finally:
            store.close()
        return [asked.method for asked in server.asked]


STORED = Answer(201, {"ETag": md5(b"body")})


def test_a_put_is_conditional_and_carries_its_checksum() -> None:
    with CannedServer(STORED) as server:
        store = at(SwiftAccess(f"{server.url}/v1/AUTH_test", "token"), "redmine")
        store.put_once("log/a/1", b"body")
        store.close()
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PUT", "/v1/AUTH_test/geosync-redmine-log/a/1")
    assert asked.headers["if-none-match"] == "*"
    assert asked.headers["etag"] == md5(b"body")
    assert asked.body == b"body"


@pytest.mark.parametrize("status", [202, 412])
def test_not_stored_is_settled_by_looking_at_what_is_there(status: int) -> None:
    assert put_against(Answer(status), object_answer(b"body")) == ["PUT", "GET"]
    for other in (b"", b"bodY", b"bod", b"body and more"):
        with pytest.raises(ObjectCollision, match=str(status)):
            put_against(Answer(status), object_answer(other))
    with pytest.raises(StoreUnavailable, match="nothing is visible"):
        put_against(Answer(status), Answer(404))
    with pytest.raises(StoreUnavailable):
        put_against(Answer(status), Answer(503))


def test_stored_with_another_checksum_is_not_stored() -> None:
    for answer in (Answer(201), Answer(201, {"ETag": md5(b"other")}), Answer(204)):
        with pytest.raises(StoreUnavailable, match="not Swift"):
            put_against(answer)


def test_damage_on_the_way_to_the_store_asks_for_a_repetition() -> None:
    with pytest.raises(StoreUnavailable, match="422"):
        put_against(Answer(422))


def test_a_missing_container_is_said_and_is_not_a_missing_object() -> None:
    with pytest.raises(StoreUnavailable, match="geosync init"):
        put_against(Answer(404))


def test_an_object_that_does_not_match_its_checksum_is_corrupt() -> None:
    with CannedServer(Answer(200, {"ETag": md5(b"other")}, b"body"), object_answer(b"body")) as s:
        store = open_at(s.url)
        with pytest.raises(CorruptObject, match="MD5"):
            store.get("log/a", size_bytes_max=10)
        assert store.get("log/a", size_bytes_max=10) == b"body"
        store.close()


@pytest.mark.parametrize(
    ("content_range", "body"),
    [
        ("bytes 0-3/100", b"body"),
        ("bytes 10-12/13", b"bod"),
        ("bytes 10-14/100", b"body!"),
        ("", b"body"),
        ("pages 10-13/100", b"body"),
    ],
)
def test_another_range_than_the_one_asked_for_is_corrupt(content_range: str, body: bytes) -> None:
    with CannedServer(Answer(206, {"Content-Range": content_range}, body)) as server:
        store = open_at(server.url)
        with pytest.raises(CorruptObject):
            store.get_range("log/a", 10, 4)
        store.close()


@pytest.mark.parametrize("body", [b"bod", b"bodyy", b""])
def test_a_range_of_another_length_than_announced_is_not_returned(body: bytes) -> None:
    with CannedServer(Answer(206, {"Content-Range": "bytes 10-13/100"}, body)) as server:
        store = open_at(server.url)
        with pytest.raises(StoreUnavailable, match="4 bytes were announced"):
            store.get_range("log/a", 10, 4)
        store.close()


def test_an_object_longer_than_allowed_is_not_read() -> None:
    endless = Answer(200, {"ETag": md5(b""), "Content-Length": str(1 << 40)}, b"x" * 1000)
    with CannedServer(endless) as server:
        store = open_at(server.url)
        with pytest.raises(CorruptObject, match=str(1 << 40)):
            store.get("log/a", size_bytes_max=SIZE_BYTES_MAX)
        assert store.counters().download_bytes == 0
        store.close()


def listing(body: bytes) -> Answer:
    return Answer(200, {"Content-Type": "application/json; charset=utf-8"}, body)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"name": 1}]',
        b'[{"name": "b"}, {"name": "a"}]',
        b'[{"name": "a"}, {"name": "a"}]',
        b"[" * 500,
    ],
)
def test_a_listing_that_is_none_is_unavailable(page: bytes) -> None:
    with CannedServer(listing(page)) as server:
        store = open_at(server.url)
        with pytest.raises(StoreUnavailable):
            list(store.list_names("log/"))
        store.close()


def test_a_listing_that_does_not_advance_ends_with_an_error_and_not_never() -> None:
    with CannedServer(listing(b'[{"name": "a"}]')) as server:
        store = open_at(server.url)
        names = store.list_names("log/")
        assert next(names) == "log/a"
        with pytest.raises(StoreUnavailable, match="no listing in order"):
            next(names)
        store.close()


def test_foreign_objects_are_left_out_of_a_listing() -> None:
    pages = [listing(b'[{"name": "a b"}, {"name": "b"}, {"name": "c//d"}]'), listing(b"[]")]
    with CannedServer(*pages) as server:
        store = open_at(server.url)
        assert list(store.list_names("log/")) == ["log/b"]
        store.close()


def test_threads_with_an_expired_token_log_in_once(
    swift_server: SwiftServer, fresh_swift_volume_name: str
) -> None:
    good = login(swift_server)
    stale = SwiftAccess(good.storage_url, "AUTH_tk_expired")
    accesses = [good, stale]
    session = SwiftSession(accesses.pop)
    store = SwiftStore(session, fresh_swift_volume_name, user="somebody")
    creator = at(good, fresh_swift_volume_name)
    creator.prepare()
    creator.close()
    barrier = threading.Barrier(8)

    def put(number: int) -> None:
        barrier.wait()
        store.put_once(f"log/{number}", BODY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert accesses == []
    assert len(list(store.list_names("log/"))) == 8
    store.close()


def test_a_wrong_key_is_refused_and_not_repeated_in_the_message(swift_server: SwiftServer) -> None:
    with pytest.raises(StoreRefused) as refusal:
        login(swift_server, key="not-the-key")
    assert swift_server.auth_url in str(refusal.value)
    assert swift_server.user in str(refusal.value)
    assert "not-the-key" not in str(refusal.value)


def login_at(url: str) -> SwiftAccess:
    table = {"auth_url": f"{url}/auth/v1.0", "user": "ann", "key": "secret-key"}
    return open_swift_store(resolve_credentials(table, {}), "any")._session.access()


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        Answer(200),
        Answer(404),
        Answer(500),
        Answer(503),
        Answer(200, {"X-Storage-Url": "elsewhere", "X-Auth-Token": "token"}),
        Answer(200, {"X-Storage-Url": "http://127.0.0.1/v1/AUTH_ann"}),
        Answer(200, {"Content-Length": "100"}, b"short"),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.headers)}",
)
def test_a_login_service_that_makes_no_sense_is_unavailable(answer: Answer) -> None:
    with CannedServer(answer) as server, pytest.raises(StoreUnavailable) as error:
        login_at(server.url)
    assert "check" in str(error.value)
    assert "secret-key" not in str(error.value)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_login_service_that_says_no_refuses(status: int) -> None:
    with (
        CannedServer(Answer(status)) as server,
        pytest.raises(StoreRefused, match="'ann'"),
    ):
        login_at(server.url)


def test_a_login_service_out_of_reach_is_unavailable(relay: FaultyRelay) -> None:
    relay.is_refusing = True
    with pytest.raises(StoreUnavailable, match="check auth_url"):
        login_at(f"http://127.0.0.1:{relay.address[1]}")


def prepare_against(*answers: Answer) -> list[str]:
    with CannedServer(*answers) as server:
        store = at(SwiftAccess(f"{server.url}/v1/AUTH_test", "token"), user="ann")
        try:
            store.prepare()
        finally:
            store.close()
        return [asked.method for asked in server.asked]


def test_who_may_only_read_needs_containers_that_are_there() -> None:
    """A replica works with credentials that may only read."""
    forbidden = Answer(403)
    assert prepare_against(*[forbidden, Answer(204)] * len(AREAS)) == ["PUT", "HEAD"] * len(AREAS)
    with pytest.raises(StoreRefused, match="grant ann"):
        prepare_against(forbidden, Answer(404))
    with pytest.raises(StoreUnavailable):
        prepare_against(forbidden, Answer(503))


@pytest.mark.parametrize("volume", ["", "a/b", "a b", "ä", "-a", "a" * 65])
def test_a_volume_that_cannot_name_a_container_is_refused(volume: str) -> None:
    with pytest.raises(MalformedValueError, match="cannot name a volume"):
        at(SwiftAccess("http://127.0.0.1:1/v1/AUTH_test", "token"), volume)
