"""Recovery: after a crash, asks the disk which of the intended changes were made."""

from __future__ import annotations

from conflict.synced import PARKED, SyncedEntry
from geosync.disk.interface import Retired
from geosync.engine.places import as_seen, path_on_disk
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.journal import Intent, RetiredFile

_log = event_logger(__name__)


def recover(site: Site) -> bool:
    """Brings the synced tree up to date with changes that a crash interrupted.

    A change counts as done when the disk shows, at its place, the inode that it was to bring
    there. What was not done is planned again. Files that the changes displaced are found in the
    trash by their inode.

    Returns:
        Whether there was anything to find out.
    """
    intents = site.journal.intents()
    if not intents:
        return False
    in_trash = {retired.entry.handle: retired for retired in site.disk.retired()}
    with site.journal.transaction():
        for intent in intents:
            _recover_one(site, intent, in_trash)
        site.journal.end_intents()
    _log.info("recovered", changes=len(intents))
    return True


def _recover_one(site: Site, intent: Intent, in_trash: dict[bytes, Retired]) -> None:
    before = site.journal.synced.entry(intent.entry)
    if intent.becomes is None:
        _recover_removal(site, intent, before, in_trash)
        return
    becomes = intent.becomes
    if becomes.parent != PARKED and site.journal.synced.entry(becomes.parent) is None:
        return  # its directory was not made, so nor was this
    path = path_on_disk(site, becomes)
    found = site.disk.observe(path) if path is not None else None
    if found is not None and found.handle == intent.handle:
        if before is not None and before.handle != found.handle:
            _remember_displaced(site, before, in_trash)
        site.journal.synced.save_entry(as_seen(becomes, found))


def _recover_removal(
    site: Site, intent: Intent, before: SyncedEntry | None, in_trash: dict[bytes, Retired]
) -> None:
    path = path_on_disk(site, before) if before is not None else None
    if before is None or path is None:
        return
    found = site.disk.observe(path)
    if found is None or found.handle != intent.handle:
        _remember_displaced(site, before, in_trash)
        site.journal.synced.remove_entry(before.entry)


def _remember_displaced(site: Site, before: SyncedEntry, in_trash: dict[bytes, Retired]) -> None:
    retired = in_trash.get(before.handle)
    if retired is not None:
        site.journal.add_retired(
            RetiredFile(
                token=retired.token,
                handle=retired.entry.handle,
                fingerprint=retired.entry.fingerprint,
                since_ms=site.now_ms(),
                was=before,
            )
        )
