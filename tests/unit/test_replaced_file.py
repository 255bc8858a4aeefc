"""A large file of which a little changed: only that comes from the store."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from geosync.engine.fetching import LARGE_SIZE_BYTES
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

SIZE_BYTES = 2 * LARGE_SIZE_BYTES
CHANGED_BYTES_MAX = 2 * 1024 * 1024  # the chunks around a change
Sites = tuple[LocalSite, LocalSite]


@pytest.fixture
def sites() -> Iterator[Sites]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"large", random.Random(1).randbytes(SIZE_BYTES))
        settle(bari, cnaf)
        yield bari, cnaf


def fetched_bytes(site: LocalSite) -> int:
    return site.link.counters().download_bytes


def test_after_an_insertion_the_rest_is_taken_from_the_file_that_is_replaced(sites: Sites) -> None:
    bari, cnaf = sites
    content = b"x" + bari.read(b"large")
    before_bytes = fetched_bytes(cnaf)
    bari.write(b"large", content)
    settle(bari, cnaf)
    assert cnaf.read(b"large") == content
    assert fetched_bytes(cnaf) - before_bytes < CHANGED_BYTES_MAX


def test_a_file_that_is_not_what_it_is_believed_to_be_is_not_copied_from(sites: Sites) -> None:
    bari, cnaf = sites
    content = bari.read(b"large") + b"x"
    bari.write(b"large", content)
    bari.cycle()
    damaged = bytearray(content[:-1])
    damaged[::4096] = bytes(len(damaged[::4096]))  # a byte of each chunk
    status = os.stat(cnaf.path(b"large"))
    with open(cnaf.path(b"large"), "r+b") as file:
        file.write(damaged)
    os.utime(cnaf.path(b"large"), ns=(status.st_mtime_ns, status.st_mtime_ns))
    settle(bari, cnaf)
    names = {name: cnaf.read(name) for name in (b"large",)}
    assert names[b"large"] in (content, bytes(damaged)), "never a mixture"
