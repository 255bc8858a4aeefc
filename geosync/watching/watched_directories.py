"""Which watch stands for which directory. Pure bookkeeping: no system call, no clock."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class WatchedDirectory:
    """A directory with a watch. It knows its parent and name, so a rename costs one change."""

    watch: int
    device: int
    inode: int
    parent: "WatchedDirectory | None" = None
    name: bytes = b""
    children: "dict[bytes, WatchedDirectory]" = field(default_factory=dict)
    changed_at_s: float = -math.inf
    """When something in here, or anywhere below, was last seen to change."""
    rescan_at_s: float = -math.inf
    """When a scan of everything below was last asked for."""
    walk: int = 0
    """The number of the last walk over the whole tree that came by."""


class WatchedDirectories:
    """The tree of watched directories, and those whose place is not known just now.

    A directory that left its place is *adrift* until it turns up elsewhere in the tree or its
    time is over: the two halves of a rename are two events, with others between them.
    """

    def __init__(self, root: WatchedDirectory) -> None:
        self.root = root
        self.by_watch = {root.watch: root}
        self._adrift: dict[WatchedDirectory, float] = {}

    def __len__(self) -> int:
        return len(self.by_watch)

    def path(self, directory: WatchedDirectory) -> bytes | None:
        """The path relative to the root; None while the directory is adrift."""
        names = []
        while directory.parent is not None:
            names.append(directory.name)
            directory = directory.parent
        return b"/".join(reversed(names)) if directory is self.root else None

    def attach(
        self, directory: WatchedDirectory, parent: WatchedDirectory, name: bytes, *, until_s: float
    ) -> bool:
        """Puts a directory, new or known, at its place; who was there is adrift until `until_s`.

        Returns:
            False, and changes nothing, when `directory` is above `parent` as far as is known:
            events that are still to come will tell how that is possible.
        """
        if any(above is directory for above in upwards(parent)):
            return False
        self._leave(directory)
        displaced = parent.children.get(name)
        if displaced is not None:
            self.cast_off(displaced, until_s=until_s)
        self._adrift.pop(directory, None)
        directory.parent, directory.name = parent, name
        parent.children[name] = directory
        self.by_watch[directory.watch] = directory
        return True

    def cast_off(self, directory: WatchedDirectory, *, until_s: float) -> None:
        """Sets a directory adrift, with all below it, until `until_s`."""
        self._leave(directory)
        directory.parent = None
        self._adrift[directory] = until_s

    def forget(self, directory: WatchedDirectory, *, until_s: float) -> None:
        """Removes a directory whose watch is gone; what was below is adrift until `until_s`."""
        for child in list(directory.children.values()):
            self.cast_off(child, until_s=until_s)
        self._leave(directory)
        self._adrift.pop(directory, None)
        self.by_watch.pop(directory.watch, None)

    def next_deadline_s(self) -> float | None:
        """When the first drifting directory is given up; None when none drifts."""
        return min(self._adrift.values(), default=None)

    def give_up_adrift(self, now_s: float) -> list[int]:
        """Removes the subtrees that drifted for too long; returns their watches."""
        late = [directory for directory, until_s in self._adrift.items() if until_s <= now_s]
        return [watch for directory in late for watch in self._remove_subtree(directory)]

    def give_up_unvisited(self, walk: int) -> list[int]:
        """Removes every directory that the walk did not come by; returns their watches."""
        unvisited = [found for found in self.by_watch.values() if found.walk != walk]
        for directory in unvisited:
            self._leave(directory)
            del self.by_watch[directory.watch]
        self._adrift.clear()
        return [directory.watch for directory in unvisited]

    def _remove_subtree(self, top: WatchedDirectory) -> Iterator[int]:
        del self._adrift[top]
        pending = [top]
        while pending:
            directory = pending.pop()
            pending.extend(directory.children.values())
            del self.by_watch[directory.watch]
            yield directory.watch

    @staticmethod
    def _leave(directory: WatchedDirectory) -> None:
        # Scans that were asked for above its old place may come too late to find it there.
        directory.changed_at_s = max(
            directory.changed_at_s, *(above.rescan_at_s for above in upwards(directory))
        )
        parent = directory.parent
        if parent is not None and parent.children.get(directory.name) is directory:
            del parent.children[directory.name]


def upwards(directory: WatchedDirectory | None) -> Iterator[WatchedDirectory]:
    """Yields a directory, its parent, and so on to the root or to the top of what is adrift."""
    while directory is not None:
        yield directory
        directory = directory.parent
