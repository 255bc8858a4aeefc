"""Work of whole programs in a directory of their own: git, tar and cp make what they like."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable

from tests.torture.action_log import ActionLog
from tests.torture.final_state import see_tree
from tests.torture.save_tools import run_tool
from tests.torture.serial_numbers import SerialNumbers
from tests.torture.signed_content import NOTHING, compose, digest_of

BRANCHES = ("one", "two", "three")
FILES = 12


class ToolWork:
    """Acts in one directory at random; its model is what it holds after the last action."""

    def __init__(self, root: bytes, area: str, log: ActionLog, serials: SerialNumbers) -> None:
        """Makes the directory, and in it a repository with several branches."""
        self._area = area
        self._base = os.path.join(root, area.encode())
        self._log = log
        self._serials = serials
        os.makedirs(self._base)
        self._repository = os.path.join(self._base, b"repository")
        if shutil.which("git") is not None:
            self._make_repository()

    def act(self, dice: random.Random) -> None:
        """Does one thing."""
        actions: list[Callable[[random.Random], None]] = [self._tar, self._copy_tree]
        if shutil.which("git") is not None:
            actions += [self._checkout, self._checkout, self._commit]
        dice.choice(actions)(dice)

    def tell_model(self) -> None:
        """Writes to the log what has to be there: what is there, as nobody else writes here."""
        tree = {
            path: {
                "kind": seen.kind,
                "digest": seen.digest,
                "mode": seen.mode,
                "mtime_ns": seen.mtime_ns if seen.kind == "file" else None,
                "names": list(seen.names),
            }
            for path, seen in see_tree(self._base).items()
        }
        self._log.model(self._area, tree)

    def _git(self, *words: str) -> None:
        settings = ("-c", "user.name=torture", "-c", "user.email=torture@example.org")
        run_tool("git", *settings, "-C", os.fsdecode(self._repository), *words)

    def _make_repository(self) -> None:
        os.mkdir(self._repository)
        with self._log.action("git init", self._area, {}):
            self._git("init", "--quiet", "--initial-branch=main")
            self._git("config", "gc.auto", "0")
            self._git("commit", "--quiet", "--allow-empty", "--message=first")
        for branch in BRANCHES:
            self._write_files(branch, range(FILES), self._repository)
            with self._log.action("git commit", self._area, {}):
                self._git("checkout", "--quiet", "-b", branch)
                self._git("add", "--all")
                self._git("commit", "--quiet", f"--message={branch}")

    def _write_files(self, kind: str, numbers: range, directory: bytes) -> None:
        contents = {number: compose(self._serials.next(), NOTHING, 700) for number in numbers}
        announces = {digest_of(content): kind for content in contents.values()}
        with self._log.action(f"write files of {kind}", self._area, announces):
            for number, content in contents.items():
                below = os.path.join(directory, b"part-%d" % (number % 3))
                os.makedirs(below, exist_ok=True)
                with open(os.path.join(below, b"file-%d" % number), "wb") as file:
                    file.write(content)

    def _checkout(self, dice: random.Random) -> None:
        with self._log.action("git checkout", self._area, {}):
            self._git("checkout", "--quiet", "--force", dice.choice(BRANCHES))

    def _commit(self, dice: random.Random) -> None:
        first = dice.randrange(FILES - 2)
        self._write_files("another commit", range(first, first + 2), self._repository)
        with self._log.action("git commit", self._area, {}):
            self._git("add", "--all")
            self._git("commit", "--quiet", "--message=another")

    def _tar(self, dice: random.Random) -> None:
        """Unpacks a tree over the one that the last archive left."""
        source, archive = self._serials.outside_path(), self._serials.outside_path()
        os.mkdir(source)
        self._write_files("an archive", range(dice.randint(1, FILES)), source)
        with self._log.action("tar", self._area, {}):
            run_tool(b"tar", b"-czf", archive, b"-C", source, b".")
            target = os.path.join(self._base, b"unpacked")
            os.makedirs(target, exist_ok=True)
            run_tool(b"tar", b"-xzf", archive, b"-C", target)
        shutil.rmtree(source)
        os.unlink(archive)

    def _copy_tree(self, dice: random.Random) -> None:
        """Copies a tree with its times and links, and removes the copy before."""
        source = os.path.join(self._base, b"unpacked")
        target = os.path.join(self._base, b"copy")
        if not os.path.exists(source):
            return
        with self._log.action("rm -r; cp -a", self._area, {}):
            run_tool(b"rm", b"-rf", target)
            run_tool(b"cp", b"-a", source, target)
