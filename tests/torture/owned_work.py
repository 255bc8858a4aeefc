"""Work in a directory that no other program writes to: afterwards it must be exactly as left."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.torture import save_patterns
from tests.torture.action_log import ActionLog, Outcome
from tests.torture.save_patterns import RENAME_EXCHANGE, rename_with, write_new
from tests.torture.save_tools import Tool, can_name
from tests.torture.serial_numbers import SerialNumbers
from tests.torture.signed_content import NOTHING, compose, digest_of, digest_of_link
from tests.torture.witness import Held, Witness, witness

NAMES = (b"alpha", b"beta", b"gamma.txt", b"delta.conf", b"new\nline", b"-dash", b"\xff\xfe raw")
DIRECTORIES = (b"", b"first/", b"second/", b"first/deep/")
MODES = (0o600, 0o640, 0o644, 0o664, 0o755, 0o4755, 0o2750)
SETID_BITS = 0o6000
ODD_TIMES_NS = (0, -1_000_000_001, 1_234_567_890_123_456_789, 7_258_118_400_000_000_001)


@dataclass(slots=True)
class _Node:
    """A file or symbolic link as it has to be. Hard links are one of them."""

    kind: str
    digest: str
    mode: int | None = None
    mtime_ns: int | None = None


class OwnedWork:
    """Acts in one directory at random and keeps its model."""

    def __init__(
        self,
        root: bytes,
        area: str,
        log: ActionLog,
        serials: SerialNumbers,
        tools: tuple[Tool, ...],
    ) -> None:
        """Makes the directory.

        Args:
            root: of the site.
            area: the directory, relative to the root.
            log: of this writer.
            serials: of this writer; also says where a file may lie outside of the tree.
            tools: that this machine has.
        """
        self._area = area
        self._base = os.path.join(root, area.encode())
        self._log = log
        self._serials = serials
        self._tools = tools
        self._nodes: dict[bytes, _Node] = {}
        self._modes: dict[bytes, int | None] = {}  # of directories
        os.makedirs(self._base)

    def act(self, dice: random.Random) -> None:
        """Does one thing."""
        for directory in DIRECTORIES[1:]:
            if directory.rstrip(b"/") not in self._modes:
                with suppress(FileNotFoundError):  # its own directory is to be made first
                    os.mkdir(self._path(directory.rstrip(b"/")))
                    self._modes[directory.rstrip(b"/")] = None
        actions: tuple[tuple[int, Callable[[random.Random], None]], ...] = (
            (8, self._save),
            (4, self._save_with_tool),
            (3, self._append),
            (1, self._cut),
            (3, self._rename),
            (2, self._exchange),
            (2, self._link),
            (2, self._change_mode),
            (2, self._set_time),
            (2, self._make_symlink),
            (2, self._delete),
            (1, self._rename_directory),
            (1, self._exchange_directories),
            (1, self._change_directory_mode),
            (1, self._rotate),
        )
        [chosen] = dice.choices([a for _, a in actions], [weight for weight, _ in actions])
        chosen(dice)

    def tell_model(self) -> None:
        """Writes to the log what has to be there."""
        tree: dict[str, object] = {}
        for path, node in self._nodes.items():
            names = [_text(p) for p, other in self._nodes.items() if other is node]
            tree[_text(path)] = {
                "kind": node.kind,
                "digest": node.digest,
                "mode": node.mode,
                "mtime_ns": node.mtime_ns,
                "names": sorted(names) if len(names) > 1 else [],
            }
        for path, mode in self._modes.items():
            tree[_text(path)] = {"kind": "directory", "mode": mode}
        self._log.model(self._area, tree)

    # Names

    def _path(self, relative: bytes) -> bytes:
        return os.path.join(self._base, relative)

    def _any_name(self, dice: random.Random) -> bytes:
        there = [d for d in DIRECTORIES if not d or d.rstrip(b"/") in self._modes]
        return dice.choice(there) + dice.choice(NAMES)

    def _some_file(self, dice: random.Random) -> bytes | None:
        files = sorted(path for path, node in self._nodes.items() if node.kind == "file")
        return dice.choice(files) if files else None

    # Saving

    def _save(self, dice: random.Random) -> None:
        name = self._any_name(dice)
        node = self._nodes.get(name)
        is_link = node is not None and node.kind == "symlink"
        pattern = dice.choice(save_patterns.REPLACING if is_link else save_patterns.PATTERNS)
        path = self._path(name)
        backup = save_patterns.backup_of(name)
        is_backed_up = pattern is save_patterns.backup_and_create and node is not None
        if is_backed_up and self._nodes.get(backup) is node:
            return  # rename(2) between names of one file does nothing
        write = partial(pattern, path)
        self._write(name, pattern.__name__, any_size_bytes(dice), write)
        if is_backed_up:
            assert node is not None
            self._nodes[backup] = node

    def _save_with_tool(self, dice: random.Random) -> None:
        name = self._some_file(dice)
        if name is None or not self._tools:
            return
        tool = dice.choice([tool for tool in self._tools if can_name(tool, name)])
        path = self._path(name)

        def save(_before: Witness, content: bytes) -> None:
            with self._serials.outside_file(content) as new:
                tool(path, new)

        self._write(name, tool.__name__, any_size_bytes(dice), save)

    def _write(
        self, name: bytes, kind: str, size_bytes: int, save: Callable[[Witness, bytes], None]
    ) -> None:
        path = self._path(name)
        with witness(path, save_patterns.backup_of(path)) as before:
            held = before.at(path)
            identity = self._serials.next()
            content = compose(identity, held.identity if held else NOTHING, size_bytes)
            digest = digest_of(content)
            with self._log.action(kind, self._area, {digest: identity}, path) as outcome:
                try:
                    save(before, content)
                    outcome.stands.append(digest)
                finally:
                    before.judge(outcome, digest)
            self._note_written(name, held, digest)

    def _note_written(self, name: bytes, held: Held | None, digest: str) -> None:
        status = os.lstat(self._path(name))
        is_same_inode = held is not None and held.inode == (status.st_dev, status.st_ino)
        if is_same_inode:
            node = self._nodes[name]
            node.digest, node.mtime_ns = digest, None
            if node.mode is not None and node.mode & SETID_BITS:
                node.mode = None  # a write takes these bits away, unless root does it
        else:
            self._nodes[name] = _Node("file", digest)

    def _append(self, dice: random.Random) -> None:
        name = self._some_file(dice)
        if name is None:
            return
        size_bytes = dice.randint(60, 600)
        with witness(self._path(name)) as before:
            held = before.at(self._path(name))
            assert held is not None
            identity = self._serials.next()
            addition = compose(identity, held.identity, size_bytes)
            digest = digest_of(held.content + addition)
            announces = {digest: identity}
            with self._log.action("append", self._area, announces, self._path(name)) as outcome:
                save_patterns.append(held, addition)
                outcome.stands.append(digest)
                before.judge(outcome, digest)
            self._note_written(name, held, digest)

    def _cut(self, dice: random.Random) -> None:
        """Truncates to another length."""
        name = self._some_file(dice)
        if name is None:
            return
        with witness(self._path(name)) as before:
            held = before.at(self._path(name))
            assert held is not None
            content = held.content[: dice.choice((1, len(held.content) // 2))]
            digest = digest_of(content)
            announces = {digest: f"the first {len(content)} bytes of {held.identity}"}
            with self._log.action("truncate", self._area, announces, self._path(name)) as outcome:
                os.truncate(self._path(name), len(content))
                before.judge(outcome, digest)
            self._note_written(name, held, digest)

    def _rotate(self, dice: random.Random) -> None:
        """logrotate: rename, create; the program that logs goes on in the old file for a while."""
        log, rotated = b"app.log", b"app.log.1"
        if log not in self._nodes:
            self._write(log, "create log", 300, lambda _b, c: write_new(self._path(log), c))
            return
        if self._nodes.get(rotated) is self._nodes[log]:
            return  # rename(2) between names of one file does nothing
        with witness(self._path(log), self._path(rotated)) as before:
            held = before.at(self._path(log))
            assert held is not None
            late, fresh = self._serials.next(), self._serials.next()
            addition = compose(late, held.identity, 200)
            grown, new = held.content + addition, compose(fresh, NOTHING, dice.randint(100, 900))
            announces = {digest_of(grown): late, digest_of(new): fresh}
            with self._log.action("logrotate", self._area, announces) as outcome:
                os.rename(self._path(log), self._path(rotated))
                write_new(self._path(log), new)
                save_patterns.append(held, addition)
                outcome.stands += [digest_of(grown), digest_of(new)]
                before.judge(outcome, digest_of(grown))
            node = self._nodes.pop(log)
            node.digest, node.mtime_ns = digest_of(grown), None
            self._nodes[rotated] = node
            self._nodes[log] = _Node("file", digest_of(new))

    # Names come, go and move

    def _without_content(self, kind: str, *names: bytes) -> _Judged:
        return _Judged(self._log, kind, self._area, [self._path(name) for name in names])

    def _rename(self, dice: random.Random) -> None:
        source, target = self._some_file(dice), self._any_name(dice)
        if source is None or self._nodes.get(target) is self._nodes[source]:
            return  # rename(2) between names of one file does nothing
        with self._without_content("rename", source, target):
            os.rename(self._path(source), self._path(target))
        self._nodes[target] = self._nodes.pop(source)

    def _exchange(self, dice: random.Random) -> None:
        first, second = self._some_file(dice), self._some_file(dice)
        if first is None or second is None or first == second:
            return
        with self._without_content("exchange", first, second):
            rename_with(self._path(first), self._path(second), RENAME_EXCHANGE)
        nodes = self._nodes
        nodes[first], nodes[second] = nodes[second], nodes[first]

    def _link(self, dice: random.Random) -> None:
        source, target = self._some_file(dice), self._any_name(dice)
        if source is None or target in self._nodes:
            return
        with self._without_content("link", source, target):
            os.link(self._path(source), self._path(target))
        self._nodes[target] = self._nodes[source]

    def _delete(self, dice: random.Random) -> None:
        if not self._nodes:
            return
        name = dice.choice(sorted(self._nodes))
        with self._without_content("delete", name):
            os.unlink(self._path(name))
        del self._nodes[name]

    def _make_symlink(self, dice: random.Random) -> None:
        name = self._any_name(dice)
        target = b"../nowhere/" + self._serials.next().encode()
        digest = digest_of_link(target)
        with witness(self._path(name)) as before:
            announces = {digest: target.decode()}
            with self._log.action("symlink", self._area, announces, self._path(name)) as outcome:
                if before.at(self._path(name)) is not None:
                    os.unlink(self._path(name))
                os.symlink(target, self._path(name))
                outcome.stands.append(digest)
                before.judge(outcome)
        self._nodes[name] = _Node("symlink", digest)

    # Attributes

    def _change_mode(self, dice: random.Random) -> None:
        name = self._some_file(dice)
        if name is None:
            return
        mode = dice.choice(MODES)
        with self._without_content(f"chmod {mode:o}", name):
            os.chmod(self._path(name), mode)
        self._nodes[name].mode = mode

    def _set_time(self, dice: random.Random) -> None:
        name = self._some_file(dice)
        if name is None:
            return
        mtime_ns = dice.choice(ODD_TIMES_NS)
        with self._without_content(f"utime {mtime_ns}", name):
            os.utime(self._path(name), ns=(mtime_ns, mtime_ns))
        self._nodes[name].mtime_ns = mtime_ns

    # Directories

    def _change_directory_mode(self, dice: random.Random) -> None:
        if not self._modes:
            return
        name, mode = dice.choice(sorted(self._modes)), dice.choice((0o755, 0o750, 0o2775, 0o1777))
        with self._without_content(f"chmod {mode:o}", name):
            os.chmod(self._path(name), mode)
        self._modes[name] = mode

    def _rename_directory(self, dice: random.Random) -> None:
        target = b"renamed"
        if b"first" not in self._modes:
            return
        if target in self._modes:
            self._remove_tree(target)
        with self._without_content("rename directory", b"first", target):
            os.rename(self._path(b"first"), self._path(target))
        self._move_below(b"first", target)

    def _exchange_directories(self, dice: random.Random) -> None:
        first, second = b"first", b"second"
        if not {first, second} <= self._modes.keys():
            return
        with self._without_content("exchange directories", first, second):
            rename_with(self._path(first), self._path(second), RENAME_EXCHANGE)
        self._move_below(first, b"aside")
        self._move_below(second, first)
        self._move_below(b"aside", second)

    def _remove_tree(self, directory: bytes) -> None:
        below = [path for path in self._nodes if path.startswith(directory + b"/")]
        with self._without_content("remove tree", *below):
            for path in below:
                os.unlink(self._path(path))
            inner = [d for d in self._modes if d == directory or d.startswith(directory + b"/")]
            for path in sorted(inner, reverse=True):
                os.rmdir(self._path(path))
        self._nodes = {path: node for path, node in self._nodes.items() if path not in below}
        self._modes = {path: mode for path, mode in self._modes.items() if path not in inner}

    def _move_below(self, source: bytes, target: bytes) -> None:
        def moved(path: bytes) -> bytes:
            is_below = path == source or path.startswith(source + b"/")
            return target + path[len(source) :] if is_below else path

        self._nodes = {moved(path): node for path, node in self._nodes.items()}
        self._modes = {moved(path): mode for path, mode in self._modes.items()}


class _Judged:
    """An action that writes no content: logged, with what it displaced. A context manager."""

    def __init__(self, log: ActionLog, kind: str, area: str, paths: list[bytes]) -> None:
        self._witness = Witness(*paths)
        self._action = log.action(kind, area, {}, *paths)
        self._outcome: Outcome | None = None

    def __enter__(self) -> None:
        self._outcome = self._action.__enter__()

    def __exit__(self, *error: object) -> bool | None:
        assert self._outcome is not None
        self._witness.judge(self._outcome)
        self._witness.close()
        return self._action.__exit__(*error)  # type: ignore[arg-type]


def any_size_bytes(dice: random.Random) -> int:
    """Returns how long a new file is to be: mostly small, as files are."""
    if dice.random() < 0.02:
        return dice.randint(1_000_000, 3_000_000)
    return dice.choice((60, 500, 3_000, 5_000, 20_000, 120_000))


def _text(path: bytes) -> str:
    return os.fsdecode(path)
