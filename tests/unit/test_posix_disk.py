"""What only a real disk has: racing programs, mappings, leases, owners, file systems."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conflict.content import Zeros
from conflict.observation import Attributes, DiskEntry
from geosync.disk.displacement import exchange_back
from geosync.disk.held import known
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
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
from geosync.disk.posix_disk import PosixDisk
from geosync.disk.renames import exchange, rename_to_free
from geosync.disk.syscalls import open_beneath, walk_beneath
from geosync.disk.tree import Place
from tests.support.posix_disk_world import NOTHING_SPECIAL

FILE = RelativePath(b"file")
NOBODY = 65534
is_root = os.geteuid() == 0


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    path = tmp_path / "root"
    path.mkdir()
    return bytes(path)


@pytest.fixture
def disk(root: bytes) -> Iterator[PosixDisk]:
    disk = PosixDisk(root)
    disk.initialise()
    yield disk
    disk.close()


def attributes_of(disk: PosixDisk) -> Attributes:
    entry = disk.observe(ROOT_PATH)
    assert entry is not None
    return replace(entry.attributes, mode=0o644, mtime_ns=1_000_000_000)


def entry_at(disk: PosixDisk, path: bytes) -> DiskEntry:
    entry = disk.observe(RelativePath(path))
    assert entry is not None
    return entry


def expected_at(disk: PosixDisk, path: bytes) -> Expected:
    entry = entry_at(disk, path)
    return Expected(entry.handle, entry.fingerprint)


def stage(disk: PosixDisk, content: bytes) -> Staged:
    file = disk.stage_file(len(content))
    file.write(content)
    return file.finish(attributes_of(disk))


def write(root: bytes, name: bytes, content: bytes) -> None:
    with open(os.path.join(root, name), "wb") as file:
        file.write(content)


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def in_a_loop(step: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Repeats a step in another thread until the block ends.

    Yields a function that tells how often it was done, and raises what it raised.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    done = 0

    def run() -> None:
        nonlocal done
        try:
            while not stop.is_set():
                step()
                done += 1
        except BaseException as failure:  # noqa: BLE001 - reported by the thread that waits
            failures.append(failure)

    def done_so_far() -> int:
        if failures:
            raise failures[0]
        return done

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield done_so_far
    finally:
        stop.set()
        thread.join()
    done_so_far()


class Saver:
    """A program that swaps new files with the one at the name, and keeps all that it swaps out.

    As it exchanges names and overwrites none, nobody but geosync could lose one of the files.
    """

    def __init__(self, drawer: bytes, root: bytes) -> None:
        os.mkdir(drawer)
        self.drawer = drawer
        self._drawer = os.open(drawer, os.O_RDONLY)
        self._root = os.open(root, os.O_RDONLY)
        self.made = {b"app-start"}
        write(root, FILE, b"app-start")

    def close(self) -> None:
        os.close(self._drawer)
        os.close(self._root)

    def save(self) -> None:
        name = b"app-%d" % len(self.made)
        write(self.drawer, name, name)
        self.made.add(name)
        while not self._exchange(name) and not self._place(name):
            pass

    def _exchange(self, name: bytes) -> bool:
        try:
            exchange(Place(self._drawer, name), Place(self._root, FILE))
        except FileNotFoundError:
            return False
        return True

    def _place(self, name: bytes) -> bool:
        try:
            rename_to_free(Place(self._drawer, name), Place(self._root, FILE))
        except FileExistsError:
            return False
        return True


class TestRaces:
    def test_a_reader_never_misses_the_file_nor_sees_a_mix(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        contents = [bytes([value]) * 20_000 for value in range(1, 101)]
        write(root, FILE, contents[0])
        path = os.path.join(root, FILE)

        def look() -> None:
            content = read(path)
            assert content == content[:1] * 20_000

        with in_a_loop(look) as looks:
            for number in range(500):
                staged = stage(disk, contents[number % 100])
                outcome = disk.replace(staged, FILE, expected_at(disk, FILE))
                assert isinstance(outcome, Applied)
                assert outcome.retired is not None
                assert isinstance(disk.discard_retired(outcome.retired), Applied)
        assert looks() > 0

    def test_a_parent_swapped_with_a_symlink_never_leads_outside(
        self, disk: PosixDisk, root: bytes, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"outside")
        os.mkdir(os.path.join(root, b"d"))
        write(root, b"d/secret", b"inside")
        os.symlink(bytes(outside), os.path.join(root, b"link"))
        descriptor = os.open(root, os.O_RDONLY)
        inside = entry_at(disk, b"d/secret").handle
        placed = 0
        with in_a_loop(
            lambda: exchange(Place(descriptor, b"d"), Place(descriptor, b"link"))
        ) as swaps:
            while placed < 100 or swaps() < 100:
                seen = disk.observe(RelativePath(b"d/secret"))
                assert seen is None or seen.handle == inside
                path = RelativePath(b"d/new%d" % placed)
                outcome = disk.place_new(stage(disk, b"x"), path)
                placed += isinstance(outcome, Applied)
        os.close(descriptor)
        assert os.listdir(outside) == ["secret"]
        disk.clear_stage()

    @pytest.mark.parametrize("change", ["replace", "remove", "move"])
    def test_no_inode_is_lost_when_a_program_swaps_files_all_the_time(
        self, disk: PosixDisk, root: bytes, tmp_path: Path, change: str
    ) -> None:
        """Each file that either side makes is found afterwards, and each change was as told.

        They are at the name, with the program, in the stage, in the trash, or moved.
        """
        saver = Saver(bytes(tmp_path / "drawer"), root)
        moved = RelativePath(b"moved")

        def change_once(expected: Expected) -> object:
            if change == "remove":
                return disk.remove_file(FILE, expected)
            if change == "move":
                outcome = disk.move(FILE, moved, expected)
                now = disk.observe(moved)
                if isinstance(outcome, Applied):
                    assert now is not None
                    assert now.handle == expected.handle
                if now is not None:  # or the program's, whose name was taken again meanwhile
                    os.rename(
                        os.path.join(root, moved),
                        os.path.join(saver.drawer, now.handle.hex().encode()),
                    )
                return outcome
            name = b"ours-%d" % len(saver.made)
            staged = stage(disk, name)
            saver.made.add(name)
            outcome = disk.replace(staged, FILE, expected)
            if isinstance(outcome, Mismatch):
                now = disk.observe(FILE)
                assert now is None or now.handle != staged.handle
            return outcome

        outcomes = set()
        with in_a_loop(saver.save) as saves:
            while not {Applied, Mismatch} <= outcomes or saves() < 2000:
                found = disk.observe(FILE)
                if found is None:
                    continue
                expected = Expected(found.handle, found.fingerprint)
                outcome = change_once(expected)
                outcomes.add(type(outcome))
                if isinstance(outcome, Applied) and outcome.retired is not None:
                    with disk.open_retired(outcome.retired) as reader:
                        assert reader.entry.handle == expected.handle
        saver.close()
        private = (os.path.join(root, PRIVATE_DIRECTORY, d) for d in (b"stage", b"trash"))
        kept = [
            read(os.path.join(place, name))
            for place in (saver.drawer, root, *private)
            for name in os.listdir(place)
            if name != PRIVATE_DIRECTORY
        ]
        assert sorted(kept) == sorted(saver.made)

    def test_a_file_renamed_over_the_name_is_at_the_name_or_in_the_trash(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        path = os.path.join(root, FILE)
        temporary = os.path.join(root, b"temporary")
        write(root, FILE, b"app-0")
        for number in range(1, 400):
            expected = expected_at(disk, FILE)
            staged = stage(disk, b"ours")
            write(root, b"temporary", b"app-%d" % number)
            start = threading.Barrier(2)

            def save(start: threading.Barrier = start) -> None:
                start.wait()
                os.rename(temporary, path)

            thread = threading.Thread(target=save)
            thread.start()
            start.wait()
            disk.replace(staged, FILE, expected)
            thread.join()
            trash = os.path.join(root, b".geosync/trash")
            kept = {read(os.path.join(trash, name)) for name in os.listdir(trash)} | {read(path)}
            assert b"app-%d" % number in kept
            for retired in list(disk.retired()):
                disk.discard_retired(retired)
            disk.discard_staged(staged)
            write(root, FILE, b"app")


class TestUndo:
    """A swap that displaced the wrong file is undone, whatever a program does meanwhile."""

    @pytest.mark.parametrize("saves", [0, 1, 2, 3, 6])
    def test_the_newest_file_of_the_program_ends_at_the_name(self, root: bytes, saves: int) -> None:
        """The program saves by rename right before each of the first exchanges."""
        os.mkdir(os.path.join(root, b"trash"))
        write(root, FILE, b"staged")
        write(root, b"trash/token", b"saved before")
        top = os.open(root, os.O_RDONLY)
        private, place = Place(top, b"trash/token"), Place(top, FILE)
        made = 0

        def swap(first: Place, second: Place) -> None:
            nonlocal made
            if made < saves:
                made += 1
                write(root, b"temporary", b"saved %d" % made)
                os.rename(os.path.join(root, b"temporary"), os.path.join(root, FILE))
            exchange(first, second)

        def content_at(place: Place) -> bytes:
            return read(os.path.join(root, place.name))

        exchange_back(private, place, b"staged", content_at, swap)
        os.close(top)
        newest = b"saved %d" % saves if saves else b"saved before"
        assert content_at(place) == newest
        displaced = {0: b"staged", 1: b"saved before"}.get(saves, b"saved %d" % (saves - 1))
        assert content_at(private) == displaced

    def test_a_name_that_the_program_removed_stays_free(self, root: bytes) -> None:
        write(root, b"token", b"saved before")
        top = os.open(root, os.O_RDONLY)
        exchange_back(Place(top, b"token"), Place(top, FILE), b"", lambda _place: b"?", exchange)
        os.close(top)
        assert os.listdir(root) == [b"token"]

    def test_a_write_in_the_window_is_not_taken_for_what_was_known(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        """What a change returns has the new ctime, but the size and mtime that were compared."""
        write(root, FILE, b"known")
        before = entry_at(disk, FILE)
        write(root, FILE, b"written in the window")
        now = entry_at(disk, FILE)
        told = known(before, now)
        assert told.fingerprint.ctime_ns == now.fingerprint.ctime_ns
        assert told.fingerprint.size_bytes == 5
        assert told.fingerprint.mtime_ns == before.fingerprint.mtime_ns
        assert told.attributes == before.attributes


class TestWriters:
    def test_a_mapping_whose_descriptor_is_closed_is_a_writer(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        write(root, FILE, bytes(4096))
        expected = expected_at(disk, FILE)
        descriptor = os.open(os.path.join(root, FILE), os.O_RDWR)
        with mmap.mmap(descriptor, 4096) as mapping:
            os.close(descriptor)
            with pytest.raises(EntryBusy), disk.open_stable(FILE, expected.handle):
                pass
            assert disk.replace(stage(disk, b"new"), FILE, expected) == Busy()
            mapping[0] = 1
        with disk.open_stable(FILE, expected.handle) as reader:
            assert b"".join(reader.blocks(8192))[:1] == b"\x01"

    def test_a_broken_lease_does_not_end_the_process(self, root: bytes) -> None:
        """The default action of SIGIO would."""
        write(root, FILE, b"1234")
        program = """
import os, signal, sys
from geosync.disk.interface import EntryBusy
from geosync.disk.posix_disk import PosixDisk
signal.signal(signal.SIGIO, signal.SIG_DFL)
disk = PosixDisk(os.fsencode(sys.argv[1]))
disk.initialise()
with disk.open_stable(b"file", disk.observe(b"file").handle) as reader:
    try:
        os.open(os.path.join(sys.argv[1], "file"), os.O_WRONLY | os.O_NONBLOCK)
    except BlockingIOError:
        pass
    try:
        list(reader.blocks(1))
    except EntryBusy:
        print("busy")
"""
        finished = subprocess.run(
            [sys.executable, "-c", program, os.fsdecode(root)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (finished.returncode, finished.stdout) == (0, "busy\n"), finished.stderr

    def test_a_store_through_a_mapping_is_noticed_without_leases(self, root: bytes) -> None:
        """The second store leaves the times alone; only a second reading finds it."""
        disk = PosixDisk(root, replace(NOTHING_SPECIAL, handles=True))
        disk.initialise()
        write(root, FILE, bytes(8192))
        descriptor = os.open(os.path.join(root, FILE), os.O_RDWR)
        with mmap.mmap(descriptor, 8192) as mapping:
            mapping[0] = 1
            handle = entry_at(disk, FILE).handle
            with disk.open_stable(FILE, handle) as reader:
                blocks = reader.blocks(4096)
                next(blocks)
                mapping[0] = 2
                with pytest.raises(EntryBusy):
                    list(blocks)
        os.close(descriptor)
        disk.close()


class TestStage:
    def test_runs_of_zeros_take_no_space(self, disk: PosixDisk, root: bytes) -> None:
        file = disk.stage_file(10 << 20)
        for _ in range(10):
            file.write(bytes(1 << 20))
        disk.place_new(file.finish(attributes_of(disk)), FILE)
        status = os.stat(os.path.join(root, FILE))
        assert status.st_size == 10 << 20
        assert status.st_blocks == 0

    def test_a_file_that_can_not_fit_is_refused_at_once(self, disk: PosixDisk) -> None:
        with pytest.raises(OSError, match="no room") as caught:
            disk.stage_file(1 << 60)
        assert caught.value.errno == errno.ENOSPC

    def test_a_staged_file_that_a_kill_left_in_the_trash_is_cleared(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        """Killed after it was brought there, before the swap."""
        write(root, FILE, b"old")
        outcome = disk.remove_file(FILE, expected_at(disk, FILE))
        assert isinstance(outcome, Applied)
        staged = stage(disk, b"new")
        private = os.path.join(root, b".geosync")
        os.rename(
            os.path.join(private, b"stage", staged.token),
            os.path.join(private, b"trash", staged.token),
        )
        assert list(disk.retired()) == [outcome.retired]
        disk.clear_stage()
        assert list(disk.retired()) == [outcome.retired]
        assert len(os.listdir(os.path.join(private, b"trash"))) == 1

    def test_an_inode_displaced_before_a_kill_is_kept(self, disk: PosixDisk, root: bytes) -> None:
        """Killed right after the swap, before anything was verified."""
        write(root, FILE, b"theirs")
        staged = stage(disk, b"new")
        private = os.path.join(root, b".geosync")
        os.rename(
            os.path.join(private, b"stage", staged.token),
            os.path.join(private, b"trash", staged.token),
        )
        trash = os.open(os.path.join(private, b"trash"), os.O_RDONLY)
        top = os.open(root, os.O_RDONLY)
        exchange(Place(trash, staged.token), Place(top, FILE))
        os.close(trash)
        os.close(top)
        disk.clear_stage()
        (retired,) = disk.retired()
        with disk.open_retired(retired) as reader:
            assert b"".join(reader.blocks(100)) == b"theirs"
        assert read(os.path.join(root, FILE)) == b"new"


class TestAttributes:
    def test_user_attributes_and_access_control_lists_are_set_exactly(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        write(root, FILE, b"1")
        path = os.path.join(root, FILE)
        os.setxattr(path, "user.stale", b"x")
        wanted = replace(
            attributes_of(disk),
            mode=0o640,
            extended=(
                (b"acl.access:group:", b"---"),
                (b"acl.access:user:#1234", b"rw-"),
                (b"user.k\xff", b"\0\xff"),
            ),
        )
        outcome = disk.set_attributes(FILE, expected_at(disk, FILE), wanted)
        assert isinstance(outcome, Applied)
        assert outcome.entry is not None
        assert outcome.entry.attributes == wanted

    def test_other_namespaces_are_neither_read_nor_removed(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        if not is_root:
            pytest.skip("only root may set such an attribute")
        write(root, FILE, b"1")
        path = os.path.join(root, FILE)
        os.setxattr(path, "trusted.k", b"v")
        assert entry_at(disk, FILE).attributes.extended == ()
        disk.set_attributes(FILE, expected_at(disk, FILE), attributes_of(disk))
        assert os.getxattr(path, "trusted.k") == b"v"

    def test_an_attribute_that_is_too_large_does_not_stop_the_others(self, disk: PosixDisk) -> None:
        wanted = replace(
            attributes_of(disk),
            extended=((b"user.large", bytes(70_000)), (b"user.small", b"v")),
        )
        file = disk.stage_file(0)
        outcome = disk.place_new(file.finish(wanted), FILE)
        assert isinstance(outcome, Applied)
        assert outcome.entry is not None
        assert outcome.entry.attributes == replace(wanted, extended=((b"user.small", b"v"),))

    @pytest.mark.root
    @pytest.mark.skipif(not is_root, reason="only root may give files away")
    def test_owner_and_group_are_set_and_setuid_survives(self, disk: PosixDisk) -> None:
        wanted = replace(attributes_of(disk), owner=b"#4242", group=b"#4243", mode=0o6755)
        outcome = disk.place_new(disk.stage_file(0).finish(wanted), FILE)
        assert isinstance(outcome, Applied)
        assert outcome.entry is not None
        assert outcome.entry.attributes == wanted

    def test_setuid_is_dropped_when_its_owner_is_unknown_here(self, disk: PosixDisk) -> None:
        wanted = replace(attributes_of(disk), owner=b"no-such-user", mode=0o4755)
        outcome = disk.place_new(disk.stage_file(0).finish(wanted), FILE)
        assert isinstance(outcome, Applied)
        assert outcome.entry is not None
        assert outcome.entry.attributes.mode == 0o755


@pytest.mark.root
@pytest.mark.skipif(not is_root, reason="only root can become somebody else")
class TestWithoutPrivileges:
    """The same disk in a process that may not change owners, nor lease others' files."""

    def run(self, root: bytes, statements: str) -> str:
        program = f"""
import os, sys
from dataclasses import replace
from geosync.disk.interface import *
from geosync.disk.posix_disk import PosixDisk
disk = PosixDisk(b"root")  # another user may not look through the directories above it
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
disk.initialise()
attributes = disk.observe(b"").attributes
{statements}
"""
        finished = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=os.path.dirname(root),
            env={"PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    @pytest.fixture(autouse=True)
    def _give_root_away(self, root: bytes) -> None:
        os.chown(root, NOBODY, NOBODY)

    def test_what_may_be_set_is_set(self, root: bytes) -> None:
        self.run(
            root,
            """
wanted = replace(attributes, owner=b"root", group=b"root", mode=0o6751, mtime_ns=5)
placed = disk.place_new(disk.stage_file(0).finish(wanted), b"file").entry.attributes
assert placed == replace(attributes, mode=0o751, mtime_ns=5), placed
made = disk.make_directory(b"d", replace(wanted, mode=0o555)).entry.attributes
assert made == replace(attributes, mode=0o555, mtime_ns=5), made
""",
        )

    def test_a_file_of_somebody_else_is_read_and_replaced_without_a_lease(
        self, root: bytes
    ) -> None:
        write(root, FILE, b"theirs")
        self.run(
            root,
            """
entry = disk.observe(b"file")
with disk.open_stable(b"file", entry.handle) as reader:
    assert b"".join(reader.blocks(4)) == b"theirs"
staged = disk.stage_file(0).finish(attributes)
outcome = disk.replace(staged, b"file", Expected(entry.handle, entry.fingerprint))
assert disk.discard_retired(outcome.retired) == Applied(None), outcome
""",
        )

    def test_what_may_not_be_read_is_unreadable_and_not_gone(self, root: bytes) -> None:
        write(root, FILE, b"theirs")
        os.chmod(os.path.join(root, FILE), 0)
        os.mkdir(os.path.join(root, b"closed"), 0o700)
        self.run(
            root,
            """
assert [entry.name for entry in disk.list_directory(b"").entries] == [b"closed", b"file"]
for look in (
    lambda: disk.list_directory(b"closed"),
    lambda: disk.observe(b"closed/file"),
    lambda: disk.open_stable(b"file", disk.observe(b"file").handle).__enter__(),
):
    try:
        look()
    except EntryUnreadable:
        continue
    raise SystemExit("EntryUnreadable was not raised")
outcome = disk.place_new(disk.stage_symlink(b"x", attributes), b"closed/new")
assert isinstance(outcome, Failed) and outcome.errno == 13, outcome
""",
        )


@pytest.mark.root
@pytest.mark.skipif(not is_root, reason="only root may mount")
class TestMounts:
    @pytest.fixture
    def mounted(self, root: bytes) -> Iterator[bytes]:
        path = os.path.join(root, b"mounted")
        os.mkdir(path)
        subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
        write(path, b"inside", b"1")
        yield path
        subprocess.run(["umount", path], check=True)

    def test_another_file_system_is_unreadable_rather_than_empty(
        self, disk: PosixDisk, mounted: bytes
    ) -> None:
        listing = disk.list_directory(ROOT_PATH)
        assert listing.entries == ()
        ((name, reason),) = listing.unreadable
        assert name == b"mounted"
        assert "file system" in reason
        with pytest.raises(EntryUnreadable):
            disk.list_directory(RelativePath(b"mounted"))
        with pytest.raises(EntryUnreadable):
            disk.observe(RelativePath(b"mounted/inside"))
        assert isinstance(disk.place_new(stage(disk, b"x"), RelativePath(b"mounted/new")), Failed)

    def test_a_directory_bound_from_elsewhere_is_unreadable(
        self, disk: PosixDisk, root: bytes, tmp_path: Path
    ) -> None:
        """It is on the same file system, but nothing can be renamed into it."""
        (tmp_path / "elsewhere").mkdir()
        bound = os.path.join(root, b"bound")
        os.mkdir(bound)
        subprocess.run(["mount", "--bind", tmp_path / "elsewhere", bound], check=True)
        try:
            listing = disk.list_directory(ROOT_PATH)
            assert [name for name, _reason in listing.unreadable] == [b"bound"]
        finally:
            subprocess.run(["umount", bound], check=True)

    def test_a_root_that_another_file_system_covers_is_lost(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        disk.check_root()
        subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True)
        try:
            with pytest.raises(RootLost, match="another directory"):
                disk.check_root()
        finally:
            subprocess.run(["umount", root], check=True)
        disk.check_root()

    def test_a_full_disk_is_an_error_of_staging_and_leaves_room_again(self, tmp_path: Path) -> None:
        path = bytes(tmp_path / "small")
        os.mkdir(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], check=True)
        try:
            disk = PosixDisk(path)
            disk.initialise()
            file = disk.stage_file(1)
            with pytest.raises(OSError, match="No space left") as caught:
                file.write(b"x" * (2 << 20))
            assert caught.value.errno == errno.ENOSPC
            file.abandon()
            assert isinstance(disk.place_new(stage(disk, b"x" * 8192), FILE), Applied)
            disk.close()
        finally:
            subprocess.run(["umount", path], check=True)


class TestRoot:
    def test_a_marker_is_made_once_and_read_again(self, root: bytes) -> None:
        first = PosixDisk(root)
        token = first.initialise()
        first.close()
        second = PosixDisk(root)
        assert second.initialise() == token
        second.close()
        third = PosixDisk(root)
        assert third.initialise(token) == token
        third.close()
        assert len(token) == 32

    def test_nothing_is_made_where_a_known_marker_is_missing(self, root: bytes) -> None:
        disk = PosixDisk(root)
        with pytest.raises(RootLost):
            disk.initialise(b"0" * 32)
        assert os.listdir(root) == []
        disk.close()

    def test_another_marker_is_another_root(self, disk: PosixDisk, root: bytes) -> None:
        marker = os.path.join(root, b".geosync/marker")
        os.unlink(marker)
        with open(marker, "wb") as file:
            file.write(b"f" * 32 + b"\n")
        with pytest.raises(RootLost, match="another marker"):
            disk.check_root()

    def test_a_marker_that_was_cut_short_is_reported(self, disk: PosixDisk, root: bytes) -> None:
        os.truncate(os.path.join(root, b".geosync/marker"), 5)
        with pytest.raises(RootLost, match="holds"):
            disk.check_root()

    def test_a_root_that_was_replaced_is_lost(self, disk: PosixDisk, root: bytes) -> None:
        os.rename(root, root + b"-moved")
        with pytest.raises(RootLost, match="can't be found"):
            disk.check_root()
        os.mkdir(root)
        with pytest.raises(RootLost, match="another directory"):
            disk.check_root()

    def test_a_missing_root_is_lost_from_the_start(self, root: bytes) -> None:
        with pytest.raises(RootLost, match="can't open"):
            PosixDisk(root + b"/missing")

    def test_a_private_directory_that_is_a_symlink_is_refused(
        self, root: bytes, tmp_path: Path
    ) -> None:
        os.symlink(bytes(tmp_path), os.path.join(root, PRIVATE_DIRECTORY))
        disk = PosixDisk(root)
        with pytest.raises(RootLost, match="no directory"):
            disk.initialise()
        disk.close()

    def test_the_private_directories_are_private_whatever_the_root_passes_on(
        self, root: bytes
    ) -> None:
        os.chmod(root, 0o2777)
        disk = PosixDisk(root)
        disk.initialise()
        disk.close()
        private = os.path.join(root, PRIVATE_DIRECTORY)
        for path in (private, *(os.path.join(private, d) for d in (b"stage", b"trash", b"parked"))):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o700

    def test_this_machine_offers_everything_that_is_tested_here(self, disk: PosixDisk) -> None:
        capabilities = disk.capabilities
        assert (capabilities.exchange, capabilities.leases, capabilities.handles) == (
            True,
            True,
            True,
        )


@pytest.mark.parametrize("opener", [open_beneath, walk_beneath])
class TestOpening:
    """With openat2, and name by name where the kernel lacks it."""

    @pytest.fixture
    def top(self, root: bytes) -> Iterator[int]:
        os.makedirs(os.path.join(root, b"a/b"))
        write(root, b"a/b/file", b"x")
        os.symlink(b"a", os.path.join(root, b"link"))
        os.symlink(b"..", os.path.join(root, b"up"))
        descriptor = os.open(root, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)

    def test_a_plain_path_is_opened(
        self, opener: Callable[[int, bytes, int], int], top: int
    ) -> None:
        descriptor = opener(top, b"a/b/file", os.O_RDONLY | os.O_NOFOLLOW)
        assert os.read(descriptor, 9) == b"x"
        os.close(descriptor)

    @pytest.mark.parametrize("path", [b"link/b/file", b"up/root/a", b"../root/a", b"a/../../x"])
    def test_no_other_way_is_taken(
        self, opener: Callable[[int, bytes, int], int], top: int, path: bytes
    ) -> None:
        with pytest.raises(OSError, match=r".") as caught:
            opener(top, path, os.O_RDONLY | os.O_NOFOLLOW)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR, errno.EXDEV}

    def test_a_symlink_itself_can_be_held(
        self, opener: Callable[[int, bytes, int], int], top: int
    ) -> None:
        descriptor = opener(top, b"link", os.O_PATH | os.O_NOFOLLOW)
        assert stat.S_ISLNK(os.fstat(descriptor).st_mode)
        os.close(descriptor)


class TestHoles:
    """Files of which a part is not on the disk."""

    def test_holes_are_skipped_by_blocks(self, disk: PosixDisk, root: bytes) -> None:
        with open(os.path.join(root, FILE), "wb") as file:
            file.write(b"head")
            file.seek(1 << 40)
            file.write(b"middle")
            file.truncate((1 << 41) + 1)
        handle = entry_at(disk, FILE).handle
        with disk.open_stable(FILE, handle) as reader:
            found = list(reader.sparse_blocks(1 << 20))
        holes = [block.size_bytes for block in found if isinstance(block, Zeros)]
        data = [block for block in found if isinstance(block, bytes)]
        assert sum(holes) + sum(map(len, data)) == (1 << 41) + 1
        assert b"".join(data).strip(b"\0").replace(b"\0", b"") == b"headmiddle"
        assert sum(map(len, data)) <= 3 << 20

    def test_both_ways_of_reading_tell_the_same(self, root: bytes) -> None:
        content = b"1" * 5000 + bytes(100_000) + b"2" + bytes(50_000)
        with open(os.path.join(root, FILE), "wb") as file:
            file.write(content[:5000])
            file.seek(105_000)
            file.write(b"2")
            file.truncate(len(content))
        for capabilities in (None, NOTHING_SPECIAL):
            disk = PosixDisk(root, capabilities)
            disk.initialise()
            with disk.open_stable(FILE, entry_at(disk, FILE).handle) as reader:
                assert b"".join(reader.blocks(4096)) == content
                told = reader.sparse_blocks(4096)
                filled = [bytes(b.size_bytes) if isinstance(b, Zeros) else b for b in told]
                assert b"".join(filled) == content
            disk.close()

    def test_pages_of_zeros_and_told_zeros_take_no_space(
        self, disk: PosixDisk, root: bytes
    ) -> None:
        content = b"a" + bytes(200_000) + b"b" * 5000 + bytes(9000) + b"c" + bytes(70_000)
        file = disk.stage_file(0)
        for begin in range(0, len(content), 33_333):
            file.write(content[begin : begin + 33_333])
        file.write(Zeros(1 << 40))
        file.write(b"end")
        placed = disk.place_new(file.finish(attributes_of(disk)), FILE)
        assert isinstance(placed, Applied)
        with open(os.path.join(root, FILE), "rb") as read_back:
            assert os.pread(read_back.fileno(), len(content), 0) == content
            assert os.pread(read_back.fileno(), 10, len(content) + (1 << 40)) == b"end"
        status = os.stat(os.path.join(root, FILE))
        assert status.st_size == len(content) + (1 << 40) + 3
        assert status.st_blocks * 512 <= 100_000
