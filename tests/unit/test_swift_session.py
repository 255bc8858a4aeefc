"""A Swift session logs in once for all threads, and again only for the current token."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from transport.errors import StoreUnavailable
from transport.swift_session import SwiftAccess, SwiftSession


class Login:
    """Counts logins, and lets none end before `released` is set."""

    def __init__(self) -> None:
        self.count = 0
        self.released = threading.Event()
        self.started = threading.Event()
        self.error: Exception | None = None

    def __call__(self) -> SwiftAccess:
        self.count += 1
        self.started.set()
        assert self.released.wait(10)
        if self.error is not None:
            raise self.error
        return SwiftAccess("http://store/v1/AUTH_a", f"token-{self.count}")


def test_threads_wait_for_one_login_and_share_its_token() -> None:
    login = Login()
    session = SwiftSession(login)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(session.access) for _ in range(8)]
        assert login.started.wait(10)
        login.released.set()
        assert {future.result().token for future in asked} == {"token-1"}
    assert login.count == 1


def test_a_refused_token_is_renewed_once_by_whoever_reports_it_first() -> None:
    login = Login()
    login.released.set()
    session = SwiftSession(login)
    first = session.access()
    with ThreadPoolExecutor(8) as pool:
        renewed = list(pool.map(lambda _: session.access(refused=first), range(8)))
    assert {access.token for access in renewed} == {"token-2"}
    assert session.access() is renewed[0]
    assert login.count == 2


def test_a_late_report_of_an_old_token_leaves_the_new_one_alone() -> None:
    login = Login()
    login.released.set()
    session = SwiftSession(login)
    first = session.access()
    second = session.access(refused=first)
    assert session.access(refused=first) is second
    assert login.count == 2


def test_waiting_threads_share_a_failure_and_the_next_call_tries_again() -> None:
    """Eight threads do not wait for eight timeouts in a row."""
    login = Login()
    login.error = StoreUnavailable("login service down")
    session = SwiftSession(login)
    with ThreadPoolExecutor(2) as pool:
        pilot = pool.submit(session.access)
        assert login.started.wait(10)
        assert session._flight is not None
        flight = WatchedFuture()
        session._flight.add_done_callback(lambda done: flight.set_exception(done.exception()))
        session._flight = flight
        passenger = pool.submit(session.access)
        assert flight.awaited.wait(10)
        login.released.set()
        for future in (pilot, passenger):
            with pytest.raises(StoreUnavailable, match="login service down"):
                future.result()
    assert login.count == 1
    login.error = None
    assert session.access().token == "token-2"


class WatchedFuture(Future[SwiftAccess]):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = threading.Event()

    def result(self, timeout: float | None = None) -> SwiftAccess:
        self.awaited.set()
        return super().result(timeout)


def test_a_token_does_not_appear_in_a_representation() -> None:
    assert "secret" not in repr(SwiftAccess("http://store", "secret"))
