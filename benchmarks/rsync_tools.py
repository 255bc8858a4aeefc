"""rsync, run by hand after each change, and lsyncd, which runs it when inotify tells of one.

Both speak to an rsync daemon at the second site, without ssh, and keep all that rsync can keep.
"""

from __future__ import annotations

import os

from benchmarks.processes import first_line
from benchmarks.tool import Tool

PORT = 8730
_DAEMON = """\
use chroot = no
port = {port}
uid = root
gid = root
log file = {log}
pid file = {pid}
[tree]
path = {root}
read only = no
"""
_LSYNCD = """\
settings {{ nodaemon = true, maxProcesses = 1 }}
sync {{
  default.rsync,
  source = "{root}/",
  target = "rsync://{address}:{port}/tree/",
  delay = 1,
  rsync = {{ archive = true, hard_links = true, acls = true, xattrs = true, owner = true }},
}}
"""


class RsyncTool(Tool):
    """rsync by hand: no watching, so it is given the change for nothing."""

    name = "rsync by hand"
    is_two_way = False
    is_by_hand = True

    def start(self) -> None:
        """Starts the daemon at the second site."""
        site = self.world.second
        path = os.path.join(site.beside, "rsyncd.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                _DAEMON.format(
                    port=PORT,
                    root=os.fsdecode(site.root),
                    log=os.path.join(site.beside, "rsyncd.log"),
                    pid=os.path.join(site.beside, "rsyncd.pid"),
                )
            )
        self.processes.start(site, ["rsync", "--daemon", "--no-detach", f"--config={path}"])
        self.await_port(site, PORT)

    def bring(self) -> None:
        """Runs rsync once."""
        source = os.fsdecode(self.world.first.root) + "/"
        target = f"rsync://{self.world.network.address_of(self.world.second.name)}:{PORT}/tree/"
        self.processes.run(self.world.first, ["rsync", "-aHAX", "--delete", source, target])

    @staticmethod
    def version() -> str:
        """As rsync tells it."""
        return first_line(["rsync", "--version"])


class LsyncdTool(RsyncTool):
    """lsyncd with the shortest delay that it has."""

    name = "lsyncd, delay 1"
    is_by_hand = False

    def start(self) -> None:
        """Starts rsync's daemon there, and lsyncd here."""
        super().start()
        site = self.world.first
        path = os.path.join(site.beside, "lsyncd.lua")
        address = self.world.network.address_of(self.world.second.name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(_LSYNCD.format(root=os.fsdecode(site.root), address=address, port=PORT))
        self.processes.start(site, ["lsyncd", path])

    def bring(self) -> None:
        """Nothing is to be done by hand."""

    @staticmethod
    def version() -> str:
        """As lsyncd tells it."""
        return first_line(["lsyncd", "--version"])
