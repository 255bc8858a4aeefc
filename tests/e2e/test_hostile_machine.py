"""What a machine may do: told with a reason, tried ever less often, and over once it is mended."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from geosync.disk.interface import Disk, EntryUnreadable
from tests.simulation.simulated_clock import SimulatedClock
from tests.support.disk_tree import disk_tree
from tests.support.full_disk import files_of_at_most
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.loop_file_system import loop_file_system
from transport.memory_store import MemoryStore

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root may mount and set inode flags")
YEAR_S = 365.25 * 86400


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as found:
        settle(*found)
        yield found


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def assert_same(bari: LocalSite, cnaf: LocalSite) -> None:
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert bari.problems() == cnaf.problems() == {}
    assert cnaf.engine.waiting() == {}


# No room


def test_a_file_without_room_is_one_problem_for_so_long_and_not_fetched_again_and_again(
    sites: list[LocalSite], caplog: pytest.LogCaptureFixture
) -> None:
    bari, cnaf = sites
    bari.write(b"film", os.urandom(6_000_000))
    bari.cycle()
    with files_of_at_most(3_000_000):
        run(cnaf, rounds=2)
        (since_ms,) = (problem.since_ms for problem in cnaf.journal.problems())
        asked = len(cnaf.link.calls)
        for number in range(20):
            cnaf.write(b"busy here %d" % number, b"%d" % number)
            cnaf.cycle()
            assert [problem.since_ms for problem in cnaf.journal.problems()] == [since_ms]
            bari.cycle()
        ranges = [call for call in cnaf.link.calls[asked:] if call[0] == "get_range"]
        assert len(ranges) <= 20
        assert bari.read(b"busy here 19") == b"19"
    assert messages(caplog).count("disk_failed") == 1
    cnaf.time.advance(60)
    assert_same(bari, cnaf)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_quota_holds_back_the_file_that_exceeds_it_alone(
    fragile: list[LocalSite], number: int
) -> None:
    bari, cnaf = fragile
    bari.write(b"large", bytes(range(256)) * 2000)
    bari.write(b"small", b"has room")

    def fails(name: str, arguments: tuple[Any, ...]) -> Exception | None:
        return _error(number) if name == "stage_file" and arguments[0] > 1000 else None

    with failing(cnaf, fails):
        run(bari, cnaf)
        assert cnaf.read(b"small") == b"has room"
        waiting = cnaf.engine.waiting()[(b"large",)]
        assert waiting == f"there is no room for it here: {os.strerror(number)}"
    cnaf.time.advance(60)
    assert_same(bari, cnaf)


@contextmanager
def bind_mount(source: bytes, target: bytes) -> Iterator[None]:
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@contextmanager
def small_file_system(path: bytes, size: str) -> Iterator[None]:
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.root
@needs_root
def test_a_full_file_system_holds_back_what_does_not_fit_and_nothing_else() -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf), ExitStack() as stack:
        cnaf.close()
        stack.enter_context(small_file_system(cnaf.root, "8m"))
        cnaf.open()
        settle(bari, cnaf)
        cnaf.write(b"of an application", bytes(5_000_000))
        settle(bari, cnaf)
        bari.write(b"too large", os.urandom(4_000_000))
        bari.write(b"small", b"has room")
        run(bari, cnaf)
        assert cnaf.read(b"small") == b"has room"
        assert "no room" in cnaf.engine.waiting()[(b"too large",)]
        assert os.listdir(cnaf.path(b".geosync/stage")) == []
        os.unlink(cnaf.path(b"of an application"))
        cnaf.time.advance(60)
        assert_same(bari, cnaf)
        cnaf.close()


@pytest.mark.root
@needs_root
def test_a_quota_of_the_file_system_holds_back_what_exceeds_it_until_it_is_raised(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        whole = stack.enter_context(loop_file_system(tmp_path, "btrfs"))
        volume = whole.root / "volume"
        _btrfs("quota", "enable", whole.root)
        _btrfs("subvolume", "create", volume)
        bari, cnaf = stack.enter_context(local_sites(MemoryStore(), "bari", "cnaf"))
        cnaf.close()
        stack.enter_context(bind_mount(os.fsencode(volume), cnaf.root))
        cnaf.open()
        settle(bari, cnaf)
        _btrfs("qgroup", "limit", "6M", volume)
        bari.write(b"too large", os.urandom(9_000_000))
        bari.write(b"small", b"has room")
        run(bari, cnaf)
        assert os.strerror(errno.EDQUOT) in cnaf.engine.waiting()[(b"too large",)]
        assert cnaf.read(b"small") == b"has room"
        _btrfs("qgroup", "limit", "none", volume)
        cnaf.time.advance(60)
        assert_same(bari, cnaf)
        cnaf.close()


def _btrfs(*arguments: object) -> None:
    subprocess.run(["btrfs", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


# A disk that refuses


@pytest.mark.root
@needs_root
def test_a_file_system_that_became_read_only_stops_changes_alone_and_all_goes_on_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf), ExitStack() as stack:
        cnaf.close()
        stack.enter_context(small_file_system(cnaf.root, "64m"))
        cnaf.open()
        settle(bari, cnaf)
        cnaf.write(b"written before", b"by a program")
        subprocess.run(["mount", "-o", "remount,ro", cnaf.root], check=True)
        bari.write(b"new", b"from bari")
        cycles = run(bari, cnaf, rounds=10)
        assert bari.read(b"written before") == b"by a program"  # reading goes on
        assert not os.path.exists(cnaf.path(b"new"))
        assert "Read-only file system" in cnaf.problems()["disk"]
        assert any(cycle.disk_error is not None for cycle in cycles)
        assert messages(caplog).count("disk_failed") == 1
        subprocess.run(["mount", "-o", "remount,rw", cnaf.root], check=True)
        assert_same(bari, cnaf)
        cnaf.close()


def _set_flags(path: bytes, flags: int) -> None:
    """Sets the flags that chattr(1) sets."""
    get_flags, set_flags, kept = 0x80086601, 0x40086602, 0x00080000  # kept: extents, of ext4
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        buffer = bytearray(8)
        fcntl.ioctl(descriptor, get_flags, buffer)
        before = struct.unpack("q", buffer)[0]
        fcntl.ioctl(descriptor, set_flags, struct.pack("q", (before & kept) | flags))
    finally:
        os.close(descriptor)


IMMUTABLE, APPEND_ONLY = 0x10, 0x20


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("flags", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("place", [b"directory/file", b"directory"])
def test_what_chattr_protects_waits_with_a_reason_and_holds_back_nothing_else(
    sites: list[LocalSite], caplog: pytest.LogCaptureFixture, flags: int, place: bytes
) -> None:
    bari, cnaf = sites
    bari.write(b"directory/file", b"old")
    bari.write(b"other", b"old")
    settle(bari, cnaf)
    try:
        _set_flags(cnaf.path(place), flags)
    except OSError as error:
        pytest.skip(f"this file system knows no such flag: {error.strerror}")
    try:
        bari.write(b"directory/file", b"new, and longer")
        bari.write(b"other", b"new")
        run(bari, cnaf, rounds=10)
        assert cnaf.read(b"other") == b"new"
        assert cnaf.read(b"directory/file") == b"old"
        reason = cnaf.engine.waiting()[b"directory", b"file"]
        assert "Operation not permitted" in reason
        word = "immutable" if flags == IMMUTABLE else "append-only"
        assert word in reason
        assert "chattr" in reason
        assert messages(caplog).count("change_failed") == 1
        cnaf.write(b"from cnaf", b"cnaf goes on")
        run(cnaf, bari)
        assert bari.read(b"from cnaf") == b"cnaf goes on"
    finally:
        _set_flags(cnaf.path(place), 0)
    cnaf.time.advance(60)
    assert_same(bari, cnaf)


class FailingDisk:
    """A disk of which some calls fail, with any error that a test wants."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.fails: Callable[[str, tuple[Any, ...]], Exception | None] = lambda *_: None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._disk, name)

        def call(*arguments: Any, **options: Any) -> Any:
            failure = self.fails(name, arguments)
            if failure is not None:
                raise failure
            return method(*arguments, **options)

        return call


@contextmanager
def failing(
    site: LocalSite, fails: Callable[[str, tuple[Any, ...]], Exception | None]
) -> Iterator[None]:
    disk = site.engine.site.disk
    assert isinstance(disk, FailingDisk)
    disk.fails = fails
    try:
        yield
    finally:
        disk.fails = lambda *_: None


@pytest.fixture
def fragile() -> Iterator[list[LocalSite]]:
    """Two sites, the second one on a disk that a test lets fail."""
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        cnaf.close()
        cnaf.wrap_disk = FailingDisk  # type: ignore[assignment]
        cnaf.open()
        settle(bari, cnaf)
        yield [bari, cnaf]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE])
@pytest.mark.parametrize("method", ["stage_file", "sync_stage"])
def test_a_disk_that_refuses_to_stage_or_sync_is_tried_again_and_capture_goes_on(
    fragile: list[LocalSite], caplog: pytest.LogCaptureFixture, method: str, number: int
) -> None:
    bari, cnaf = fragile
    bari.write(b"old", b"first")
    settle(bari, cnaf)
    bari.write(b"old", b"second")
    bari.write(b"new", b"from bari")
    calls = []

    def fails(name: str, _arguments: tuple[Any, ...]) -> Exception | None:
        if name == method:
            calls.append(name)
            return _error(number)
        return None

    with failing(cnaf, fails):
        cnaf.write(b"from cnaf", b"cnaf goes on")
        run(bari, cnaf, rounds=20)
        assert bari.read(b"from cnaf") == b"cnaf goes on"
        assert os.strerror(number) in cnaf.problems()["disk"]
        assert 1 < len(calls) < 15  # of 20 cycles
    assert messages(caplog).count("disk_failed") == 1
    assert_same(bari, cnaf)


def test_changes_that_can_not_be_made_durable_are_not_recorded_until_they_are(
    fragile: list[LocalSite],
) -> None:
    bari, cnaf = fragile
    bari.write(b"old", b"first")
    settle(bari, cnaf)
    bari.write(b"old", b"second")
    bari.write(b"new", b"from bari")
    bari.cycle()
    broken = {"sync_changes", "sync_everything"}
    with failing(cnaf, lambda name, _: _error(errno.EIO) if name in broken else None):
        run(cnaf, rounds=8)
        assert cnaf.journal.intents()
        assert "Input/output error" in cnaf.problems()["disk"]
    assert_same(bari, cnaf)
    assert cnaf.journal.intents() == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_file_or_directory_that_can_not_be_read_is_no_deletion_and_holds_back_nothing(
    fragile: list[LocalSite], number: int
) -> None:
    bari, cnaf = fragile
    for name in (b"bad/file", b"bad/other", b"good/file", b"single"):
        cnaf.write(name, b"first")
    settle(bari, cnaf)
    cnaf.write(b"single", b"second, unreadable")
    cnaf.write(b"good/file", b"second")

    def fails(name: str, arguments: tuple[Any, ...]) -> Exception | None:
        is_bad = name == "list_directory" and arguments[0] == b"bad"
        is_bad = is_bad or (name == "open_stable" and arguments[0] == b"single")
        return EntryUnreadable(os.strerror(number)) if is_bad else None

    with failing(cnaf, fails):
        run(cnaf, bari)
        assert bari.read(b"bad/file") == b"first"
        assert bari.read(b"single") == b"first"
        assert bari.read(b"good/file") == b"second"
        assert os.strerror(number) in cnaf.problems()["path bad"]
        assert os.strerror(number) in cnaf.problems()["path single"]
    assert_same(bari, cnaf)


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Leaves this process so many descriptors, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        for _ in range(highest):  # fill the gaps below
            descriptor = os.open("/dev/null", os.O_RDONLY)
            stack.callback(os.close, descriptor)
            if descriptor > highest:
                highest = descriptor
                break
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 5])
def test_a_process_without_descriptors_loses_nothing_and_goes_on_once_it_has_some(
    sites: list[LocalSite], spare: int
) -> None:
    bari, cnaf = sites
    for number in range(10):
        bari.write(b"directory %d/file" % number, b"first")
    settle(bari, cnaf)
    for number in range(10):
        bari.write(b"directory %d/file" % number, b"second")
        bari.write(b"directory %d/new" % number, b"new")
        cnaf.write(b"of cnaf %d/file" % number, b"new")
    bari.cycle()
    with few_descriptors(spare):
        run(cnaf, rounds=3)
    written = disk_tree(bari.root)
    run(bari, cnaf)
    assert written.keys() <= disk_tree(bari.root).keys()  # nothing was taken for deleted
    cnaf.time.advance(60)
    assert_same(bari, cnaf)


# Mounts


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("is_file", [False, True])
def test_what_is_mounted_below_the_root_is_left_alone_and_what_it_covers_is_not_deleted(
    sites: list[LocalSite], is_file: bool
) -> None:
    bari, cnaf = sites
    cnaf.write(b"covered/file", b"first")
    cnaf.write(b"other", b"first")
    settle(bari, cnaf)
    elsewhere = os.path.join(bari.base, b"elsewhere")
    os.makedirs(os.path.join(elsewhere, b"covered"))
    for name in (b"covered/stranger", b"file"):
        with open(os.path.join(elsewhere, name), "wb") as file:
            file.write(b"of somebody else")
    source, target = (b"file", b"covered/file") if is_file else (b"covered", b"covered")
    before = disk_tree(elsewhere)
    with bind_mount(os.path.join(elsewhere, source), cnaf.path(target)):
        bari.write(b"covered/file", b"second")
        bari.write(b"covered/new", b"new")
        bari.write(b"other", b"second")
        run(bari, cnaf, rounds=10)
        assert bari.read(b"covered/file") == b"second"
        assert not os.path.exists(bari.path(b"covered/stranger"))
        assert cnaf.read(b"other") == b"second"
        assert disk_tree(elsewhere) == before
        told = {**cnaf.problems(), **{str(k): v for k, v in cnaf.engine.waiting().items()}}
        assert any(
            "file system" in text or "cross-device" in text.lower() for text in told.values()
        )
    cnaf.time.advance(60)
    assert_same(bari, cnaf)
    assert cnaf.read(b"covered/file") == b"second"
    assert disk_tree(elsewhere) == before


# Clocks


def _set_clock_off(site: LocalSite, offset_s: float) -> None:
    clock = site.engine.site.clock
    assert isinstance(clock, SimulatedClock)
    clock.offset_ns = round(offset_s * 10**9)


@pytest.mark.parametrize("step_s", [10 * YEAR_S, -10 * YEAR_S, -60 * YEAR_S])
def test_a_clock_that_is_set_years_away_and_back_loses_nothing(
    sites: list[LocalSite], step_s: float
) -> None:
    bari, cnaf = sites
    bari.write(b"before", b"before")
    bari.write(b"file", b"0")
    settle(bari, cnaf)
    _set_clock_off(cnaf, step_s)
    cnaf.write(b"file", b"1: by the clock that is off")
    cnaf.write(b"meanwhile", b"meanwhile")
    settle(bari, cnaf)
    bari.write(b"file", b"2: after that, by the right clock")
    settle(bari, cnaf)
    assert cnaf.read(b"file") == b"2: after that, by the right clock"
    bari.write(b"removed", b"soon")
    settle(bari, cnaf)
    os.unlink(cnaf.path(b"removed"))
    settle(bari, cnaf)
    _set_clock_off(cnaf, 0)
    cnaf.write(b"file", b"3: the clock is right again")
    settle(bari, cnaf)
    assert bari.read(b"file") == b"3: the clock is right again"
    cnaf.reopen()
    settle(bari, cnaf)
    bari.time.advance(120)
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert disk_tree(bari.root).keys() == {b"before", b"file", b"meanwhile"}
    assert not bari.engine.conflicts()
