"""Two sites of an application in the network laboratory, with a real Swift at a third place.

What the recipes of this directory run on; everything is gone at the end of the `with`, but for the
logs of a run that failed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from laboratory.line import LineSettings
from laboratory.network import Network
from laboratory.swift_in_network import SwiftInNetwork

ONE_WAY_DELAY_MS = 10.0
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OF_DAEMON = {"PYTHONPATH": REPOSITORY}
NOTHING: Mapping[str, str] = {}
NAMES = ("bari", "cnaf")
TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.05
END_TIMEOUT_S = 30.0


@dataclass
class ApplicationSite:
    """One site: `root` is synced, `place` has everything of it."""

    name: str
    place: str
    network: Network
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def root(self) -> str:
        """The directory that is synced."""
        return os.path.join(self.place, "root")

    @property
    def address(self) -> str:
        """By which the other machines reach it."""
        return self.network.address_of(self.name)

    def spawn(
        self, log: str, command: Sequence[str], environment: Mapping[str, str] = NOTHING
    ) -> None:
        """Starts a program at this site, that is ended with it."""
        with open(os.path.join(self.place, f"{log}.log"), "ab") as file:
            self.processes.append(
                subprocess.Popen(
                    self.network.command_in(self.name, command),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                    env={**os.environ, "GEOSYNC_SITE": self.name, **environment},
                )
            )

    def run(
        self, *command: str, is_checked: bool = True, environment: Mapping[str, str] = NOTHING
    ) -> str:
        """Runs a command at this site; returns what it printed.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(
            self.network.command_in(self.name, command),
            capture_output=True,
            text=True,
            env={**os.environ, "GEOSYNC_SITE": self.name, **environment},
            check=False,
        )
        if is_checked:
            assert done.returncode == 0, f"{command} at {self.name}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def geosync(self, *arguments: str, is_checked: bool = True) -> str:
        """Runs a command of geosync here; returns what it printed."""
        command = self.geosync_command(*arguments)
        return self.run(*command, is_checked=is_checked, environment=OF_DAEMON)

    def geosync_command(self, *arguments: str) -> list[str]:
        """Returns the words that run a command of geosync with this site's configuration."""
        configuration = f"{self.place}/geosync.toml"
        return [sys.executable, "-m", "geosync", *arguments, "--config", configuration]

    def conflicts(self) -> list[dict[str, Any]]:
        """Returns the open conflicts."""
        found: list[dict[str, Any]] = json.loads(
            self.geosync("conflicts", "list", "--json", is_checked=False)
        )
        return found

    def is_settled(self) -> bool:
        """Tells whether nothing is left to do here."""
        shown = self.geosync("status", "--json", is_checked=False)
        return shown.startswith("{") and bool(json.loads(shown)["is_settled"])

    def end(self) -> None:
        """Ends its programs, the latest first."""
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def two_sites(
    volume: str, *, configuration: str = "", second_mode: str = "multi-master"
) -> Iterator[tuple[ApplicationSite, ApplicationSite]]:
    """Starts network, Swift and both daemons.

    Args:
        volume: its name.
        configuration: further lines of both configuration files; $SITE and $PLACE are filled in.
        second_mode: the mode of cnaf.
    """
    place = tempfile.mkdtemp(prefix=f"geosync-{volume}-", dir="/var/tmp")
    os.chmod(place, 0o755)
    line = LineSettings(one_way_delay_ms=ONE_WAY_DELAY_MS)
    with ExitStack() as stack:
        network = stack.enter_context(Network([*NAMES, "swift"], line))
        swift = stack.enter_context(
            SwiftInNetwork(network, "swift", f"{place}/swift", processes="one")
        )
        first, second = (ApplicationSite(name, f"{place}/{name}", network) for name in NAMES)
        for site, mode in ((first, "multi-master"), (second, second_mode)):
            _configure(site, volume, mode, swift.login, configuration)
            stack.callback(site.end)
            daemon = [
                sys.executable,
                "-m",
                "geosync",
                "run",
                "--config",
                f"{site.place}/geosync.toml",
            ]
            site.spawn("geosync", daemon, environment=OF_DAEMON)
            await_that(f"geosync at {site.name} has started", site.is_settled)
        yield first, second
    shutil.rmtree(place)


def await_that(what: str, holds: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> float:
    """Asks until something holds; returns after how many seconds it did.

    Raises:
        AssertionError: it did not hold in time.
    """
    start_s = time.monotonic()
    while time.monotonic() < start_s + timeout_s:
        if holds():
            return time.monotonic() - start_s
        time.sleep(LOOK_EVERY_S)
    raise AssertionError(f"{what}: not so after {timeout_s:g} s")


def await_same(first: ApplicationSite, second: ApplicationSite) -> float:
    """Waits until both sites have the same tree and nothing to do; returns seconds."""
    return await_that(
        "both sites are the same",
        lambda: (
            tree(first.root) == tree(second.root) and first.is_settled() and second.is_settled()
        ),
    )


def tree(root: str) -> dict[str, bytes]:
    """Returns all files with their contents, without what geosync keeps for itself."""
    found = {}
    for parent, directories, names in os.walk(root):
        if parent == root and ".geosync" in directories:
            directories.remove(".geosync")
        for name in names:
            path = os.path.join(parent, name)
            try:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
            except FileNotFoundError:
                continue  # it was renamed or removed while we looked
    return found


def _configure(
    site: ApplicationSite, volume: str, mode: str, login: dict[str, str], configuration: str
) -> None:
    os.makedirs(site.root)
    swift = "\n".join(f'{key} = "{value}"' for key, value in login.items())
    lines = configuration.replace("$SITE", site.name).replace("$PLACE", site.place)
    with open(f"{site.place}/geosync.toml", "w", encoding="utf-8") as file:
        file.write(
            f'volume = "{volume}"\nsite = "{site.name}"\nroot = "{site.root}"\n'
            f'state_dir = "{site.place}/state"\nmode = "{mode}"\ndrift = "revert"\n'
            f'[swift]\n{swift}\n[http]\nlisten = "127.0.0.1:8484"\n'
            f"[tuning]\npoll_active_ms = 100\npoll_idle_ms = 250\n{lines}"
        )
