"""The comparison of trees finds every kind of difference, and none between equal trees."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from geosync.demo.tree_comparison import (
    Difference,
    compare_trees,
    read_tree,
    total_size_bytes,
)

MTIME_NS = 1_234_567_890_123_456_789


def build(root: Path) -> Path:
    """A tree with one of everything, whose mtimes are the same each time."""
    (root / "directory").mkdir(parents=True)
    (root / "directory" / "file").write_bytes(b"content")
    (root / "one").write_bytes(b"hard")
    os.link(root / "one", root / "two")
    os.symlink("nowhere", root / "symlink")
    os.mkfifo(root / "pipe")
    os.mkdir(os.fsencode(root) + b"/not \xff UTF-8\n")
    root.joinpath(".geosync").mkdir()
    for path, _, names in os.walk(os.fsencode(root), topdown=False):
        for name in names:
            os.utime(os.path.join(path, name), ns=(0, MTIME_NS), follow_symlinks=False)
        os.utime(path, ns=(0, MTIME_NS))
    return root


def differences(first: Path, second: Path) -> list[Difference]:
    return list(compare_trees(read_tree(os.fsencode(first)), read_tree(os.fsencode(second))))


def restore_mtime(path: Path) -> None:
    os.utime(path, ns=(0, MTIME_NS), follow_symlinks=False)


def test_equal_trees_have_no_difference(tmp_path: Path) -> None:
    assert differences(build(tmp_path / "first"), build(tmp_path / "second")) == []


def test_the_tree_holds_every_name_but_the_private_directory(tmp_path: Path) -> None:
    assert set(read_tree(os.fsencode(build(tmp_path / "tree")))) == {
        b"directory",
        b"directory/file",
        b"not \xff UTF-8\n",
        b"one",
        b"pipe",
        b"symlink",
        b"two",
    }


def test_the_private_directory_is_ignored_at_the_root_only(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    (second / ".geosync" / "marker").write_bytes(b"of our own")
    assert differences(first, second) == []
    (second / "directory" / ".geosync").mkdir()
    restore_mtime(second / "directory")
    [found] = differences(first, second)
    assert found.path == b"directory/.geosync"


def rewrite_same_size(root: Path) -> None:
    (root / "directory" / "file").write_bytes(b"CONTENT")
    restore_mtime(root / "directory" / "file")


def retarget(root: Path) -> None:
    (root / "symlink").unlink()
    os.symlink("elsewhere", root / "symlink")
    restore_mtime(root / "symlink")


def break_hard_link(root: Path) -> None:
    (root / "two").unlink()
    (root / "two").write_bytes(b"hard")
    restore_mtime(root / "two")


def file_becomes_directory(root: Path) -> None:
    (root / "directory" / "file").unlink()
    (root / "directory" / "file").mkdir()
    restore_mtime(root / "directory")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda root: os.chmod(root / "one", 0o4711),
            {(b"one", "mode"), (b"two", "mode")},
            id="mode",
        ),
        pytest.param(
            lambda root: os.utime(root / "pipe", ns=(0, MTIME_NS + 1)),
            {(b"pipe", "modification time")},
            id="mtime of a pipe by one nanosecond",
        ),
        pytest.param(
            lambda root: os.utime(root / "directory", ns=(0, -1)),
            {(b"directory", "modification time")},
            id="mtime of a directory",
        ),
        pytest.param(
            lambda root: os.utime(root / "symlink", ns=(0, 5), follow_symlinks=False),
            {(b"symlink", "modification time")},
            id="mtime of a symlink",
        ),
        pytest.param(rewrite_same_size, {(b"directory/file", "content")}, id="content alone"),
        pytest.param(retarget, {(b"symlink", "content")}, id="target of a symlink"),
        pytest.param(
            break_hard_link, {(b"one", "hard links"), (b"two", "hard links")}, id="hard link"
        ),
        pytest.param(file_becomes_directory, {(b"directory/file", "kind")}, id="kind"),
        pytest.param(
            lambda root: os.rmdir(os.fsencode(root) + b"/not \xff UTF-8\n"),
            {(b"not \xff UTF-8\n", "presence")},
            id="missing",
        ),
        pytest.param(
            lambda root: os.setxattr(root / "one", "user.label", b"x"),
            {(b"one", "extended attributes"), (b"two", "extended attributes")},
            id="extended attribute",
        ),
    ],
)
def test_every_kind_of_difference_is_found_and_nothing_else(
    tmp_path: Path, change: Callable[[Path], None], expected: set[tuple[bytes, str]]
) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    change(second)
    assert {(found.path, found.what) for found in differences(first, second)} == expected
    assert {(found.path, found.what) for found in differences(second, first)} == expected


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize(("owner", "group", "what"), [(12345, -1, "owner"), (-1, 12345, "group")])
def test_another_owner_or_group_is_found(tmp_path: Path, owner: int, group: int, what: str) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    os.chown(second / "directory", owner, group)
    assert [(found.path, found.what) for found in differences(first, second)] == [
        (b"directory", what)
    ]


def test_a_difference_says_what_is_on_either_side(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    os.chmod(second / "directory", 0o2750)
    (second / "pipe").unlink()
    os.chmod(first / "directory", 0o755)
    assert differences(first, second) == [
        Difference(b"directory", "mode", "0755", "2750"),
        Difference(b"pipe", "presence", "a named pipe", "missing"),
    ]


def test_sockets_are_named_as_what_they_are(tmp_path: Path) -> None:
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(second / "socket"))
    [found] = differences(first, second)
    assert (found.path, found.second) == (b"socket", "a socket")


def test_the_size_of_a_tree_counts_hard_links_once(tmp_path: Path) -> None:
    tree = read_tree(os.fsencode(build(tmp_path / "tree")))
    assert total_size_bytes(tree) == len(b"content") + len(b"hard")
