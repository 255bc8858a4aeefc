"""syncthing between two devices that know each other's address: no discovery, no relays."""

from __future__ import annotations

import os
import re
import subprocess
import time
from xml.etree import ElementTree as ET

from benchmarks.processes import first_line
from benchmarks.tool import Tool
from benchmarks.world import BenchSite

PORT = 22000
GUI_PORT = 8384
APART_S = 3.0
_OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "urAccepted": "-1",
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "reconnectionIntervalS": "1",
    "startBrowser": "false",
    "listenAddress": f"tcp://0.0.0.0:{PORT}",
}


class SyncthingTool(Tool):
    """syncthing with the shortest delay of its watcher."""

    name = "syncthing, delay 1"

    def start(self) -> None:
        """Makes two devices that share one folder, and starts both."""
        sites = (self.world.first, self.world.second)
        devices = {site.name: self._generate(site) for site in sites}
        for site in sites:
            self._configure(site, devices)
            home = os.path.join(site.beside, "syncthing")
            self.processes.start(
                site,
                ["syncthing", "serve", "--no-browser", "--no-restart", "--home", home],
                {"HOME": site.beside, "STNOUPGRADE": "1", "STMONITORED": "yes"},
            )
            # Two that call each other at the same moment may wait half a minute for a greeting.
            self.await_port(site, PORT)
            time.sleep(APART_S)

    def _generate(self, site: BenchSite) -> str:
        home = os.path.join(site.beside, "syncthing")
        done = subprocess.run(
            ["syncthing", "generate", "--home", home, "--no-default-folder"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HOME": site.beside},
        )
        found = re.search(r"Device ID: ([A-Z0-9-]+)", done.stdout + done.stderr)
        if found is None:
            raise RuntimeError(f"syncthing told no device: {done.stdout}{done.stderr}")
        return found[1]

    def _configure(self, site: BenchSite, devices: dict[str, str]) -> None:
        path = os.path.join(site.beside, "syncthing", "config.xml")
        tree = ET.parse(path)
        root = tree.getroot()
        for tag in ("device", "folder"):
            for element in root.findall(tag):
                root.remove(element)
        for name, device in devices.items():
            element = ET.SubElement(root, "device", id=device, name=name)
            address = self.world.network.address_of(name)
            ET.SubElement(element, "address").text = f"tcp://{address}:{PORT}"
        folder = ET.SubElement(
            root,
            "folder",
            id="tree",
            path=os.fsdecode(site.root),
            type="sendreceive",
            rescanIntervalS="3600",
            fsWatcherEnabled="true",
            fsWatcherDelayS="1",
        )
        for device in devices.values():
            ET.SubElement(folder, "device", id=device)
        options = root.find("options")
        assert options is not None
        for key, value in _OPTIONS.items():
            for element in options.findall(key):
                options.remove(element)
            ET.SubElement(options, key).text = value
        tree.write(path)

    @staticmethod
    def version() -> str:
        """As syncthing tells it."""
        return first_line(["syncthing", "--version"])
