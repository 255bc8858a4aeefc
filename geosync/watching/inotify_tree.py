"""Watches a whole tree with inotify: which directory to look at, whatever moves meanwhile.

An event says only where to look. What is there is asked from the kernel: the parent directory is
opened and must be the inode that the watch is on, the entry is opened below it, and the watch is
set on what was opened. So each answer is true at the moment it was given, and a later change of
that entry makes another event, because the parent was watched before. Nothing is concluded from
the order, the pairing or the completeness of events.
"""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from geosync.watching.errors import RootLostError, WatchingError
from geosync.watching.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    Inotify,
    Record,
)
from geosync.watching.unwatched_places import Place, UnwatchedDirectory, UnwatchedPlaces
from geosync.watching.watched_directories import WatchedDirectories, WatchedDirectory, upwards

# IN_MODIFY is what tells of a log that is appended to and never closed.
_MASK: Final = (
    IN_MODIFY
    | IN_ATTRIB
    | IN_CLOSE_WRITE
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_ONLYDIR
    | IN_EXCL_UNLINK
)
_PLACE_CHANGED: Final = IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
_ROOT_MASK: Final = _MASK | IN_DELETE_SELF | IN_MOVE_SELF
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_A_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

_ROOT_CHECK_S: Final = 1.0
_ADRIFT_S: Final = 0.25
_UNSETTLED_MAX: Final = 10_000
# A directory that moves takes along changes that its old path was marked for. A mark that old
# has long been looked at, so a rename of a quiet directory asks for no scan of its inside.
_CHANGE_REMEMBERED_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class TreeState:
    """What is watched, as of the last events that were handled."""

    is_complete: bool = False
    """Whether the first walk over the tree is done."""
    watch_count: int = 0
    unwatched: tuple[UnwatchedDirectory, ...] = ()
    """At most a thousand."""
    unwatched_count: int = 0
    overflow_count: int = 0


class InotifyTree:
    """The watches of one tree. One thread opens and polls; `state`, `stop` serve any thread.

    Args:
        root: the directory to watch; may be a symbolic link to it.
        excluded: names in the root that are neither watched nor reported.
        retry_s: how often directories that could not be watched are tried again.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        root: bytes,
        *,
        excluded: frozenset[bytes],
        retry_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = TreeState()
        self._root_path = root
        self._excluded = excluded
        self._retry_s = retry_s
        self._clock = clock
        self._inotify: Inotify | None = None
        self._unwatched = UnwatchedPlaces()
        self._unsettled: set[Place] = set()
        self._marks: dict[bytes, bool] = {}
        self._left: set[bytes] = set()
        self._walk = 0
        self._overflow_count = 0
        self._is_walk_due = True
        self._is_stopping = False
        self._now_s = clock()
        self._root_check_due_s = self._now_s
        self._retry_due_s = self._now_s + retry_s

    @property
    def root_text(self) -> str:
        """The root's path as text, for logs; bytes that are not UTF-8 become surrogates."""
        return os.fsdecode(self._root_path)

    def open(self) -> None:
        """Sets the watch on the root. The first `poll` sets the others.

        Raises:
            WatchingError: the root is no readable directory, or a limit of the kernel is reached.
        """
        try:
            self._inotify = Inotify()
            descriptor = os.open(self._root_path, _OPEN_FLAGS)
            try:
                watch = self._inotify.add_watch(descriptor, _ROOT_MASK)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as problem:
            self.close()
            self._inotify = None
            raise WatchingError(self._cannot_watch(problem)) from problem
        root = WatchedDirectory(watch, status.st_dev, status.st_ino)
        self._directories = WatchedDirectories(root)

    def left(self) -> frozenset[bytes]:
        """Returns the directories, of those that the last poll named, that a name has left."""
        return frozenset(self._left)

    def poll(self, timeout_s: float) -> dict[bytes, bool]:
        """Waits for events and returns the directories to look at, and whether recursively.

        Raises:
            RootLostError: the root is no longer where it was; nothing more will come.
        """
        assert self._inotify is not None, "poll() before open()"
        self._inotify.wait(self._wait_s(timeout_s))
        self._now_s = self._clock()
        self._marks, self._left = {}, set()
        for record in self._inotify.read():
            self._handle(record)
        self._check_root_when_due()
        if self._is_walk_due:
            self._walk_everything()
        for place in tuple(self._unsettled):
            self._settle(place)
        for watch in self._directories.give_up_adrift(self._now_s):
            self._inotify.remove_watch(watch)
        self._retry_unwatched_when_due()
        self._publish_state()
        return self._marks

    def stop(self) -> None:
        """Makes `poll` return soon, now and from now on."""
        self._is_stopping = True
        if self._inotify is not None:
            self._inotify.wake()

    def close(self) -> None:
        """Gives up all watches. May be called twice."""
        if self._inotify is not None:
            self._inotify.close()

    def _wait_s(self, timeout_s: float) -> float:
        if self._is_walk_due:
            return 0.0
        due_s = min(self._root_check_due_s, self._retry_due_s)
        drift_s = self._directories.next_deadline_s()
        if drift_s is not None:
            due_s = min(due_s, drift_s)
        return min(timeout_s, due_s - self._clock())

    def _handle(self, record: Record) -> None:
        if record.mask & IN_Q_OVERFLOW:
            self._overflow_count += 1
            self._is_walk_due = True
            return
        directory = self._directories.by_watch.get(record.watch)
        if directory is None:
            return  # its watch was given up after this event was queued
        if record.mask & (IN_UNMOUNT | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF):
            self._handle_end(directory, record.mask)
            return
        is_root = directory is self._directories.root
        if is_root and record.name in self._excluded:
            return
        # The directory's own attributes are reported by its parent, which the root has not.
        if record.name or is_root:
            self._mark(directory, recursive=False)
        path = self._directories.path(directory)
        if path is not None and record.mask & (IN_DELETE | IN_MOVED_FROM):
            self._left.add(path)
        if record.name and record.mask & IN_ISDIR:
            self._handle_subdirectory(directory, record)

    def _handle_end(self, directory: WatchedDirectory, mask: int) -> None:
        if directory is self._directories.root:
            if not mask & IN_MOVE_SELF:
                raise RootLostError(self._lost("it was deleted or its file system unmounted"))
            self._root_check_due_s = self._now_s
            return
        if mask & IN_UNMOUNT and directory.parent is not None:
            # What the mount had covered is visible again.
            self._mark(directory, recursive=True)
            self._unsettled.add((directory.parent, directory.name))
        self._directories.forget(directory, until_s=self._now_s + _ADRIFT_S)

    def _handle_subdirectory(self, parent: WatchedDirectory, record: Record) -> None:
        place = (parent, record.name)
        if record.mask & (IN_DELETE | IN_MOVED_FROM):
            self._unwatched.discard(place)
            child = parent.children.get(record.name)
            if child is not None:
                self._directories.cast_off(child, until_s=self._now_s + _ADRIFT_S)
        # What left may have been replaced before: an exchange is told as two renames, after both.
        if record.mask & _PLACE_CHANGED or place in self._unwatched:
            self._settle(place)

    def _settle(self, place: Place) -> None:
        """Asks which directory is at a place, and watches it and what is below."""
        parent = place[0]
        self._unsettled.discard(place)
        if parent.watch not in self._directories.by_watch:
            return  # an event told, or the walk found, that the parent is gone
        try:
            parent_descriptor = self._open_known(parent)
        except OSError as problem:
            self._give_up(place, problem)
            return
        if parent_descriptor is None:
            self._postpone(place)
            return
        try:
            found = self._watch(place, parent_descriptor)
        finally:
            os.close(parent_descriptor)
        if found is not None:
            directory, descriptor = found
            self._descend(directory, descriptor)
            # Only now: a scan that this mark starts sees what was created before the watches.
            self._mark(directory, recursive=True)

    def _postpone(self, place: Place) -> None:
        """Keeps a place for later: its parent moved, and the event that says so is to come."""
        if len(self._unsettled) < _UNSETTLED_MAX:
            self._unsettled.add(place)
        else:
            self._is_walk_due = True

    def _open_known(self, directory: WatchedDirectory) -> int | None:
        """Opens a watched directory; None when it is not where it was last seen."""
        path = self._directories.path(directory)
        if path is None:
            return None
        try:
            descriptor = os.open(os.path.join(self._root_path, path), _OPEN_FLAGS)
        except OSError as problem:
            if problem.errno in _NOT_A_DIRECTORY:
                return None
            raise
        # A watch keeps its inode alive, so the number cannot have been given to another one.
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == (directory.device, directory.inode):
            return descriptor
        os.close(descriptor)
        return None

    def _watch(self, place: Place, parent_descriptor: int) -> tuple[WatchedDirectory, int] | None:
        """Watches what is at a place; returns it, open, when its inside was not walked yet."""
        assert self._inotify is not None
        try:
            descriptor = os.open(place[1], _OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=parent_descriptor)
        except OSError as problem:
            self._give_up(place, problem)
            return None
        try:
            directory = self._attach(self._inotify.add_watch(descriptor, _MASK), descriptor, place)
        except OSError as problem:
            os.close(descriptor)
            self._give_up(place, problem)
            return None
        if directory is not None:
            self._unwatched.discard(place)
        if directory is None or directory.walk == self._walk:
            os.close(descriptor)
            return None
        directory.walk = self._walk
        return directory, descriptor

    def _attach(self, watch: int, descriptor: int, place: Place) -> WatchedDirectory | None:
        directory = self._directories.by_watch.get(watch)
        if directory is None:
            status = os.fstat(descriptor)
            directory = WatchedDirectory(watch, status.st_dev, status.st_ino)
        elif (directory.parent, directory.name) == place:
            return directory
        if not self._directories.attach(directory, *place, until_s=self._now_s + _ADRIFT_S):
            self._postpone(place)
            return None
        if directory.changed_at_s > self._now_s - _CHANGE_REMEMBERED_S:
            self._mark(directory, recursive=True)
        return directory

    def _give_up(self, place: Place, problem: OSError) -> None:
        if problem.errno in _NOT_A_DIRECTORY:
            self._unwatched.discard(place)
        elif self._unwatched.add(place, problem.errno or 0):
            parent_path = self._directories.path(place[0])
            if parent_path is not None:
                self._marks[os.path.join(parent_path, place[1])] = True

    def _descend(self, top: WatchedDirectory, descriptor: int) -> None:
        """Watches everything below an open directory, depth first, and closes it."""
        stack = [(top, descriptor, self._subdirectories(top, descriptor))]
        try:
            while stack and not self._is_stopping:
                parent, descriptor, names = stack[-1]
                if names:
                    found = self._watch((parent, names.pop()), descriptor)
                    if found is not None:
                        stack.append((*found, self._subdirectories(*found)))
                else:
                    stack.pop()
                    os.close(descriptor)
        finally:
            for _, descriptor, _ in stack:
                os.close(descriptor)

    def _subdirectories(self, directory: WatchedDirectory, descriptor: int) -> list[bytes]:
        try:
            with os.scandir(descriptor) as entries:
                names = [
                    os.fsencode(entry.name)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError as problem:
            if directory.parent is None:
                raise RootLostError(self._lost(f"it cannot be read: {problem}")) from problem
            self._give_up((directory.parent, directory.name), problem)
            directory.walk = 0  # to be listed at the next attempt
            return []
        if directory is self._directories.root:
            names = [name for name in names if name not in self._excluded]
        return names

    def _walk_everything(self) -> None:
        """Compares all watches with the tree, and asks for a scan of everything."""
        assert self._inotify is not None
        root = self._directories.root
        descriptor = self._open_known(root)
        if descriptor is None:
            raise RootLostError(self._lost("another directory, or none, is at its path"))
        self._walk += 1
        root.walk = self._walk
        self._unsettled.clear()
        self._unwatched.clear()
        self._is_walk_due = False
        self._descend(root, descriptor)
        if self._is_stopping:
            return
        for watch in self._directories.give_up_unvisited(self._walk):
            self._inotify.remove_watch(watch)
        self._marks = {}  # one mark covers them
        self._mark(root, recursive=True)

    def _retry_unwatched_when_due(self) -> None:
        if self._now_s < self._retry_due_s:
            return
        self._retry_due_s = self._now_s + self._retry_s
        for place in self._unwatched:
            self._settle(place)
        if self._unwatched.uncounted_count and self._unwatched.listed_count == 0:
            self._is_walk_due = True

    def _check_root_when_due(self) -> None:
        if self._now_s < self._root_check_due_s:
            return
        self._root_check_due_s = self._now_s + _ROOT_CHECK_S
        root = self._directories.root
        try:
            status = os.stat(self._root_path)
        except OSError as problem:
            raise RootLostError(self._lost(str(problem))) from problem
        if (status.st_dev, status.st_ino) != (root.device, root.inode):
            raise RootLostError(self._lost("another directory is at its path"))

    def _mark(self, directory: WatchedDirectory, *, recursive: bool) -> None:
        for above in upwards(directory):
            above.changed_at_s = self._now_s
        if recursive:
            directory.rescan_at_s = self._now_s
        path = self._directories.path(directory)
        if path is not None:
            self._marks[path] = recursive or self._marks.get(path, False)

    def _publish_state(self) -> None:
        unwatched = []
        for (parent, name), reason in self._unwatched.items():
            path = self._directories.path(parent)
            if path is not None:
                unwatched.append(UnwatchedDirectory(os.path.join(path, name), reason))
        self.state = TreeState(
            is_complete=self._walk > 0,
            watch_count=len(self._directories),
            unwatched=tuple(unwatched),
            unwatched_count=len(self._unwatched),
            overflow_count=self._overflow_count,
        )

    def _cannot_watch(self, problem: OSError) -> str:
        text = f"cannot watch {self.root_text!r}: {problem.strerror}"
        if problem.errno == errno.EMFILE:
            return f"{text}; raise the limit with `sysctl -w fs.inotify.max_user_instances=N`"
        if problem.errno == errno.ENOSPC:
            return f"{text}; raise the limit with `sysctl -w fs.inotify.max_user_watches=N`"
        return f"{text}; see that it is a directory that the daemon may read and search"

    def _lost(self, found: str) -> str:
        return (
            f"the watched root {self.root_text!r} is lost: {found}; "
            "put it back (or mount it), then start watching again"
        )
