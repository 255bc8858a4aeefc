"""A glance at a directory: what stat tells of all its names, as one digest.

Handles, access control lists and other attributes cost several system calls for each name. None of
them changes without a change of what stat tells, so where the digest is that of an earlier look,
what that look has found is there still.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
from collections.abc import Iterable
from typing import Final

from geosync.disk.interface import PRIVATE_DIRECTORY, ROOT_PATH, Glance, RelativePath
from geosync.disk.owner_names import OwnerNames
from geosync.disk.tree import Tree

# A name that changed so lately may change once more without another time.
REST_NS: Final = 2_000_000_000
_DIGEST_SIZE_BYTES: Final = 16
_WITHOUT_REFERENCES: Final = 2  # a version of marshal in which equal values give equal bytes
_PRIVATE: Final = os.fsdecode(PRIVATE_DIRECTORY)

Row = tuple[str, int, int, int, int, int, int, int, int, int]


def row_of(name: str, status: os.stat_result) -> Row:
    """Returns what a glance shows of one name."""
    return (
        name,
        status.st_mode,
        status.st_ino,
        status.st_dev,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def is_at_rest(rows: Iterable[Row], looked_at_ns: int) -> bool:
    """Tells whether nothing changed so lately that a further change could look the same."""
    latest_ns = max((row[-1] for row in rows), default=0)
    return latest_ns < looked_at_ns - REST_NS


def digest_of(handle: bytes, directory: Row, rows: list[Row], names: OwnerNames) -> bytes:
    """Returns the digest of a directory, with what its owners are called.

    Args:
        handle: of the directory.
        directory: its own row.
        rows: of all that is in it; their order does not matter.
        names: of users and groups.
    """
    users = [(number, names.users.name_of(number)) for number in sorted({row[5] for row in rows})]
    groups = [(number, names.groups.name_of(number)) for number in sorted({row[6] for row in rows})]
    seen = marshal.dumps((handle, directory, sorted(rows), users, groups), _WITHOUT_REFERENCES)
    return hashlib.blake2b(seen, digest_size=_DIGEST_SIZE_BYTES).digest()


def glance_at(tree: Tree, path: RelativePath) -> Glance:
    """Looks at a directory as `list_directory` does, but no further than stat.

    RACE: a directory that changes meanwhile may be seen in part. Its own times differ then from
    those of the look that it is compared with.

    Raises:
        OSError: there is no such directory, it may not be read, or a name vanished.
    """
    descriptor = tree.open_directory(path)
    try:
        own = row_of("", os.fstat(descriptor))
        handle = tree.handle_of(descriptor)
        with os.scandir(descriptor) as found:
            rows = [row_of(each.name, each.stat(follow_symlinks=False)) for each in found]
    finally:
        os.close(descriptor)
    if path == ROOT_PATH:
        rows = [row for row in rows if row[0] != _PRIVATE]
    below = tuple(os.fsencode(row[0]) for row in rows if stat.S_ISDIR(row[1]))
    return Glance(digest_of(handle, own, rows, tree.names), below, len(rows))
