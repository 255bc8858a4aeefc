"""Random users: programs on one site that do to its files whatever programs do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from conflict.observation import DiskKind
from conflict.synced import Path
from geosync.engine.site import split
from tests.simulation.inode_file_system import FileSystem, Inode, OpenFile, RenameMode
from tests.simulation.ledger import Ledger
from tests.simulation.old_files import OldFiles
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.trace import Trace

NAMES = (b"a", b"b", b"c.txt", b"d", b"e", b"f.log", b"n\xff\n", b"l" * 251 + b".txt")
DEPTH_MAX = 4
SHARED_CONTENTS = (b"same", b"alike", b"")
LARGE_SIZE_BYTES = 40_000


@dataclass(slots=True)
class Machine:
    """What programs of one site work on."""

    name: str
    application: SimulatedApplication
    file_system: FileSystem
    ledger: Ledger
    trace: Trace
    old_files: OldFiles


class RandomUser:
    """All programs of one site.

    Attributes:
        dirty: directories in which something changed since this was last emptied.
    """

    def __init__(self, machine: Machine, fate: random.Random, features: tuple[str, ...]) -> None:
        self.dirty: set[Path] = set()
        self._machine = machine
        self._application = machine.application
        self._fate = fate
        self._features = features
        self._held: list[OpenFile] = []
        self._tree: dict[bytes, Inode] = {}

    def act(self) -> None:
        """Does one thing."""
        actions = {
            action: weight
            for action, (weight, feature) in _ACTIONS.items()
            if feature in self._features
        }
        self._do(self._fate.choices(list(actions), list(actions.values()))[0])

    def race(self, path: bytes) -> None:
        """Does something to a file while the daemon is changing just this one."""
        action = self._fate.choice(_RACES)
        self._do(lambda user: action(user, path), f"race-{action.__name__.lstrip('_')}")

    def finish_all(self) -> None:
        """Writes to and closes all files that are open."""
        while self._held:
            self._do(RandomUser._finish)

    def forget_open_files(self) -> None:
        """Notes that the machine lost its power."""
        self._held.clear()

    def _do(self, action: Callable[[RandomUser], str], name: str = "") -> None:
        self._tree = before = self._application.tree()
        try:
            said = action(self)
        except OSError as error:
            said = f"failed: {error.strerror}"
        after = self._application.tree()
        machine = self._machine
        machine.ledger.note(machine.name, before, after)
        for path in before.keys() | after.keys():
            if before.get(path) is not after.get(path):
                self.dirty.add(split(path)[:-1])
                machine.old_files.forget(path)
        machine.trace.add(machine.name, name or action.__name__.lstrip("_"), said)

    # What there is to choose from

    def _content(self) -> bytes:
        draw = self._fate.random()
        if draw < 0.12 and "equal contents" in self._features:
            return self._fate.choice(SHARED_CONTENTS)
        fresh = self._machine.ledger.fresh(self._machine.name)
        if draw > 0.97:
            return fresh + self._fate.randbytes(LARGE_SIZE_BYTES)
        return fresh + b"." * self._fate.randrange(100)

    def _any(self, *kinds: DiskKind) -> bytes | None:
        found = [path for path, inode in self._tree.items() if not kinds or inode.kind in kinds]
        return self._fate.choice(found) if found else None

    def _file(self) -> bytes | None:
        return self._any(DiskKind.REGULAR)

    def _no_directory(self) -> bytes | None:
        return self._any(DiskKind.REGULAR, DiskKind.SYMLINK, DiskKind.FIFO)

    def _directory(self) -> bytes | None:
        return self._any(DiskKind.DIRECTORY)

    def _place(self) -> bytes:
        """Returns a path in a directory that exists; it may be taken."""
        directories = [b"", *(p for p, i in self._tree.items() if i.kind is DiskKind.DIRECTORY)]
        above = self._fate.choice([d for d in directories if d.count(b"/") < DEPTH_MAX - 1])
        name = self._fate.choice(NAMES)
        return above + b"/" + name if above else name

    def _free_place(self) -> bytes | None:
        place = self._place()
        return None if place in self._tree else place

    # What programs do; each returns what it did, for the trace

    def _create(self) -> str:
        path = self._free_place()
        if path is None:
            return "nothing"
        content = self._content()
        self._application.write(path, content)
        return f"{path!r} {content[:20]!r}"

    def _write(self) -> str:
        path = self._file()
        return "nothing" if path is None else self._write_to(path)

    def _write_to(self, path: bytes) -> str:
        content = self._content()
        self._application.write(path, content)
        return f"{path!r} {content[:20]!r}"

    def _append(self) -> str:
        path = self._file()
        return "nothing" if path is None else self._append_to(path)

    def _append_to(self, path: bytes) -> str:
        content = self._machine.ledger.fresh(self._machine.name)
        self._application.append(path, content)
        return f"{path!r} {content!r}"

    def _save(self) -> str:
        path = self._file()
        return "nothing" if path is None else self._save_over(path)

    def _save_over(self, path: bytes) -> str:
        content = self._content()
        temporary = path.rpartition(b"/")[0] + b"/tmp~" if b"/" in path else b"tmp~"
        self._application.write(temporary, content)
        self._application.rename(temporary, path)
        return f"{path!r} {content[:20]!r}"

    def _write_with_old_time(self) -> str:
        """As tar and rsync do: the size may be the same, the time is set back."""
        path = self._file()
        if path is None:
            return "nothing"
        old = self._tree[path]
        self._application.write(path, self._content())
        self._application.set_mtime(path, old.attributes.mtime_ns)
        return repr(path)

    def _remove(self) -> str:
        path = self._no_directory()
        return "nothing" if path is None else self._remove_it(path)

    def _remove_it(self, path: bytes) -> str:
        self._application.remove(path)
        return repr(path)

    def _rename(self) -> str:
        source, target = self._no_directory(), self._free_place()
        return "nothing" if source is None or target is None else self._move(source, target)

    def _move(self, source: bytes, target: bytes) -> str:
        self._application.rename(source, target)
        return f"{source!r} to {target!r}"

    def _rename_over(self) -> str:
        source, target = self._no_directory(), self._no_directory()
        return "nothing" if source is None or target is None else self._move(source, target)

    def _rename_away(self, path: bytes) -> str:
        return self._move(path, path[:-1] + b"_away" if len(path) < 200 else path[:100])

    def _make_directory(self) -> str:
        path = self._free_place()
        return "nothing" if path is None else self._mkdir(path)

    def _mkdir(self, path: bytes) -> str:
        self._application.make_directory(path)
        return repr(path)

    def _make_filled_directory(self) -> str:
        path = self._free_place()
        if path is None:
            return "nothing"
        self._application.make_directory(path)
        for name in NAMES[: self._fate.randrange(4)]:
            self._application.write(path + b"/" + name, self._content())
        return repr(path)

    def _move_directory(self) -> str:
        source, target = self._directory(), self._place()
        if source is None:
            return "nothing"
        return self._move(source, target)  # over an empty directory too

    def _exchange(self) -> str:
        first, second = self._any(), self._any()
        if first is None or second is None:
            return "nothing"
        self._machine.file_system.rename(first, second, RenameMode.EXCHANGE)
        return f"{first!r} with {second!r}"

    def _remove_tree(self) -> str:
        path = self._directory()
        return "nothing" if path is None else self._remove_all(path)

    def _remove_all(self, path: bytes) -> str:
        for below in sorted(self._application.tree(), reverse=True):
            if below.startswith(path + b"/"):
                self._application.remove(below)
        self._application.remove(path)
        return repr(path)

    def _replace_tree(self) -> str:
        """As an installer does: rm -r, then the same again."""
        path = self._directory()
        if path is None:
            return "nothing"
        files = {
            p: i.content
            for p, i in self._tree.items()
            if p.startswith(path + b"/") and i.kind is DiskKind.REGULAR
        }
        self._remove_all(path)
        self._application.make_directory(path)
        for below, content in files.items():
            if below.rpartition(b"/")[0] == path:
                kept = self._fate.random() < 0.5
                self._application.write(below, content if kept else self._content())
        return repr(path)

    def _file_to_directory(self) -> str:
        path = self._no_directory()
        if path is None:
            return "nothing"
        self._application.remove(path)
        self._application.make_directory(path)
        self._application.write(path + b"/a", self._content())
        return repr(path)

    def _directory_to_file(self) -> str:
        path = self._directory()
        if path is None:
            return "nothing"
        self._remove_all(path)
        self._application.write(path, self._content())
        return repr(path)

    def _chmod(self) -> str:
        path = self._any(DiskKind.REGULAR, DiskKind.DIRECTORY, DiskKind.FIFO)
        return "nothing" if path is None else self._chmod_it(path)

    def _chmod_it(self, path: bytes) -> str:
        mode = self._fate.choice((0o600, 0o644, 0o755, 0o2770, 0o4755))
        self._application.chmod(path, mode)
        return f"{path!r} {mode:o}"

    def _touch(self) -> str:
        path = self._any()
        if path is None:
            return "nothing"
        mtime_ns = self._fate.choice((0, -5, self._fate.randrange(10**18)))
        self._application.set_mtime(path, mtime_ns)
        return f"{path!r} {mtime_ns}"

    def _set_extended(self) -> str:
        path = self._any(DiskKind.REGULAR, DiskKind.DIRECTORY)
        if path is None:
            return "nothing"
        inode = self._tree[path]
        values = self._fate.choice(((), ((b"user.x", b"%d" % self._fate.randrange(9)),)))
        changed = replace(inode.attributes, extended=values, owner=self._fate.choice((b"u", b"v")))
        self._machine.file_system.set_attributes(inode.number, changed)
        return f"{path!r} {values}"

    def _link(self) -> str:
        source, target = self._no_directory(), self._free_place()
        if source is None or target is None:
            return "nothing"
        self._application.hard_link(source, target)
        return f"{source!r} {target!r}"

    def _symlink(self) -> str:
        path = self._free_place()
        if path is None:
            return "nothing"
        self._application.symlink(self._machine.ledger.fresh(self._machine.name), path)
        return repr(path)

    def _fifo(self) -> str:
        path = self._free_place()
        if path is None:
            return "nothing"
        self._application.make_fifo(path)
        return repr(path)

    def _hold(self) -> str:
        path = self._file()
        return "nothing" if path is None else self._hold_it(path)

    def _hold_it(self, path: bytes) -> str:
        self._held.append(self._application.open_for_writing(path))
        return repr(path)

    def _finish(self) -> str:
        """Writes to a file that was opened long ago, wherever it is now."""
        if not self._held:
            return "nothing"
        file = self._held.pop(self._fate.randrange(len(self._held)))
        content = self._machine.ledger.fresh(self._machine.name)
        with file:
            inode = self._machine.file_system.inodes[file.number]
            overwritten = (inode.kind, inode.content)
            file.write(content)
            inode = self._machine.file_system.inodes[file.number]
            if all(seen.number != file.number for seen in self._application.tree().values()):
                self._machine.ledger.note_unseen(self._machine.name, overwritten, inode)
        return f"inode {file.number} {content!r}"


Action = Callable[[RandomUser], str]
_ACTIONS: dict[Action, tuple[int, str]] = {
    RandomUser._create: (16, "files"),
    RandomUser._write: (8, "files"),
    RandomUser._append: (6, "files"),
    RandomUser._save: (8, "files"),
    RandomUser._write_with_old_time: (2, "files"),
    RandomUser._remove: (7, "files"),
    RandomUser._rename: (7, "renames"),
    RandomUser._rename_over: (4, "renames"),
    RandomUser._exchange: (2, "renames"),
    RandomUser._make_directory: (6, "files"),
    RandomUser._make_filled_directory: (5, "directories"),
    RandomUser._move_directory: (7, "directories"),
    RandomUser._remove_tree: (3, "directories"),
    RandomUser._replace_tree: (2, "directories"),
    RandomUser._file_to_directory: (2, "directories"),
    RandomUser._directory_to_file: (1, "directories"),
    RandomUser._chmod: (4, "attributes"),
    RandomUser._touch: (3, "attributes"),
    RandomUser._set_extended: (2, "attributes"),
    RandomUser._link: (7, "links"),
    RandomUser._symlink: (3, "special files"),
    RandomUser._fifo: (1, "special files"),
    RandomUser._hold: (4, "late writes"),
    RandomUser._finish: (6, "late writes"),
}
FEATURES = (
    "equal contents",
    "renames",
    "directories",
    "attributes",
    "links",
    "special files",
    "late writes",
)
_RACES: tuple[Callable[[RandomUser, bytes], str], ...] = (
    RandomUser._write_to,
    RandomUser._append_to,
    RandomUser._save_over,
    RandomUser._remove_it,
    RandomUser._rename_away,
    RandomUser._mkdir,
    RandomUser._chmod_it,
    RandomUser._hold_it,
)
