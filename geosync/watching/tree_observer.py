"""The only home of watchdog: an emitter of our own on its public interface."""

import time
from collections.abc import Callable
from typing import Any, Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler  # noqa: TID251 - its home
from watchdog.observers.api import (  # noqa: TID251 - its home
    BaseObserver,
    EventEmitter,
    EventQueue,
    ObservedWatch,
)

from geosync.watching.dirty_directories import ROOT, DirtyDirectories
from geosync.watching.errors import RootLostError
from geosync.watching.inotify_tree import InotifyTree

_QUEUED_EVENTS_MAX: Final = 10_000
# The kernel merges equal events as long as nobody reads them; the first one is read at once.
_READ_INTERVAL_S: Final = 0.01

OnFailure = Callable[[Exception], None]


class DirtyDirectoryEvent(FileSystemEvent):
    """A directory to look at. `src_path` is bytes, relative to the watched root."""

    event_type = "dirty"
    is_directory = True

    def __init__(self, src_path: bytes, *, has_left: bool = False) -> None:
        """Takes the directory, and whether a name has left it, by deletion or a move."""
        super().__init__(src_path)
        self.has_left = has_left


class DirtySubtreeEvent(DirtyDirectoryEvent):
    """A directory to look at with everything below it."""


class TreeEmitter(EventEmitter):
    """The thread that polls the tree. A failure ends it and is reported, never swallowed."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        tree: InotifyTree,
        on_failure: OnFailure,
        **options: Any,
    ) -> None:
        super().__init__(event_queue, watch, **options)
        self._events = event_queue
        self._tree = tree
        self._on_failure = on_failure
        self._read_at_s = time.monotonic()

    def on_thread_start(self) -> None:
        """Sets the watch on the root, so that `start` raises when that cannot be done."""
        self._tree.open()

    def on_thread_stop(self) -> None:
        """Ends the wait for events."""
        self._tree.stop()

    def queue_events(self, timeout: float) -> None:
        """Passes on what one poll found; leaves events to the kernel while the queue is full."""
        self.stopped_event.wait(self._read_at_s - time.monotonic())
        if self._events.qsize() >= _QUEUED_EVENTS_MAX:
            self._read_at_s = time.monotonic() + _READ_INTERVAL_S
            return
        marks = self._tree.poll(timeout)
        left = self._tree.left()
        self._read_at_s = time.monotonic() + _READ_INTERVAL_S
        for directory, recursive in marks.items():
            kind = DirtySubtreeEvent if recursive else DirtyDirectoryEvent
            self.queue_event(kind(directory, has_left=directory in left))

    def run(self) -> None:
        """Polls until stopped or broken; gives up all watches in the end."""
        try:
            super().run()
        except RootLostError as problem:
            self._on_failure(problem)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the operator must see it
            self._on_failure(problem)
            self.queue_event(DirtySubtreeEvent(ROOT))
        finally:
            self._tree.close()


class _Marker(FileSystemEventHandler):
    def __init__(self, dirty: DirtyDirectories, on_failure: OnFailure) -> None:
        self._dirty = dirty
        self._on_failure = on_failure

    def dispatch(self, event: FileSystemEvent) -> None:
        assert isinstance(event, DirtyDirectoryEvent)
        assert isinstance(event.src_path, bytes)
        is_subtree = isinstance(event, DirtySubtreeEvent)
        try:
            self._dirty.mark(event.src_path, recursive=is_subtree, has_left=event.has_left)
        except Exception as problem:
            self._on_failure(problem)
            raise


class TreeObserver(BaseObserver):
    """Marks in `dirty` what the tree reports, in threads of its own, until it is stopped."""

    def __init__(self, tree: InotifyTree, dirty: DirtyDirectories, on_failure: OnFailure) -> None:
        super().__init__(TreeEmitter, tree=tree, on_failure=on_failure)
        self.schedule(_Marker(dirty, on_failure), tree.root_text, recursive=True)

    def is_working(self) -> bool:
        """Whether all threads run."""
        return self.is_alive() and all(emitter.is_alive() for emitter in self.emitters.copy())
