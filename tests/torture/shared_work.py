"""Work on files that programs on all sites change: a few families, each a directory.

On one site, one program at a time acts in a family, so that only the daemon acts beside it and a
program knows what it displaced. Names are looked up anew by each system call, as programs do.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.torture import save_patterns
from tests.torture.action_log import ActionLog
from tests.torture.owned_work import any_size_bytes
from tests.torture.save_patterns import RENAME_EXCHANGE, rename_seen, rename_with
from tests.torture.save_tools import Tool
from tests.torture.serial_numbers import SerialNumbers
from tests.torture.signed_content import NOTHING, compose, digest_of, digest_of_link
from tests.torture.witness import Witness, witness

NAMES = (b"a", b"b", b"c", b"d/x", b"d/y", b"e/x")
DIRECTORIES = (b"d", b"e")


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of a site, all on one file system."""

    root: bytes
    locks: bytes  # between the writers of this site
    removed: bytes  # for what is moved out of the tree


class SharedWork:
    """Acts in the families at random."""

    def __init__(
        self,
        places: Places,
        log: ActionLog,
        serials: SerialNumbers,
        tools: tuple[Tool, ...],
        families: int,
    ) -> None:
        """Touches nothing yet; the families are made as they are needed.

        Args:
            places: of the site.
            log: of this writer.
            serials: of this writer.
            tools: that this machine has.
            families: how many.
        """
        self._root = places.root
        self._locks = places.locks
        self._removed = places.removed
        self._log = log
        self._serials = serials
        self._tools = tools
        self._families = families
        self._base = places.root
        self._area = ""

    def act(self, dice: random.Random) -> None:
        """Does one thing in one family.

        Raises:
            OSError: the daemon, or another site, was there before; nothing is wrong with that.
        """
        family = f"shared/family-{dice.randrange(self._families)}"
        self._area, self._base = family, os.path.join(self._root, family.encode())
        actions: tuple[tuple[int, Callable[[random.Random], None]], ...] = (
            (8, self._save),
            (3, self._save_with_tool),
            (3, self._append),
            (3, self._rename),
            (2, self._exchange),
            (2, self._link),
            (1, self._change_mode),
            (1, self._make_symlink),
            (2, self._delete),
            (1, self._move_out),
            (1, self._make_directory),
            (1, self._rename_directory),
            (1, self._move_directory_out),
        )
        [chosen] = dice.choices([a for _, a in actions], [weight for weight, _ in actions])
        with self._alone():
            os.makedirs(self._base, exist_ok=True)
            chosen(dice)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.path.join(self._locks, self._area.replace("/", "-").encode())
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self._base, name)

    def _any_path(self, dice: random.Random) -> bytes:
        return self._path(dice.choice(NAMES))

    # Contents

    def _save(self, dice: random.Random) -> None:
        pattern = dice.choice(save_patterns.PATTERNS)
        path = self._any_path(dice)
        with witness(path, save_patterns.backup_of(path)) as before:
            self._write(
                path,
                pattern.__name__,
                before,
                any_size_bytes(dice),
                lambda content: pattern(path, before, content),
            )

    def _save_with_tool(self, dice: random.Random) -> None:
        path = self._any_path(dice)
        if not self._tools:
            return
        tool = dice.choice(self._tools)
        with witness(path) as before:
            held = before.at(path)
            if held is None or held.is_symlink:
                return  # a tool does not tell what it found at a name that was free before

            def save(content: bytes) -> None:
                with self._serials.outside_file(content) as new:
                    tool(path, new)

            self._write(path, tool.__name__, before, any_size_bytes(dice), save)

    def _write(
        self,
        path: bytes,
        kind: str,
        before: Witness,
        size_bytes: int,
        save: Callable[[bytes], None],
    ) -> None:
        held = before.at(path)
        identity = self._serials.next()
        content = compose(identity, held.identity if held else NOTHING, size_bytes)
        digest = digest_of(content)
        words = f"{identity} at {os.fsdecode(os.path.relpath(path, self._root))}"
        with self._log.action(kind, self._area, {digest: words}, path) as outcome:
            try:
                save(content)
                outcome.stands.append(digest)
            except OSError:
                # It may have come to the disk, or not; the program took back what it could.
                outcome.displaced.append(digest)
                raise
            finally:
                before.judge(outcome, digest)

    def _append(self, dice: random.Random) -> None:
        path = self._any_path(dice)
        with witness(path) as before:
            held = before.at(path)
            if held is None or held.is_symlink:
                return
            identity = self._serials.next()
            addition = compose(identity, held.identity, dice.randint(60, 600))
            digest = digest_of(held.content + addition)
            with self._log.action("append", self._area, {digest: identity}, path) as outcome:
                save_patterns.append(held, addition)
                outcome.stands.append(digest)
                before.judge(outcome, digest)

    def _make_symlink(self, dice: random.Random) -> None:
        path = self._any_path(dice)
        target = b"../nowhere/" + self._serials.next().encode()
        digest = digest_of_link(target)
        with (
            witness(path) as before,
            self._log.action("symlink", self._area, {digest: target.decode()}, path) as outcome,
        ):
            if before.at(path) is not None:
                os.unlink(path)
                before.judge(outcome)
            os.symlink(target, path)
            outcome.stands.append(digest)

    # Names

    @contextmanager
    def _judged(self, kind: str, *paths: bytes) -> Iterator[Witness]:
        with (
            witness(*paths) as before,
            self._log.action(kind, self._area, {}, *paths) as outcome,
        ):
            try:
                yield before
            finally:
                before.judge(outcome)

    def _rename(self, dice: random.Random) -> None:
        source, target = self._any_path(dice), self._any_path(dice)
        if source != target:
            with self._judged("rename", source, target) as before:
                rename_seen(source, target, before)

    def _exchange(self, dice: random.Random) -> None:
        first, second = self._any_path(dice), self._any_path(dice)
        with self._log.action("exchange", self._area, {}, first, second):
            rename_with(first, second, RENAME_EXCHANGE)

    def _link(self, dice: random.Random) -> None:
        source, target = self._any_path(dice), self._any_path(dice)
        with self._log.action("link", self._area, {}, source, target):
            os.link(source, target, follow_symlinks=False)

    def _delete(self, dice: random.Random) -> None:
        path = self._any_path(dice)
        with self._judged("delete", path) as before:
            if before.at(path) is not None:
                os.unlink(path)

    def _change_mode(self, dice: random.Random) -> None:
        path, mode = self._any_path(dice), dice.choice((0o600, 0o640, 0o644, 0o755))
        with self._log.action(f"chmod {mode:o}", self._area, {}, path):
            if not os.path.islink(path):
                os.chmod(path, mode)

    def _move_out(self, dice: random.Random) -> None:
        """What is moved out is found there in the end, whatever it was."""
        self._move(self._any_path(dice), "move out")

    # Directories

    def _make_directory(self, dice: random.Random) -> None:
        path = self._path(dice.choice(DIRECTORIES))
        with self._log.action("mkdir", self._area, {}, path):
            os.mkdir(path)

    def _rename_directory(self, dice: random.Random) -> None:
        source, target = (self._path(name) for name in dice.sample(DIRECTORIES, 2))
        flags = dice.choice((save_patterns.RENAME_NOREPLACE, RENAME_EXCHANGE))
        with self._log.action("rename directory", self._area, {}, source, target):
            rename_with(source, target, flags)

    def _move_directory_out(self, dice: random.Random) -> None:
        self._move(self._path(dice.choice(DIRECTORIES)), "move directory out")

    def _move(self, path: bytes, kind: str) -> None:
        target = os.path.join(self._removed, self._serials.next().encode())
        with self._log.action(kind, self._area, {}, path):
            os.rename(path, target)
