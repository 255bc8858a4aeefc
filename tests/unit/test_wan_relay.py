"""The relay passes every byte in order, and separates and joins as it is told."""

from __future__ import annotations

import random
import socket
import socketserver
import struct
import threading
import urllib.error
from collections.abc import Iterator

import pytest

from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from tests.support.swift_account import SwiftAccount

TIMEOUT_S = 20.0
BEYOND_ALL_BUFFERS_BYTES = 64 * 1024 * 1024


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets; and resets the connection after it got `break`."""

    def handle(self) -> None:
        while received := self.request.recv(100_000):
            self.request.sendall(received)
            if received == b"break":
                linger = struct.pack("ii", 1, 0)
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the relay reset is no fault of the server."""

    def shutdown_request(self, request: object) -> None:
        """Closes without the orderly shutdown, so that the reset of `break` is one."""
        self.close_request(request)  # type: ignore[arg-type]


@pytest.fixture
def echo_address() -> Iterator[tuple[str, int]]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.socket.getsockname()
        server.shutdown()
        thread.join()


@pytest.fixture
def relay(echo_address: tuple[str, int]) -> Iterator[WanRelay]:
    with WanRelay(echo_address, one_way_delay_s=0.002) as started:
        yield started


def connect(relay: WanRelay) -> socket.socket:
    return socket.create_connection(relay.address, timeout=TIMEOUT_S)


def receive_exactly(client: socket.socket, size_bytes: int) -> bytes:
    received = bytearray()
    while len(received) < size_bytes:
        chunk = client.recv(min(1 << 20, size_bytes - len(received)))
        assert chunk, f"the stream ended after {len(received)} of {size_bytes} bytes"
        received += chunk
    return bytes(received)


def receive_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 20), b""))


@pytest.mark.parametrize("size_bytes", [1, 65_536, 65_537, 5_000_000, BEYOND_ALL_BUFFERS_BYTES])
def test_bytes_arrive_equal_and_in_order_both_ways(relay: WanRelay, size_bytes: int) -> None:
    sent = random.Random(size_bytes).randbytes(size_bytes)
    with connect(relay) as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = receive_to_end(client)
        sender.join()
    assert received == sent
    assert relay.bytes_to_upstream == size_bytes
    assert relay.bytes_from_upstream == size_bytes


def test_a_slow_reader_gets_everything_that_came_before_the_orderly_end(
    echo_address: tuple[str, int],
) -> None:
    """The server may close while most of the stream is still on its way."""
    sent = random.Random(1).randbytes(BEYOND_ALL_BUFFERS_BYTES)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(sent)

        server = threading.Thread(target=serve)
        server.start()
        with WanRelay(listener.getsockname(), one_way_delay_s=0.002) as relay:
            with connect(relay) as client:
                client.shutdown(socket.SHUT_WR)
                received = receive_exactly(client, 1000) + receive_to_end(client)
            server.join()
    assert received == sent


def test_connections_do_not_mix(relay: WanRelay) -> None:
    clients = [connect(relay) for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(bytes([number]) * 1000)
    for number, client in enumerate(clients):
        assert receive_exactly(client, 1000) == bytes([number]) * 1000
        client.close()


def test_a_partition_resets_connections_and_refuses_new_ones_until_it_heals(
    relay: WanRelay,
) -> None:
    with connect(relay) as client:
        client.sendall(b"before")
        assert receive_exactly(client, 6) == b"before"
        relay.partition()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(relay)
    relay.heal()
    with connect(relay) as client:
        client.sendall(b"after")
        assert receive_exactly(client, 5) == b"after"


def test_a_silent_partition_holds_up_what_arrives_after_it_heals(relay: WanRelay) -> None:
    with connect(relay) as old:
        old.sendall(b"before")
        assert receive_exactly(old, 6) == b"before"
        relay.partition(is_silent=True)
        arrived_bytes = relay.bytes_to_upstream
        old.sendall(b"during")
        with connect(relay) as new:
            new.sendall(b"newcomer")
            for waiting in (old, new):
                waiting.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
                waiting.settimeout(TIMEOUT_S)
            assert relay.bytes_to_upstream == arrived_bytes
            relay.heal()
            assert receive_exactly(old, 6) == b"during"
            assert receive_exactly(new, 8) == b"newcomer"


def test_a_silent_partition_can_turn_into_a_cut(relay: WanRelay) -> None:
    with connect(relay) as client:
        relay.partition(is_silent=True)
        relay.partition()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_reset_by_the_server_reaches_the_client_after_the_bytes_before_it(
    relay: WanRelay,
) -> None:
    with connect(relay) as client:
        client.sendall(b"break")
        assert receive_exactly(client, 5) == b"break"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_server_that_is_down_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with (
        WanRelay(address, one_way_delay_s=0) as relay,
        # The relay may learn of it before or after the client knows that it is connected.
        pytest.raises(ConnectionResetError),
        connect(relay) as client,
    ):
        client.recv(1)


def test_stop_leaves_no_thread_and_no_listener(echo_address: tuple[str, int]) -> None:
    threads = set(threading.enumerate())
    relay = WanRelay(echo_address)
    relay.start()
    with connect(relay):
        relay.stop()
    assert not {each for each in threading.enumerate() if each.name == "wan"} - threads
    with pytest.raises(ConnectionRefusedError):
        connect(relay)


def test_whoever_authenticates_through_the_relay_stays_behind_it(
    swift_server: SwiftServer, fresh_swift_volume_name: str
) -> None:
    """Swift makes the storage URL from the Host header, which names the relay."""
    with WanRelay(swift_server.proxy_address(), one_way_delay_s=0.001) as relay:
        auth_url = f"http://127.0.0.1:{relay.port}/auth/v1.0"
        account = SwiftAccount.authenticate(auth_url, swift_server.user, swift_server.key)
        assert account.storage_url.startswith(f"http://127.0.0.1:{relay.port}/")
        account.request("PUT", fresh_swift_volume_name)
        account.request("PUT", f"{fresh_swift_volume_name}/object", b"contents")
        assert account.request("GET", f"{fresh_swift_volume_name}/object") == b"contents"
        relay.partition()
        with pytest.raises(urllib.error.URLError, match="refused"):
            account.request("GET", f"{fresh_swift_volume_name}/object")
