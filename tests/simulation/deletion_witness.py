"""A witness of deletions: nothing that is still at its name may ever be taken for deleted."""

from __future__ import annotations

from conflict.synced import EntryId, SyncedEntry, path_of_entry
from geosync.engine.capturing import Captured, Capturer
from geosync.engine.site import Site
from tests.simulation.invariants import Violation
from tests.simulation.simulated_disk import SimulatedDisk


def watch_deletions(site: Site, capturer: Capturer) -> None:
    """Has each capture raise Violation when it forgets an entry whose inode has its name still.

    An invariant of the end does not tell: at the next look such a file is found again, as a new
    one, and its name, history and conflicts are another file's then.
    """
    capture = capturer.capture

    def watched() -> Captured:
        before = _entries(site)
        captured = capture()
        _require_gone(site, before)
        return captured

    capturer.capture = watched  # type: ignore[method-assign]


def _entries(site: Site) -> dict[bytes, SyncedEntry]:
    """Returns what should be on the disk: path -> entry. Copies beside their file count not."""
    synced = site.journal.synced
    rows = synced._connection.execute("SELECT entry FROM synced").fetchall()
    found: dict[bytes, SyncedEntry] = {}
    for (number,) in rows:
        entry = synced.entry(EntryId(number))
        path = path_of_entry(synced, entry) if entry is not None else None
        if entry is not None and path and not entry.copy_of:
            found[b"/".join(path)] = entry
    return found


def _require_gone(site: Site, before: dict[bytes, SyncedEntry]) -> None:
    assert isinstance(site.disk, SimulatedDisk)
    for path, entry in before.items():
        if site.journal.synced.entry(entry.entry) is None:
            there = site.disk.file_system.find(path)
            if there is not None and there.handle == entry.handle:
                raise Violation(f"{site.name} took {path!r} for deleted, and it is there")
