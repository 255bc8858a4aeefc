"""Damage and loss that tests bring about, and `geosync verify` over single sites to find them."""

from __future__ import annotations

import mmap
import os

from geosync.configuration.volume_configuration import parse_configuration
from geosync.verification.finding import Finding
from geosync.verification.repairs import mending_for
from geosync.verification.verification import Verification
from tests.simulation.simulated_clock import SimulatedClock
from tests.support.local_sites import VOLUME, LocalSite, run, settle
from tests.support.recording_store import RecordingStore
from transport.memory_store import MemoryStore


def verify(site: LocalSite, *, is_deep: bool = False) -> list[Finding]:
    """Returns what a verification finds."""
    configuration = parse_configuration(
        {
            "volume": VOLUME,
            "site": site.name,
            "root": os.fsdecode(site.root),
            "state_dir": os.fsdecode(site.state_dir),
        },
        "a test",
    )
    verification = Verification(configuration, site.link, SimulatedClock(site.time), is_fast=True)
    return list(verification.findings(is_deep=is_deep))


def kinds(findings: list[Finding]) -> list[str]:
    """Returns what was found, in words of the JSON."""
    return [str(finding.kind) for finding in findings]


def repair(site: LocalSite, findings: list[Finding], *others: LocalSite) -> None:
    """Lets a site repair it, and all run until nothing is left to do."""
    site.engine.upkeep.mend(mending_for(findings))
    for _ in range(60):
        run(site, *others, rounds=1)
        if not site.engine.upkeep.mending().left:
            settle(site, *others)
            return
    raise AssertionError(site.engine.upkeep.mending())


def damage_unseen(path: bytes, offset: int) -> None:
    """Changes a byte as a failing disk does: neither size nor times tell (in memory only)."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[offset] ^= 1


def bodies(store: RecordingStore) -> dict[str, bytes]:
    """Returns what is in the store, to be changed at will."""
    memory = store.store
    assert isinstance(memory, MemoryStore)
    return memory._bodies


def names(store: RecordingStore, prefix: str) -> list[str]:
    """Returns the names of the objects that begin so, sorted."""
    return sorted(name for name in bodies(store) if name.startswith(prefix))


def flip(store: RecordingStore, name: str, offset: int) -> None:
    """Damages one byte of an object."""
    body = bytearray(bodies(store)[name])
    body[offset] ^= 1
    bodies(store)[name] = bytes(body)


def lose(store: RecordingStore, name: str) -> None:
    """Removes an object, behind everybody's back."""
    del bodies(store)[name]
