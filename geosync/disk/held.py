"""Holding the entry that a change is about: pinned, compared, and kept from writers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from conflict.observation import DiskEntry, DiskKind, Fingerprint
from geosync.disk.interface import Expected, RelativePath
from geosync.disk.outcomes import Differs, require_expected
from geosync.disk.trash import unwritten
from geosync.disk.tree import GONE, Pinned, Place, Tree


@dataclass(frozen=True, slots=True)
class Held:
    """An inode under its name, as it was when it was found to be the expected one."""

    place: Place
    pin: Pinned
    entry: DiskEntry


@contextmanager
def held(tree: Tree, path: RelativePath, expected: Expected, *, may_lease: bool) -> Iterator[Held]:
    """Holds what is at a path, provided that it is as expected.

    Raises:
        Differs: it is something else, or nothing.
        HasWriter: `may_lease`, and somebody has it open, or mapped, for writing.
        OSError: it can't be looked at.
    """
    with ExitStack() as stack:
        try:
            place = stack.enter_context(tree.place(path))
            pin = stack.enter_context(tree.pinned(place))
        except OSError as error:
            if error.errno in GONE:
                raise Differs(None) from error
            raise
        entry = stack.enter_context(unwritten(tree, pin, may_lease=may_lease))
        require_expected(entry, expected)
        yield Held(place, pin, entry)


def known(before: DiskEntry, now: DiskEntry) -> DiskEntry:
    """Returns `now`, but with the content's size and mtime of `before` if it is a file.

    What changes of names do to an inode is a new ctime. If a program wrote to it in between, the
    size or mtime returned here is not on the disk, and the next comparison finds the write, which
    would otherwise be taken for what we know.
    """
    if now.kind is not DiskKind.REGULAR:
        return now
    mtime_ns = before.fingerprint.mtime_ns
    return replace(
        now,
        fingerprint=Fingerprint(before.fingerprint.size_bytes, mtime_ns, now.fingerprint.ctime_ns),
        attributes=replace(now.attributes, mtime_ns=mtime_ns),
    )
