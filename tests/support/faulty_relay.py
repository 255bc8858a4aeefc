"""A TCP relay that breaks a connection at a chosen byte: a network that fails, for tests."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self


class Way(Enum):
    """Which of the two directions a fault watches."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Break(Enum):
    """What happens to the connection."""

    CLOSE = "both ends see the end of the stream"
    RESET = "both ends see a reset"
    STALL = "nothing more is passed on, and nobody is told"


@dataclass(frozen=True, slots=True)
class Fault:
    """Breaks the first connection on which more than `after_bytes` have gone that way."""

    way: Way
    after_bytes: int
    kind: Break


class FaultyRelay:
    """Passes connections on to a server, and breaks one whenever a fault was armed.

    Bytes count from the arming, on each connection by itself. A fault breaks one connection.

    Attributes:
        address: where clients connect to.
        connections: how many have been accepted.
        broken: becomes set when the armed fault has happened.
        is_refusing: new connections are reset at once.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._arming = 0
        self._is_open = True
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.address: tuple[str, int] = self._listener.getsockname()
        self.connections = 0
        self.broken = threading.Event()
        self.is_refusing = False

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        with self._lock:
            ends = [*self._sockets, self._listener]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def arm(self, way: Way, after_bytes: int, kind: Break) -> None:
        """Sets the next fault, and forgets one that has not happened."""
        with self._lock:
            self._fault = Fault(way, after_bytes, kind)
            self._arming += 1
            self.broken.clear()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._is_open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.is_refusing:
                _reset(client)
                continue
            self._start(self._relay, client)

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            with self._lock:
                self._sockets += [client, server]
            ways = {client: (server, Way.TO_SERVER), server: (client, Way.TO_CLIENT)}
            counts = {Way.TO_SERVER: 0, Way.TO_CLIENT: 0}
            arming = self._arming
            with contextlib.suppress(OSError):
                while self._is_open:
                    for source in select.select([client, server], [], [])[0]:
                        target, way = ways[source]
                        piece = source.recv(65536)
                        if not piece:
                            return
                        if arming != self._arming:
                            arming, counts = self._arming, dict.fromkeys(counts, 0)
                        counts[way] += len(piece)
                        fault = self._take_fault(way, counts[way])
                        if fault is None:
                            target.sendall(piece)
                            continue
                        passed = len(piece) - (counts[way] - fault.after_bytes)
                        target.sendall(piece[: max(0, passed)])
                        self._break(fault.kind, client, server)
                        return

    def _take_fault(self, way: Way, count: int) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or fault.way is not way or count <= fault.after_bytes:
                return None
            self._fault = None
            return fault

    def _break(self, kind: Break, client: socket.socket, server: socket.socket) -> None:
        self.broken.set()
        if kind is Break.RESET:
            _reset(client)
            _reset(server)
        elif kind is Break.STALL:
            # Waits for the client to give up; what it still sends is not read.
            hung_up = select.poll()
            hung_up.register(client, select.POLLRDHUP)
            hung_up.poll()


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
