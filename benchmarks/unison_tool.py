"""unison in both directions over a plain socket. Debian has no helper of it that watches."""

from __future__ import annotations

import os

from benchmarks.processes import first_line
from benchmarks.tool import Tool

PORT = 8740


class UnisonTool(Tool):
    """unison -repeat 1, which keeps owners, groups, modes and times of files."""

    name = "unison, every second"

    def start(self) -> None:
        """Starts the server at the second site, and unison at the first."""
        second, first = self.world.second, self.world.first
        server = ["unison", "-socket", str(PORT)]
        self.processes.start(second, server, {"UNISON": second.beside})
        self.await_port(second, PORT)
        address = self.world.network.address_of(second.name)
        there = f"socket://{address}:{PORT}/{os.fsdecode(second.root)}"
        options = ["-batch", "-auto", "-repeat", "1", "-owner", "-group", "-perms", "-1"]
        options += ["-times", "-ui", "text", "-confirmbigdel=false"]
        command = ["unison", os.fsdecode(first.root), there, *options]
        self.processes.start(first, command, {"UNISON": first.beside})

    @staticmethod
    def version() -> str:
        """As unison tells it."""
        return first_line(["unison", "-version"])
