"""The trash: inodes that changes displaced, kept until nobody can have written them unseen."""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from conflict.observation import DiskEntry, DiskKind
from geosync.disk.interface import Applied, Expected, Retired
from geosync.disk.leases import LeaseState, lease_on
from geosync.disk.outcomes import Differs, HasWriter, require_expected
from geosync.disk.private_directory import is_made_for
from geosync.disk.tree import Pinned, Place, Tree


@contextmanager
def unwritten(tree: Tree, pin: Pinned, *, may_lease: bool) -> Iterator[DiskEntry]:
    """Keeps writers out of a pinned file, as far as a lease can, and describes it as it is then.

    RACE: without a lease nothing is kept out. The callers then know content by size and mtime
    alone, which a store through a mapping that was there before may leave as they are.

    Raises:
        HasWriter: somebody has it open, or mapped, for writing.
        OSError: it can't be described.
    """
    if not may_lease or pin.entry.kind is not DiskKind.REGULAR:
        yield pin.entry
        return
    with lease_on(pin.descriptor) as lease:
        if lease is LeaseState.WRITER:
            raise HasWriter
        yield tree.entry_of(pin.descriptor, pin.entry.name)


class Trash:
    """The trash directory, which a descriptor holds."""

    def __init__(self, tree: Tree, directory: int, *, may_lease: bool) -> None:
        self._tree = tree
        self._directory = directory
        self._may_lease = may_lease

    def place_of(self, token: bytes) -> Place:
        """Returns where a token's inode lies."""
        return Place(self._directory, token)

    def retired(self, but_for: Collection[bytes]) -> Iterator[Retired]:
        """Yields every displaced inode as it is now, but for these tokens. Raises OSError."""
        tokens = map(os.fsencode, os.listdir(self._directory))
        for token in sorted(token for token in tokens if token not in but_for):
            entry = self._tree.found_at(self.place_of(token))
            if entry is not None and not is_made_for(token, entry.handle):
                yield Retired(token, entry)

    def clear_unplaced(self) -> None:
        """Removes staged inodes that a killed run had brought here to swap them, but did not.

        Raises:
            OSError: the trash could not be read or written.
        """
        for token in map(os.fsencode, os.listdir(self._directory)):
            place = self.place_of(token)
            if is_made_for(token, self._tree.handle_at(place)):
                _remove(place)

    def discard(self, retired: Retired) -> Applied:
        """Unlinks an inode that is as it was told; returns what became of it if it has other names.

        A lease shows that there is no writer, and keeps out new ones until the name is gone; the
        inode has no name but in this private directory, unless it has other hard links.

        Raises:
            Differs: it has changed, or is gone.
            HasWriter: somebody has it open, or mapped, for writing.
            OSError: it could not be removed.
        """
        place = self.place_of(retired.token)
        expected = Expected(retired.entry.handle, retired.entry.fingerprint)
        try:
            with (
                self._tree.pinned(place) as pin,
                unwritten(self._tree, pin, may_lease=self._may_lease) as entry,
            ):
                require_expected(entry, expected)
                _remove(place)
                if entry.link_count == 1 or entry.kind is DiskKind.DIRECTORY:
                    return Applied(None)
                left = self._tree.entry_of(pin.descriptor, retired.token)
        except FileNotFoundError as error:
            raise Differs(None) from error
        return Applied(None, Retired(retired.token, left) if left.link_count else None)


def _remove(place: Place) -> None:
    status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(place.name, dir_fd=place.directory)
    else:
        os.unlink(place.name, dir_fd=place.directory)
