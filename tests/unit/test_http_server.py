"""The HTTP server's limits, on real sockets: who is slow is cut, and who is not is served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from geosync.clock import SystemClock
from geosync.errors import OperatorError
from geosync.http import application, server
from geosync.http.access import Gate, server_names
from geosync.http.application import make_application
from geosync.http.exchange import Answer, text_answer
from geosync.http.routes import Kind, Route
from geosync.http.server import HttpServer
from geosync.http.site import Site
from geosync.network_address import NetworkAddress
from tests.support.await_condition import await_condition
from tests.support.http_client import ask

LOOPBACK = NetworkAddress("127.0.0.1", 0)
QUICK_S = 0.2
LARGE_BYTES = 32 << 20  # more than the kernel buffers of a connection hold


def _fail(_site, _request):
    raise ZeroDivisionError


IS_OVER = threading.Event()


def _wait(_site, _request):
    IS_OVER.wait()
    return text_answer("late")


ROUTES = (
    Route("GET", "/waits", _wait, Kind.COMMAND),
    Route("GET", "/quick", lambda _site, _request: text_answer("done")),
    Route("POST", "/echo", lambda _site, request: Answer(request.body, "text/plain")),
    Route("GET", "/large", lambda _site, _request: Answer(b"x" * LARGE_BYTES, "text/plain")),
    Route("GET", "/fails", _fail),
    Route("GET", "/v1/fails", _fail, Kind.COMMAND),
)


@contextmanager
def _served(tmp_path, listen=LOOPBACK) -> Iterator[str]:
    site = Site(
        status=lambda: None,
        command=lambda _command, _arguments: {},
        clock=SystemClock(),
        state_dir=bytes(tmp_path),
        version="1",
        gate=Gate("token", server_names([])),
    )
    running = HttpServer(listen, make_application(site, ROUTES))
    running.start()
    try:
        yield str(running.address)
    finally:
        running.close()
        assert not running._thread.is_alive()


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _is_cut(connection: socket.socket) -> bool:
    """Waits until the server has closed the connection, with or without an answer before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def _is_reset(connection: socket.socket) -> bool:
    """Sends a byte, which must not make the server wait any longer."""
    try:
        connection.send(b" ")
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /quick HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
        b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\nGET /qui",
    ],
)
def test_a_request_that_does_not_arrive_is_cut(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(server, "REQUEST_S_MAX", QUICK_S)
    with _served(tmp_path) as address, _connected(address) as slow:
        slow.sendall(sent)
        assert _is_cut(slow)
        assert ask(address, "/quick").body == b"done\n"


def test_an_answer_that_nobody_takes_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ANSWER_S_MAX", QUICK_S)
    with _served(tmp_path) as address, _connected(address) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.recv(1)
        await_condition(lambda: _is_reset(slow), "the connection is cut with what was not taken")
        assert ask(address, "/quick").status == 200


def test_a_body_is_bounded_whether_it_says_its_length_or_not(tmp_path):
    too_long = application.BODY_BYTES_MAX + 1
    with _served(tmp_path) as address:
        fits = b"x" * application.BODY_BYTES_MAX
        assert ask(address, "/echo", method="POST", body=fits).body == fits
        assert ask(address, "/echo", method="POST", body=b"x" * too_long).status == 413
        with _connected(address) as chunked:
            chunked.sendall(
                b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"%x\r\n%s\r\n0\r\n\r\n" % (too_long, b"x" * too_long)
            )
            assert chunked.recv(12) == b"HTTP/1.1 413"


def test_an_answer_that_takes_too_long_to_make_is_cut_and_others_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ANSWER_S_MAX", QUICK_S)
    IS_OVER.clear()
    with _served(tmp_path) as address, _connected(address) as slow:
        slow.sendall(b"GET /waits HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            await_condition(lambda: _is_reset(slow), "the connection is cut")
            assert ask(address, "/quick").status == 200
        finally:
            IS_OVER.set()


@pytest.mark.parametrize("path", ["/fails", "/v1/fails"])
def test_a_defect_in_one_answer_is_an_answer_and_no_end(tmp_path, path, caplog):
    with _served(tmp_path) as address:
        answer = ask(address, path)
        assert (answer.status, b"its log says why" in answer.body) == (500, True)
        assert ask(address, "/quick").status == 200
    assert "http_request_failed" in caplog.text


def test_an_address_that_is_taken_or_not_ours_is_told_at_once(tmp_path):
    with _served(tmp_path) as address:
        taken = NetworkAddress("127.0.0.1", int(address.rpartition(":")[2]))
        with pytest.raises(OperatorError, match=r"cannot listen on .*: Address already in use"):
            HttpServer(taken, None)
    with pytest.raises(OperatorError, match=r"cannot listen on 192\.0\.2\.1:0"):
        HttpServer(NetworkAddress("192.0.2.1", 0), None)
    with pytest.raises(OperatorError, match=r"cannot listen on no\.such\.invalid:1"):
        HttpServer(NetworkAddress("no.such.invalid", 1), None)


def test_the_port_is_free_again_as_soon_as_the_server_is_closed(tmp_path):
    with _served(tmp_path) as address:
        assert ask(address, "/quick").status == 200
    again = NetworkAddress("127.0.0.1", int(address.rpartition(":")[2]))
    with _served(tmp_path, again) as second:
        assert second == address
        assert ask(second, "/quick").status == 200
