"""The parts of the simulated world do what their faults say, repeatably, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import re
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest

from conflict.observation import Attributes, DiskEntry, DiskKind
from geosync.disk.interface import (
    ROOT_PATH,
    Applied,
    Busy,
    EntryBusy,
    EntryUnreadable,
    Expected,
    Failed,
    Mismatch,
    RelativePath,
    RootLost,
    Staged,
)
from tests.simulation.disk_dice import NO_FAULTS, DiskDice, DiskFaults
from tests.simulation.inode_file_system import WRITEBACK_S, FileSystem, Inode
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import NS_PER_S, SimulatedClock, SimulatedTime
from tests.simulation.simulated_disk import SimulatedDisk
from tests.simulation.simulated_store import SimulatedStore, SimulatedStoreClient, StoreFaults
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible, StoreUnavailable

PATH = RelativePath(b"file")
OTHER = RelativePath(b"other")
LINKED = RelativePath(b"linked")
ATTRIBUTES = Attributes(0o640, b"www", b"www", 5)
NAME = "log/a/1"


class Site:
    """One machine with a disk and an application."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = SimulatedClock(SimulatedTime())
        self.file_system = FileSystem(self.clock)
        self.disk = SimulatedDisk(self.file_system, DiskDice(random.Random(seed)))
        self.marker = self.disk.initialise()
        self.application = SimulatedApplication(self.file_system)

    def staged(self, content: bytes) -> Staged:
        """Stages a file of that content."""
        file = self.disk.stage_file(len(content))
        file.write(content)
        return file.finish(ATTRIBUTES)

    def observed(self, path: RelativePath = PATH) -> DiskEntry:
        """Returns what is at the path, which must be something."""
        entry = self.disk.observe(path)
        assert entry is not None
        return entry

    def expected(self, path: RelativePath = PATH) -> Expected:
        """Returns what a change of the path has to expect now."""
        entry = self.observed(path)
        return Expected(entry.handle, entry.fingerprint)

    def race(self, act: Callable[[], None]) -> None:
        """Lets the application act once in the next window."""

        def once(_operation: str, _path: bytes) -> None:
            self.disk.window = lambda _operation, _path: None
            act()

        self.disk.window = once

    def trash(self) -> list[bytes]:
        """Returns the contents of the trash."""
        return [
            self.application.read(b".geosync/trash/" + retired.token)
            for retired in self.disk.retired()
        ]


@pytest.fixture
def site() -> Site:
    return Site()


# The clock


def test_a_step_moves_the_date_and_not_the_monotonic_clock() -> None:
    clock = SimulatedClock(SimulatedTime())
    wall_ns, monotonic_s = clock.wall_ns(), clock.monotonic_s()
    clock.step(-3600 * NS_PER_S)
    assert clock.wall_ns() == wall_ns - 3600 * NS_PER_S
    assert clock.monotonic_s() == monotonic_s


def test_clocks_of_one_time_drift_apart() -> None:
    time = SimulatedTime()
    exact, fast = SimulatedClock(time), SimulatedClock(time, drift_ppm=100)
    exact.advance(10_000)
    assert fast.monotonic_s() - exact.monotonic_s() == pytest.approx(1)
    assert fast.wall_ns() - exact.wall_ns() == NS_PER_S


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
def test_waiting_takes_its_time_unless_it_was_notified(drift_ppm: int) -> None:
    clock = SimulatedClock(SimulatedTime(), drift_ppm=drift_ppm)
    event = threading.Event()
    assert not clock.wait(event, 2.5)
    assert clock.monotonic_s() == pytest.approx(2.5)
    event.set()
    assert clock.wait(event, None)
    assert clock.monotonic_s() == pytest.approx(2.5)


def test_a_loop_of_short_waits_ends() -> None:
    clock = SimulatedClock(SimulatedTime(), drift_ppm=-200)
    for _ in range(3):
        clock.wait(threading.Event(), 1e-12)
    assert clock.monotonic_s() > 0


# The file system


def test_every_change_changes_the_fingerprint_even_when_no_time_passes(site: Site) -> None:
    seen = set()
    for _ in range(50):
        site.application.write(PATH, b"same")
        site.application.set_mtime(PATH, 7)
        seen.add(site.observed().fingerprint)
    assert len(seen) == 50


def test_a_used_inode_number_comes_back_with_another_handle(site: Site) -> None:
    site.application.write(PATH, b"old")
    old = site.file_system.lookup(PATH)
    site.application.remove(PATH)
    site.application.write(PATH, b"new")
    new = site.file_system.lookup(PATH)
    assert new.number == old.number
    assert new.handle != old.handle


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        (b"d", b"d/inside", errno.EINVAL),
        (b"f", b"d", errno.EISDIR),
        (b"d", b"f", errno.ENOTDIR),
        (b"e", b"d", errno.ENOTEMPTY),
        (b"absent", b"f", errno.ENOENT),
        (b"f", b"link/x", errno.ELOOP),
        (b"f", b"x" * 256, errno.ENAMETOOLONG),
    ],
)
def test_an_impossible_rename_changes_nothing(
    site: Site, source: bytes, target: bytes, code: int
) -> None:
    for directory in (b"d", b"d/child", b"e"):
        site.application.make_directory(directory)
    site.application.write(b"f", b"content")
    site.application.symlink(b"d", b"link")
    before = site.application.tree()
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        site.application.rename(source, target)
    assert site.application.tree() == before


def test_link_counts_are_right_after_random_calls(site: Site) -> None:
    """A file has as many links as names, a directory two and one for each directory in it."""
    chance = random.Random(3)
    application = site.application
    refused = 0
    for _ in range(500):
        path, other = _random_path(application, chance), _random_path(application, chance)
        call: Callable[[], None] = chance.choice(
            [
                partial(application.write, path, b"content"),
                partial(application.make_directory, path),
                partial(application.rename, path, other),
                partial(application.hard_link, path, other),
                partial(application.remove, path),
            ]
        )
        try:
            call()
        except OSError:
            refused += 1
        tree = application.tree()
        assert {p: i.link_count for p, i in tree.items()} == _link_counts(tree)
    assert 0 < refused < 500
    private = site.file_system.lookup(b".geosync")
    reachable = {2, private.number, *private.names.values()}
    reachable.update(inode.number for inode in application.tree().values())
    assert set(site.file_system.inodes) == reachable


def _random_path(application: SimulatedApplication, chance: random.Random) -> bytes:
    tree = application.tree()
    directories = [path for path, inode in tree.items() if inode.kind is DiskKind.DIRECTORY]
    name = b"%c" % chance.choice(b"abcdef")
    directory = chance.choice([b"", *directories])
    return directory + b"/" + name if directory else name


def _link_counts(tree: dict[bytes, Inode]) -> dict[bytes, int]:
    names = Counter(inode.number for inode in tree.values())
    directories = Counter(
        path.rpartition(b"/")[0] for path, inode in tree.items() if inode.kind is DiskKind.DIRECTORY
    )
    return {
        path: 2 + directories[path] if inode.kind is DiskKind.DIRECTORY else names[inode.number]
        for path, inode in tree.items()
    }


def test_a_file_that_was_removed_lives_as_long_as_it_is_open(site: Site) -> None:
    site.application.write(PATH, b"")
    file = site.application.open_for_writing(PATH)
    site.application.remove(PATH)
    file.write(b"late")
    assert site.file_system.inodes[file.number].content == b"late"
    file.close()
    assert file.number not in site.file_system.inodes


def test_a_snapshot_restores_the_state_of_its_moment(site: Site) -> None:
    site.application.write(PATH, b"old")
    before = site.application.tree()
    image = site.file_system.snapshot()
    site.application.save(PATH, b"new")
    site.application.make_directory(b"d")
    site.file_system.restore(image)
    assert site.application.tree() == before


def test_a_root_that_is_not_mounted_is_noticed(site: Site) -> None:
    site.application.write(PATH, b"content")
    site.file_system.unmount()
    with pytest.raises(RootLost):
        site.disk.check_root()
    with pytest.raises(RootLost):
        SimulatedDisk(site.file_system, DiskDice(random.Random(0))).initialise(site.marker)
    assert site.application.tree() == {}
    site.file_system.mount()
    site.disk.check_root()
    assert site.application.read(PATH) == b"content"


# Crashes


def test_a_power_cut_leaves_a_prefix_of_the_changes() -> None:
    lengths = set()
    for seed in range(40):
        site = Site()
        site.disk.sync_stage()
        for number in range(5):
            site.application.make_directory(b"%d" % number)
        site.disk.power_cut(random.Random(seed))
        left = list(site.application.tree())
        assert left == [b"%d" % number for number in range(len(left))]
        lengths.add(len(left))
    assert lengths == {0, 1, 2, 3, 4, 5}


def test_what_was_synced_survives_every_power_cut() -> None:
    for seed in range(40):
        site = Site()
        staged = site.staged(b"content")
        site.disk.sync_stage()
        assert isinstance(site.disk.place_new(staged, PATH), Applied)
        site.disk.sync_changes()
        site.disk.power_cut(random.Random(seed))
        assert site.application.read(PATH) == b"content"


def test_a_staged_file_that_was_named_before_its_sync_may_be_empty() -> None:
    contents = set()
    for seed in range(20):
        site = Site()
        site.disk.place_new(site.staged(b"content"), PATH)
        site.disk.sync_changes()
        site.disk.power_cut(random.Random(seed))
        contents.add(site.application.read(PATH))
    assert contents == {b"", b"content"}


def test_a_sync_of_the_stage_flushes_what_has_its_name_already() -> None:
    for seed in range(20):
        site = Site()
        site.disk.place_new(site.staged(b"content"), PATH)
        site.disk.sync_changes()
        site.disk.sync_stage()
        site.disk.power_cut(random.Random(seed))
        assert site.application.read(PATH) == b"content"


def test_the_kernel_writes_back_what_is_old(site: Site) -> None:
    site.application.write(PATH, b"content")
    site.clock.advance(WRITEBACK_S + 1)
    for seed in range(20):
        site.disk.power_cut(random.Random(seed))
        assert site.application.read(PATH) == b"content"


def test_a_crash_of_the_process_keeps_all_and_closes_what_it_staged(site: Site) -> None:
    site.disk.place_new(site.staged(b"content"), PATH)
    unfinished = site.disk.stage_file(1)
    unfinished.write(b"x")
    site.disk.crash()
    assert site.application.read(PATH) == b"content"
    with pytest.raises(OSError, match="not open"):
        unfinished.write(b"y")
    assert site.file_system.lookup(b".geosync/stage").names
    site.disk.clear_stage()
    assert not site.file_system.lookup(b".geosync/stage").names


class Killed(BaseException):
    """The process dies here."""


CHANGES: dict[str, Callable[[Site, Expected], object]] = {
    "place_new": lambda site, _: site.disk.place_new(site.staged(b"ours"), OTHER),
    "replace": lambda site, old: site.disk.replace(site.staged(b"ours"), PATH, old),
    "link": lambda site, old: site.disk.link(LINKED, site.expected(LINKED), PATH, old),
    "move": lambda site, old: site.disk.move(PATH, OTHER, old),
    "park": lambda site, old: site.disk.park(PATH, b"name", old),
    "remove_file": lambda site, old: site.disk.remove_file(PATH, old),
    "make_directory": lambda site, _: site.disk.make_directory(OTHER, ATTRIBUTES),
    "set_attributes": lambda site, old: site.disk.set_attributes(PATH, old, ATTRIBUTES),
}


@pytest.mark.parametrize("windows", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_in_any_window_loses_nothing_and_leaves_nothing_of_ours(
    site: Site, change: str, windows: int
) -> None:
    site.application.write(PATH, b"old")
    site.application.write(LINKED, b"linked")
    passed = iter(range(windows))

    def kill(_operation: str, _path: bytes) -> None:
        if next(passed, None) is None:
            raise Killed

    site.disk.window = kill
    with suppress(Killed):
        CHANGES[change](site, site.expected())
    site.disk.crash()
    assert b"ours" not in site.trash()
    site.disk.clear_stage()
    contents = [inode.content for inode in site.application.tree().values()] + site.trash()
    parked = site.file_system.lookup(b".geosync/parked").names
    assert contents.count(b"old") + len(parked) == 1
    assert b"linked" in contents
    assert len(site.file_system.lookup(b".geosync/trash").names) == len(site.trash())
    assert not site.file_system.lookup(b".geosync/stage").names


# The window


def test_a_file_renamed_over_in_the_window_is_put_back(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    site.race(lambda: site.application.save(PATH, b"theirs"))
    outcome = site.disk.replace(staged, PATH, expected)
    assert outcome == Mismatch(site.observed())
    assert site.application.read(PATH) == b"theirs"
    assert site.trash() == [b"ours"]  # which a program may have opened while it had the name


def test_what_is_written_to_the_new_file_before_the_swap_is_undone_is_kept(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    races = [
        lambda: site.application.save(PATH, b"theirs"),
        lambda: site.application.append(PATH, b" and more"),
    ]
    site.disk.window = lambda _operation, _path: races.pop(0)() if races else None
    assert site.disk.replace(staged, PATH, expected) == Mismatch(site.observed())
    site.disk.discard_staged(staged)
    assert site.application.read(PATH) == b"theirs"
    assert site.trash() == [b"ours and more"]


@pytest.mark.parametrize("contents", [[b"1", b"2"], [b"1", b"2", b"3"], [b"1", b"2", b"3", b"4"]])
def test_of_files_renamed_over_one_after_the_other_the_last_one_stays(
    site: Site, contents: list[bytes]
) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    saves = iter(contents)

    def save(_operation: str, path: bytes) -> None:
        if (content := next(saves, None)) is not None:
            site.application.save(path, content)

    site.disk.window = save
    assert site.disk.replace(staged, PATH, expected) == Mismatch(site.observed())
    assert site.application.read(PATH) == contents[-1]
    assert len(site.trash()) == 1
    assert site.trash()[0] in contents


@pytest.mark.parametrize(("change", "windows_before"), [("replace", 1), ("link", 2)])
def test_a_file_that_comes_right_after_the_swap_is_not_taken_for_ours(
    site: Site, change: str, windows_before: int
) -> None:
    site.application.write(PATH, b"old")
    site.application.write(LINKED, b"linked")
    passed = iter(range(windows_before))

    def save(_operation: str, _path: bytes) -> None:
        if next(passed, None) is None:
            site.application.save(PATH, b"theirs")

    site.disk.window = save
    outcome = CHANGES[change](site, site.expected())
    assert isinstance(outcome, Applied)
    assert outcome.entry is not None
    assert outcome.entry.handle != site.observed().handle
    assert site.application.read(PATH) == b"theirs"


def test_a_write_in_the_window_is_put_back_even_with_its_mtime_restored(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()

    def write() -> None:
        mtime_ns = site.observed().attributes.mtime_ns
        site.application.write(PATH, b"new")
        site.application.set_mtime(PATH, mtime_ns)

    site.race(write)
    assert isinstance(site.disk.replace(staged, PATH, expected), Mismatch)
    assert site.application.read(PATH) == b"new"


def test_a_removal_in_the_window_leaves_the_name_free(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    site.race(lambda: site.application.remove(PATH))
    assert site.disk.replace(staged, PATH, expected) == Mismatch(None)
    assert not site.application.exists(PATH)


def test_a_writer_from_before_the_swap_writes_to_the_retired_inode(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    opened = []
    site.race(lambda: opened.append(site.application.open_for_writing(PATH)))
    outcome = site.disk.replace(staged, PATH, expected)
    assert isinstance(outcome, Applied)
    assert outcome.retired is not None
    opened[0].write(b" and late")
    assert site.disk.discard_retired(outcome.retired) != Applied(None)
    opened[0].close()
    assert isinstance(site.disk.discard_retired(outcome.retired), Mismatch)
    (retired,) = site.disk.retired()
    with site.disk.open_retired(retired) as reader:
        assert b"".join(reader.blocks(3)) == b"old and late"
    assert site.disk.discard_retired(retired) == Applied(None)


@pytest.mark.parametrize("change", ["move", "park", "remove_file", "set_attributes"])
def test_no_change_touches_a_file_that_came_in_its_window(site: Site, change: str) -> None:
    site.application.write(PATH, b"old")
    expected = site.expected()
    site.race(lambda: site.application.save(PATH, b"theirs"))
    acts = {
        "move": lambda: site.disk.move(PATH, RelativePath(b"elsewhere"), expected),
        "park": lambda: site.disk.park(PATH, b"name", expected),
        "remove_file": lambda: site.disk.remove_file(PATH, expected),
        "set_attributes": lambda: site.disk.set_attributes(PATH, expected, ATTRIBUTES),
    }
    assert acts[change]() == Mismatch(site.observed())
    assert list(site.application.tree()) == [PATH]
    assert site.application.read(PATH) == b"theirs"
    assert site.application.tree()[PATH].attributes.mode == 0o644
    assert site.trash() == []


@pytest.mark.parametrize("change", ["move", "park", "link"])
def test_a_write_in_the_window_differs_from_the_entry_that_is_returned(
    site: Site, change: str
) -> None:
    site.application.write(PATH, b"old")
    old = site.expected()
    acts: dict[str, Callable[[], object]] = {
        "move": lambda: site.disk.move(PATH, OTHER, old),
        "park": lambda: site.disk.park(PATH, b"name", old),
        "link": lambda: site.disk.link(PATH, old, OTHER, None),
    }
    site.race(lambda: site.application.append(PATH, b" and new"))
    outcome = acts[change]()
    assert isinstance(outcome, Applied)
    assert outcome.entry is not None
    path = site.disk.parked_path(b"name") if change == "park" else OTHER
    assert outcome.entry.fingerprint != site.observed(path).fingerprint


def test_a_change_of_a_busy_file_waits_unless_it_leaves_the_content_alone(site: Site) -> None:
    site.application.write(PATH, b"old")
    old, staged = site.expected(), site.staged(b"ours")
    with site.application.open_for_writing(PATH):
        assert site.disk.replace(staged, PATH, old) == Busy()
        assert site.disk.remove_file(PATH, old) == Busy()
        assert site.disk.set_attributes(PATH, old, ATTRIBUTES) == Busy()
        assert isinstance(site.disk.move(PATH, OTHER, old), Applied)


def test_a_writer_tears_a_read(site: Site) -> None:
    site.application.write(PATH, b"0123456789")
    with site.disk.open_stable(PATH, site.observed().handle) as reader:
        blocks = reader.blocks(4)
        assert next(blocks) == b"0123"
        site.application.open_for_writing(PATH)
        with pytest.raises(EntryBusy):
            list(blocks)


# Faults of the disk


def test_each_fault_of_the_disk_shows_where_it_belongs(site: Site) -> None:
    site.application.write(PATH, b"old")
    staged, expected = site.staged(b"ours"), site.expected()
    site.disk.dice.faults = DiskFaults(stage_full=1)
    with pytest.raises(OSError, match="No space"):
        site.disk.stage_file(1)
    site.disk.dice.faults = DiskFaults(sync_error=1)
    with pytest.raises(OSError, match="Input/output"):
        site.disk.sync_stage()
    site.disk.dice.faults = DiskFaults(read_error=1)
    with pytest.raises(EntryUnreadable):
        site.disk.observe(PATH)
    site.disk.dice.faults = DiskFaults(busy=1)
    assert site.disk.replace(staged, PATH, expected) == Busy()
    site.disk.dice.faults = DiskFaults(refused=1)
    assert isinstance(site.disk.replace(staged, PATH, expected), Failed)
    site.disk.dice.faults = NO_FAULTS
    assert isinstance(site.disk.replace(staged, PATH, expected), Applied)


def test_a_listing_names_what_it_could_not_read(site: Site) -> None:
    names = [b"%03d" % number for number in range(100)]
    for name in names:
        site.application.write(name, b"")
    site.disk.dice.faults = DiskFaults(read_error=0.3)
    for _ in range(20):
        try:
            listing = site.disk.list_directory(ROOT_PATH)
        except EntryUnreadable:
            continue
        unreadable = [name for name, _ in listing.unreadable]
        assert sorted([entry.name for entry in listing.entries] + unreadable) == names
        assert 0 < len(unreadable) < len(names)


# The store

NASTY = StoreFaults(
    lag=0.3,
    unavailable=0.1,
    answer_lost=0.1,
    done_late=0.1,
    repeated=0.1,
    resurrected=0.2,
    invisible=0.1,
    corrupt=0.1,
    truncated=0.1,
    row_missing=0.1,
    row_ghost=0.1,
    listing_stale=0.1,
)


def _world(faults: StoreFaults, seed: int = 0) -> tuple[SimulatedTime, SimulatedStore]:
    time = SimulatedTime()
    return time, SimulatedStore(time, random.Random(seed), faults)


def _answer(request: Callable[[], object]) -> object:
    try:
        return request()
    except (CorruptObject, ObjectCollision, ObjectNotVisible, StoreUnavailable) as error:
        return type(error).__name__


def _listing(client: SimulatedStoreClient) -> tuple[str, ...]:
    return tuple(client.list_names("log/"))


def _history(seed: int) -> list[object]:
    """Runs two sites against a nasty store and returns every answer."""
    time, store = _world(NASTY, seed)
    chance = random.Random(seed)
    sites = [store.client("a"), store.client("b")]
    answers: list[object] = []
    for _ in range(400):
        time.advance(chance.random())
        site, name = chance.choice(sites), f"log/x/{chance.randrange(20)}"
        requests: list[Callable[[], object]] = [
            partial(site.put_once, name, name.encode() * 9),
            partial(site.get, name, size_bytes_max=1000),
            partial(site.get_range, name, 2, 5),
            partial(_listing, site),
            partial(site.delete, name),
        ]
        answers.append(_answer(chance.choice(requests)))
    return [*answers, store.bodies()]


def test_a_seed_repeats_its_run_and_another_does_not() -> None:
    assert _history(1) == _history(1)
    assert _history(1) != _history(2)


def test_every_kind_of_answer_occurs() -> None:
    kinds = {answer for answer in _history(1) if isinstance(answer, str)}
    assert kinds == {"CorruptObject", "ObjectNotVisible", "StoreUnavailable"}


@pytest.mark.parametrize("seed", range(20))
def test_what_was_acknowledged_is_visible_to_all_once_it_is_quiet(seed: int) -> None:
    time, store = _world(NASTY, seed)
    chance = random.Random(seed)
    acknowledged = {}
    for number in range(100):
        time.advance(chance.random())
        site, name, body = f"s{number % 3}", f"packs/{number}", b"%d" % number
        if _answer(partial(store.client(site).put_once, name, body)) is None:
            acknowledged[name] = body
    store.quiet()
    assert len(acknowledged) > 50
    for site in ("s0", "s1", "s2"):
        client = store.client(site)
        seen = {name: client.get(name, size_bytes_max=9) for name in acknowledged}
        assert seen == acknowledged
        assert set(acknowledged) <= set(client.list_names("packs/"))
        assert list(client.list_names("packs/")) == sorted(store.bodies())


def test_an_acknowledged_object_may_be_invisible_until_the_lag_is_over() -> None:
    time, store = _world(StoreFaults(lag=0.5, delay_s_max=10))
    client = store.client("a")
    names = [f"log/a/{number}" for number in range(50)]
    for name in names:
        client.put_once(name, b"body")
    answers = {_answer(partial(client.get, name, size_bytes_max=9)) for name in names}
    assert answers == {b"body", "ObjectNotVisible"}
    time.advance(10)
    assert {client.get(name, size_bytes_max=9) for name in names} == {b"body"}


@pytest.mark.parametrize(("fault", "is_stored"), [("unavailable", False), ("answer_lost", True)])
def test_after_503_an_object_is_stored_or_not(fault: str, is_stored: bool) -> None:
    _, store = _world(replace(StoreFaults(), **{fault: 1.0}))
    with pytest.raises(StoreUnavailable):
        store.client("a").put_once(NAME, b"body")
    assert (NAME in store.bodies()) == is_stored


def test_a_write_that_timed_out_may_arrive_after_its_deletion() -> None:
    time, store = _world(StoreFaults(done_late=1))
    client = store.client("a")
    with pytest.raises(StoreUnavailable):
        client.put_once(NAME, b"body")
    client.delete(NAME)
    time.advance(60)
    assert client.get(NAME, size_bytes_max=9) == b"body"


@pytest.mark.parametrize("fault", ["resurrected", "repeated"])
def test_a_deleted_object_may_come_back(fault: str) -> None:
    time, store = _world(replace(StoreFaults(), **{fault: 1.0}))
    client = store.client("a")
    client.put_once(NAME, b"body")
    client.delete(NAME)
    assert store.bodies() == {}
    time.advance(60)
    assert client.get(NAME, size_bytes_max=9) == b"body"


@pytest.mark.parametrize("fault", ["corrupt", "truncated"])
def test_a_damaged_body_is_noticed_as_a_whole(fault: str) -> None:
    _, store = _world(replace(StoreFaults(), **{fault: 1.0}))
    client = store.client("a")
    client.put_once(NAME, b"body")
    with pytest.raises(CorruptObject):
        client.get(NAME, size_bytes_max=9)
    store.quiet()
    assert client.get(NAME, size_bytes_max=9) == b"body"


def test_a_flipped_bit_in_a_part_is_for_the_reader_to_notice() -> None:
    _, store = _world(StoreFaults(corrupt=1))
    client = store.client("a")
    client.put_once(NAME, b"body")
    part = client.get_range(NAME, 0, 4)
    assert len(part) == 4
    assert part != b"body"


def test_a_listing_misses_rows_shows_ghosts_and_is_old() -> None:
    _, store = _world(StoreFaults(row_missing=0.5))
    client = store.client("a")
    names = {f"log/{number}" for number in range(40)}
    for name in names:
        client.put_once(name, b"")
    assert set(client.list_names("log/")) < names
    store.faults = StoreFaults(row_ghost=0.5)
    client.delete("log/7")
    assert {"log/7" in set(client.list_names("log/")) for _ in range(20)} == {True, False}
    store.faults = StoreFaults(listing_stale=1)
    assert list(client.list_names("log/")) == []
    assert len(list(client.list_names("log/"))) == 39


def test_a_partition_shuts_one_site_out_and_an_outage_all() -> None:
    _, store = _world(StoreFaults())
    near, far = store.client("near"), store.client("far")
    store.cut_off.add("far")
    near.put_once(NAME, b"body")
    with pytest.raises(StoreUnavailable):
        far.get(NAME, size_bytes_max=9)
    store.is_down = True
    with pytest.raises(StoreUnavailable):
        near.get(NAME, size_bytes_max=9)
    store.quiet()
    assert far.get(NAME, size_bytes_max=9) == b"body"


def test_split_regions_acknowledge_two_bodies_of_one_name_and_keep_the_later() -> None:
    """As Swift does; whoever shares an identity across a partition must not rely on a collision."""
    _, store = _world(StoreFaults())
    one, two = store.client("one"), store.client("two")
    store.split()
    one.put_once(NAME, b"first")
    two.put_once(NAME, b"second")
    assert one.get(NAME, size_bytes_max=9) == b"first"
    store.quiet()
    assert one.get(NAME, size_bytes_max=9) == b"second"
    assert store.sent[NAME] == {b"first", b"second"}


@pytest.mark.parametrize("seed", range(10))
def test_a_collision_is_answered_only_when_bytes_differ(seed: int) -> None:
    time, store = _world(NASTY, seed)
    for number in range(200):
        time.advance(1)
        answer = _answer(partial(store.client("a").put_once, f"log/{number % 9}", b"same"))
        assert answer in {None, "StoreUnavailable"}
    store.quiet()
    with pytest.raises(ObjectCollision):
        store.client("b").put_once("log/1", b"other")
