"""Two sites of which one brings many small files; and how long it takes until both have them."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from geosync.demo.demo_world import DemoWorld, running_world
from geosync.demo.narration import Narrator

FILES_PER_DIRECTORY = 100
SIZE_BYTES_MAX = 4096
WAIT_TIMEOUT_S = 1800.0
SITE_NAMES = ("bari", "geneva")


@contextmanager
def two_sites() -> Iterator[DemoWorld]:
    """Two sites whose daemons do not run yet, each with a round trip of 20 ms to Swift."""
    with (
        tempfile.TemporaryDirectory(prefix="geosync-benchmark-") as directory,
        running_world(directory, SITE_NAMES, Narrator(sys.stdout), WAIT_TIMEOUT_S) as world,
    ):
        yield world


def write_many_files(root: bytes, count: int) -> int:
    """Writes files of random bytes (which do not compress); returns how many bytes."""
    dice = random.Random(1)
    size_bytes = 0
    for number in range(count):
        directory = os.path.join(root, b"%04d" % (number // FILES_PER_DIRECTORY))
        os.makedirs(directory, exist_ok=True)
        content = dice.randbytes(dice.randint(1, SIZE_BYTES_MAX))
        size_bytes += len(content)
        with open(os.path.join(directory, b"%06d" % number), "wb") as file:
            file.write(content)
    return size_bytes


def sync_at_first(world: DemoWorld) -> float:
    """Starts the daemons; returns after how many seconds both trees are equal."""
    start_s = time.monotonic()
    world.start_daemons()
    world.wait_until_equal()
    return time.monotonic() - start_s
