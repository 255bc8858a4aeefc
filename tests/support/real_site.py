"""A site as its operator has it: a configuration file, and `geosync` as processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.forked_commands import run_forked

COMMAND_TIMEOUT_S = 90.0
END_TIMEOUT_S = 30.0
PRIVATE = ".geosync"

Tree = dict[str, bytes | str | None]
IN_DIRECTORY = "poll_active_ms = 50\npoll_idle_ms = 300"
IN_SWIFT = (
    "poll_active_ms = 200\npoll_idle_ms = 500"  # each look is work for a Swift, and for a core
)


class RealSite:
    """One site in a directory of its own. Stop it in the end, or use `running_sites`.

    Attributes:
        root: the synced directory.
        state_dir: of the journal.
        configuration: the file.
        log: what the daemon wrote, over all of its runs.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        store: str,
        *,
        volume: str = "files",
        tuning: str = "",
        listen: str = "",
    ) -> None:
        """Writes the configuration.

        Args:
            directory: for everything of this site; made.
            name: of the site.
            store: lines of TOML that say where the sites meet.
            volume: its name.
            tuning: lines of the table [tuning].
            listen: of the HTTP server.
        """
        directory.mkdir(parents=True)
        self.name = name
        self.root = directory / "root"
        self.state_dir = directory / "state"
        self.configuration = directory / "geosync.toml"
        self.log = directory / "daemon.log"
        self.root.mkdir()
        pace = IN_SWIFT if "[swift]" in store else IN_DIRECTORY
        self.configuration.write_text(
            f'volume = "{volume}"\nsite = "{name}"\nroot = "{self.root}"\n'
            f'state_dir = "{self.state_dir}"\n{store}\n[http]\nlisten = "{listen}"\n'
            f"[tuning]\n{pace}\n{tuning}"
        )
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the daemon and returns when it has looked at everything once."""
        self.spawn(environment)
        await_condition(self.has_started, f"{self.name} starts: {self.log_text()}")

    def spawn(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts the daemon without waiting for it."""
        with open(self.log, "ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "geosync", "run", "--config", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        return self._daemon

    def has_started(self) -> bool:
        """Tells whether the daemon has looked at everything; fails when it has ended itself."""
        assert self.daemon.poll() is None, f"{self.name} ended: {self.log_text()}"
        asked = self.run("status", "--json")
        if asked.returncode != 0:
            return False
        status = json.loads(asked.stdout)
        return bool(status["is_settled"] or (status["daemon"] and status["problems"]))

    @property
    def daemon(self) -> subprocess.Popen[bytes]:
        """The daemon's process."""
        assert self._daemon is not None
        return self._daemon

    def stop(self) -> int:
        """Asks the daemon to end and returns its exit code."""
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(END_TIMEOUT_S)

    def kill(self) -> None:
        """Ends the daemon as a power cut would, if it runs."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait(END_TIMEOUT_S)

    def run(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Runs one geosync command with this site's configuration; returns what became of it."""
        words = list(arguments)
        return run_geosync(*words, "--config", str(self.configuration), timeout_s=timeout_s)

    def must(self, *arguments: str) -> str:
        """Runs a command that has to succeed; returns its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return str(done.stdout)

    def status(self) -> Any:
        """Returns the status."""
        return json.loads(self.must("status", "--json"))

    def conflicts(self) -> list[Any]:
        """Returns the open conflicts."""
        found: list[Any] = json.loads(self.run("conflicts", "list", "--json").stdout)
        return found

    def wait(self) -> None:
        """Waits until what was written here is applied everywhere."""
        self.must("wait", "--timeout", "60")

    def log_text(self) -> str:
        """Returns what the daemon wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tree(self) -> Tree:
        """Returns what is in the root: names with contents, targets of symlinks, None."""
        found: Tree = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.split("/", maxsplit=1)[0] == PRIVATE:
                continue
            if path.is_symlink():
                found[name] = os.readlink(path)
            else:
                found[name] = path.read_bytes() if path.is_file() else None
        return found


def run_geosync(
    *arguments: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end: where nothing is special about it, without reading it anew."""
    if not prefix and environment is None:
        return run_forked(arguments, timeout_s)
    return subprocess.run(
        [*prefix, sys.executable, "-m", "geosync", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, **(environment or {})},
    )


def directory_store(path: Path) -> str:
    """Says in TOML that the sites meet in a directory."""
    return f'store = "directory"\n[directory]\npath = "{path}"'


def swift_store(server: SwiftServer, auth_url: str = "", user: str = "", key: str = "") -> str:
    """Says in TOML that the sites meet in a Swift: by itself and as its user, unless told else."""
    return (
        f'store = "swift"\n[swift]\nauth_url = "{auth_url or server.auth_url}"\n'
        f'user = "{user or server.user}"\nkey = "{key or server.key}"'
    )


def await_same(sites: Iterable[RealSite]) -> None:
    """Waits until the sites show the same tree."""
    first, *others = sites
    await_condition(
        lambda: all(first.tree() == other.tree() for other in others), "the sites become the same"
    )
