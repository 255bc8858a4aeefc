"""Rescuing: what an earlier journal kept in the private directory, and nobody else has.

A conflict copy there may be the last one of a version that was never published. What lies in the
trash is looked at by geosync.engine.sweeping.
"""

from __future__ import annotations

from collections.abc import Iterator

from conflict.attributes import changes
from conflict.joining import Beside, Recognition
from conflict.naming import original_name
from conflict.observation import DiskEntry, DiskKind
from conflict.operations import ROOT
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    Applied,
    DiskError,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    Expected,
    RelativePath,
)
from geosync.engine.authoring import author_of, save_written
from geosync.engine.intake import Intake
from geosync.engine.mirroring import MIRROR
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from geosync.terminal import display_name

_PARKED = b"parked"
_log = event_logger(__name__)


def rescue(site: Site, spool: Spool, recognition: Recognition) -> None:
    """Makes all of it part of the volume that the volume never had.

    Raises:
        OSError: the state directory can't be written.
        EntryUnreadable, EntryBusy: something could not be read or moved; the rest was done.
    """
    _bring_out_parked(site)
    done = site.journal.mirrored()  # by an attempt that did not get to the end
    left: DiskError | None = None
    for path, entry in _files_below(site, (PRIVATE_DIRECTORY, MIRROR)):
        if joined(path) in done:
            continue
        intake = Intake(site, spool)
        try:
            found = intake.take(path, entry)
        except EntryVanished:
            continue
        except (EntryBusy, EntryUnreadable) as error:
            left = left or error
            continue
        intake.finish_packs()
        with site.journal.transaction():
            # From now on it is a copy of ours, which goes when the volume has no such conflict.
            site.journal.set_mirrored(joined(path), found.content.digest)
            if recognition.knows(found.content):
                continue
            author = author_of(site)
            name = original_name(path[-1])
            there = recognition.file((*path[2:-1], name), found.content)
            if isinstance(there, Beside):
                author.write_beside(there.claim, found.content, found.entry.attributes)
            else:
                written = changes(None, found.entry.attributes)
                author.create_file(ROOT, path[-1], found.content, written)
            intake.commit()
            save_written(site, author)
        _log.warning("version_rescued", path=joined(path))
    _remove_empty_directories(site, (PRIVATE_DIRECTORY, MIRROR))
    if left is not None:
        raise left


def _remove_empty_directories(site: Site, directory: tuple[bytes, ...]) -> None:
    """Removes those that were made for copies which never came, or went; nobody knows of them."""
    try:
        listing = site.disk.list_directory(joined(directory))
    except EntryVanished:
        return
    for entry in listing.entries:
        if entry.kind is DiskKind.DIRECTORY:
            below = (*directory, entry.name)
            _remove_empty_directories(site, below)
            site.disk.remove_directory(joined(below), Expected(entry.handle))  # not if it holds any


def _bring_out_parked(site: Site) -> None:
    """Gives what was on its way to another name a visible one, where the scan finds it."""
    parked = joined((PRIVATE_DIRECTORY, _PARKED))
    for entry in site.disk.list_directory(parked).entries:
        source = joined((PRIVATE_DIRECTORY, _PARKED, entry.name))
        target = _free_name(site, b"found-" + entry.name)
        outcome = site.disk.move(source, target, Expected(entry.handle))
        if not isinstance(outcome, Applied):
            raise EntryBusy(
                f"can't bring out {display_name(source)}, which an earlier run left there:"
                f" {outcome}",
                "it could not be moved",
            )
        _log.warning("parked_brought_out", path=target)


def _free_name(site: Site, name: bytes) -> RelativePath:
    while site.disk.observe(joined((name,))) is not None:
        name += b"~"
    return joined((name,))


def _files_below(
    site: Site, directory: tuple[bytes, ...]
) -> Iterator[tuple[tuple[bytes, ...], DiskEntry]]:
    try:
        listing = site.disk.list_directory(joined(directory))
    except EntryVanished:
        return
    for entry in listing.entries:
        path = (*directory, entry.name)
        if entry.kind is DiskKind.DIRECTORY:
            yield from _files_below(site, path)
        elif entry.kind is not DiskKind.UNSUPPORTED:
            yield path, entry
