"""Changes that displace nothing: onto names that are free, and of attributes."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from conflict.observation import Attributes, DiskEntry, DiskKind
from geosync.disk.attributes import apply_attributes
from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.displacement import Displacement
from geosync.disk.held import Held, held, known
from geosync.disk.interface import Applied, Expected, RelativePath, Staged
from geosync.disk.outcomes import Differs, require_staged
from geosync.disk.private_directory import fresh_unfinished_name
from geosync.disk.renames import give_name, rename_to_free, take_name
from geosync.disk.staging import Stage
from geosync.disk.tree import Pinned, Place, Tree

_OWNER_ALL = 0o700


class Changes:
    """Places, moves and removes entries below the root.

    Every method raises Differs, HasWriter, or OSError when the system refuses.
    """

    def __init__(
        self,
        tree: Tree,
        stage: Stage,
        displacement: Displacement,
        halfway: int,
        capabilities: DiskCapabilities,
    ) -> None:
        self._tree = tree
        self._stage = stage
        self._displacement = displacement
        self._halfway = halfway  # a private directory, for moves in two steps
        self._capabilities = capabilities

    def place_new(self, staged: Staged, path: RelativePath) -> Applied:
        """Gives a staged entry a free name; see `Disk.place_new`."""
        with self._tree.pinned(self._stage.place_of(staged)) as new:
            require_staged(staged, new)
            return self._place(staged, new, new.entry, path)

    def _place(
        self, staged: Staged, new: Pinned, new_before: DiskEntry, path: RelativePath
    ) -> Applied:
        with self._tree.place(path) as place:
            with self._only_onto_free_name(place):
                give_name(
                    self._stage.place_of(staged), place, in_one_step=self._capabilities.exchange
                )
            return Applied(known(new_before, self._tree.entry_of(new.descriptor, place.name)))

    @contextmanager
    def _only_onto_free_name(self, place: Place) -> Iterator[None]:
        try:
            yield
        except FileExistsError as error:
            raise Differs(self._tree.found_at(place)) from error

    def make_directory(self, path: RelativePath, attributes: Attributes) -> Applied:
        """Makes a directory at a free name; see `Disk.make_directory`.

        It appears with its attributes, except that its owner may do everything with it until it
        has its name: a directory that its owner may not write can't be renamed by him.
        CRASH: it may keep that mode, which the next comparison of attributes shows.
        """
        movable = replace(attributes, mode=attributes.mode | _OWNER_ALL)
        staged = self._stage.directory(movable)
        try:
            with self._tree.pinned(self._stage.place_of(staged)) as new:
                require_staged(staged, new)
                applied = self._place(staged, new, new.entry, path)
                if movable == attributes:
                    return applied
                apply_attributes(new.descriptor, attributes, self._tree.names)
                name = path.rpartition(b"/")[2]
                return Applied(self._tree.entry_of(new.descriptor, name))
        finally:
            self._stage.discard(staged.token)

    def link(
        self,
        source: tuple[RelativePath, Expected],
        target: RelativePath,
        target_expected: Expected | None,
    ) -> Applied:
        """Makes another name of a file; see `Disk.link`."""
        source_path, source_expected = source
        with held(self._tree, source_path, source_expected, may_lease=False) as old:
            if target_expected is not None and target_expected.handle == old.entry.handle:
                return self._find_linked(target, target_expected)
            staged = self._stage_link(old)
            try:
                if target_expected is None:
                    return self._place(staged, old.pin, old.entry, target)
                replaced = (target, target_expected)
                return self._displacement.replace_with(staged, old.pin, old.entry, replaced)
            finally:
                self._stage.discard(staged.token)

    def _find_linked(self, path: RelativePath, expected: Expected) -> Applied:
        with held(self._tree, path, expected, may_lease=False) as found:
            return Applied(found.entry)

    def _stage_link(self, old: Held) -> Staged:
        if old.entry.kind is DiskKind.DIRECTORY:
            raise IsADirectoryError(errno.EISDIR, "a directory has one name", old.place.name)
        try:
            return self._stage.link(old.pin)
        except FileNotFoundError as error:
            raise Differs(self._tree.found_at(old.place)) from error  # RACE: its last name went

    def move(self, source: RelativePath, target: RelativePath, expected: Expected) -> Applied:
        """Renames an entry onto a free name; see `Disk.move`.

        Programs may go on writing to it: a write follows the inode, and shows in the fingerprint.
        """
        with (
            held(self._tree, source, expected, may_lease=False) as old,
            self._tree.place(target) as place,
        ):
            if self._capabilities.exchange:
                self._move_in_one_step(old, place)
            else:
                self._move_in_two_steps(old, place)
            now = self._tree.entry_of(old.pin.descriptor, place.name)
            return Applied(known(old.entry, now))

    def _move_in_one_step(self, old: Held, target: Place) -> None:
        """Renames, then verifies what was renamed.

        RACE: a program may rename another inode over the source before the rename: it goes back,
        or stays at the target when the source's name is taken again. A program may also replace
        the target right after the rename, and that file is then taken for the wrong one and goes
        to the source's name. Every file still has a name, and the next scan shows which.
        """
        with self._only_onto_free_name(target):
            self._rename_from(old, target)
        if self._tree.handle_at(target) == old.entry.handle:
            return
        try:
            rename_to_free(target, old.place)
        except FileExistsError as error:
            raise Differs(self._tree.found_at(old.place)) from error
        raise Differs(self._tree.found_at(old.place))

    def _rename_from(self, old: Held, target: Place) -> None:
        try:
            rename_to_free(old.place, target)
        except FileNotFoundError as error:
            found = self._tree.found_at(old.place)
            if found is None:
                raise Differs(None) from error
            raise

    def _move_in_two_steps(self, old: Held, target: Place) -> None:
        """Moves by way of a private name, where nobody can interfere with the verification.

        RACE: for a moment it has neither name.
        CRASH: it is left among the parked entries, where the next start finds it.
        """
        if self._tree.found_at(target) is not None:
            raise Differs(self._tree.found_at(target))
        private = Place(self._halfway, fresh_unfinished_name())
        try:
            take_name(old.place, private)
        except FileNotFoundError as error:
            raise Differs(None) from error
        try:
            if self._tree.handle_at(private) != old.entry.handle:
                raise Differs(self._tree.found_at(private))
            with self._only_onto_free_name(target):
                give_name(private, target, in_one_step=False)
        except (Differs, OSError):
            with suppress(FileExistsError):  # RACE: a program has made a newer one; both are kept
                give_name(private, old.place, in_one_step=False)
            raise

    def remove_directory(self, path: RelativePath, expected: Expected) -> Applied:
        """Removes an empty directory; see `Disk.remove_directory`.

        RACE: a program may put another directory at the name before it is removed; what goes is
        then an empty directory of its own, never a file.
        """
        with held(self._tree, path, expected, may_lease=False) as old:
            os.rmdir(old.place.name, dir_fd=old.place.directory)
            return Applied(None)

    def set_attributes(
        self, path: RelativePath, expected: Expected, attributes: Attributes
    ) -> Applied:
        """Sets attributes of the expected inode; see `Disk.set_attributes`.

        RACE: a program may change an attribute at the same moment; the later change lasts. A
        write is kept out by the lease; without one, a write of the same size between the
        comparison and the setting of mtime goes unseen.
        """
        may_lease = self._capabilities.leases
        with held(self._tree, path, expected, may_lease=may_lease) as old:
            apply_attributes(old.pin.descriptor, attributes, self._tree.names)
            now = self._tree.entry_of(old.pin.descriptor, old.place.name)
            size_bytes = (
                old.entry.fingerprint.size_bytes
            )  # another one on the disk tells of a write
            if now.kind is DiskKind.REGULAR:
                now = replace(now, fingerprint=replace(now.fingerprint, size_bytes=size_bytes))
            return Applied(now)
