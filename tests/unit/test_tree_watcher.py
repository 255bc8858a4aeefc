"""The watcher on real inotify: every change is marked, under the right path, or health says why."""

import ctypes
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from geosync.watching.dirty_directories import DirtyDirectories
from geosync.watching.errors import WatchingError
from geosync.watching.tree_watcher import TreeWatcher
from tests.support.watching import EXCLUDED, WatchedTree, exchange, watching

MAX_QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


def open_descriptors() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{number}") for number in inotify_and_event_descriptors()}


def inotify_and_event_descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if target in {"anon_inode:inotify", "anon_inode:[eventfd]"}:
            found.append(int(name))
    return found


# Plain changes


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.with_name("new").write_bytes(b"x"), id="create"),
        pytest.param(lambda path: path.write_bytes(b"changed"), id="write"),
        pytest.param(lambda path: path.unlink(), id="unlink"),
        pytest.param(lambda path: path.rename(path.with_name("other")), id="rename"),
        pytest.param(lambda path: path.chmod(0o600), id="chmod"),
        pytest.param(lambda path: os.utime(path, ns=(1, 1)), id="utime"),
        pytest.param(lambda path: os.setxattr(path, "user.a", b"1"), id="setxattr"),
        pytest.param(lambda path: path.with_name("l").symlink_to("nowhere"), id="symlink"),
        pytest.param(lambda path: path.with_name("h").hardlink_to(path), id="hard link"),
        pytest.param(lambda path: os.mkfifo(path.with_name("fifo")), id="fifo"),
        pytest.param(lambda path: os.truncate(path, 0), id="truncate"),
    ],
)
def test_a_changed_file_marks_its_directory_and_no_other(
    root: Path, change: Callable[[Path], object]
):
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"content")
    with watching(root) as tree:
        change(root / "a/b/file")
        tree.until_marked(b"a/b")
        tree.settle()
        assert tree.marked == {b"a/b": False}


def test_reading_marks_nothing(root: Path):
    (root / "a").mkdir()
    (root / "a/file").write_bytes(b"x")
    with watching(root) as tree:
        (root / "a/file").read_bytes()
        os.listdir(root / "a")
        tree.settle()
        assert tree.marked == {}


def test_changed_attributes_of_a_directory_mark_its_parent(root: Path):
    (root / "a/b").mkdir(parents=True)
    with watching(root) as tree:
        (root / "a/b").chmod(0o700)
        tree.until_marked(b"a")
        tree.settle()
        assert tree.marked == {b"a": False}


def test_changed_attributes_of_the_root_mark_the_root(root: Path):
    with watching(root) as tree:
        root.chmod(0o700)
        tree.until_marked(b"")


def test_a_file_that_is_appended_to_and_never_closed_marks_its_directory(root: Path):
    (root / "logs").mkdir()
    with (root / "logs/log").open("ab", buffering=0) as log, watching(root) as tree:
        log.write(b"line\n")
        tree.until_marked(b"logs")


def test_what_was_written_through_a_shared_mapping_marks_the_directory_when_it_is_unmapped(
    root: Path,
):
    (root / "a").mkdir()
    (root / "a/file").write_bytes(bytes(4096))
    with watching(root) as tree:
        with (root / "a/file").open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 4096)
        mapping[0:4] = b"data"
        tree.forget()
        mapping.close()
        tree.until_marked(b"a")


def test_names_that_are_no_utf8_are_marked_byte_for_byte(root: Path):
    name = b"caf\xe9\n\xff"
    os.mkdir(os.path.join(os.fsencode(root), name))
    with watching(root) as tree:
        os.mkdir(tree.path(name, b"\xfe"))
        tree.until_marked(name + b"/\xfe", recursive=True)
        tree.forget()
        os.mknod(tree.path(name, b"\xfe", b"\x80"))
        tree.until_marked(name + b"/\xfe")


def test_excluded_names_are_not_watched_in_the_root_and_are_below_it(root: Path):
    (root / ".geosync/staging").mkdir(parents=True)
    (root / "a/.geosync").mkdir(parents=True)
    with watching(root) as tree:
        (root / ".geosync/staging/file").touch()
        (root / ".geosync/new").mkdir()
        (root / ".geosync").chmod(0o700)
        (root / "a/.geosync/file").touch()
        tree.until_marked(b"a/" + EXCLUDED)
        tree.settle()
        assert tree.marked == {b"a/" + EXCLUDED: False}


def test_a_root_that_is_a_symbolic_link_is_followed_and_links_below_are_not(
    root: Path, outside: Path
):
    (root / "link").symlink_to(outside)
    entrance = root.with_name("entrance")
    entrance.symlink_to(root)
    with watching(entrance) as tree:
        (outside / "file").touch()
        (root / "file").touch()
        tree.until_marked(b"")
        tree.settle()
        assert tree.marked == {b"": False}


# New directories


def test_a_new_directory_is_marked_recursively_and_watched(root: Path):
    with watching(root) as tree:
        (root / "new").mkdir()
        tree.until_marked(b"new", recursive=True)
        tree.forget()
        (root / "new/file").touch()
        tree.until_marked(b"new")


def test_no_file_in_directories_that_appear_faster_than_watches_is_missed(root: Path):
    """After its last mark each directory holds what a scan at that moment found."""
    with watching(root) as tree:
        for number in range(300):
            deep = root / f"{number % 7}/{number}/b/c"
            deep.mkdir(parents=True)
            for level in (deep, deep.parent, deep.parent.parent):
                (level / "file").write_bytes(b"x")
        view = View(tree)
        tree.settle()
        view.look_at(tree.marked)
        assert view.expected() == view.listings


def test_a_tree_that_is_moved_in_is_marked_recursively_and_watched_to_its_leaves(
    root: Path, outside: Path
):
    (outside / "in/a/b").mkdir(parents=True)
    with watching(root) as tree:
        (outside / "in").rename(root / "in")
        tree.until_marked(b"in", recursive=True)
        tree.forget()
        (root / "in/a/b/file").touch()
        tree.until_marked(b"in/a/b")


# Moves


def test_a_directory_that_moved_out_is_watched_no_more_and_makes_no_phantom_marks(
    root: Path, outside: Path
):
    (root / "a/b/c").mkdir(parents=True)
    with watching(root) as tree:
        count = tree.watcher.health().watch_count
        (root / "a/b").rename(outside / "b")
        (outside / "b/leak").touch()
        (outside / "b/c/leak").touch()
        (outside / "b/c/new").mkdir()
        tree.until(lambda: tree.watcher.health().watch_count == count - 2)
        (outside / "b/c/leak2").touch()
        tree.settle()
        assert tree.marked == {b"a": False}
        shutil.rmtree(outside / "b")
        (root / "a/b").mkdir()
        tree.until_marked(b"a/b", recursive=True)
        (root / "a/b").rmdir()
        tree.until(lambda: tree.watcher.health().watch_count == count - 2)
        assert tree.watcher.health().watching


def test_after_a_rename_changes_are_marked_under_the_new_path(root: Path):
    (root / "a/b/c").mkdir(parents=True)
    (root / "z").mkdir()
    with watching(root) as tree:
        (root / "a/b").rename(root / "z/y")
        tree.until_marked(b"z")
        tree.forget()
        (root / "z/y/c/file").touch()
        tree.until_marked(b"z/y/c")
        tree.settle()
        assert tree.marked == {b"z/y/c": False}


def test_a_write_right_before_a_rename_is_marked_under_the_new_path_as_well(root: Path):
    (root / "a/b/c").mkdir(parents=True)
    with watching(root) as tree:
        for number in range(50):
            (root / "a/b/c/file").write_bytes(b"%d" % number)
            (root / "a").rename(root / "moved")
            tree.until_marked(b"moved", recursive=True)
            (root / "moved").rename(root / "a")
            tree.forget()


def test_after_an_exchange_of_two_directories_each_is_marked_under_its_own_path(root: Path):
    (root / "a/in_a").mkdir(parents=True)
    (root / "b/in_b").mkdir(parents=True)
    with watching(root) as tree:
        for _ in range(20):
            exchange(tree.path(b"a"), tree.path(b"b"))
        exchange(tree.path(b"a"), tree.path(b"b"))
        tree.forget()
        (root / "a/in_b/file").touch()
        tree.until_marked(b"a/in_b")
        tree.settle()
        assert tree.marked == {b"a/in_b": False}
        tree.forget()
        (root / "b/in_a/file").touch()
        tree.until_marked(b"b/in_a")
        tree.settle()
        assert tree.marked == {b"b/in_a": False}


def test_an_exchange_of_parent_levels_is_followed(root: Path):
    """A directory that swaps places with one below its sibling."""
    (root / "a/b/c").mkdir(parents=True)
    (root / "x/y/z").mkdir(parents=True)
    with watching(root) as tree:
        exchange(tree.path(b"a/b"), tree.path(b"x"))
        tree.forget()
        (root / "a/b/y/z/file").touch()
        (root / "x/c/file").touch()
        tree.until(lambda: {b"a/b/y/z", b"x/c"} == set(tree.marked))


class View:
    """What an engine knows that looks only where it is told to, and follows inodes."""

    def __init__(self, tree: WatchedTree) -> None:
        self.tree = tree
        self.listings: dict[int, frozenset[tuple[bytes, int, int]]] = {}

    def look_at(self, marked: dict[bytes, bool]) -> None:
        for directory, recursive in marked.items():
            self._look(directory, recursive=recursive)

    def expected(self) -> dict[int, frozenset[tuple[bytes, int, int]]]:
        truth = View(self.tree)
        truth._look(b"", recursive=True)
        self.listings = {key: self.listings[key] for key in self.listings if key in truth.listings}
        return truth.listings

    def _look(self, directory: bytes, *, recursive: bool) -> None:
        try:
            descriptor = os.open(self.tree.path(directory), os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with os.scandir(descriptor) as entries:
                found = [(os.fsencode(entry.name), entry) for entry in entries]
                listing = {(name, *self._content(entry)) for name, entry in found}
                below = [(name, entry.inode()) for name, entry in found if entry.is_dir()]
            self.listings[os.fstat(descriptor).st_ino] = frozenset(listing)
        except FileNotFoundError:  # an entry vanished: look again
            self._look(directory, recursive=recursive)
            return
        finally:
            os.close(descriptor)
        for name, inode in below:
            if recursive or inode not in self.listings:
                self._look(os.path.join(directory, name), recursive=recursive)

    @staticmethod
    def _content(entry: os.DirEntry[str]) -> tuple[int, int]:
        status = entry.stat(follow_symlinks=False)
        return status.st_ino, 0 if entry.is_dir(follow_symlinks=False) else status.st_mtime_ns


class Turmoil:
    """Random changes of a tree, from one seed, each as fast as the kernel takes it."""

    def __init__(self, seed: int, root: Path, outside: Path) -> None:
        self._random = random.Random(seed)
        self._root, self._outside = root, outside
        self._count = 0
        self._changes = (
            self._make, self._make_deep, self._write, self._write, self._rename, self._rename,
            self._write_and_rename, self._exchange, self._move_out, self._move_in, self._remove,
        )  # fmt: skip

    def change(self) -> None:
        self._count += 1
        try:
            self._random.choice(self._changes)()
        except OSError:
            return  # into itself, not empty, gone: as good a change as any

    def _any(self, top: Path) -> Path:
        path = top
        while self._random.random() < 0.75:
            below = [path / name for name in sorted(os.listdir(path)) if name[0] == "d"]
            if not below:
                break
            path = self._random.choice(below)
        return path

    def _victim(self, top: Path) -> Path:
        path = self._any(top)
        if path == top:
            raise FileNotFoundError("nothing below was picked")
        return path

    def _fresh(self, top: Path) -> Path:
        return self._any(top) / f"d{self._random.randrange(6)}"

    def _make(self) -> None:
        self._fresh(self._root).mkdir()

    def _make_deep(self) -> None:
        deep = self._fresh(self._root) / "d0/d1"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"%d" % self._count)

    def _write(self) -> None:
        (self._any(self._root) / f"file{self._random.randrange(3)}").write_bytes(b"x")

    def _rename(self) -> None:
        self._victim(self._root).rename(self._fresh(self._root))

    def _write_and_rename(self) -> None:
        source = self._victim(self._root)
        (source / "file").write_bytes(b"%d" % self._count)
        source.rename(self._fresh(self._root))

    def _exchange(self) -> None:
        exchange(os.fsencode(self._victim(self._root)), os.fsencode(self._victim(self._root)))

    def _move_out(self) -> None:
        self._victim(self._root).rename(self._outside / f"d{self._count}")

    def _move_in(self) -> None:
        self._victim(self._outside).rename(self._fresh(self._root))

    def _remove(self) -> None:
        shutil.rmtree(self._victim(self._root))


@pytest.mark.parametrize("seed", range(6))
def test_after_any_turmoil_every_change_was_marked_and_every_directory_is_watched_by_its_path(
    root: Path, outside: Path, seed: int
):
    turmoil = Turmoil(seed, root, outside)
    with watching(root) as tree:
        view = View(tree)
        view.look_at({b"": True})
        done = threading.Event()

        def make_turmoil() -> None:
            for _ in range(1500):
                turmoil.change()
            done.set()

        thread = threading.Thread(target=make_turmoil)
        thread.start()
        while not done.is_set():
            tree.take()
            view.look_at(tree.marked)
            tree.marked.clear()
        thread.join()
        tree.settle()
        view.look_at(tree.marked)
        assert view.expected() == view.listings
        directories = tree.directories()
        tree.until(lambda: tree.watcher.health().watch_count == len(directories))
        tree.forget()
        for directory in directories - {b"sentinel"}:
            os.mknod(tree.path(directory, b"probe"))
        tree.settle()
        assert directories - {b"sentinel"} == set(tree.marked)


# Limits


@contextmanager
def all_threads_but_this_one_held() -> Iterator[ctypes.PyDLL]:
    """Yields a C library whose calls keep the interpreter's lock, so that no reader can read."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        yield ctypes.PyDLL(None)
    finally:
        sys.setswitchinterval(interval_s)


def test_after_a_queue_overflow_the_root_is_marked_recursively_and_missing_watches_are_set(
    root: Path,
):
    (root / "a").mkdir()
    (root / "gone").mkdir()
    files = [os.fsencode(root / name) for name in ("a/one", "a/two")]
    for file in files:
        os.mknod(file)
    event_count = int(MAX_QUEUED_EVENTS.read_text()) + 1
    with watching(root) as tree:
        count = tree.watcher.health().watch_count
        with all_threads_but_this_one_held() as libc:
            for number in range(event_count):
                libc.chmod(files[number % 2], 0o644)  # equal neighbours would be merged
            libc.mkdir(os.fsencode(root / "unseen"), 0o755)
            libc.mkdir(os.fsencode(root / "unseen/below"), 0o755)
            libc.rename(os.fsencode(root / "gone"), os.fsencode(root.parent / "gone"))
        tree.until_marked(b"", recursive=True)
        health = tree.watcher.health()
        assert health.overflow_count >= 1
        assert count + 1 == health.watch_count, "two more, one less"
        assert "fs.inotify.max_queued_events" in health.problem
        tree.forget()
        (root / "unseen/below/file").touch()
        (root.parent / "gone/file").touch()
        tree.settle()
        assert tree.marked == {b"unseen/below": False}


class Reporter:
    """A watcher in another process, asked for its health until it is as expected."""

    def __init__(self, root: Path, *command: str, retry_s: float) -> None:
        module = [sys.executable, "-m", "tests.support.report_health", str(root), str(retry_s)]
        self.process = subprocess.Popen(
            [*command, *module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._line() != "ready\n":
            self.close()
            pytest.skip("user namespaces are not allowed here")

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        assert self.process.stdin is not None
        for _ in range(600):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            report: dict[str, Any] = json.loads(self._line())
            if condition(report):
                return report
        raise AssertionError(report)

    def close(self) -> None:
        self.process.communicate(timeout=30)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def reporting(root: Path, *command: str, retry_s: float) -> Iterator[Reporter]:
    reporter = Reporter(root, *command, retry_s=retry_s)
    try:
        yield reporter
    finally:
        reporter.close()


# In a user namespace the limit of watches can be lowered without harm to anybody else.
IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--")
WITH_FEW_WATCHES = (
    *IN_NAMESPACE, "sh", "-c",
    'echo 20 > /proc/sys/user/max_inotify_watches && exec "$@"', "sh",
)  # fmt: skip


def test_directories_beyond_the_limit_of_watches_are_named_with_the_remedy_and_to_be_polled(
    root: Path,
):
    for number in range(30):
        (root / f"{number}/below").mkdir(parents=True)
    with reporting(root, *WITH_FEW_WATCHES, retry_s=0.05) as reporter:
        report = reporter.until(lambda report: report["watching"])
        assert report["watch_count"] == 20
        assert len(report["unwatched"]) == report["unwatched_count"] > 10
        assert report["unwatched"] == report["to_poll"]
        assert "sysctl -w fs.inotify.max_user_watches" in report["problem"]
        for name in report["unwatched"]:
            shutil.rmtree(root / name)
        report = reporter.until(lambda report: report["unwatched_count"] == 0)
        assert report["problem"] == ""
        assert report["to_poll"] == []


def test_directories_are_watched_when_watches_become_free(root: Path):
    for number in range(30):
        (root / f"{number}").mkdir()
    with reporting(root, *WITH_FEW_WATCHES, retry_s=0.05) as reporter:
        report = reporter.until(lambda report: report["watching"])
        missing = set(report["unwatched"])
        for number in range(30):
            if str(number) not in missing:
                (root / f"{number}").rmdir()
        report = reporter.until(lambda report: report["unwatched_count"] == 0)
        assert missing <= {name for name, recursive in report["marked"].items() if recursive}


@contextmanager
def denied(path: Path) -> Iterator[tuple[str, ...]]:
    """Yields the command prefix under which a directory cannot be read; then it is readable."""
    path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)  # unknown in the namespace, so its root has no power over it
        yield IN_NAMESPACE
    else:
        path.chmod(0o000)
        yield ()


def test_a_directory_that_cannot_be_read_is_reported_and_watched_once_it_can(root: Path):
    secret = root / "a/secret"
    secret.mkdir(parents=True)
    with denied(secret) as command, reporting(root, *command, retry_s=1e6) as reporter:
        report = reporter.until(lambda report: report["watching"])
        assert ["a/secret"] == report["unwatched"] == report["to_poll"]
        assert "Permission denied" in report["problem"]
        secret.chmod(0o755)
        report = reporter.until(lambda report: report["unwatched_count"] == 0)
        assert report["marked"]["a/secret"], "marked recursively"


def test_a_root_that_is_no_directory_is_refused_with_a_reason(root: Path):
    before = sorted(open_descriptors()), threading.active_count()
    for path in (root / "missing", root / "file"):
        (root / "file").touch()
        watcher = TreeWatcher(os.fsencode(path), DirtyDirectories())
        with pytest.raises(WatchingError, match="cannot watch"):
            watcher.start()
        assert not watcher.health().watching
        watcher.stop()
    assert before == (sorted(open_descriptors()), threading.active_count())


# The root


def replace(root: Path) -> None:
    root.rename(root.with_name("old"))
    root.mkdir()


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(shutil.rmtree, id="deleted"),
        pytest.param(lambda root: root.rename(root.with_name("moved")), id="moved"),
        pytest.param(replace, id="replaced"),
        pytest.param(lambda root: root.parent.rename(root.parent.with_name("up")), id="above"),
    ],
)
def test_a_lost_root_is_reported_and_nothing_is_marked_any_more(
    tmp_path: Path, lose: Callable[[Path], object]
):
    root = tmp_path / "mount/root"
    (root / "a").mkdir(parents=True)
    keeper = os.open(root / "a", os.O_RDONLY)
    with watching(root) as tree:
        lose(root)
        tree.until(lambda: tree.watcher.health().root_lost)
        health = tree.watcher.health()
        assert not health.watching
        assert "is lost" in health.problem
        assert "start watching again" in health.problem
        tree.marked.clear()
        try:
            os.mknod("file", dir_fd=keeper)
        except FileNotFoundError:
            assert not root.exists()
        tree.take()
        assert tree.marked == {}
        assert tree.watcher.unwatched_directories() == (b"",)
    os.close(keeper)


def test_a_root_that_moved_and_came_back_at_once_is_not_lost(root: Path):
    with watching(root) as tree, all_threads_but_this_one_held() as libc:
        libc.rename(os.fsencode(root), os.fsencode(root.with_name("away")))
        libc.rename(os.fsencode(root.with_name("away")), os.fsencode(root))
        sys.setswitchinterval(0.005)
        tree.settle()
        assert tree.watcher.health().watching


def test_a_watcher_can_be_started_again_once_its_root_is_back(root: Path):
    (root / "a").mkdir()
    with watching(root) as tree:
        root.rename(root.with_name("away"))
        tree.until(lambda: tree.watcher.health().root_lost)
        root.with_name("away").rename(root)
        tree.watcher.stop()
        tree.watcher.start()
        tree.until_marked(b"", recursive=True)
        assert tree.watcher.health().watching
        tree.forget()
        (root / "a/file").touch()
        tree.until_marked(b"a")


def mount(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "geosync-test", str(root)], check=True)


def unmount(root: Path) -> None:
    subprocess.run(["umount", str(root)], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.mark.root
@needs_root
def test_an_unmounted_root_is_lost(root: Path):
    mount(root)
    with watching(root) as tree:
        unmount(root)
        tree.until(lambda: tree.watcher.health().root_lost)
        assert "unmounted" in tree.watcher.health().problem


@pytest.mark.root
@needs_root
def test_a_root_that_is_mounted_over_is_lost(root: Path):
    with watching(root) as tree:
        mount(root)
        try:
            tree.until(lambda: tree.watcher.health().root_lost)
        finally:
            unmount(root)


@pytest.mark.root
@needs_root
def test_what_a_mount_below_the_root_had_covered_is_watched_after_the_unmount(root: Path):
    (root / "a/covered").mkdir(parents=True)
    mount(root / "a")
    with watching(root) as tree:
        unmount(root / "a")
        tree.until_marked(b"a", recursive=True)
        tree.until(lambda: tree.watcher.health().watch_count == len(tree.directories()))
        tree.forget()
        (root / "a/covered/file").touch()
        tree.until_marked(b"a/covered")


# Threads and descriptors


def test_a_failure_of_the_reader_is_seen_in_health_and_everything_is_marked(
    root: Path, caplog: pytest.LogCaptureFixture
):
    before = set(inotify_and_event_descriptors())
    with watching(root) as tree:
        descriptor = next(
            number
            for number in set(inotify_and_event_descriptors()) - before
            if os.readlink(f"/proc/self/fd/{number}") == "anon_inode:inotify"
        )
        directory = os.open(root, os.O_RDONLY)
        os.dup2(directory, descriptor, inheritable=False)  # a read from it fails from now on
        os.close(directory)
        tree.until(lambda: not tree.watcher.health().watching)
        assert "IsADirectoryError" in tree.watcher.health().problem
        assert not tree.watcher.health().root_lost
        assert "the watcher stopped" in caplog.text
        assert tree.watcher.unwatched_directories() == (b"",)
        tree.until_marked(b"", recursive=True)


def test_descriptors_are_closed_when_another_program_is_executed(root: Path):
    before = set(inotify_and_event_descriptors())
    with watching(root):
        ours = set(inotify_and_event_descriptors()) - before
        assert len(ours) == 2
        assert not any(os.get_inheritable(number) for number in ours)


def test_stop_ends_all_threads_and_closes_all_descriptors(root: Path):
    (root / "a").mkdir()
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    with watching(root) as tree:
        assert threads < set(threading.enumerate())
    assert threads == set(threading.enumerate())
    assert descriptors == len(os.listdir("/proc/self/fd"))
    assert not tree.watcher.health().watching
    tree.watcher.stop()


def test_stop_does_not_wait_for_the_first_walk(root: Path):
    for number in range(500):
        (root / f"{number}").mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    watcher = TreeWatcher(os.fsencode(root), DirtyDirectories())
    watcher.start()
    watcher.stop()
    assert descriptors == len(os.listdir("/proc/self/fd"))


def test_a_watcher_that_was_not_started_says_that_it_does_not_watch(root: Path):
    watcher = TreeWatcher(os.fsencode(root), DirtyDirectories())
    assert not watcher.health().watching
    assert watcher.unwatched_directories() == (b"",)
    watcher.stop()
