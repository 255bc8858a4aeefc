"""A real Swift with quotas, and one in front of which somebody hangs up on expired tokens."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.canned_server import Answer, CannedServer
from tests.support.swift_account import SwiftAccount
from transport.errors import ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.retrying_store import RetryingStore
from transport.swift_credentials import resolve_credentials
from transport.swift_session import SwiftAccess, SwiftSession
from transport.swift_store import SwiftStore, open_swift_store

LARGE = bytes(20_000_000)
TWO_A_SECOND = {
    "container_ratelimit_0": "2",
    "rate_buffer_seconds": "1",
    "max_sleep_time_seconds": "0.1",
}


def store_at(server: SwiftServer, volume: str) -> SwiftStore:
    table = {"auth_url": server.auth_url, "user": server.user, "key": server.key}
    return open_swift_store(resolve_credentials(table, {}), volume)


@pytest.fixture
def store(swift_server: SwiftServer, fresh_swift_volume_name: str) -> Iterator[SwiftStore]:
    with closing(store_at(swift_server, fresh_swift_volume_name)) as opened:
        opened.prepare()
        yield opened


def set_quota(server: SwiftServer, container: str, size_bytes: str) -> None:
    """Sets the quota of a container, or of the whole account for ""."""
    account = SwiftAccount.authenticate(server.auth_url, server.operator, server.key)
    kind = "Container" if container else "Account"
    headers = {
        "X-Auth-Token": account.token,
        f"X-{kind}-Meta-Quota-Bytes": size_bytes,
    }
    url = f"{account.storage_url}/{container}".rstrip("/")
    request = urllib.request.Request(url, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=20):
        pass


def test_what_exceeds_a_quota_is_refused_and_told_and_reading_goes_on(
    swift_server: SwiftServer, store: SwiftStore, fresh_swift_volume_name: str
) -> None:
    store.put_once("packs/a", b"before")
    container = f"geosync-{fresh_swift_volume_name}-packs"
    set_quota(swift_server, container, "10")
    with pytest.raises(StoreRefused, match="over its quota") as refusal:
        store.put_once("packs/b", bytes(1000))
    assert "413" in str(refusal.value)
    assert store.get("packs/a", size_bytes_max=100) == b"before"
    assert list(store.list_names("packs/")) == ["packs/a"]
    set_quota(swift_server, container, "")
    store.put_once("packs/b", bytes(1000))


@pytest.fixture
def own_swift(tmp_path: Path) -> Iterator[SwiftServer]:
    """A Swift whose account no other test uses."""
    with SwiftServer(str(tmp_path / "swift")) as server:
        yield server


def test_a_quota_of_the_account_is_told_and_all_is_stored_once_it_is_raised(
    own_swift: SwiftServer,
) -> None:
    """A real Swift refuses, in whichever container the site of a volume writes."""
    with closing(store_at(own_swift, "quota")) as store:
        store.prepare()
        store.put_once("packs/a", b"before")
        set_quota(own_swift, "", "10")
        with pytest.raises(StoreRefused, match="over its quota"):
            store.put_once("log/b", bytes(1000))
        assert store.get("packs/a", size_bytes_max=100) == b"before"
        set_quota(own_swift, "", "")
        store.put_once("log/b", bytes(1000))


def test_a_swift_that_limits_the_rate_is_asked_again_until_all_is_stored(
    own_swift: SwiftServer,
) -> None:
    refused = 0

    def wait(pause_s: float) -> None:
        nonlocal refused
        refused += 1
        time.sleep(pause_s)

    with closing(store_at(own_swift, "rate")) as store:
        store.prepare()
        for name in ("log/a", "packs/a"):  # an empty container is not limited
            store.put_once(name, b"body")
        own_swift.stop()
        own_swift.rate_limits = TWO_A_SECOND
        own_swift.start()
        with pytest.raises(StoreUnavailable, match="498"):
            _store_many(store)
        patient = RetryingStore(
            store, budget_s=60, sleep=wait, monotonic=time.monotonic, random=random.Random(0)
        )
        names = [f"packs/{number}" for number in range(8)]
        for name in names:
            patient.put_once(name, name.encode())
        assert list(store.list_names("packs/")) == [*names, "packs/a"]
        assert refused > 0, "the limit was reached"


def _store_many(store: SwiftStore) -> None:
    for number in range(20):
        store.put_once(f"log/{number}", b"body")


class HangingUp:
    """In front of a Swift: cuts off an upload with the old token in its middle, without answer."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stored: list[bytes] = []
        self.cut = 0
        self._end: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._end is not None:
            with suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
                self._end = end
            except OSError:
                return
            with end, end.makefile("rb") as reader:
                while self._answer(end, reader):
                    pass

    def _answer(self, end: socket.socket, reader) -> bool:
        words = reader.readline().split()
        if not words:
            return False
        headers = {}
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        is_good = headers[b"x-auth-token"] == b"new"
        if words[0] == b"PUT" and not is_good:
            reader.read(100_000)
            self.cut += 1
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        body = reader.read(int(headers.get(b"content-length", 0)))
        if not is_good:
            end.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        elif words[0] == b"PUT":
            self.stored.append(body)
            end.sendall(
                b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nETag: %s\r\n\r\n" % headers[b"etag"]
            )
        else:
            end.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        return True


def test_an_expired_token_is_renewed_also_where_uploads_with_it_are_just_cut_off() -> None:
    front = HangingUp()
    accesses = [SwiftAccess(f"{front.url}/v1/AUTH_a", token) for token in ("new", "expired")]
    store = SwiftStore(SwiftSession(accesses.pop), "any", user="ann")
    patient = RetryingStore(
        store, budget_s=60, sleep=lambda _: None, monotonic=lambda: 0.0, random=random.Random(0)
    )
    patient.put_once("packs/a", LARGE)
    assert front.stored == [LARGE]
    assert front.cut >= 1
    assert accesses == []
    store.close()
    front.close()


def test_a_missing_right_and_wrong_credentials_are_told_apart() -> None:
    access_of = {"X-Auth-Token": "token"}
    for status, text in ((403, "what this user may do"), (401, "correct the credentials")):
        with CannedServer(Answer(status, access_of)) as server:
            access = SwiftAccess(f"{server.url}/v1/AUTH_a", "token")
            store = SwiftStore(SwiftSession(lambda a=access: a), "any", user="ann")
            with pytest.raises(StoreRefused, match=text) as refusal:
                store.get("log/a", size_bytes_max=10)
            assert str(status) in str(refusal.value)
            store.close()


@pytest.mark.parametrize("status", [429, 498, 503, 507])
@pytest.mark.parametrize(
    ("headers", "asked_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "999999999"}, 3600.0),
    ],
)
def test_a_store_that_is_too_busy_is_unavailable_for_as_long_as_it_says(
    status: int, headers: dict[str, str], asked_s: float | None
) -> None:
    with CannedServer(Answer(status, headers)) as server:
        access = SwiftAccess(f"{server.url}/v1/AUTH_a", "token")
        store = SwiftStore(SwiftSession(lambda: access), "any", user="ann")
        with pytest.raises(StoreUnavailable, match=str(status)) as failure:
            store.put_once("log/a", b"body")
        assert failure.value.retry_after_s == asked_s
        store.close()


EMPTY_LISTING = Answer(200, {"Content-Type": "application/json"}, b"[]")
LISTED = Answer(200, {"Content-Type": "application/json"}, b'[{"name": "a"}]')
PARTLY_DOWN = Answer(503)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ((PARTLY_DOWN, EMPTY_LISTING), ObjectNotVisible),
        ((PARTLY_DOWN, LISTED), StoreUnavailable),
        ((PARTLY_DOWN, PARTLY_DOWN), StoreUnavailable),
        ((Answer(500), EMPTY_LISTING), StoreUnavailable),
    ],
)
@pytest.mark.parametrize("is_range", [False, True])
def test_what_a_store_with_dead_servers_neither_gives_nor_lists_is_not_visible(
    answers: tuple[Answer, ...], error: type[Exception], is_range: bool
) -> None:
    """Else nobody could tell the end of a log as long as a region is down."""
    with CannedServer(*answers) as server:
        access = SwiftAccess(f"{server.url}/v1/AUTH_a", "token")
        store = SwiftStore(SwiftSession(lambda: access), "any", user="ann")
        read = partial(store.get, size_bytes_max=10)
        if is_range:
            read = partial(store.get_range, offset=0, length=1)
        with pytest.raises(error):
            read("log/a")
        store.close()
