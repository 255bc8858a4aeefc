"""Large files are read and sent bit by bit: whatever else happens goes on meanwhile."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from conflict.synced import entry_at_path
from geosync.configuration.capture_rules import CaptureRule, CaptureRules, OpenFiles
from geosync.configuration.collection_pace import CollectionPace
from geosync.configuration.large_files import LargeFiles
from geosync.engine.role import STANDBY
from tests.support.await_condition import await_condition
from tests.support.disk_tree import contents_of
from tests.support.local_sites import ROUND_S, LocalSite, local_sites, run, settle
from tests.support.pair_of_sites import pair_of_sites
from tests.support.recording_store import let_pass
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore
from transport.object_names import packs_prefix

SIZE_BYTES = 4 * CHUNK_SIZE_BYTES_MAX
COLLECTING = CollectionPace(every_s=5.0, history_s=5.0, grace_s=5.0)
SMALL = LargeFiles(
    size_bytes_min=1024 * 1024,
    slice_size_bytes=1,  # so that one chunk is a slice
    slice_s=60.0,
    announced_size_bytes_min=SIZE_BYTES // 4,
)
CYCLES_MAX = 200


def noise(seed: int, size_bytes: int = SIZE_BYTES) -> bytes:
    """Bytes that can't be compressed."""
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[list[LocalSite]]:
    with local_sites(store, "here", "there", large_files=SMALL) as opened:
        settle(*opened)
        yield opened


def packed_size_bytes(site: LocalSite) -> int:
    """How much a site has put into packs."""
    chunks = site.journal.chunks
    return sum(
        at.stored_size_bytes for n in chunks.packs() for at in chunks.locations_in(n).values()
    )


def is_captured(site: LocalSite, name: bytes) -> bool:
    return entry_at_path(site.journal.synced, (name,)) is not None


def begin(site: LocalSite, name: bytes = b"large", *, slices: int = 3) -> None:
    """Reads some slices of a file that has just been written."""
    for _ in range(slices):
        site.cycle()
    assert not is_captured(site, name)
    assert packed_size_bytes(site) > 0


def refuse_packs(site: LocalSite) -> None:
    """Lets the store take everything but packs."""

    def refuse(method: str, name: str) -> None:
        if method == "put_once" and name.startswith(packs_prefix(site.engine.site.actor)):
            raise StoreUnavailable("no pack can be stored")

    site.link.before = refuse


def come_to_rest(*sites: LocalSite) -> None:
    for _ in range(CYCLES_MAX):
        for site in sites:
            site.cycle()
        if all(site.engine.is_settled() for site in sites):
            break
    settle(*sites)


def test_a_small_change_is_shown_elsewhere_while_a_large_file_is_read(
    sites: list[LocalSite],
) -> None:
    """After each cycle one slice more is read at most, and the small file is there at once."""
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)
    here.write(b"small", b"a small change")
    before = packed_size_bytes(here)
    here.cycle()
    assert packed_size_bytes(here) - before <= CHUNK_SIZE_BYTES_MAX
    assert is_captured(here, b"small")
    there.cycle()
    assert there.read(b"small") == b"a small change"
    assert not is_captured(here, b"large")
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)


def test_a_small_change_does_not_wait_for_packs_of_a_large_file(sites: list[LocalSite]) -> None:
    here, there = sites
    refuse_packs(here)
    here.write(b"large", noise(1))
    begin(here, slices=30)
    here.write(b"small", b"a small change")
    run(here, there, rounds=3)
    assert there.read(b"small") == b"a small change"
    assert here.journal.chunks.packs_to_store()


def test_no_more_is_read_than_can_be_sent(sites: list[LocalSite]) -> None:
    here, there = sites
    here.close()
    here.large_files = replace(SMALL, unsent_size_bytes_max=SIZE_BYTES // 4)
    here.open()
    refuse_packs(here)
    here.write(b"large", noise(1))
    begin(here, slices=40)
    assert packed_size_bytes(here) <= SIZE_BYTES // 4 + CHUNK_SIZE_BYTES_MAX
    reason = here.engine.waiting()[(b"large",)]
    assert "are read; the rest is read when more of that is sent" in reason
    here.link.before = let_pass
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)


def test_what_is_being_read_is_told_and_sent_before_the_end(sites: list[LocalSite]) -> None:
    """The others can bring it meanwhile; they know of no pack that is not stored."""
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)
    while not is_captured(here, b"large"):
        here.cycle()
        there.cycle()
        known = there.journal.collection.packs_of(packs_prefix(here.engine.site.actor))
        assert set(known) <= set(there.store.list_names(packs_prefix(here.engine.site.actor)))
        if known:
            break
    assert not is_captured(here, b"large")
    assert len(known) > 0
    assert "a large file: " in here.engine.waiting()[(b"large",)]


def test_a_file_that_changes_while_it_is_read_is_never_torn(sites: list[LocalSite]) -> None:
    here, there = sites
    seen: set[bytes] = set()
    versions = [noise(seed) for seed in range(4)]
    for content in versions:
        here.write(b"large", content)
        for _ in range(6):
            here.cycle()
            there.cycle()
            seen |= contents_of(there.root)
    come_to_rest(here, there)
    assert there.read(b"large") == versions[-1]
    assert seen <= {*versions}


def test_a_change_after_the_end_of_the_reading_is_captured_without_another_event(
    sites: list[LocalSite],
) -> None:
    """The file is looked at when it changes; it is what was read before that which is captured."""
    here, there = sites
    refuse_packs(here)
    here.write(b"large", noise(1))
    begin(here, slices=25)
    with open(here.path(b"large"), "ab") as file:
        file.write(b"and more")
    here.cycle()
    here.link.before = let_pass
    seen = set()
    for _ in range(40):
        for site in (here, there):
            site.engine.cycle({})
            site.time.advance(ROUND_S)
        seen |= contents_of(there.root)
    assert seen == {noise(1), noise(1) + b"and more"}


def test_what_was_stored_is_not_stored_again_after_a_restart(sites: list[LocalSite]) -> None:
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)
    before = packed_size_bytes(here)
    here.reopen()
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)
    assert 0 < before < SIZE_BYTES
    assert packed_size_bytes(here) <= SIZE_BYTES * 1.01


def test_a_collection_leaves_what_is_being_read(store: MemoryStore) -> None:
    with pair_of_sites(store, large_files=SMALL, collection_pace=COLLECTING) as (here, there):
        here.write(b"large", noise(1))
        begin(here)
        packs = set(here.journal.chunks.packs())
        fd = os.open(here.path(b"large"), os.O_WRONLY)  # so that it is not read any further
        try:
            run(here, there, rounds=10)
            here.reopen()
            run(here, there, rounds=10)
            assert packs <= set(store.list_names(packs_prefix(here.engine.site.actor)))
        finally:
            os.close(fd)
        come_to_rest(here, there)
        assert there.read(b"large") == noise(1)
        assert packed_size_bytes(here) <= SIZE_BYTES * 1.01


def test_what_nobody_needs_after_all_is_collected(store: MemoryStore) -> None:
    with pair_of_sites(store, large_files=SMALL, collection_pace=COLLECTING) as (here, there):
        here.write(b"large", noise(1))
        begin(here, slices=8)
        os.unlink(here.path(b"large"))
        here.write(b"other", noise(2, 500_000))
        run(here, there, rounds=60)
        left = list(store.list_names(packs_prefix(here.engine.site.actor)))
        assert len(left) == 1


def test_a_file_of_which_a_pack_was_given_up_meanwhile_is_stored_again(
    sites: list[LocalSite],
) -> None:
    """Nothing referred to the pack, so nobody could know that it was needed."""
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)
    pack = here.journal.chunks.packs()[0]
    here.journal.chunks.forget_pack(pack)
    there.store.delete(pack)
    while not is_captured(here, b"large"):
        here.cycle()
    captured = entry_at_path(here.journal.synced, (b"large",)).content  # type: ignore[union-attr]
    assert all(here.journal.chunks.is_known(chunk.digest) for chunk in captured.chunks)  # type: ignore[union-attr]
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)


def test_a_pack_that_somebody_takes_out_of_the_spool_is_read_again(
    sites: list[LocalSite],
) -> None:
    here, there = sites
    refuse_packs(here)
    here.write(b"large", noise(1))
    begin(here)
    for pack in here.journal.chunks.packs_to_store():
        here.engine._spool.remove(pack)
    here.link.before = let_pass
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)
    assert not here.problems()


def test_a_program_may_write_to_a_file_that_is_being_read(sites: list[LocalSite]) -> None:
    """It does not wait until the next slice is read, nor until the kernel ends the lease."""
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)

    def may_write() -> bool:
        try:
            os.close(os.open(here.path(b"large"), os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:  # as long as somebody has a lease
            return False
        return True

    await_condition(may_write, "the lease is given up", timeout_s=20)
    with open(here.path(b"large"), "r+b") as file:
        file.write(b"another beginning")
    come_to_rest(here, there)
    assert there.read(b"large") == b"another beginning" + noise(1)[17:]


@pytest.mark.parametrize("has_leases", [True, False])
def test_a_file_that_is_open_all_the_time_is_captured_as_it_was_at_a_moment(
    store: MemoryStore, has_leases: bool
) -> None:
    rules = CaptureRules(files=(CaptureRule((b"*",), OpenFiles.SNAPSHOT, 1),))
    with local_sites(store, "here", "there", large_files=SMALL, capture_rules=rules) as (
        here,
        there,
    ):
        capabilities = replace(here.engine.site.disk.capabilities, leases=has_leases)  # type: ignore[attr-defined]
        here.close()
        here.capabilities = capabilities
        here.open()
        settle(here, there)
        here.write(b"large", noise(1))
        with open(here.path(b"large"), "r+b"):
            for _ in range(CYCLES_MAX):
                run(here, there, rounds=1)
                if os.path.exists(there.path(b"large")):
                    break
            assert there.read(b"large") == noise(1)


def test_one_large_file_waits_for_the_other(sites: list[LocalSite]) -> None:
    here, there = sites
    here.write(b"first", noise(1))
    here.cycle()
    here.write(b"second", noise(2))
    here.cycle()
    waiting = here.engine.waiting()
    assert waiting[(b"second",)].startswith("a large file: it is read after first")
    assert waiting[(b"first",)].startswith("a large file: ")
    come_to_rest(here, there)
    assert (there.read(b"first"), there.read(b"second")) == (noise(1), noise(2))


@pytest.mark.parametrize("other_name", [None, b"other"])
def test_a_file_that_goes_away_while_it_is_read(
    sites: list[LocalSite], other_name: bytes | None
) -> None:
    here, there = sites
    here.write(b"large", noise(1))
    begin(here)
    if other_name is None:
        os.unlink(here.path(b"large"))
    else:
        os.rename(here.path(b"large"), here.path(other_name))
    come_to_rest(here, there)
    names = set() if other_name is None else {other_name}
    assert {n for n in os.listdir(there.root) if not n.startswith(b".")} == names
    assert not here.engine.waiting()
    assert other_name is None or there.read(other_name) == noise(1)


def test_a_standby_lets_go_of_the_file(sites: list[LocalSite]) -> None:
    here, _ = sites
    here.write(b"large", noise(1))
    begin(here)
    assert open_files_below(here) > 0
    here.engine.site.role = STANDBY
    here.engine.cycle({})
    assert open_files_below(here) == 0


def test_an_engine_that_ends_lets_go_of_the_file(sites: list[LocalSite]) -> None:
    here, _ = sites
    here.write(b"large", noise(1))
    begin(here)
    here.engine.close()
    assert open_files_below(here) == 0


def open_files_below(site: LocalSite) -> int:
    """How many regular files of the volume this process has open."""
    large = os.stat(site.path(b"large"))
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found = os.fstat(int(descriptor))
        except OSError:
            continue
        count += (found.st_dev, found.st_ino) == (large.st_dev, large.st_ino)
    return count


def test_a_spool_that_is_full_keeps_nothing_else_waiting(
    sites: list[LocalSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sites

    def refuse(_name: str, _body: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    here.write(b"large", noise(1))
    with monkeypatch.context() as patch:
        patch.setattr(here.engine._spool, "write", refuse)
        run(here, there, rounds=3)
        here.write(b"small", b"a small change")
        run(here, there, rounds=3)
        assert there.read(b"small") == b"a small change"
        assert "can't be kept: [Errno 28] No space left" in here.engine.waiting()[(b"large",)]
    come_to_rest(here, there)
    assert there.read(b"large") == noise(1)


def test_holes_are_kept(sites: list[LocalSite]) -> None:
    """Those that nobody stored, and zeros that somebody did."""
    here, there = sites
    parts = [noise(1, 1024 * 1024), bytes(6 * 1024 * 1024), noise(2, 1_500_000), bytes(2_000_000)]
    here.write(b"stored", b"".join(parts))
    here.write(b"sparse", b"")
    with open(here.path(b"sparse"), "r+b") as file:
        for number, part in enumerate(parts):
            if number % 2:
                file.seek(len(part), os.SEEK_CUR)
            else:
                file.write(part)
        file.truncate()
    come_to_rest(here, there)
    assert there.read(b"stored") == b"".join(parts)
    contents = [
        entry_at_path(here.journal.synced, (name,)).content  # type: ignore[union-attr]
        for name in (b"stored", b"sparse")
    ]
    assert contents[0] == contents[1]
    assert sum(chunk.is_hole for chunk in contents[0].chunks) == 2  # type: ignore[union-attr]
