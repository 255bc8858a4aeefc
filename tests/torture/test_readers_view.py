"""A reader never sees a path missing, mixed, or with a wrong mode or owner while it is replaced."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conflict.observation import Attributes
from geosync.disk.interface import Applied, Expected, RelativePath
from geosync.disk.posix_disk import PosixDisk
from tests.support.local_sites import local_sites, settle
from tests.torture import reader
from tests.torture.signed_content import NOTHING, compose
from transport.memory_store import MemoryStore

READERS = 3
LOOKS = 10_000
FILE = RelativePath(b"file")
NOBODY = 65534
is_root = os.geteuid() == 0
Kinds = dict[str, list[int]]


def kinds_of_owner(user: int, group: int) -> Kinds:
    """Two kinds of content, each with a mode of its own."""
    return {"public": [user, group, 0o644], "secret": [user, group, 0o600]}


@contextmanager
def readers(path: bytes, kinds: Kinds, *, contents: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that look until each has seen enough; they end with the block."""
    settings = {
        "path": os.fsdecode(path),
        "looks": LOOKS,
        "contents": contents,
        "kinds": kinds,
    }
    command = [sys.executable, "-m", "tests.torture.reader", json.dumps(settings)]
    with ExitStack() as stack:
        found = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(READERS)
        ]
        for process in found:
            stack.callback(process.kill)
        yield found


def replace_while_they_read(
    processes: list[subprocess.Popen[str]], kinds: Kinds, put: Callable[[bytes, int], None]
) -> None:
    """Gives the file one content after the other until all readers have seen enough."""
    for number, kind in zip(itertools.count(1), itertools.cycle(kinds), strict=False):
        put(compose(f"{kind}.{number}", NOTHING, reader.SIZE_BYTES), kinds[kind][2])
        if all(process.poll() is not None for process in processes):
            break
    for process in processes:
        assert process.stdout is not None
        assert (process.returncode, json.loads(process.stdout.read())) == (0, {})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PosixDisk]:
    root = tmp_path / "root"
    root.mkdir()
    disk = PosixDisk(bytes(root))
    disk.initialise()
    if not disk.capabilities.exchange:
        pytest.skip("this file system cannot exchange two names, which the promise needs")
    yield disk
    disk.close()


def expected_of(disk: PosixDisk) -> Expected:
    entry = disk.observe(FILE)
    assert entry is not None
    return Expected(entry.handle, entry.fingerprint)


def attributes_of(disk: PosixDisk) -> Attributes:
    entry = disk.observe(FILE)
    assert entry is not None
    return entry.attributes


def test_a_path_that_is_swapped_is_whole_in_every_look(disk: PosixDisk, tmp_path: Path) -> None:
    path = tmp_path / "root" / "file"
    path.write_bytes(compose("public.0", NOTHING, reader.SIZE_BYTES))
    path.chmod(0o644)
    if is_root:
        os.chown(path, NOBODY, NOBODY)
    attributes = attributes_of(disk)

    def put(content: bytes, mode: int) -> None:
        file = disk.stage_file(len(content))
        file.write(content)
        staged = file.finish(replace(attributes, mode=mode))
        outcome = disk.replace(staged, FILE, expected_of(disk))
        assert isinstance(outcome, Applied)
        assert outcome.retired is not None
        assert isinstance(disk.discard_retired(outcome.retired), Applied)

    status = path.stat()
    kinds = kinds_of_owner(status.st_uid, status.st_gid)
    with readers(bytes(path), kinds, contents=200) as processes:
        replace_while_they_read(processes, kinds, put)


def test_a_path_that_another_site_writes_is_whole_in_every_look() -> None:
    with local_sites(MemoryStore(), "bari", "paris") as (bari, paris):
        temporary = bari.path(b"../temporary")

        def put(content: bytes, mode: int) -> None:
            with open(temporary, "wb") as file:
                file.write(content)
            os.chmod(temporary, mode)
            if is_root:
                os.chown(temporary, NOBODY, NOBODY)
            os.rename(temporary, bari.path(b"file"))
            settle(bari, paris)

        put(compose("public.0", NOTHING, reader.SIZE_BYTES), 0o644)
        status = os.stat(paris.path(b"file"))
        kinds = kinds_of_owner(status.st_uid, status.st_gid)
        with readers(paris.path(b"file"), kinds, contents=20) as processes:
            replace_while_they_read(processes, kinds, put)
