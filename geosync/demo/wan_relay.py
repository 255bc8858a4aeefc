"""A TCP relay on loopback that makes a nearby server as far away as one behind a WAN."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import TypeVar

from geosync.demo.loopback_port import HOST, choose_ports, listen
from geosync.demo.started import Started

CHUNK_BYTES_MAX = 64 * 1024
# Of one direction of one connection. A WAN holds what is under way, and then stops the sender.
CHUNKS_UNDER_WAY_MAX = 256

Answer = TypeVar("Answer")
# When it arrives, on the clock of the loop, and what: no bytes for the end of the stream, None
# for a connection that broke.
Parcel = tuple[float, bytes | None]


class Direction(Enum):
    """Which way bytes go."""

    TO_UPSTREAM = "to upstream"
    FROM_UPSTREAM = "from upstream"


class WanRelay(Started):
    """Passes connections to `upstream`, every byte late by the one-way delay, none out of order.

    A delay does not bound the throughput: chunks are under way together. Setting up a connection
    costs a round trip more, as TCP's own does. A context manager; its thread is its own, and its
    methods may be called from any other one.

    Attributes:
        port: where clients connect, on 127.0.0.1; the same one for the life of the object.
    """

    def __init__(self, upstream: tuple[str, int], *, one_way_delay_s: float = 0.010) -> None:
        """Chooses the port; nothing listens there until `start`."""
        self.port = choose_ports(1)[0]
        self._upstream = upstream
        self._one_way_delay_s = one_way_delay_s
        self._delivered_bytes = dict.fromkeys(Direction, 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wan", daemon=True)
        self._passes = asyncio.Event()  # cleared while a silent partition holds everything up
        self._listener: socket.socket | None = None
        self._clients: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where clients connect."""
        return HOST, self.port

    @property
    def bytes_to_upstream(self) -> int:
        """Bytes that arrived at the server so far, over all connections."""
        return self._delivered_bytes[Direction.TO_UPSTREAM]

    @property
    def bytes_from_upstream(self) -> int:
        """Bytes that arrived at the clients so far, over all connections."""
        return self._delivered_bytes[Direction.FROM_UPSTREAM]

    def start(self) -> None:
        """Listens from now on. Call it once.

        Raises:
            PortTakenError: another process took the port since it was chosen.
        """
        self._thread.start()
        try:
            self.heal()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cuts every connection and ends the thread. Call it once, after `start`."""
        self._in_loop(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def partition(self, *, is_silent: bool = False) -> None:
        """Separates clients and server until `heal`.

        Args:
            is_silent: lose packets: connections stay and nothing passes, new ones are accepted
                and get no answer. Otherwise connections are reset and new ones refused.
        """
        self._in_loop(self._hold_up() if is_silent else self._cut())

    def heal(self) -> None:
        """Ends a partition; what a silent one held up then arrives. Without one, does nothing.

        Raises:
            PortTakenError: another process took the port during the partition.
        """
        self._in_loop(self._open())

    def _in_loop(self, work: Coroutine[None, None, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        self._passes.set()
        if self._listener is None:
            self._listener = listen(self.port)
            self._listener.settimeout(0)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _hold_up(self) -> None:
        self._passes.clear()

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        connections = list(self._clients)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client is gone again
        client.settimeout(0)
        _set_reset_at_close(client, is_on=True)
        connection = self._loop.create_task(self._carry(client))
        self._clients[connection] = client
        connection.add_done_callback(self._close_client)

    def _close_client(self, connection: asyncio.Task[None]) -> None:
        """Runs for each connection, also for one that was cut before it took its first step."""
        self._clients.pop(connection).close()

    async def _carry(self, client: socket.socket) -> None:
        """Passes one connection on, until both directions ended or one of them broke."""
        try:
            with socket.socket() as upstream:
                upstream.settimeout(0)
                _set_reset_at_close(upstream, is_on=True)
                await asyncio.sleep(2 * self._one_way_delay_s)
                await self._passes.wait()
                await self._loop.sock_connect(upstream, self._upstream)
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pipe(client, upstream, Direction.TO_UPSTREAM))
                    group.create_task(self._pipe(upstream, client, Direction.FROM_UPSTREAM))
                _set_reset_at_close(client, is_on=False)
                _set_reset_at_close(upstream, is_on=False)
        except* OSError:
            pass  # closing resets the end that is left

    async def _pipe(
        self, source: socket.socket, target: socket.socket, direction: Direction
    ) -> None:
        parcels: asyncio.Queue[Parcel] = asyncio.Queue(CHUNKS_UNDER_WAY_MAX)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(source, parcels))
            group.create_task(self._deliver(parcels, target, direction))

    async def _receive(self, source: socket.socket, parcels: asyncio.Queue[Parcel]) -> None:
        chunk: bytes | None = b"at the start"
        while chunk:
            try:
                chunk = await self._loop.sock_recv(source, CHUNK_BYTES_MAX)
            except OSError:
                chunk = None
            await parcels.put((self._loop.time() + self._one_way_delay_s, chunk))

    async def _deliver(
        self, parcels: asyncio.Queue[Parcel], target: socket.socket, direction: Direction
    ) -> None:
        while True:
            arrival_s, chunk = await parcels.get()
            await asyncio.sleep(arrival_s - self._loop.time())
            await self._passes.wait()
            if chunk is None:
                raise ConnectionResetError
            if not chunk:
                target.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(target, chunk)
            self._delivered_bytes[direction] += len(chunk)


def _set_reset_at_close(connection: socket.socket, *, is_on: bool) -> None:
    """Chooses what the peer sees: a broken connection, or an end that says that it got all."""
    linger = struct.pack("ii", is_on, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
