"""Listing a directory: every name with its entry, or with the reason why there is none."""

import os
import time

from conflict.observation import DirectoryListing, DiskEntry
from geosync.disk.access_lists import is_entry
from geosync.disk.glances import Row, digest_of, is_at_rest, row_of
from geosync.disk.interface import PRIVATE_DIRECTORY, ROOT_PATH, RelativePath
from geosync.disk.tree import Place, Tree

_ATTEMPTS = 3


def list_directory(tree: Tree, path: RelativePath) -> DirectoryListing:
    """Lists a directory.

    Raises:
        OSError: one of `GONE` when there is no such directory; EACCES and the like.
    """
    began_ns = time.time_ns()
    descriptor = tree.open_directory(path)
    try:
        status = os.fstat(descriptor)
        directory = tree.described(descriptor, path.rpartition(b"/")[2], status)
        names = _names_in(descriptor)
        if path == ROOT_PATH:
            names.discard(PRIVATE_DIRECTORY)
        entries, unreadable, rows = _entries_in(tree, descriptor, sorted(names))
    finally:
        os.close(descriptor)
    own = row_of("", status)
    has_lists = any(map(_has_access_list, (directory, *entries)))
    glance = b""
    if not unreadable and not has_lists and is_at_rest((own, *rows), began_ns):
        glance = digest_of(directory.handle, own, rows, tree.names)
    return DirectoryListing(directory, tuple(entries), tuple(unreadable), glance)


def _has_access_list(entry: DiskEntry) -> bool:
    """Tells whether an entry names users or groups besides its owners, who may be renamed."""
    return any(is_entry(name) for name, _ in entry.attributes.extended)


def _names_in(descriptor: int) -> set[bytes]:
    """Returns all names, of several readings where the directory changes meanwhile.

    One reading may miss a file that is renamed within the directory, under both names.
    RACE: a directory that changes all the time may still hide one; a name that was there before
    and is not here is looked for again before anybody believes that it is gone.
    """
    names: set[bytes] = set()
    for _ in range(_ATTEMPTS):
        before = os.fstat(descriptor)
        names.update(map(os.fsencode, os.listdir(descriptor)))
        after = os.fstat(descriptor)
        if (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns):
            break
    return names


def _entries_in(
    tree: Tree, descriptor: int, names: list[bytes]
) -> tuple[list[DiskEntry], list[tuple[bytes, str]], list[Row]]:
    entries = []
    unreadable = []
    rows = []
    for name in names:
        try:
            entry, status = tree.looked_at(Place(descriptor, name))
        except FileNotFoundError:
            continue  # RACE: it vanished since; so does it from the listing.
        except OSError as error:
            unreadable.append((name, error.strerror or str(error)))
            continue
        entries.append(entry)
        rows.append(row_of(os.fsdecode(name), status))
    return entries, unreadable, rows
