"""rclone bisync, run by hand after each change, against rclone's own WebDAV server."""

from __future__ import annotations

import os

from benchmarks.processes import first_line
from benchmarks.tool import Tool

PORT = 8750


class RcloneTool(Tool):
    """rclone bisync: the only one of its commands that goes in both directions."""

    name = "rclone bisync by hand"
    is_by_hand = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._is_first = True

    def start(self) -> None:
        """Serves the second site's directory."""
        site = self.world.second
        command = ["rclone", "serve", "webdav", os.fsdecode(site.root), "--addr", f"0.0.0.0:{PORT}"]
        self.processes.start(site, command, {"HOME": site.beside})
        self.await_port(site, PORT)

    def bring(self) -> None:
        """Runs bisync once."""
        first = self.world.first
        address = self.world.network.address_of(self.world.second.name)
        remote = f":webdav,url='http://{address}:{PORT}',vendor=rclone:"
        options = ["--transfers", "16", "--checkers", "16", "--create-empty-src-dirs"]
        options += ["--workdir", os.path.join(first.beside, "bisync")]
        options += ["--resync"] if self._is_first else ["--force"]
        self._is_first = False
        command = ["rclone", "bisync", os.fsdecode(first.root), remote, *options]
        self.processes.run(first, command, {"HOME": first.beside})

    @staticmethod
    def version() -> str:
        """As rclone tells it."""
        return first_line(["rclone", "version"])
