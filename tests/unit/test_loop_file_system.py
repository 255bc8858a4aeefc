"""The loop file systems that other tests stand on: of the kind, the options and the lifetime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.loop_file_system import KINDS, LoopFileSystemFailed, loop_file_system, mounted


class TestFailed(Exception):
    """What a test that fails raises."""

    __test__ = False


def kind_mounted_at(path: Path) -> str | None:
    """Returns what the kernel says is mounted at a path."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if where == str(path):
            return kind
    return None


@pytest.mark.root
@pytest.mark.parametrize("kind", KINDS)
def test_is_of_its_kind_keeps_its_files_and_goes_with_the_block(tmp_path: Path, kind: str) -> None:
    with loop_file_system(tmp_path, kind) as made:
        assert kind_mounted_at(made.root) == kind
        (made.root / "file").write_text("kept")
    assert kind_mounted_at(made.root) is None
    with mounted(made.image, kind) as again:
        assert (again.root / "file").read_text() == "kept"


@pytest.mark.root
def test_is_unmounted_after_a_test_that_failed_with_a_file_open(tmp_path: Path) -> None:
    opened: list[int] = []

    def fail() -> None:
        with loop_file_system(tmp_path, "ext4") as made:
            opened.append(os.open(made.root, os.O_RDONLY))
            raise TestFailed

    with pytest.raises(TestFailed):
        fail()
    os.close(opened[0])
    assert kind_mounted_at(tmp_path / "ext4.mount") is None


@pytest.mark.root
def test_options_reach_mkfs_and_mount(tmp_path: Path) -> None:
    made = loop_file_system(
        tmp_path, "ext4", size_bytes=2**24, mkfs_options=("-N", "64"), mount_options=("ro",)
    )
    with made as file_system:
        space = os.statvfs(file_system.root)
        assert space.f_files < 256
        assert space.f_blocks * space.f_frsize <= 2**24
        assert space.f_flag & os.ST_RDONLY


@pytest.mark.root
def test_options_that_do_not_exist_are_an_error_and_no_skip(tmp_path: Path) -> None:
    with (
        pytest.raises(LoopFileSystemFailed, match="no_such_option"),
        loop_file_system(tmp_path, "ext4", mount_options=("no_such_option",)),
    ):
        pass
