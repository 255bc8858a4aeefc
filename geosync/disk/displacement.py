"""Changes that displace an inode: swap or take it first, then verify what was displaced.

A lease keeps writers out of the expected inode, but nothing keeps a program from renaming another
one over its name between the comparison and the swap. So the displaced inode is compared again
where nobody else can reach it, in the trash, and goes back when it is another.
"""

import errno
import os
from collections.abc import Callable

from conflict.observation import DiskEntry, DiskKind
from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.held import Held, held, known
from geosync.disk.interface import Applied, Expected, RelativePath, Retired, Staged
from geosync.disk.outcomes import Differs, require_staged
from geosync.disk.private_directory import fresh_removal_token
from geosync.disk.renames import exchange, give_name, take_name
from geosync.disk.staging import Stage
from geosync.disk.trash import Trash
from geosync.disk.tree import Pinned, Place, Tree

_UNDO_ATTEMPTS = 1000


class Displacement:
    """Replaces and removes files below the root.

    Every method raises Differs, HasWriter, or OSError when the system refuses.
    """

    def __init__(
        self, tree: Tree, stage: Stage, trash: Trash, capabilities: DiskCapabilities
    ) -> None:
        self._tree = tree
        self._stage = stage
        self._trash = trash
        self._capabilities = capabilities

    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Applied:
        """Swaps a staged file with the expected one; see `Disk.replace`."""
        with self._tree.pinned(self._stage.place_of(staged)) as new:
            require_staged(staged, new)
            return self.replace_with(staged, new, new.entry, (path, expected))

    def replace_with(
        self,
        staged: Staged,
        new: Pinned,
        new_before: DiskEntry,
        replaced: tuple[RelativePath, Expected],
    ) -> Applied:
        """As `replace`, for a staged inode whose content is known from an earlier look."""
        path, expected = replaced
        may_lease = self._capabilities.leases
        with held(self._tree, path, expected, may_lease=may_lease) as old:
            _require_file(old)
            if self._capabilities.exchange:
                retired = self._swap(staged, old)
            else:
                retired = self._replace_in_two_steps(staged, old)
            # The lease ends after the last look at the displaced inode: what is written to it
            # from now on changes the fingerprint that is returned.
            now = self._tree.entry_of(new.descriptor, old.place.name)
            return Applied(known(new_before, now), retired)

    def remove_file(self, path: RelativePath, expected: Expected) -> Applied:
        """Takes the expected file into the trash; see `Disk.remove_file`."""
        may_lease = self._capabilities.leases
        with held(self._tree, path, expected, may_lease=may_lease) as old:
            _require_file(old)
            return Applied(None, self._take(old))

    def _swap(self, staged: Staged, old: Held) -> Retired:
        """Swaps through the trash, so that a displaced inode is never anywhere else.

        CRASH: before the exchange the trash holds the staged inode under the token that was made
        for it, which tells the next start to remove it; after the exchange, the displaced one.
        """
        private = self._trash.place_of(staged.token)
        waiting = self._stage.place_of(staged)
        take_name(waiting, private)
        try:
            exchange(private, old.place)
        except OSError as error:
            take_name(private, waiting)
            if isinstance(error, FileNotFoundError):
                raise Differs(None) from error
            raise
        if not self._is_displaced(private, old):
            exchange_back(private, old.place, staged.handle, self._tree.handle_at, exchange)
            if self._tree.found_at(private) is not None and self._holds(private, staged.handle):
                # RACE: while it had the name, a program may have written to it, or opened it to
                # do so. As one of the retired, it is found there.
                take_name(private, self._trash.place_of(fresh_removal_token()))
            raise Differs(self._tree.found_at(old.place))
        return self._retire(private.name, old)

    def _replace_in_two_steps(self, staged: Staged, old: Held) -> Retired:
        """Takes the old file away, then gives the new one its name.

        RACE: for a moment there is no file at the name. If a program makes one then, it stays;
        the old file, which was the expected one, remains in the trash.
        """
        retired = self._take(old)
        waiting = self._stage.place_of(staged)
        try:
            give_name(waiting, old.place, in_one_step=False)
        except FileExistsError as error:
            raise Differs(self._tree.found_at(old.place)) from error
        except OSError:
            self._put_back(self._trash.place_of(retired.token), old.place)
            raise
        return retired

    def _take(self, old: Held) -> Retired:
        """Moves a file into the trash, and back when it proves to be another.

        CRASH: the trash may hold one that was not verified; the next start compares it.
        """
        private = self._trash.place_of(fresh_removal_token())
        try:
            take_name(old.place, private)
        except FileNotFoundError as error:
            raise Differs(None) from error
        if not self._is_displaced(private, old):
            self._put_back(private, old.place)
            raise Differs(self._tree.found_at(old.place))
        return self._retire(private.name, old)

    def _put_back(self, private: Place, place: Place) -> None:
        try:
            give_name(private, place, in_one_step=self._capabilities.exchange)
        except FileExistsError:
            # RACE: a program has made a newer one; this one is kept, as retired.
            return

    def _holds(self, place: Place, handle: bytes) -> bool:
        return self._tree.handle_at(place) == handle

    def _is_displaced(self, private: Place, old: Held) -> bool:
        """Tells whether the displaced inode is the expected one, with the content it had."""
        if not self._holds(private, old.entry.handle):
            return False
        status = os.fstat(old.pin.descriptor)
        fingerprint = old.entry.fingerprint
        return (status.st_size, status.st_mtime_ns) == (
            fingerprint.size_bytes,
            fingerprint.mtime_ns,
        )

    def _retire(self, token: bytes, old: Held) -> Retired:
        now = self._tree.entry_of(old.pin.descriptor, token)
        return Retired(token, known(old.entry, now))


def _require_file(old: Held) -> None:
    if old.entry.kind is DiskKind.DIRECTORY:
        raise IsADirectoryError(errno.EISDIR, "it is a directory", old.place.name)


def exchange_back(
    private: Place,
    place: Place,
    staged_handle: bytes,
    handle_at: Callable[[Place], bytes],
    swap: Callable[[Place, Place], None],
) -> None:
    """Exchanges until what comes back is what was put there the time before.

    RACE: a program may rename yet another file over the name before each exchange. What comes
    back is then newer than what was put there, so it goes there next. What the program itself
    replaced ends at `private`. So does the last one when the program removed the name, or when it
    never stops: nothing is lost, and the engine finds it among the retired.

    Args:
        private: where the displaced inode lies, in the trash.
        place: the name that it was taken from.
        staged_handle: what was put there instead.
        handle_at: tells the inode at a name.
        swap: exchanges two names; raises FileNotFoundError when `place` is free.
    """
    awaited = staged_handle
    for _attempt in range(_UNDO_ATTEMPTS):
        put = handle_at(private)
        try:
            swap(private, place)
        except FileNotFoundError:
            return
        if handle_at(private) == awaited:
            return
        awaited = put
