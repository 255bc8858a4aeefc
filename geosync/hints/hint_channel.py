"""Sends and hears hints: a socket and two threads, of which nobody ever waits for anything.

The newest hint is said again and again, soon at first and then every two seconds: so one that is
lost is made up for, and who hears them need not look at the store. A hint that is lost, late,
doubled or forged costs nothing: the polls find what it told of, and one that tells nothing new is
thrown away before anybody is woken.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from geosync.configuration.hints import HintSettings
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.hints.packet import (
    PACKET_SIZE_BYTES,
    SECRET_SIZE_BYTES_MIN,
    Hint,
    decode_hint,
    encode_hint,
    hint_key,
)
from geosync.hints.pending_hints import REPEAT_EVERY_S
from geosync.network_address import NetworkAddress
from geosync.reporting.status import HintState
from geosync.terminal import display_name

SECRET_SIZE_BYTES_MAX: Final = 4096
PACKETS_A_SECOND_MAX: Final = 500  # heard; what comes beyond waits in the kernel or is lost
RESOLVE_EVERY_S: Final = 60.0
SEND_EVERY_S: Final = 0.01  # at most; several segments in between are told of together
FIRST_REPEAT_S: Final = 0.1  # after news; then after twice as long each time
_log = event_logger(__name__)

Endpoint = tuple[socket.AddressFamily, tuple[object, ...]]


class HintChannel:
    """A context manager; `tell` and `state` may be called from any thread.

    What is heard is handed to `on_hint`, in a thread of the channel's own.
    """

    def __init__(
        self, settings: HintSettings, volume: str, on_hint: Callable[[Hint], bool]
    ) -> None:
        """Reads the secret and takes the socket; nothing is sent or heard before `start`.

        Args:
            settings: of the configuration.
            volume: whose hints these are.
            on_hint: takes what is heard, and returns whether it was news.

        Raises:
            OperatorError: the secret can't be used, or nobody can listen there.
        """
        assert settings.secret_file is not None
        self._key = hint_key(read_secret(settings.secret_file), volume)
        self._on_hint = on_hint
        self._peers = settings.peers
        self._ear = None if settings.listen is None else _listen(settings.listen)
        self._changed = threading.Condition()
        self._newest: Hint | None = None
        self._is_news = False  # and nobody was told yet
        self._is_ending = False
        self._state = HintState(peers=tuple(map(str, settings.peers)))
        if self._ear is not None:
            host, port = self._ear.getsockname()[:2]
            self._state.address = str(NetworkAddress(host, port))
        self._threads = [threading.Thread(target=self._send, name="hints out", daemon=True)]
        if self._ear is not None:
            self._threads.append(threading.Thread(target=self._hear, name="hints in", daemon=True))

    def start(self) -> None:
        """Begins to send and to hear."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends it. What was to be told may stay untold."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        if self._ear is not None:
            with suppress(OSError):
                self._ear.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in it
        for thread in self._threads:
            thread.join()
        if self._ear is not None:
            self._ear.close()

    @property
    def state(self) -> HintState:
        """What was sent and heard so far."""
        return self._state

    def tell(self, hint: Hint, *, is_news: bool = True) -> None:
        """Has the peers told that a segment is stored: soon, or with the next repeat."""
        with self._changed:
            self._newest = hint
            self._is_news = self._is_news or is_news
            self._changed.notify_all()

    # Out

    def _send(self) -> None:
        endpoints: list[Endpoint] = []
        resolve_due_s, pause_s = 0.0, REPEAT_EVERY_S
        while not self._is_ending:
            hint, is_news = self._next_to_tell(pause_s)
            pause_s = FIRST_REPEAT_S if is_news else min(REPEAT_EVERY_S, 2 * pause_s)
            if hint is None:
                continue
            now_s = time.monotonic()
            if now_s >= resolve_due_s:
                endpoints = self._resolved()
                resolve_due_s = now_s + RESOLVE_EVERY_S
            packet = encode_hint(hint, self._key)
            for endpoint in endpoints:
                self._state.sent += _sent(packet, endpoint) and is_news
            with self._changed:  # what is stored meanwhile is told of together
                self._changed.wait_for(lambda: self._is_ending, SEND_EVERY_S)

    def _next_to_tell(self, pause_s: float) -> tuple[Hint | None, bool]:
        """Waits for news, but not for ever; returns what to say, if anything, and if it is news."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_news or self._is_ending, pause_s)
            is_news, self._is_news = self._is_news, False
            return (None if self._is_ending else self._newest), is_news

    def _resolved(self) -> list[Endpoint]:
        """Looks up the peers' names; one that has no address is left out and told of."""
        endpoints: list[Endpoint] = []
        unknown: list[str] = []
        for peer in self._peers:
            try:
                found = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_DGRAM)
            except (OSError, UnicodeError) as error:
                unknown.append(f"{peer}: {error}")
            else:
                endpoints += [(family, address) for family, _, _, _, address in found[:1]]
        problem = "; ".join(unknown)
        if problem and problem != self._state.problem:
            _log.warning("hint_peer_unknown", reason=problem)
        self._state.problem = problem
        return endpoints

    # In

    def _hear(self) -> None:
        assert self._ear is not None
        began_s, count = time.monotonic(), 0
        while not self._is_ending:
            try:
                packet = self._ear.recv(PACKET_SIZE_BYTES + 1)
            except OSError:
                continue  # an answer of the network to what we sent, or the end
            count += 1
            self._take(packet)
            elapsed_s = time.monotonic() - began_s
            if elapsed_s >= 1.0:
                began_s, count = time.monotonic(), 0
            elif count >= PACKETS_A_SECOND_MAX:
                self._state.limited += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._is_ending, 1.0 - elapsed_s)

    def _take(self, packet: bytes) -> None:
        if not packet:
            return
        hint = decode_hint(packet, self._key)
        if hint is None:
            self._state.refused += 1
        elif self._on_hint(hint):
            self._state.heard += 1
        else:
            self._state.old += 1


def read_secret(path: bytes) -> bytes:
    """Reads the shared secret, without the white space around it.

    Raises:
        OperatorError: it can't be read, others may read it, or it is too short.
    """
    shown = display_name(path)
    make = f"make it with: head -c 32 /dev/urandom | base64 > {shown}; copy it to all sites"
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(SECRET_SIZE_BYTES_MAX).strip()
    except OSError as error:
        raise OperatorError(
            f"cannot read the secret of hints {shown}: {error.strerror}; {make}"
        ) from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise OperatorError(
            f"everybody may read or write the secret of hints {shown}; run: chmod o= {shown}"
        )
    if len(secret) < SECRET_SIZE_BYTES_MIN:
        raise OperatorError(
            f"the secret of hints {shown} has {len(secret)} bytes, and needs at least"
            f" {SECRET_SIZE_BYTES_MIN}; {make}"
        )
    return secret


def _listen(address: NetworkAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        family, _, _, _, endpoint = found[0]
        ear = socket.socket(family, socket.SOCK_DGRAM)
        try:
            ear.bind(endpoint)
        except OSError:
            ear.close()
            raise
    except (OSError, UnicodeError) as error:
        raise OperatorError(
            f"cannot hear hints at {address}: {error}; choose another address or port in [hints]"
        ) from error
    return ear


def _sent(packet: bytes, endpoint: Endpoint) -> bool:
    """Sends one packet; returns whether this machine took it."""
    family, address = endpoint
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as mouth:
        mouth.settimeout(0)
        mouth.sendto(packet, address)
        return True
    return False
