"""The HTTP server: a thread of its own, with limits on connections, sizes and time."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any, Final

import uvicorn  # noqa: TID251 - its home
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: TID251 - its home

from geosync.errors import OperatorError
from geosync.network_address import NetworkAddress

CONNECTIONS_MAX: Final = 64
BACKLOG: Final = 128
HEAD_BYTES_MAX: Final = 16384
REQUEST_S_MAX: Final = 10.0
"""For a whole request to arrive, counted from the connection or the last answer."""
ANSWER_S_MAX: Final = 90.0
"""For a whole answer to be made and taken; streams of events have no such end."""
CLOSE_S: Final = 1.0
STREAM_PATH: Final = "/v1/events"


class HttpServer:
    """Serves an ASGI application until it is closed."""

    def __init__(self, listen: NetworkAddress, application: Any) -> None:
        """Binds the address, so that whoever starts it knows at once whether it can.

        Raises:
            OperatorError: the address is taken, or not one of this machine.
        """
        self._socket = _bound(listen)
        address = self._socket.getsockname()
        self.address = NetworkAddress(address[0], address[1])
        # Whoever sends nonsense, or goes away, is no event for an operator.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        configuration = uvicorn.Config(
            application,
            http=_LimitedConnection,
            loop="asyncio",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            timeout_graceful_shutdown=CLOSE_S,  # type: ignore[arg-type] # seconds, also in parts
        )
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def close(self) -> None:
        """Takes no more requests, gives those under way a moment, and ends the thread."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(2 * CLOSE_S)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _bound(listen: NetworkAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        server = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused(listen, error.strerror) from error
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise _refused(listen, error.strerror) from error
    return server


def _refused(listen: NetworkAddress, reason: str | None) -> OperatorError:
    return OperatorError(
        f"cannot listen on {listen}: {reason}. The site is kept in sync all the same, without HTTP."
        " Another daemon on this machine may have this address: give each its own `listen` in the"
        ' table [http] (or "" for none), and start it again'
    )


class _LimitedConnection(H11Protocol):
    """A connection that is cut when a request, or the taking of its answer, lasts too long."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(REQUEST_S_MAX)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_answer()

    def on_response_complete(self) -> None:
        # It is complete when it was handed to the kernel, or to the buffer in front of it.
        is_taken = self.transport.get_write_buffer_size() == 0
        self._expect(REQUEST_S_MAX if is_taken else ANSWER_S_MAX)
        super().on_response_complete()  # may begin with a request that has arrived already
        self._time_answer()

    def _time_answer(self) -> None:
        """Sets the deadline of an answer. What comes in meanwhile is not read, so it moves once."""
        if self._is_answering():
            self._expect(None if self.scope["path"] == STREAM_PATH else ANSWER_S_MAX)

    def _is_answering(self) -> bool:
        """Tells whether a request has arrived as a whole, and its answer is not complete yet."""
        if not self.scope:  # before the first request
            return False
        return not (self.cycle.more_body or self.cycle.response_complete)

    def _expect(self, within_s: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self._cut)

    def _cut(self) -> None:
        self.transport.abort()
