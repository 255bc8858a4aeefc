"""A tree may be deeper than any path can tell a system call; its files travel all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from geosync.disk import syscalls
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

NAME = b"n" * 200
DEPTH = 45  # 9045 bytes: more than two system calls can tell


@pytest.fixture(params=[True, False], ids=["openat2", "step by step"])
def sites(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[LocalSite]]:
    if not request.param:
        monkeypatch.setattr(syscalls, "has_openat2", lambda: False)
    with local_sites(MemoryStore(), "bari", "cnaf") as found:
        settle(*found)
        yield found
        for site in found:
            _prune(site.root)


def _at_the_bottom(root: bytes, act: Callable[[int], None], *, makes: bool = False) -> None:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(DEPTH):
            if makes:
                os.mkdir(NAME, dir_fd=descriptor)
            below = os.open(NAME, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        act(descriptor)
    finally:
        os.close(descriptor)


def _prune(root: bytes) -> None:
    """Cuts the deep tree into pieces that others can remove: shutil knows whole paths only."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    number = 0
    while os.path.isdir(os.path.join(root, NAME)):
        below = os.open(NAME, os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
        os.rename(NAME, b"%d" % number, src_dir_fd=top, dst_dir_fd=top)
        number += 1
        if NAME in map(os.fsencode, os.listdir(below)):
            os.rename(NAME, NAME, src_dir_fd=below, dst_dir_fd=top)
        os.close(below)
    os.close(top)


def _write(content: bytes) -> Callable[[int], None]:
    def act(directory: int) -> None:
        descriptor = os.open(b"file", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory)
        os.write(descriptor, content)
        os.close(descriptor)

    return act


def _read(root: bytes) -> bytes:
    found: list[bytes] = []

    def act(directory: int) -> None:
        descriptor = os.open(b"file", os.O_RDONLY, dir_fd=directory)
        found.append(os.read(descriptor, 100))
        os.close(descriptor)

    _at_the_bottom(root, act)
    return found[0]


def test_a_file_at_a_path_of_9000_bytes_is_made_changed_and_removed_on_another_site(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    _at_the_bottom(bari.root, _write(b"first"), makes=True)
    settle(bari, cnaf)
    assert _read(cnaf.root) == b"first"
    _at_the_bottom(cnaf.root, _write(b"other"))
    settle(bari, cnaf)
    assert _read(bari.root) == b"other"
    _at_the_bottom(bari.root, lambda directory: os.unlink(b"file", dir_fd=directory))
    settle(bari, cnaf)
    with pytest.raises(FileNotFoundError):
        _read(cnaf.root)
    assert bari.problems() == cnaf.problems() == {}
