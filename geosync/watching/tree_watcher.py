"""The watcher as the engine sees it: start, stop, health, and what has to be polled instead."""

import logging
from dataclasses import dataclass
from typing import Final

from geosync.watching.dirty_directories import ROOT, DirtyDirectories
from geosync.watching.errors import RootLostError
from geosync.watching.inotify_tree import InotifyTree, TreeState
from geosync.watching.tree_observer import TreeObserver
from geosync.watching.unwatched_places import UnwatchedDirectory

_log = logging.getLogger(__name__)

_UNWATCHED_SHOWN_MAX: Final = 100
_EVERYTHING: Final = (ROOT,)


@dataclass(frozen=True, slots=True)
class WatcherHealth:
    """How well changes are noticed. Scans find what the watcher misses, only later."""

    watching: bool
    """Whether all threads run and the whole tree was walked once."""
    root_lost: bool
    """Whether the root was moved, replaced, deleted or unmounted; a new start is needed."""
    watch_count: int
    unwatched: tuple[UnwatchedDirectory, ...]
    """At most a hundred."""
    unwatched_count: int
    overflow_count: int
    """How often the kernel dropped events; each time the whole tree was marked."""
    problem: str
    """The gravest problem and what to do about it; empty when there is none."""


class TreeWatcher:
    """Marks each directory below `root` that changes. Used by one control thread.

    Args:
        root: the directory to watch.
        dirty: where changes are marked, relative to `root`. After each start, and whenever events
            were lost, the root is marked recursively.
        excluded: names in the root whose changes are none of our business.
        retry_s: how often directories that could not be watched are tried again.
    """

    def __init__(
        self,
        root: bytes,
        dirty: DirtyDirectories,
        *,
        excluded: frozenset[bytes] = frozenset(),
        retry_s: float = 30.0,
    ) -> None:
        self._root = root
        self._dirty = dirty
        self._excluded = excluded
        self._retry_s = retry_s
        self._tree: InotifyTree | None = None
        self._observer: TreeObserver | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """Begins to watch; the tree is walked in the background. May follow a `stop`.

        Raises:
            WatchingError: the root cannot be watched.
        """
        assert self._observer is None, "start() of a watcher that was not stopped"
        self._failure = None
        tree = InotifyTree(self._root, excluded=self._excluded, retry_s=self._retry_s)
        observer = TreeObserver(tree, self._dirty, self._record_failure)
        observer.start()
        self._tree, self._observer = tree, observer

    def stop(self) -> None:
        """Ends the threads and closes all descriptors. Does nothing when not started."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def health(self) -> WatcherHealth:
        """Returns the state as of now. Never raises."""
        state = TreeState() if self._tree is None else self._tree.state
        return WatcherHealth(
            watching=self._is_watching(state),
            root_lost=isinstance(self._failure, RootLostError),
            watch_count=state.watch_count if self.is_running() else 0,
            unwatched=state.unwatched[:_UNWATCHED_SHOWN_MAX],
            unwatched_count=state.unwatched_count,
            overflow_count=state.overflow_count,
            problem=self._problem(state),
        )

    def unwatched_directories(self) -> tuple[bytes, ...]:
        """Returns the subtrees to poll because no event comes from them; the root for all."""
        state = TreeState() if self._tree is None else self._tree.state
        if not self._is_watching(state) or state.unwatched_count > len(state.unwatched):
            return _EVERYTHING
        return tuple(place.directory for place in state.unwatched)

    def is_running(self) -> bool:
        """Returns whether its threads do their work; after a failure it has to be started anew."""
        return self._observer is not None and self._observer.is_working() and self._failure is None

    def _is_watching(self, state: TreeState) -> bool:
        return self.is_running() and state.is_complete

    def _record_failure(self, problem: Exception) -> None:
        if self._failure is None:
            self._failure = problem
        _log.error("the watcher stopped", exc_info=problem)
        self._dirty.wake()

    def _problem(self, state: TreeState) -> str:
        if isinstance(self._failure, RootLostError):
            return str(self._failure)
        if self._failure is not None:
            return (
                f"the watcher stopped: {type(self._failure).__name__}: {self._failure}; "
                "changes are found by scans only until it is started again"
            )
        if self._observer is not None and not self._observer.is_working():
            return "a thread of the watcher ended without a reason; start the daemon again"
        if state.unwatched:
            first = state.unwatched[0]
            return (
                f"{state.unwatched_count} directories are not watched and polled instead, "
                f"first {first.directory!r}: {first.reason}"
            )
        if state.overflow_count:
            return (
                f"the kernel dropped events {state.overflow_count} times and everything was "
                "scanned again; if this goes on, raise the limit with "
                "`sysctl -w fs.inotify.max_queued_events=N`"
            )
        return ""
