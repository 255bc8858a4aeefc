"""The inotify tree polled step by step, so that it reads events long after they happened."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.watching.inotify_tree import InotifyTree


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class PolledTree:
    """A tree below `path` whose watches were set long ago; nothing is read until `poll`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clock = SteppedClock()
        self._tree = InotifyTree(os.fsencode(path), excluded=frozenset(), clock=self._clock)

    def begin(self) -> None:
        self._tree.open()
        assert self._tree.poll(0.0) == {b"": True}
        self._clock.now_s += 1000.0

    def poll(self) -> dict[bytes, bool]:
        return self._tree.poll(0.0)

    def pass_time(self, seconds: float) -> None:
        self._clock.now_s += seconds

    def watch_count(self) -> int:
        return self._tree.state.watch_count

    def end(self) -> None:
        self._tree.close()

    def marks_of_a_file_in_each_directory(self) -> dict[bytes, bool]:
        self.poll()
        for directory, _, _ in os.walk(self.path):
            (Path(directory) / "probe").touch()
        return self.poll()

    def directories(self) -> dict[bytes, bool]:
        found = [Path(directory).relative_to(self.path) for directory, _, _ in os.walk(self.path)]
        return {b"" if path == Path() else os.fsencode(path): False for path in found}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PolledTree]:
    polled = PolledTree(tmp_path / "root")
    polled.path.mkdir()
    yield polled
    polled.end()


def test_a_renamed_directory_that_was_quiet_asks_for_no_scan_of_its_inside(tree: PolledTree):
    (tree.path / "a/b").mkdir(parents=True)
    (tree.path / "z").mkdir()
    tree.begin()
    (tree.path / "a").rename(tree.path / "z/y")
    assert tree.poll() == {b"": False, b"z": False}
    assert tree.marks_of_a_file_in_each_directory() == tree.directories()


def test_a_renamed_directory_that_had_changed_below_asks_for_a_scan_of_its_inside(
    tree: PolledTree,
):
    (tree.path / "a/b/c").mkdir(parents=True)
    tree.begin()
    (tree.path / "a/b/c/file").touch()
    assert tree.poll() == {b"a/b/c": False}
    (tree.path / "a").rename(tree.path / "z")
    assert tree.poll()[b"z"], "who looks at a/b/c now finds nothing"


def test_a_directory_that_leaves_a_subtree_to_be_scanned_takes_the_order_along(tree: PolledTree):
    elsewhere = tree.path.with_name("elsewhere")
    (elsewhere / "a/b").mkdir(parents=True)
    tree.begin()
    elsewhere.rename(tree.path / "in")
    assert tree.poll() == {b"": False, b"in": True}
    (tree.path / "in/a").rename(tree.path / "z")
    assert tree.poll()[b"z"]


def test_a_directory_made_in_one_that_was_renamed_at_once_is_watched(tree: PolledTree):
    (tree.path / "a").mkdir()
    tree.begin()
    (tree.path / "a/new").mkdir()
    (tree.path / "a").rename(tree.path / "z")
    tree.poll()
    assert tree.marks_of_a_file_in_each_directory() == tree.directories()


def test_a_directory_made_under_the_old_name_of_another_is_not_taken_for_it(tree: PolledTree):
    (tree.path / "a").mkdir()
    tree.begin()
    (tree.path / "a/new").mkdir()
    (tree.path / "a").rename(tree.path / "z")
    (tree.path / "a/new").mkdir(parents=True)
    tree.poll()
    assert tree.marks_of_a_file_in_each_directory() == tree.directories()


def test_a_parent_that_became_its_own_grandchild_is_followed(tree: PolledTree):
    (tree.path / "r/a").mkdir(parents=True)
    (tree.path / "other").mkdir()
    tree.begin()
    (tree.path / "r/a/z").mkdir()
    (tree.path / "r/a/z").rmdir()
    (tree.path / "r/a").rename(tree.path / "other/a")
    (tree.path / "r").rename(tree.path / "other/a/z")
    (tree.path / "other").rename(tree.path / "r")
    tree.poll()
    assert tree.marks_of_a_file_in_each_directory() == tree.directories()


def test_a_removed_tree_leaves_no_watch_behind_at_once(tree: PolledTree):
    (tree.path / "a/b/c").mkdir(parents=True)
    tree.begin()
    shutil.rmtree(tree.path / "a")
    tree.poll()
    assert tree.watch_count() == 1


def test_a_directory_that_moved_out_keeps_its_watch_for_a_moment_only(tree: PolledTree):
    (tree.path / "a/b").mkdir(parents=True)
    tree.begin()
    (tree.path / "a").rename(tree.path.with_name("elsewhere"))
    tree.poll()
    assert tree.watch_count() == 3, "the other half of the rename may be still to come"
    tree.pass_time(0.3)
    tree.poll()
    assert tree.watch_count() == 1


def test_a_file_in_place_of_a_directory_takes_its_watch_away(tree: PolledTree):
    (tree.path / "a").mkdir()
    tree.begin()
    (tree.path / "a").rmdir()
    (tree.path / "a").touch()
    tree.poll()
    assert tree.watch_count() == 1
