"""Recovery: after a crash, asks the disk which of the intended changes were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from conflict.observation import DiskEntry, DiskKind
from conflict.synced import PARKED, SyncedEntry, moved
from geosync.disk.interface import Retired
from geosync.engine.generation import begin_generation
from geosync.engine.places import (
    NEVER_SEEN,
    as_seen,
    note_own_times,
    path_on_disk,
    replacing_nothing,
)
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.journal import ANY_DIRECTORY, Intent, RetiredFile

_log = event_logger(__name__)


def recover(site: Site) -> bool:
    """Brings the synced tree up to date with changes that a crash interrupted.

    A change counts as done when the disk shows, at its place, the inode that it was to bring
    there. What was not done is planned again. Files that the changes displaced are found in the
    trash by their inode.

    Returns:
        Whether there was anything to find out.

    Raises:
        EntryUnreadable, RootLost: nothing is taken for done, or not done, that only can't be seen.
            Until it can, nothing may be captured: what we did would be taken for a program's work.
        OSError: the disk can't be synced; as above.
    """
    intents = site.journal.intents()
    if not intents:
        return False
    # CRASH: what is found done must be durable before it is recorded as done, or a power cut takes
    # it back, and the next start takes that for a program's work.
    with site.journal.transaction():
        begin_generation(site)
        site.disk.sync_everything()
    in_trash = {retired.entry.handle: retired for retired in site.disk.retired()}
    befores = [site.journal.synced.entry(intent.entry) for intent in intents]
    with site.journal.transaction():
        for intent in intents:
            _recover_one(site, intent, intents, in_trash)
        files = [entry for entry in befores if entry is not None and not entry.is_directory]
        brought = {i.handle: i.becomes for i in intents if i.becomes and i.becomes.content}
        _remember_strays(site, files, brought, in_trash)
        entries = [*befores, *(intent.becomes for intent in intents)]
        note_own_times(site, {entry.parent for entry in entries if entry is not None})
        site.disk.check_root()
        site.journal.end_intents()
    _log.info("recovered", changes=len(intents))
    return True


def _recover_one(
    site: Site, intent: Intent, intents: list[Intent], in_trash: dict[bytes, Retired]
) -> None:
    before = site.journal.synced.entry(intent.entry)
    if intent.becomes is None:
        _recover_removal(site, intent, before, in_trash)
        return
    becomes = intent.becomes
    if becomes.parent != PARKED and site.journal.synced.entry(becomes.parent) is None:
        return  # its directory was not made, so nor was this
    there = site.journal.synced.entry_at(becomes.parent, becomes.name)
    if there is not None and there.entry != becomes.entry:
        if _is_removed(site, there, intents):
            # It got out of the way first, and was removed there at the end; its own turn comes.
            site.journal.synced.save_entry(moved(there, PARKED, b"%d" % there.entry))
        elif not _is_past(site, there, intents):
            return  # what has the name was not moved on, so this was not made
    path = path_on_disk(site, becomes)
    found = site.disk.observe(path) if path is not None else None
    if found is not None and _is_result(site, intent, becomes, found):
        if before is not None and before.handle != found.handle:
            _remember_displaced(site, before, in_trash)
        site.journal.synced.save_entry(_as_left(becomes, found))
    elif before is not None and _is_displaced(site, before, found, in_trash):
        # The swap was made, and a program has since removed or replaced what it brought: the
        # version that the program saw was the new one, so no other may be taken for deleted.
        if before.handle != intent.handle:  # else it was only moved, and a later change swapped it
            _remember_displaced(site, before, in_trash)
        site.journal.synced.save_entry(
            replace(becomes, handle=intent.handle, fingerprint=NEVER_SEEN)
        )


def _is_removed(site: Site, there: SyncedEntry, intents: list[Intent]) -> bool:
    """Tells whether an entry was to be removed, and is nowhere where these changes moved it.

    RACE: a program may have removed it before any of them, and made a directory of that name. That
    one is taken for ours then; two directories of one name are one directory anyway.
    """
    own = [intent for intent in intents if intent.entry == there.entry]
    if all(intent.becomes is not None for intent in own):
        return False
    places = [there, *(intent.becomes for intent in own if intent.becomes is not None)]
    paths = (path_on_disk(site, place) for place in places)
    seen = (site.disk.observe(path) for path in paths if path is not None)
    return all(found is None or found.handle != there.handle for found in seen)


def _is_past(site: Site, there: SyncedEntry, intents: list[Intent]) -> bool:
    """Tells whether an entry was moved on from its name, by a later change than this one.

    Of two names that were exchanged, the one that got out of the way is found at its new name
    only, no longer where it was parked in between.
    """
    for intent in intents:
        becomes = intent.becomes
        if intent.entry != there.entry or becomes is None:
            continue
        path = path_on_disk(site, becomes)
        found = site.disk.observe(path) if path is not None else None
        is_elsewhere = (becomes.parent, becomes.name) != (there.parent, there.name)
        is_found = found is not None and found.handle == intent.handle
        if is_elsewhere and is_found and not _is_another_name(site, becomes, intent.handle):
            return True
    return False


def _is_another_name(site: Site, becomes: SyncedEntry, handle: bytes) -> bool:
    """Tells whether a place is known to show the inode already, by another name of the file."""
    known = site.journal.synced.entry_at(becomes.parent, becomes.name)
    return known is not None and known.entry != becomes.entry and known.handle == handle


def _is_displaced(
    site: Site, before: SyncedEntry, found: DiskEntry | None, in_trash: dict[bytes, Retired]
) -> bool:
    """Tells whether the inode that was at a name is in the trash, by this change."""
    if before.handle not in in_trash or (found is not None and found.handle == before.handle):
        return False
    token = in_trash[before.handle].token
    return token not in site.journal.retired_tokens()


def _is_result(site: Site, intent: Intent, becomes: SyncedEntry, found: DiskEntry) -> bool:
    if intent.handle == ANY_DIRECTORY:
        # A directory that is known by another name is not new: a program has moved it here.
        known = site.journal.synced.entries_of_handle(found.handle)
        is_new = all(other.entry == becomes.entry for other in known)
        return becomes.is_directory and found.kind is DiskKind.DIRECTORY and is_new
    return found.handle == intent.handle


def _as_left(becomes: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    """Returns the entry as the interrupted change left it, for certain.

    A program may have written to the file since: so it is read again, and an mtime that we did
    not set is a change. All other attributes are taken as seen, and set again where they are not
    as wanted.
    CRASH: a program's chmod between the crash and this start is so undone, of these files only.
    """
    seen = as_seen(becomes, found)
    own_mtimes = (becomes.attributes.mtime_ns, becomes.intended.mtime_ns)
    if found.kind is not DiskKind.DIRECTORY and found.attributes.mtime_ns not in own_mtimes:
        seen = replace(seen, attributes=replace(seen.attributes, mtime_ns=own_mtimes[0]))
    fingerprint = NEVER_SEEN if found.kind is DiskKind.REGULAR else found.fingerprint
    return replace(seen, fingerprint=fingerprint, intended=seen.attributes)


def _recover_removal(
    site: Site, intent: Intent, before: SyncedEntry | None, in_trash: dict[bytes, Retired]
) -> None:
    path = path_on_disk(site, before) if before is not None else None
    if before is None or path is None or any(site.journal.synced.entries_in(before.entry)):
        return  # a scan finds out about what is missing in a directory
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
                # A program may have written to it since; if not, reading it shows that.
                fingerprint=before.fingerprint,
                since_ms=site.now_ms(),
                was=before,
            )
        )


def _remember_strays(
    site: Site,
    displaced: Iterable[SyncedEntry],
    brought: Mapping[bytes, SyncedEntry],
    in_trash: dict[bytes, Retired],
) -> None:
    """Keeps track of files in the trash that nobody knows of, where a change was under way.

    RACE: a program renamed a file over the name right before the change, and the process died
    before it could look at what it had displaced. It is a version of the file that was there, or
    of the one that came. Or it is what we brought and took away again: a program may have written
    to it meanwhile.
    """
    files = (replacing_nothing(entry) for entry in displaced if entry.handle not in in_trash)
    was = next(files, None)
    known = site.journal.retired_tokens()
    for stray in in_trash.values():
        stands_for = brought.get(stray.entry.handle, was)
        if stands_for is not None and stray.token not in known:
            site.journal.add_retired(
                RetiredFile(stray.token, stray.entry.handle, NEVER_SEEN, site.now_ms(), stands_for)
            )
