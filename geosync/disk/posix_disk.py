"""The disk of a real machine: a directory on a POSIX file system of Linux."""

import errno
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from conflict.observation import Attributes, DirectoryListing, DiskEntry, DiskKind
from geosync.disk.capabilities import DiskCapabilities, probe
from geosync.disk.changes import Changes
from geosync.disk.closed_directories import opened_directories
from geosync.disk.coarse_times import may_hide_a_write
from geosync.disk.displacement import Displacement
from geosync.disk.download_file import PosixSourceFile, open_download
from geosync.disk.glances import glance_at
from geosync.disk.inode_flags import protection_of
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    UNCERTAIN,
    Applied,
    DiskError,
    DownloadFile,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    Expected,
    Failed,
    Glance,
    Outcome,
    RelativePath,
    Retired,
    RootLost,
    SourceFile,
    StableReader,
    Staged,
    StagingFile,
)
from geosync.disk.leases import open_for_reading
from geosync.disk.listing import list_directory
from geosync.disk.outcomes import attempt
from geosync.disk.owner_names import OwnerNames
from geosync.disk.private_directory import (
    PrivateDirectory,
    create_marker,
    open_private_directory,
    parked_path,
    read_generation,
    read_marker,
    write_generation,
)
from geosync.disk.privileges import (
    UnprivilegedDownloadFile,
    UnprivilegedStagingFile,
    without_privileges,
)
from geosync.disk.stable_read import Reading
from geosync.disk.staging import Stage
from geosync.disk.syscalls import sync_file_system
from geosync.disk.trash import Trash
from geosync.disk.tree import GONE, Pinned, Tree
from geosync.event_log import event_logger

_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What exists once the private directory does."""

    private: PrivateDirectory
    marker: bytes
    capabilities: DiskCapabilities
    tree: Tree
    stage: Stage
    trash: Trash
    displacement: Displacement
    changes: Changes


class PosixDisk:
    """Implements `Disk`. The root is opened once; everything is resolved beneath that descriptor.

    Programs that are not told of geosync read and write below the root at any time; each change
    says what may race with it. Another geosync must not use the same root.

    Args:
        root: path of the directory; it may be a symlink, unlike anything below it.
        capabilities: which protocols to use, instead of the best ones that are found by trying.
        accepts_setuid: whether files get setuid and setgid from other sites. If not, all else of
            them is as it should be, and a bit that this site has set itself stays.
        names: what the volume calls the users and groups of this machine.

    Raises:
        RootLost: there is no such directory, or it may not be read.
    """

    def __init__(
        self,
        root: bytes,
        capabilities: DiskCapabilities | None = None,
        *,
        accepts_setuid: bool = True,
        names: OwnerNames | None = None,
    ) -> None:
        self._names = names or OwnerNames()
        self._root_path = root
        self._wanted_capabilities = capabilities
        self._accepts_setuid = accepts_setuid
        self._opened: _Opened | None = None
        self._has_unsynced_changes = False
        self._withheld: set[bytes] = set()  # tokens of staged files that did not get setuid
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RootLost(
                f"can't open the directory {os.fsdecode(root)}: {error.strerror}; "
                "mount it, or correct the configuration"
            ) from error

    def initialise(self, known_marker: bytes | None = None) -> bytes:
        """Opens the private directory; call this before anything else.

        Args:
            known_marker: the token that an earlier call returned. With it nothing is created, as
                a directory without that marker is not the one that was initialised, for instance
                because its file system is not mounted.

        Returns:
            The token in the marker, which is made when there is none.

        Raises:
            RootLost: the marker is not `known_marker`, or the private directory can't be used.
        """
        try:
            if known_marker is not None:
                self._require_marker(known_marker)
            private = open_private_directory(self._root)
            marker = read_marker(private.itself) or create_marker(private)
            self._opened = self._open_parts(private, marker)
        except OSError as error:
            raise RootLost(
                f"can't prepare {self._shown(PRIVATE_DIRECTORY)}: {error.strerror}; "
                "make the directory writable"
            ) from error
        return marker

    def generation(self) -> bytes | None:
        """Returns the token that `set_generation` left last, None when it never did.

        Raises:
            RootLost: it can't be read.
        """
        try:
            return read_generation(self._parts.private.itself)
        except OSError as error:
            raise RootLost(
                f"can't read {self._shown(PRIVATE_DIRECTORY)}: {error.strerror}; check the disk"
            ) from error

    def set_generation(self, token: bytes) -> None:
        """See `Disk.set_generation`."""
        try:
            self._has_unsynced_changes = True
            write_generation(self._parts.private, token)
        except OSError as error:
            raise RootLost(
                f"can't write to {self._shown(PRIVATE_DIRECTORY)}: {error.strerror}; "
                "make the directory writable"
            ) from error

    def _open_parts(self, private: PrivateDirectory, marker: bytes) -> _Opened:
        capabilities = self._wanted_capabilities or probe(private.stage)
        tree = Tree(self._root, has_handles=capabilities.handles, names=self._names)
        stage = Stage(tree, private.stage)
        trash = Trash(tree, private.trash, may_lease=capabilities.leases)
        displacement = Displacement(tree, stage, trash, capabilities)
        changes = Changes(tree, stage, displacement, private.parked, capabilities)
        return _Opened(private, marker, capabilities, tree, stage, trash, displacement, changes)

    def close(self) -> None:
        """Closes all descriptors; the disk can't be used any more."""
        if self._opened is not None:
            self._opened.private.close()
            self._opened = None
        os.close(self._root)

    @property
    def capabilities(self) -> DiskCapabilities:
        """Which protocols are used."""
        return self._parts.capabilities

    @property
    def _parts(self) -> _Opened:
        assert self._opened is not None, "PosixDisk.initialise comes first"
        return self._opened

    def _shown(self, path: bytes) -> str:
        return os.fsdecode(os.path.join(self._root_path, path))

    def check_root(self) -> None:
        """See `Disk.check_root`."""
        self._names.refresh()
        try:
            there = os.stat(self._root_path)
        except OSError as error:
            raise RootLost(
                f"{self._shown(b'')} can't be found any more: {error.strerror}; mount it again"
            ) from error
        ours = os.fstat(self._root)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise RootLost(
                f"{self._shown(b'')} is another directory than at the start: "
                "restore it, or restart to use the new one"
            )
        self._require_marker(self._parts.marker)
        self._renew_removed_parts()

    def _renew_removed_parts(self) -> None:
        """Makes the parts of the private directory again that somebody has removed.

        They were empty, or what was in them is gone: a descriptor of a removed directory is good
        for nothing, and every change would fail until the next start.
        """
        parts = self._parts
        if not parts.private.is_any_removed():
            return
        try:
            private = open_private_directory(self._root)
            self._opened = self._open_parts(private, parts.marker)
        except OSError as error:
            raise RootLost(
                f"can't make {self._shown(PRIVATE_DIRECTORY)} whole again, of which a part was "
                f"removed: {error.strerror}; make the directory writable"
            ) from error
        parts.private.close()
        _log.warning("private_directory_renewed")

    def _require_marker(self, token: bytes) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            private = os.open(PRIVATE_DIRECTORY, flags, dir_fd=self._root)
            try:
                found = read_marker(private)
            finally:
                os.close(private)
        except OSError as error:
            raise RootLost(
                f"can't read the marker of {self._shown(b'')}: {error.strerror}; mount the right "
                "file system, or restore the private directory"
            ) from error
        if found != token:
            raise RootLost(
                f"{self._shown(b'')} has {'another' if found else 'no'} marker: mount the right "
                "file system, or initialise this directory as a new one"
            )

    def knows_user(self, name: bytes) -> bool:
        """See `Disk.knows_user`."""
        return self._names.users.number_of(name) is not None

    def knows_group(self, name: bytes) -> bool:
        """See `Disk.knows_group`."""
        return self._names.groups.number_of(name) is not None

    def list_directory(self, directory: RelativePath) -> DirectoryListing:
        """See `Disk.list_directory`."""
        try:
            return list_directory(self._parts.tree, directory)
        except OSError as error:
            raise self._not_listed(directory, error) from error

    def glance(self, directory: RelativePath) -> Glance:
        """See `Disk.glance`."""
        try:
            return glance_at(self._parts.tree, directory)
        except OSError as error:
            raise self._not_listed(directory, error) from error

    def _not_listed(self, directory: RelativePath, error: OSError) -> DiskError:
        if error.errno in GONE:
            return EntryVanished(
                f"{self._shown(directory)} is no directory any more: look at its parent again"
            )
        return self._unreadable(directory, error)

    def observe(self, path: RelativePath) -> DiskEntry | None:
        """See `Disk.observe`."""
        try:
            with self._parts.tree.pinned_path(path) as pin:
                return pin.entry
        except OSError as error:
            if error.errno in GONE:
                return None
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: bytes, error: OSError) -> EntryUnreadable:
        return EntryUnreadable(
            f"can't look at {self._shown(path)}: {error.strerror}; check its permissions and the "
            "disk"
        )

    def open_stable(
        self,
        path: RelativePath,
        handle: bytes,
        *,
        despite_writers: bool = False,
        is_slow: bool = False,
    ) -> AbstractContextManager[StableReader]:
        """See `Disk.open_stable`."""
        return self._stable(
            path,
            handle,
            lambda: self._parts.tree.pinned_path(path),
            despite_writers=despite_writers,
            is_slow=is_slow,
        )

    @contextmanager
    def _stable(
        self,
        path: bytes,
        handle: bytes,
        pinned: Callable[[], AbstractContextManager[Pinned]],
        *,
        despite_writers: bool = False,
        is_slow: bool = False,
    ) -> Iterator[StableReader]:
        parts = self._parts
        reading = Reading(parts.tree, parts.private.stage, parts.capabilities)
        with ExitStack() as stack:
            try:
                pin = stack.enter_context(pinned())
                opened = reading.of(pin, handle, despite_writers=despite_writers, is_slow=is_slow)
                reader = stack.enter_context(opened)
            except OSError as error:
                raise self._not_opened(path, error) from error
            yield reader

    def _not_opened(self, path: bytes, error: OSError) -> DiskError:
        if error.errno in GONE:
            return EntryVanished(
                f"{self._shown(path)} is no file any more: look at its directory again"
            )
        if error.errno == errno.EAGAIN:
            return EntryBusy(
                f"can't capture {self._shown(path)} now: a program holds it for itself alone; "
                "try again later",
                "a program holds it for itself alone",
            )
        return self._unreadable(path, error)

    def stage_file(self, size_bytes: int) -> StagingFile:
        """See `Disk.stage_file`; raises OSError, ENOSPC at once if it can't fit."""
        file = self._parts.stage.begin_file(size_bytes)
        if self._accepts_setuid:
            return file
        return UnprivilegedStagingFile(file, lambda staged: self._withheld.add(staged.token))

    def open_download(self, name: bytes, size_bytes: int, *, data_size_bytes: int) -> DownloadFile:
        """See `Disk.open_download`; raises OSError, ENOSPC at once if it can't fit."""
        file = open_download(self._parts.stage, name, size_bytes, data_size_bytes=data_size_bytes)
        if self._accepts_setuid:
            return file
        return UnprivilegedDownloadFile(file, lambda staged: self._withheld.add(staged.token))

    def discard_download(self, name: bytes) -> None:
        """See `Disk.discard_download`."""
        self._parts.stage.discard_download(name)

    def discard_downloads(self, keep: frozenset[bytes]) -> None:
        """See `Disk.discard_downloads`."""
        self._parts.stage.discard_downloads(keep)

    def open_source(self, path: RelativePath, handle: bytes) -> SourceFile:
        """See `Disk.open_source`."""
        try:
            with self._parts.tree.pinned_path(path) as pin:
                if pin.entry.kind is not DiskKind.REGULAR or pin.entry.handle != handle:
                    raise EntryVanished(
                        f"{self._shown(path)} is another file now; look at its directory again"
                    )
                return PosixSourceFile(open_for_reading(pin.descriptor))
        except OSError as error:
            raise self._not_opened(path, error) from error

    def stage_symlink(self, target: bytes, attributes: Attributes) -> Staged:
        """See `Disk.stage_symlink`."""
        return self._parts.stage.symlink(target, attributes)

    def stage_fifo(self, attributes: Attributes) -> Staged:
        """See `Disk.stage_fifo`."""
        return self._parts.stage.fifo(attributes)

    def sync_stage(self) -> None:
        """See `Disk.sync_stage`."""
        self._parts.stage.sync()

    def discard_staged(self, staged: Staged) -> None:
        """See `Disk.discard_staged`."""
        self._withheld.discard(staged.token)
        self._parts.stage.discard(staged.token)

    def clear_stage(self) -> None:
        """See `Disk.clear_stage`; also clears from the trash what was not swapped."""
        self._parts.stage.clear()
        self._parts.trash.clear_unplaced()

    def _change(
        self,
        action: str,
        path: RelativePath,
        change: Callable[[], Applied],
        target: RelativePath | None = None,
    ) -> Outcome:
        began_ns = time.time_ns()
        outcome = self._attempted(action, (path, target or path), change)
        if isinstance(outcome, Applied):
            self._has_unsynced_changes = True
            entry = outcome.entry
            return (
                outcome if entry is None else replace(outcome, entry=self._certain(entry, began_ns))
            )
        if isinstance(outcome, Failed) and outcome.errno == errno.EPERM:
            protection = protection_of(self._root, path)
            if protection:
                return Failed(f"{outcome.reason}; {protection}", outcome.errno)
        return outcome

    def _certain(self, entry: DiskEntry, began_ns: int) -> DiskEntry:
        """Tells no fingerprint that a program's next write may leave as it is."""
        granularity_ns = self.capabilities.timestamp_granularity_ns
        is_certain = entry.kind is not DiskKind.REGULAR or not may_hide_a_write(
            entry.fingerprint, granularity_ns=granularity_ns, looked_at_ns=began_ns
        )
        return entry if is_certain else replace(entry, fingerprint=UNCERTAIN)

    def _attempted(
        self,
        action: str,
        paths: tuple[RelativePath, RelativePath],
        change: Callable[[], Applied],
    ) -> Outcome:
        """Makes a change; once more, with the directories open, that their owner has closed."""
        outcome = attempt(action, paths[0], change)
        if not isinstance(outcome, Failed) or outcome.errno != errno.EACCES:
            return outcome
        with opened_directories(self._parts.tree, paths) as are_open:
            if not are_open:
                return outcome
            outcome = attempt(action, paths[0], change)
        if isinstance(outcome, Applied) and outcome.entry is not None:
            found = self.observe(paths[1])
            is_directory = found is not None and found.kind is DiskKind.DIRECTORY
            if found is not None and is_directory and found.handle == outcome.entry.handle:
                return Applied(found, outcome.retired)  # it was open itself when it was looked at
        return outcome

    def place_new(self, staged: Staged, path: RelativePath) -> Outcome:
        """See `Disk.place_new`."""
        changes = self._parts.changes
        outcome = self._change("create", path, lambda: changes.place_new(staged, path))
        self._tell_withheld(staged, path, outcome)
        return outcome

    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Outcome:
        """See `Disk.replace`."""
        displacement = self._parts.displacement
        outcome = self._change(
            "replace", path, lambda: displacement.replace(staged, path, expected)
        )
        self._tell_withheld(staged, path, outcome)
        return outcome

    def _tell_withheld(self, staged: Staged, path: RelativePath, outcome: Outcome) -> None:
        if isinstance(outcome, Applied) and staged.token in self._withheld:
            self._withheld.remove(staged.token)
            _log.warning("setuid_withheld", path=path)

    def link(
        self,
        source: RelativePath,
        source_expected: Expected,
        target: RelativePath,
        target_expected: Expected | None,
    ) -> Outcome:
        """See `Disk.link`."""
        changes = self._parts.changes
        named = (source, source_expected)
        return self._change("link", target, lambda: changes.link(named, target, target_expected))

    def move(self, source: RelativePath, target: RelativePath, expected: Expected) -> Outcome:
        """See `Disk.move`."""
        changes = self._parts.changes
        return self._change("move", source, lambda: changes.move(source, target, expected), target)

    def make_directory(self, path: RelativePath, attributes: Attributes) -> Outcome:
        """See `Disk.make_directory`."""
        changes = self._parts.changes
        return self._change(
            "make the directory", path, lambda: changes.make_directory(path, attributes)
        )

    def remove_file(self, path: RelativePath, expected: Expected) -> Outcome:
        """See `Disk.remove_file`."""
        displacement = self._parts.displacement
        return self._change("remove", path, lambda: displacement.remove_file(path, expected))

    def remove_directory(self, path: RelativePath, expected: Expected) -> Outcome:
        """See `Disk.remove_directory`."""
        changes = self._parts.changes
        return self._change(
            "remove the directory", path, lambda: changes.remove_directory(path, expected)
        )

    def set_attributes(
        self, path: RelativePath, expected: Expected, attributes: Attributes
    ) -> Outcome:
        """See `Disk.set_attributes`; what this process may not set stays, as the entry shows."""
        changes = self._parts.changes
        attributes = self._allowed(expected, path, attributes)
        return self._change(
            "set attributes of", path, lambda: changes.set_attributes(path, expected, attributes)
        )

    def _allowed(
        self, expected: Expected, path: RelativePath, attributes: Attributes
    ) -> Attributes:
        """Returns the attributes without those that other sites may not set here.

        RACE: the bits may be set or removed here between this look and the change; whichever is
        the later stays, and a bit that was not there before is never set.
        """
        if self._accepts_setuid:
            return attributes
        try:
            found = self.observe(path)
        except EntryUnreadable:
            found = None
        if found is None or found.handle != expected.handle:
            return without_privileges(attributes)  # the change itself tells what is wrong
        if found.kind is DiskKind.DIRECTORY:
            return attributes
        return without_privileges(attributes, keep=found.attributes.mode)

    def park(self, path: RelativePath, name: bytes, expected: Expected) -> Outcome:
        """See `Disk.park`."""
        changes = self._parts.changes
        target = parked_path(name)
        return self._change("park", path, lambda: changes.move(path, target, expected), target)

    def parked_path(self, name: bytes) -> RelativePath:
        """See `Disk.parked_path`."""
        return parked_path(name)

    def sync_changes(self) -> None:
        """See `Disk.sync_changes`; one syncfs, none when nothing was changed."""
        if self._has_unsynced_changes:
            sync_file_system(self._root)
            self._has_unsynced_changes = False

    def sync_everything(self) -> None:
        """See `Disk.sync_everything`; one syncfs.

        It has a descriptor of its own: a failed write of a program's that is reported here must
        not go unreported where a change of ours relies on it, nor the other way round.
        """
        sync_file_system(self._parts.private.itself)

    def retired(self, but_for: Collection[bytes] = frozenset()) -> Iterator[Retired]:
        """See `Disk.retired`; raises OSError when the trash can't be read."""
        return self._parts.trash.retired(but_for)

    def open_retired(self, retired: Retired) -> AbstractContextManager[StableReader]:
        """See `Disk.open_retired`."""
        parts = self._parts
        place = parts.trash.place_of(retired.token)
        return self._stable(retired.token, retired.entry.handle, lambda: parts.tree.pinned(place))

    def discard_retired(self, retired: Retired) -> Outcome:
        """See `Disk.discard_retired`; without leases the fingerprint alone decides."""
        trash, began_ns = self._parts.trash, time.time_ns()
        outcome = attempt("discard", retired.token, lambda: trash.discard(retired))
        if not isinstance(outcome, Applied) or outcome.retired is None:
            return outcome
        left = self._certain(outcome.retired.entry, began_ns)
        return replace(outcome, retired=replace(outcome.retired, entry=left))
