"""A site that is tortured: its daemon, its line to Swift, its clock, and the writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from tests.support.real_site import RealSite
from tests.torture.writer import Settings

ONE_WAY_DELAY_S = 0.010
WRITER_TIMEOUT_S = 120.0
LOAD_AREA = "load"
STRESSORS = (
    ("dir", "40"),
    ("rename", "200"),
    ("link", "4"),
    ("symlink", "4"),
    ("utime", "200"),
    ("chmod", "200"),
    ("fallocate", "20"),
    ("dentry", "40"),
    ("touch", "100"),
)  # of stress-ng, and how often each of them does what it does


class TorturedSite(RealSite):
    """One site. `close` ends all that belongs to it."""

    def __init__(self, directory: Path, name: str, swift: SwiftServer) -> None:
        """Writes the configuration; the line to Swift is up from now on."""
        self.relay = WanRelay(swift.proxy_address(), one_way_delay_s=ONE_WAY_DELAY_S)
        host, port = self.relay.address
        store = (
            f'allow_setuid = true\nstore = "swift"\n[swift]\nauth_url = "http://{host}:{port}/auth/v1.0"\n'
            f'user = "{swift.user}"\nkey = "{swift.key}"'
        )
        # Programs here delete whole trees all the time, and nobody is there to decide about it. And
        # the judge reads the logs from their beginning, so none is cut.
        tuning = "checkpoint_operations = 1000000\n[brakes]\nenabled = false\n"
        super().__init__(directory / name, name, store, volume="torture", tuning=tuning)
        self._base = directory / name
        self._offset_file = self._base / "clock-offset-s"
        self._offset_file.write_text("0")
        self.removed = self._base / "removed"
        self.removed.mkdir()
        (self._base / "locks").mkdir()
        self.writers: dict[str, subprocess.Popen[bytes]] = {}
        self.relay.start()

    def spawn(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """See `RealSite.spawn`; with this site's clock."""
        module = ["-m", "tests.torture.daemon_under_test", str(self._offset_file)]
        command = [*module, "run", "--config", str(self.configuration)]
        with open(self.log, "ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})},
            )
        return self._daemon

    def kill(self) -> None:
        """See `RealSite.kill`."""
        super().kill()
        if self._daemon is not None and self._daemon.stdin is not None:
            self._daemon.stdin.close()

    def set_clock(self, offset_s: float) -> None:
        """Sets the daemon's date so far from the right one."""
        fresh = self._offset_file.with_suffix(".new")
        fresh.write_text(str(offset_s))
        fresh.rename(self._offset_file)

    def pause(self) -> None:
        """Stops the daemon as it is; its connections stay."""
        self.daemon.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self.daemon.send_signal(signal.SIGCONT)

    def start_writer(self, seed: int, writer: str, pause_ms_mean: float, *, families: int) -> None:
        """Starts a program that writes; the first of a site also uses whole programs."""
        outside = self._base / f"outside-{writer}"
        outside.mkdir()
        settings = Settings(
            seed=str(seed),
            site=self.name,
            writer=writer,
            root=str(self.root),
            locks=str(self._base / "locks"),
            removed=str(self.removed),
            outside=str(outside),
            log=self.log_of(writer),
            families=families,
            pause_ms_mean=pause_ms_mean,
            has_tools=not self.writers,
        )
        with open(self._base / f"writer-{writer}.log", "ab") as log:
            self.writers[writer] = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.writer", settings.as_argument()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log_of(self, writer: str) -> str:
        """Returns where a writer logs its actions."""
        return str(self._base / f"{self.name}.{writer}.jsonl")

    def stop_writers(self) -> list[str]:
        """Ends the writers after what they do just now; returns what went wrong with them."""
        for process in self.writers.values():
            process.terminate()
        return [text for writer in self.writers if (text := self._ended(writer))]

    def _ended(self, writer: str) -> str:
        process = self.writers[writer]
        try:
            code = process.wait(WRITER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"the writer {self.name}.{writer} hangs in a system call"
        said = (self._base / f"writer-{writer}.log").read_text(errors="replace")[-2000:]
        return f"the writer {self.name}.{writer} ended with {code}: {said}" if code else ""

    def stress(self, seconds: int) -> subprocess.Popen[bytes]:
        """Lets stress-ng work below the root for so long; its files are gone afterwards."""
        directory = self.root / LOAD_AREA
        directory.mkdir(exist_ok=True)
        each = [w for name, often in STRESSORS for w in (f"--{name}", "1", f"--{name}-ops", often)]
        sizes = ["--fallocate-bytes", "1M", "--dentries", "40", "--dir-dirs", "64"]
        return subprocess.Popen(
            ["stress-ng", *each, *sizes, "--timeout", f"{seconds}s", "--temp-path", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """Ends everything, by force."""
        for process in self.writers.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        self.kill()
        self.relay.stop()
