"""A network of sites in namespaces, as a context manager; how to use it: `laboratory`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import permutations

from geosync.demo.started import Started
from laboratory.line import LineCounts, LineSettings
from laboratory.namespaces import (
    NetworkError,
    command_in_namespace,
    give_interface,
    make_namespace,
    namespace_name,
    remove_abandoned,
    remove_namespace,
)

SITES_MAX = 200
STOP_TIMEOUT_S = 5.0


class Network(Started):
    """Sites that reach each other through a WAN. Needs root. Not thread-safe.

    Attributes:
        sites: their names, in the order of their addresses.
    """

    def __init__(self, sites: Sequence[str], settings: LineSettings) -> None:
        """Makes nothing yet.

        Args:
            sites: short names without spaces, 1 to SITES_MAX, each once.
            settings: of every line at first.
        """
        assert 1 <= len(sites) <= SITES_MAX
        assert len(set(sites)) == len(sites)
        self.sites = tuple(sites)
        self._settings = dict.fromkeys(permutations(self.sites, 2), settings)
        self._emulator: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Makes namespaces, devices and lines; when it returns, packets pass.

        Raises:
            NetworkError: this machine or process may not; nothing is left behind then.
        """
        remove_abandoned()
        try:
            for site in self.sites:
                make_namespace(namespace_name(site))
            self._emulator = self._start_emulator()
            for site in self.sites:
                give_interface(namespace_name(site), _device_of(self, site), self.address_of(site))
            self._tell_settings(self._settings)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Removes everything. End the programs in the namespaces first. Never raises."""
        if self._emulator is not None:
            self._emulator.kill()
            self._emulator.wait(STOP_TIMEOUT_S)
            for pipe in (self._emulator.stdin, self._emulator.stdout):
                assert pipe is not None
                pipe.close()
            self._emulator = None
        for site in self.sites:
            remove_namespace(namespace_name(site))

    def address_of(self, site: str) -> str:
        """The IPv4 address by which the other sites reach one."""
        return f"10.77.0.{self.sites.index(site) + 1}"

    def command_in(self, site: str, command: Sequence[str]) -> list[str]:
        """The command that runs a command at a site. It becomes that process: same id, signals."""
        return command_in_namespace(namespace_name(site), command)

    @property
    def emulator_process_id(self) -> int:
        """Process id of the emulator, to see what it takes of the processor."""
        assert self._emulator is not None
        return self._emulator.pid

    def settings_of(self, source: str, target: str) -> LineSettings:
        """How the line from one site to another behaves now."""
        return self._settings[source, target]

    def change_line(self, source: str, target: str, **changes: float) -> None:
        """Changes both directions between two sites at once, while everything runs.

        Args:
            source: one of the two sites.
            target: the other one.
            changes: fields of LineSettings; the others stay as they are.

        Raises:
            LineSettingsError: a value that no line can have.
        """
        self.change_direction(source, target, **changes)
        self.change_direction(target, source, **changes)

    def change_direction(self, source: str, target: str, **changes: float) -> None:
        """As `change_line`, for the packets from `source` to `target` only."""
        changed = replace(self._settings[source, target], **changes)  # type: ignore[arg-type]
        self._settings[source, target] = changed
        self._tell_settings({(source, target): changed})

    def cut(self, source: str, target: str) -> None:
        """Loses everything between two sites, in both directions and in silence, until `heal`."""
        self.change_line(source, target, is_cut=True)

    def heal(self, source: str, target: str) -> None:
        """Ends a cut; the other settings are as before."""
        self.change_line(source, target, is_cut=False)

    def isolate(self, site: str) -> None:
        """Cuts a site off from all others, until `rejoin`."""
        for other in self._others(site):
            self.cut(site, other)

    def rejoin(self, site: str) -> None:
        """Heals every line of a site."""
        for other in self._others(site):
            self.heal(site, other)

    def counts(self) -> dict[tuple[str, str], LineCounts]:
        """What was sent from each site to each other one since the start."""
        answer = self._ask({"counts": True})
        assert isinstance(answer, list)
        return {
            (self.sites[source], self.sites[target]): LineCounts(**counts)
            for source, target, counts in answer
        }

    def _others(self, site: str) -> list[str]:
        return [each for each in self.sites if each != site]

    def _start_emulator(self) -> subprocess.Popen[str]:
        ends = [f"{_device_of(self, site)}:{self.address_of(site)}" for site in self.sites]
        emulator = subprocess.Popen(
            [sys.executable, "-m", "laboratory.wan_emulator", *ends],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            process_group=0,  # so that Ctrl-C reaches us alone
        )
        assert emulator.stdout is not None
        if not emulator.stdout.readline():
            raise NetworkError("tried to start the WAN emulator: it ended; its error is above")
        return emulator

    def _tell_settings(self, changed: dict[tuple[str, str], LineSettings]) -> None:
        """Tells the emulator, with one order for all lines that are alike."""
        alike: dict[LineSettings, list[list[int]]] = {}
        for (source, target), settings in changed.items():
            ends = [self.sites.index(source), self.sites.index(target)]
            alike.setdefault(settings, []).append(ends)
        for settings, lines in alike.items():
            self._ask({"lines": lines, "settings": asdict(settings)})

    def _ask(self, order: dict[str, object]) -> object:
        assert self._emulator is not None
        assert self._emulator.stdin is not None
        assert self._emulator.stdout is not None
        self._emulator.stdin.write(json.dumps(order) + "\n")
        self._emulator.stdin.flush()
        answer = self._emulator.stdout.readline()
        if not answer:
            raise NetworkError("the WAN emulator ended; its error is above")
        return json.loads(answer)


def _device_of(network: Network, site: str) -> str:
    """Name of a device until it is in its namespace: at most 15 characters, ours alone."""
    return f"lab{os.getpid()}-{network.sites.index(site)}"
