"""One site of the demonstration: a real daemon on a directory of its own, behind its own WAN."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from geosync.configuration.volume_configuration import (
    default_configuration_text,
    parse_configuration,
    write_new_configuration,
)
from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from geosync.exit_codes import ExitCode

VOLUME = "demo"
STOP_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 120.0
# The kernel ends the daemon when we end, in whatever way (PR_SET_PDEATHSIG of prctl(2), SIGTERM).
_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
)
_FOREIGN_PREFIXES = ("OS_", "ST_", "GEOSYNC_", "NOTIFY_", "LISTEN_")


class DemoSite:
    """A site with all that belongs to it below one directory. A context manager; not thread-safe.

    Attributes:
        root: the directory that is synced.
        relay: between this site and Swift; its methods make the line fail and heal.
        log_path: where the daemon's log is appended.
        login: the configuration's table `swift`, which leads through the relay.
    """

    def __init__(
        self,
        directory: str,
        name: str,
        swift: SwiftServer,
        *,
        one_way_delay_s: float,
        tuning: Mapping[str, int] | None = None,
    ) -> None:
        """Writes the site's configuration; the daemon runs from `start` on.

        Args:
            directory: in which the site makes one of its name.
            name: of the site.
            swift: the store, which has been started.
            one_way_delay_s: of the line between the site and Swift.
            tuning: the configuration's table of that name.
        """
        self.name = name
        self._directory = os.path.join(directory, name)
        self.root = os.fsencode(os.path.join(self._directory, "tree"))
        self.log_path = os.path.join(self._directory, "daemon.log")
        self.relay = WanRelay(swift.proxy_address(), one_way_delay_s=one_way_delay_s)
        self._configuration_path = os.path.join(self._directory, "geosync.toml")
        self._daemon: subprocess.Popen[bytes] | None = None
        os.makedirs(self.root)
        host, port = self.relay.address
        self.login = {
            "auth_url": f"http://{host}:{port}/auth/v1.0",
            "user": swift.user,
            "key": swift.key,
        }
        document = {
            "volume": VOLUME,
            "site": name,
            "root": os.fsdecode(self.root),
            "state_dir": os.path.join(self._directory, "state"),
            "swift": self.login,
            "http": {"listen": ""},
            "tuning": dict(tuning or {}),
        }
        configuration = parse_configuration(document, "the demonstration")
        write_new_configuration(self._configuration_path, default_configuration_text(configuration))

    def __enter__(self) -> Self:
        self.relay.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.relay.stop()

    @property
    def process_id(self) -> int:
        """The daemon's process id; it has been started."""
        assert self._daemon is not None
        return self._daemon.pid

    @property
    def sent_bytes(self) -> int:
        """Bytes that went from this site to Swift so far, with HTTP's own."""
        return self.relay.bytes_to_upstream

    @property
    def received_bytes(self) -> int:
        """Bytes that came from Swift to this site so far, with HTTP's own."""
        return self.relay.bytes_from_upstream

    def path(self, relative: bytes) -> bytes:
        """A path in the tree, for open() and the like."""
        return os.path.join(self.root, relative)

    def start(self) -> None:
        """Starts the daemon, and does not wait until it is ready."""
        with open(self.log_path, "ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-c", _WITH_PARENT, *self._command("run")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                process_group=0,  # so that Ctrl-C reaches us alone
            )

    def exit_code(self) -> int | None:
        """What the daemon ended with; None while it runs, or when it was never started."""
        return None if self._daemon is None else self._daemon.poll()

    def is_up(self) -> bool:
        """Tells whether the daemon answers, which it does once it has joined its volume."""
        return self.geosync("status", "--json").returncode == ExitCode.DONE

    def kill(self) -> None:
        """Ends the daemon by SIGKILL, as a power cut or the kernel's lack of memory would."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def stop(self) -> None:
        """Ends the daemon, by force if it does not end by itself. Never raises."""
        if self._daemon is not None:
            self._daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._daemon.wait(STOP_TIMEOUT_S)
        self.kill()

    def geosync(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a geosync command on this site, as an operator would, and returns what it printed.

        Raises:
            subprocess.TimeoutExpired: it took longer than any command of ours may.
        """
        return subprocess.run(
            self._command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=COMMAND_TIMEOUT_S,
            env=_environment(),
            check=False,
        )

    def _command(self, *arguments: str) -> list[str]:
        python = [sys.executable, "-m", "geosync"]
        return [*python, *arguments, "--config", self._configuration_path]


def _environment() -> dict[str, str]:
    """Ours without what would change a daemon's configuration, its proxies or its output."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN_PREFIXES)
    }
    return kept | {"no_proxy": "*", "NO_PROXY": "*", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
