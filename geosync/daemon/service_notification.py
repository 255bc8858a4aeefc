"""Tells the service manager how the daemon is doing, by the protocol of sd_notify(3)."""

import os
import socket
from collections.abc import Mapping

from geosync.terminal import escape_unprintable

STATUS_CHARACTERS_MAX = 1000
"""systemd drops a datagram of more than 4096 bytes; a character takes at most four of them."""

SEND_TIMEOUT_S = 1.0


class ServiceNotifier:
    """Sends state changes to the socket in NOTIFY_SOCKET; does nothing when there is none.

    No method raises: a daemon must not stop because its service manager does not listen.
    Each method returns whether the message was handed over.

    Attributes:
        watchdog_interval_s: how often `watchdog` should be called, which is half of the time after
            which the manager restarts the daemon; None when this process is not watched.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval_s = _watchdog_interval_s(environment)

    def ready(self) -> bool:
        """Says that start-up is finished."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """Shows one line in `systemctl status`; text may come from hostile file names."""
        # A newline would start another assignment, such as MAINPID=.
        return self._send("STATUS=" + escape_unprintable(text)[:STATUS_CHARACTERS_MAX])

    def reloading(self, monotonic_s: float) -> bool:
        """Says that another configuration is being taken in; `ready` ends that."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1_000_000)}")

    def stopping(self) -> bool:
        """Says that shutdown has begun."""
        return self._send("STOPPING=1")

    def watchdog(self) -> bool:
        """Says that work went on since the last call; call it only when that is so."""
        return self._send("WATCHDOG=1")

    def _send(self, assignments: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendto(assignments.encode(errors="backslashreplace"), self._address)
        except OSError:
            return False
        return True


def _socket_address(named: str) -> bytes | None:
    """A leading @ stands for the NUL byte of Linux's abstract namespace, as in sd_notify(3)."""
    if named.startswith("@"):
        return b"\0" + os.fsencode(named[1:])
    return os.fsencode(named) if named.startswith("/") else None


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) recommends; None when not for us."""
    watched_pid = environment.get("WATCHDOG_PID", str(os.getpid()))
    timeout_us = environment.get("WATCHDOG_USEC", "")
    if watched_pid != str(os.getpid()) or not timeout_us.isdecimal() or int(timeout_us) == 0:
        return None
    return int(timeout_us) / 2 / 1_000_000
