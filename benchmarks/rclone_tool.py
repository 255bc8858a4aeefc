"""rclone bisync, run by hand after each change, against rclone's own SFTP server.

The WebDAV server of the release in Debian 12 can't set the times of files.
"""

from __future__ import annotations

import os

from benchmarks.processes import first_line
from benchmarks.tool import Tool

PORT = 8750
USER = "bench"


class RcloneTool(Tool):
    """rclone bisync: the only one of its commands that goes in both directions."""

    name = "rclone bisync by hand"
    is_by_hand = True
    changes_max = 5  # each takes it several seconds

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._is_first = True
        self._password = first_line(["rclone", "obscure", USER])

    def start(self) -> None:
        """Serves the second site's directory."""
        site = self.world.second
        address = f"0.0.0.0:{PORT}"
        command = ["rclone", "serve", "sftp", os.fsdecode(site.root), "--addr", address]
        command += ["--user", USER, "--pass", USER]
        self.processes.start(site, command, {"HOME": site.beside})
        self.await_port(site, PORT)

    def bring(self) -> None:
        """Runs bisync once."""
        first = self.world.first
        address = self.world.network.address_of(self.world.second.name)
        login = f"user={USER},pass={self._password},shell_type=none"
        remote = f":sftp,host={address},port={PORT},{login}:"
        options = ["--transfers", "16", "--checkers", "16"]
        options += ["--workdir", os.path.join(first.beside, "bisync")]
        options += ["--resync"] if self._is_first else ["--force"]
        self._is_first = False
        command = ["rclone", "bisync", os.fsdecode(first.root), remote, *options]
        self.processes.run(first, command, {"HOME": first.beside})

    @staticmethod
    def version() -> str:
        """As rclone tells it."""
        return first_line(["rclone", "version"])
