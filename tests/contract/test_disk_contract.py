"""What every `Disk` promises: one suite for all implementations, through the interface alone."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from conflict.observation import Attributes, DiskEntry, DiskKind
from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    ROOT_PATH,
    Applied,
    Busy,
    Disk,
    EntryBusy,
    EntryVanished,
    Expected,
    Failed,
    Mismatch,
    RelativePath,
    Retired,
    RootLost,
    Staged,
)
from tests.simulation.simulated_disk_world import simulated_world
from tests.support.disk_application import DiskWorld
from tests.support.posix_disk_world import LESSER_PROTOCOLS, posix_world


def _limited_world(capabilities: DiskCapabilities, base: Path) -> DiskWorld:
    return posix_world(bytes(base / "root"), capabilities)


WORLDS: dict[str, Callable[[Path], DiskWorld]] = {
    "posix": lambda base: posix_world(bytes(base / "root")),
    **{f"posix-{name}": partial(_limited_world, limited) for name, limited in LESSER_PROTOCOLS},
    "simulated": lambda _base: simulated_world(),
}

ODD_NAMES = [
    b"with\nnewline",
    b"not-utf8-\xff\xfe",
    b"n" * 255,
    b"-rf",
    b" ",
    b"...",
    "é".encode(),
    b"\\",
]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DiskWorld]:
    world = WORLDS[request.param](tmp_path)
    yield world
    world.close()


def path_of(path: bytes) -> RelativePath:
    return RelativePath(path)


def entry_at(disk: Disk, path: bytes) -> DiskEntry:
    entry = disk.observe(path_of(path))
    assert entry is not None
    return entry


def expect(entry: DiskEntry) -> Expected:
    return Expected(entry.handle, entry.fingerprint)


def expected_at(disk: Disk, path: bytes) -> Expected:
    return expect(entry_at(disk, path))


def stage(disk: Disk, content: bytes, attributes: Attributes) -> Staged:
    file = disk.stage_file(len(content))
    for start in range(0, len(content), 5000):
        file.write(content[start : start + 5000])
    staged = file.finish(attributes)
    disk.sync_stage()
    return staged


def plain(disk: Disk) -> Attributes:
    """Attributes that this process may set: those of the root, for a file."""
    return replace(entry_at(disk, b"").attributes, mode=0o640, mtime_ns=1_500_000_000_123_456_789)


def read_stable(disk: Disk, path: bytes, size_bytes: int = 4) -> bytes:
    with disk.open_stable(path_of(path), entry_at(disk, path).handle) as reader:
        return b"".join(reader.blocks(size_bytes))


def read_retired(disk: Disk, retired: Retired) -> bytes:
    with disk.open_retired(retired) as reader:
        return b"".join(reader.blocks(4096))


def names_in(disk: Disk, directory: bytes = b"") -> list[bytes]:
    return [entry.name for entry in disk.list_directory(path_of(directory)).entries]


def applied_entry(outcome: object) -> DiskEntry:
    assert isinstance(outcome, Applied)
    assert outcome.entry is not None
    return outcome.entry


def retired_by(outcome: object) -> Retired:
    assert isinstance(outcome, Applied)
    assert outcome.retired is not None
    return outcome.retired


class TestObserving:
    def test_a_free_name_and_a_name_below_a_missing_directory_are_none(
        self, world: DiskWorld
    ) -> None:
        assert world.disk.observe(path_of(b"nothing")) is None
        assert world.disk.observe(path_of(b"nothing/below")) is None

    def test_a_name_below_a_file_is_free(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"x")
        assert world.disk.observe(path_of(b"file/below")) is None

    def test_an_entry_tells_kind_size_and_links(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"12345")
        world.application.hard_link(b"file", b"other")
        world.application.make_directory(b"directory")
        world.application.symlink(b"file", b"link")
        file = entry_at(world.disk, b"file")
        assert (file.name, file.kind, file.link_count) == (b"file", DiskKind.REGULAR, 2)
        assert file.fingerprint.size_bytes == 5
        assert entry_at(world.disk, b"other").handle == file.handle
        assert entry_at(world.disk, b"directory").kind is DiskKind.DIRECTORY
        link = entry_at(world.disk, b"link")
        assert (link.kind, link.target) == (DiskKind.SYMLINK, b"file")

    def test_the_root_is_a_directory_without_a_name(self, world: DiskWorld) -> None:
        root = entry_at(world.disk, b"")
        assert (root.name, root.kind) == (b"", DiskKind.DIRECTORY)

    def test_a_handle_survives_a_rename_and_a_write(self, world: DiskWorld) -> None:
        world.application.write(b"old", b"1")
        before = entry_at(world.disk, b"old")
        world.application.rename(b"old", b"new")
        world.application.append(b"new", b"2")
        after = entry_at(world.disk, b"new")
        assert after.handle == before.handle
        assert after.fingerprint != before.fingerprint

    def test_an_inode_made_after_a_removal_has_another_handle(self, world: DiskWorld) -> None:
        """A file system likes to reuse the inode number."""
        handles = set()
        for _ in range(20):
            world.application.write(b"file", b"1")
            handles.add(entry_at(world.disk, b"file").handle)
            world.application.remove(b"file")
        assert len(handles) == 20

    def test_a_change_of_mode_changes_the_fingerprint(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        before = entry_at(world.disk, b"file")
        world.application.chmod(b"file", 0o600)
        after = entry_at(world.disk, b"file")
        assert after.attributes.mode == 0o600
        assert after.fingerprint != before.fingerprint


class TestListing:
    def test_a_listing_shows_every_name_sorted(self, world: DiskWorld) -> None:
        for name in (b"c", b"a", b"b"):
            world.application.write(name, name)
        listing = world.disk.list_directory(ROOT_PATH)
        assert [entry.name for entry in listing.entries] == [b"a", b"b", b"c"]
        assert listing.unreadable == ()
        assert listing.directory.handle == entry_at(world.disk, b"").handle

    def test_the_private_directory_is_not_listed_at_the_root_alone(self, world: DiskWorld) -> None:
        world.application.make_directory(b"below")
        world.application.make_directory(b"below/" + PRIVATE_DIRECTORY)
        assert names_in(world.disk) == [b"below"]
        assert names_in(world.disk, b"below") == [PRIVATE_DIRECTORY]

    def test_listed_entries_equal_observed_ones(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        world.application.write(b"d/file", b"x")
        world.application.symlink(b"x", b"d/link")
        listing = world.disk.list_directory(path_of(b"d"))
        assert list(listing.entries) == [
            entry_at(world.disk, b"d/file"),
            entry_at(world.disk, b"d/link"),
        ]

    @pytest.mark.parametrize("kind", ["missing", "file", "symlink"])
    def test_what_is_no_directory_has_vanished(self, world: DiskWorld, kind: str) -> None:
        world.application.make_directory(b"real")
        world.application.write(b"file", b"")
        world.application.symlink(b"real", b"symlink")
        with pytest.raises(EntryVanished):
            world.disk.list_directory(path_of(kind.encode()))

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_are_listed_read_and_placed(self, world: DiskWorld, name: bytes) -> None:
        world.application.make_directory(b"d")
        world.application.write(b"d/" + name, b"content")
        assert names_in(world.disk, b"d") == [name]
        assert read_stable(world.disk, b"d/" + name) == b"content"
        staged = stage(world.disk, b"placed", plain(world.disk))
        entry = applied_entry(world.disk.place_new(staged, path_of(name)))
        assert entry.name == name
        assert world.application.read(name) == b"placed"


class TestSymlinks:
    """Nothing below the root is reached through a symlink."""

    @pytest.fixture
    def trap(self, world: DiskWorld) -> DiskWorld:
        world.application.make_directory(b"real")
        world.application.write(b"real/file", b"1")
        world.application.symlink(b"real", b"link")
        return world

    def test_nothing_lies_below_a_symlink(self, trap: DiskWorld) -> None:
        assert trap.disk.observe(path_of(b"link/file")) is None

    def test_a_file_is_not_read_through_a_symlink(self, trap: DiskWorld) -> None:
        handle = entry_at(trap.disk, b"real/file").handle
        with pytest.raises(EntryVanished), trap.disk.open_stable(path_of(b"link/file"), handle):
            pass

    def test_a_symlink_itself_is_not_read(self, trap: DiskWorld) -> None:
        trap.application.symlink(b"real/file", b"last")
        handle = entry_at(trap.disk, b"last").handle
        with pytest.raises(EntryVanished), trap.disk.open_stable(path_of(b"last"), handle):
            pass

    def test_nothing_is_placed_through_a_symlink(self, trap: DiskWorld) -> None:
        staged = stage(trap.disk, b"x", plain(trap.disk))
        assert isinstance(trap.disk.place_new(staged, path_of(b"link/new")), Failed)
        assert isinstance(trap.disk.make_directory(path_of(b"link/new"), plain(trap.disk)), Failed)
        assert trap.application.list_tree() == {b"real", b"real/file", b"link"}

    def test_nothing_is_changed_through_a_symlink(self, trap: DiskWorld) -> None:
        expected = expected_at(trap.disk, b"real/file")
        path = path_of(b"link/file")
        staged = stage(trap.disk, b"x", plain(trap.disk))
        assert trap.disk.replace(staged, path, expected) == Mismatch(None)
        assert trap.disk.remove_file(path, expected) == Mismatch(None)
        assert trap.disk.move(path, path_of(b"moved"), expected) == Mismatch(None)
        assert trap.disk.set_attributes(path, expected, plain(trap.disk)) == Mismatch(None)
        assert trap.application.read(b"real/file") == b"1"

    def test_a_symlink_is_replaced_itself(self, trap: DiskWorld) -> None:
        staged = stage(trap.disk, b"x", plain(trap.disk))
        outcome = trap.disk.replace(staged, path_of(b"link"), expected_at(trap.disk, b"link"))
        assert retired_by(outcome).entry.target == b"real"
        assert trap.application.read(b"link") == b"x"
        assert trap.application.read(b"real/file") == b"1"

    def test_dots_are_refused(self, world: DiskWorld) -> None:
        staged = stage(world.disk, b"x", plain(world.disk))
        for path in (b"../escaped", b"a/../b", b"./a", b"/etc/passwd", b"a//b"):
            assert isinstance(world.disk.place_new(staged, path_of(path)), Failed)


class TestStableReading:
    def test_blocks_have_the_size_that_was_asked_for(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"0123456789")
        entry = entry_at(world.disk, b"file")
        with world.disk.open_stable(path_of(b"file"), entry.handle) as reader:
            assert reader.entry == entry
            assert list(reader.blocks(4)) == [b"0123", b"4567", b"89"]

    def test_an_empty_file_has_no_blocks(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"")
        assert read_stable(world.disk, b"file") == b""

    def test_an_open_writer_makes_the_file_busy(self, world: DiskWorld) -> None:
        if not world.sees_writers:
            pytest.skip("this disk can't see writers")
        world.application.write(b"file", b"1")
        handle = entry_at(world.disk, b"file").handle
        with (
            world.application.open_for_writing(b"file"),
            pytest.raises(EntryBusy),
            world.disk.open_stable(path_of(b"file"), handle),
        ):
            pass
        assert read_stable(world.disk, b"file") == b"1"

    def test_a_write_during_the_reading_is_noticed(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"0123456789")
        handle = entry_at(world.disk, b"file").handle
        with world.disk.open_stable(path_of(b"file"), handle) as reader:
            blocks = reader.blocks(4)
            assert next(blocks) == b"0123"
            wait_for_append = world.application.begin_append(b"file", b"more")
            with pytest.raises(EntryBusy):
                list(blocks)
        wait_for_append()
        assert world.application.read(b"file") == b"0123456789more"

    @pytest.mark.timeout(30)  # the kernel ends the wait after 45 seconds
    def test_a_writer_need_not_wait_for_the_reader_to_be_closed(self, world: DiskWorld) -> None:
        """The reader gives way as soon as it notices, while it is still open."""
        world.application.write(b"file", b"0123456789")
        handle = entry_at(world.disk, b"file").handle
        with world.disk.open_stable(path_of(b"file"), handle) as reader:
            blocks = reader.blocks(4)
            next(blocks)
            wait_for_append = world.application.begin_append(b"file", b"more")
            with pytest.raises(EntryBusy):
                list(blocks)
            wait_for_append()
            assert world.application.read(b"file") == b"0123456789more"

    def test_a_change_of_metadata_during_the_reading_is_noticed(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"0123456789")
        handle = entry_at(world.disk, b"file").handle
        with world.disk.open_stable(path_of(b"file"), handle) as reader:
            world.application.set_mtime(b"file", 1)
            with pytest.raises(EntryBusy):
                list(reader.blocks(4))

    def test_a_file_replaced_during_the_reading_is_never_mixed(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old-old-old")
        world.application.write(b"new", b"new-new-new")
        handle = entry_at(world.disk, b"file").handle
        read = []
        with world.disk.open_stable(path_of(b"file"), handle) as reader:
            blocks = reader.blocks(4)
            read.append(next(blocks))
            world.application.rename(b"new", b"file")
            try:
                read.extend(blocks)
            except EntryBusy:
                return
        assert b"".join(read) == b"old-old-old"

    def test_a_file_replaced_before_the_reading_has_vanished(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.write(b"new", b"2")
        handle = entry_at(world.disk, b"file").handle
        world.application.rename(b"new", b"file")
        with pytest.raises(EntryVanished), world.disk.open_stable(path_of(b"file"), handle):
            pass

    @pytest.mark.parametrize("path", [b"missing", b"directory", b"fifo"])
    def test_what_is_no_regular_file_has_vanished(self, world: DiskWorld, path: bytes) -> None:
        world.application.make_directory(b"directory")
        fifo = world.disk.stage_fifo(plain(world.disk))
        applied_entry(world.disk.place_new(fifo, path_of(b"fifo")))
        entry = world.disk.observe(path_of(path))
        handle = entry.handle if entry is not None else b"none"
        with pytest.raises(EntryVanished), world.disk.open_stable(path_of(path), handle):
            pass


class TestPlacing:
    def test_a_staged_file_appears_complete(self, world: DiskWorld) -> None:
        attributes = plain(world.disk)
        content = bytes(range(256)) * 100
        staged = stage(world.disk, content, attributes)
        assert world.application.list_tree() == set()
        outcome = world.disk.place_new(staged, path_of(b"file"))
        assert isinstance(outcome, Applied)
        assert outcome.retired is None
        entry = applied_entry(outcome)
        assert (entry.handle, entry.attributes) == (staged.handle, attributes)
        assert entry == entry_at(world.disk, b"file")
        assert world.application.read(b"file") == content

    def test_zeros_are_kept_wherever_they_are(self, world: DiskWorld) -> None:
        """They may become holes."""
        content = bytes(20_000) + b"middle" + bytes(20_000)
        staged = stage(world.disk, content, plain(world.disk))
        world.disk.place_new(staged, path_of(b"file"))
        assert world.application.read(b"file") == content

    def test_symlinks_and_fifos_are_placed(self, world: DiskWorld) -> None:
        link = world.disk.stage_symlink(b"../any\xff/where", plain(world.disk))
        fifo = world.disk.stage_fifo(plain(world.disk))
        placed = applied_entry(world.disk.place_new(link, path_of(b"link")))
        assert (placed.kind, placed.target) == (DiskKind.SYMLINK, b"../any\xff/where")
        placed = applied_entry(world.disk.place_new(fifo, path_of(b"fifo")))
        assert (placed.kind, placed.attributes.mode) == (DiskKind.FIFO, 0o640)

    def test_a_taken_name_is_never_overwritten(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"theirs")
        staged = stage(world.disk, b"ours", plain(world.disk))
        outcome = world.disk.place_new(staged, path_of(b"file"))
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.read(b"file") == b"theirs"

    def test_a_staged_file_survives_a_mismatch(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"theirs")
        staged = stage(world.disk, b"ours", plain(world.disk))
        world.disk.place_new(staged, path_of(b"file"))
        applied_entry(world.disk.place_new(staged, path_of(b"other")))
        assert world.application.read(b"other") == b"ours"

    def test_a_missing_directory_is_a_failure_that_names_the_path(self, world: DiskWorld) -> None:
        staged = stage(world.disk, b"x", plain(world.disk))
        outcome = world.disk.place_new(staged, path_of(b"no/such"))
        assert isinstance(outcome, Failed)
        assert outcome.errno == errno.ENOENT
        assert "no/such" in outcome.reason

    def test_a_name_that_is_too_long_is_a_failure(self, world: DiskWorld) -> None:
        staged = stage(world.disk, b"x", plain(world.disk))
        outcome = world.disk.place_new(staged, path_of(b"n" * 256))
        assert isinstance(outcome, Failed)
        assert outcome.errno == errno.ENAMETOOLONG

    def test_an_abandoned_file_leaves_nothing(self, world: DiskWorld) -> None:
        file = world.disk.stage_file(4)
        file.write(b"half")
        file.abandon()
        file.abandon()
        assert names_in(world.disk, PRIVATE_DIRECTORY + b"/stage") == []

    def test_discarding_twice_is_harmless(self, world: DiskWorld) -> None:
        staged = stage(world.disk, b"x", plain(world.disk))
        world.disk.discard_staged(staged)
        world.disk.discard_staged(staged)
        assert isinstance(world.disk.place_new(staged, path_of(b"file")), Failed)

    def test_what_a_killed_run_staged_is_cleared(self, world: DiskWorld) -> None:
        staged = stage(world.disk, b"x", plain(world.disk))
        world.disk.stage_file(1).write(b"unfinished")
        world.disk.stage_symlink(b"x", plain(world.disk))
        disk = world.restart()
        disk.clear_stage()
        assert isinstance(disk.place_new(staged, path_of(b"file")), Failed)
        assert names_in(disk, PRIVATE_DIRECTORY + b"/stage") == []


class TestReplacing:
    def test_the_new_file_is_in_place_and_the_old_one_in_the_trash(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        old = entry_at(world.disk, b"file")
        staged = stage(world.disk, b"new", plain(world.disk))
        outcome = world.disk.replace(staged, path_of(b"file"), expect(old))
        entry = applied_entry(outcome)
        assert entry.handle == staged.handle
        assert entry == entry_at(world.disk, b"file")
        assert world.application.read(b"file") == b"new"
        retired = retired_by(outcome)
        assert retired.entry.handle == old.handle
        assert read_retired(world.disk, retired) == b"old"
        assert list(world.disk.retired()) == [retired]

    def test_another_inode_than_expected_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        world.application.write(b"saved", b"edited")
        world.application.rename(b"saved", b"file")
        staged = stage(world.disk, b"new", plain(world.disk))
        outcome = world.disk.replace(staged, path_of(b"file"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.read(b"file") == b"edited"
        assert list(world.disk.retired()) == []

    def test_a_content_that_was_not_captured_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        world.application.append(b"file", b" and edited")
        staged = stage(world.disk, b"new", plain(world.disk))
        outcome = world.disk.replace(staged, path_of(b"file"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.read(b"file") == b"old and edited"

    def test_a_free_name_is_a_mismatch_and_the_staged_file_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        world.application.remove(b"file")
        staged = stage(world.disk, b"new", plain(world.disk))
        assert world.disk.replace(staged, path_of(b"file"), expected) == Mismatch(None)
        applied_entry(world.disk.place_new(staged, path_of(b"file")))

    def test_a_file_that_is_being_written_is_busy(self, world: DiskWorld) -> None:
        if not world.sees_writers:
            pytest.skip("this disk can't see writers")
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        staged = stage(world.disk, b"new", plain(world.disk))
        with world.application.open_for_writing(b"file"):
            assert world.disk.replace(staged, path_of(b"file"), expected) == Busy()
            assert world.disk.remove_file(path_of(b"file"), expected) == Busy()
        assert world.application.read(b"file") == b"old"

    def test_a_directory_is_never_displaced(self, world: DiskWorld) -> None:
        world.application.make_directory(b"directory")
        expected = expected_at(world.disk, b"directory")
        staged = stage(world.disk, b"new", plain(world.disk))
        path = path_of(b"directory")
        assert isinstance(world.disk.replace(staged, path, expected), Failed)
        assert isinstance(world.disk.remove_file(path, expected), Failed)
        assert world.application.list_tree() == {b"directory"}

    def test_a_write_to_the_new_file_right_afterwards_shows(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        staged = stage(world.disk, b"new", plain(world.disk))
        outcome = world.disk.replace(staged, path_of(b"file"), expected_at(world.disk, b"file"))
        world.application.append(b"file", b"!")
        entry = entry_at(world.disk, b"file")
        assert entry.fingerprint != applied_entry(outcome).fingerprint


class TestTrash:
    @pytest.fixture
    def retired(self, world: DiskWorld) -> Retired:
        world.application.write(b"file", b"old")
        world.application.hard_link(b"file", b"other")
        outcome = world.disk.remove_file(path_of(b"file"), expected_at(world.disk, b"file"))
        return retired_by(outcome)

    def test_an_untouched_inode_is_discarded_once(self, world: DiskWorld, retired: Retired) -> None:
        assert isinstance(world.disk.discard_retired(retired), Applied)
        assert list(world.disk.retired()) == []
        assert world.disk.discard_retired(retired) == Mismatch(None)

    def test_its_other_names_show_afterwards_what_the_outcome_tells(self, world: DiskWorld) -> None:
        """Also that no other one is left."""
        world.application.write(b"file", b"old")
        world.application.hard_link(b"file", b"other")
        world.application.set_mtime(b"file", 1)  # long ago: no write can look as this one did
        outcome = world.disk.remove_file(path_of(b"file"), expected_at(world.disk, b"file"))
        left = retired_by(world.disk.discard_retired(retired_by(outcome))).entry
        other = entry_at(world.disk, b"other")
        assert (left.handle, left.link_count) == (other.handle, 1)
        assert (left.fingerprint, left.attributes) == (other.fingerprint, other.attributes)
        outcome = world.disk.remove_file(path_of(b"other"), expected_at(world.disk, b"other"))
        assert world.disk.discard_retired(retired_by(outcome)) == Applied(None)

    def test_what_is_known_is_not_told_again(self, world: DiskWorld, retired: Retired) -> None:
        expected = expected_at(world.disk, b"other")
        further = retired_by(world.disk.remove_file(path_of(b"other"), expected))
        found = list(world.disk.retired(but_for={retired.token}))
        assert [each.token for each in found] == [further.token]

    def test_a_late_write_is_detected_and_can_be_captured(
        self, world: DiskWorld, retired: Retired
    ) -> None:
        """The other name stands for a descriptor that a program has kept open."""
        world.application.append(b"other", b" and late")
        outcome = world.disk.discard_retired(retired)
        assert isinstance(outcome, Mismatch)
        assert outcome.found is not None
        assert outcome.found.handle == retired.entry.handle
        assert read_retired(world.disk, retired) == b"old and late"
        assert isinstance(
            world.disk.discard_retired(replace(retired, entry=outcome.found)), Applied
        )

    def test_an_inode_that_is_open_for_writing_is_kept(
        self, world: DiskWorld, retired: Retired
    ) -> None:
        if not world.sees_writers:
            pytest.skip("this disk can't see writers")
        with world.application.open_for_writing(b"other"):
            assert world.disk.discard_retired(retired) == Busy()
            with pytest.raises(EntryBusy), world.disk.open_retired(retired):
                pass
        assert isinstance(world.disk.discard_retired(retired), Applied)

    def test_a_writer_that_came_before_the_removal_is_found_after_it(
        self, world: DiskWorld
    ) -> None:
        if world.sees_writers:
            pytest.skip("this disk does not remove a file that is open for writing")
        world.application.write(b"held", b"old")
        with world.application.open_for_writing(b"held") as file:
            outcome = world.disk.remove_file(path_of(b"held"), expected_at(world.disk, b"held"))
            file.write(b" and late")
        assert isinstance(world.disk.discard_retired(retired_by(outcome)), Mismatch)

    def test_the_trash_survives_a_restart(self, world: DiskWorld, retired: Retired) -> None:
        disk = world.restart()
        disk.clear_stage()
        assert list(disk.retired()) == [retired]
        assert read_retired(disk, retired) == b"old"
        assert isinstance(disk.discard_retired(retired), Applied)

    def test_another_inode_under_the_token_is_not_read(
        self, world: DiskWorld, retired: Retired
    ) -> None:
        wrong = replace(retired, entry=replace(retired.entry, handle=b"another"))
        with pytest.raises(EntryVanished), world.disk.open_retired(wrong):
            pass
        assert isinstance(world.disk.discard_retired(wrong), Mismatch)


class TestRemoving:
    def test_a_file_goes_to_the_trash(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        outcome = world.disk.remove_file(path_of(b"file"), expected_at(world.disk, b"file"))
        assert isinstance(outcome, Applied)
        assert outcome.entry is None
        assert world.application.list_tree() == set()
        assert read_retired(world.disk, retired_by(outcome)) == b"old"

    def test_a_symlink_is_removed_and_its_target_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.symlink(b"file", b"link")
        outcome = world.disk.remove_file(path_of(b"link"), expected_at(world.disk, b"link"))
        assert world.application.list_tree() == {b"file"}
        assert world.disk.discard_retired(retired_by(outcome)) == Applied(None)

    def test_another_file_than_expected_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        world.application.append(b"file", b"!")
        outcome = world.disk.remove_file(path_of(b"file"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.read(b"file") == b"old!"

    def test_a_missing_file_is_a_mismatch(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"old")
        expected = expected_at(world.disk, b"file")
        world.application.remove(b"file")
        assert world.disk.remove_file(path_of(b"file"), expected) == Mismatch(None)
        assert world.disk.remove_file(path_of(b"no/file"), expected) == Mismatch(None)

    def test_an_empty_directory_is_removed(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        expected = Expected(entry_at(world.disk, b"d").handle)
        assert world.disk.remove_directory(path_of(b"d"), expected) == Applied(None)
        assert world.application.list_tree() == set()

    def test_a_directory_with_content_stays(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        expected = expected_at(world.disk, b"d")
        world.application.write(b"d/file", b"1")
        outcome = world.disk.remove_directory(path_of(b"d"), expected)
        assert isinstance(outcome, Failed)
        assert outcome.errno == errno.ENOTEMPTY

    def test_another_directory_than_expected_stays(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        world.application.make_directory(b"e")
        expected = expected_at(world.disk, b"e")
        outcome = world.disk.remove_directory(path_of(b"d"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"d"))
        assert world.application.list_tree() == {b"d", b"e"}


class TestMoving:
    def test_a_file_moves_with_its_identity(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        world.application.write(b"file", b"1")
        before = entry_at(world.disk, b"file")
        outcome = world.disk.move(path_of(b"file"), path_of(b"d/moved"), expect(before))
        entry = applied_entry(outcome)
        assert (entry.name, entry.handle) == (b"moved", before.handle)
        assert entry == entry_at(world.disk, b"d/moved")
        assert world.application.list_tree() == {b"d", b"d/moved"}

    def test_a_directory_moves_with_its_content(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        world.application.make_directory(b"into")
        world.application.write(b"d/file", b"1")
        expected = expected_at(world.disk, b"d")
        world.application.write(b"d/later", b"2")
        applied_entry(world.disk.move(path_of(b"d"), path_of(b"into/d"), expected))
        assert world.application.list_tree() == {
            b"into",
            b"into/d",
            b"into/d/file",
            b"into/d/later",
        }

    def test_a_taken_name_stops_the_move(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.write(b"taken", b"2")
        expected = expected_at(world.disk, b"file")
        outcome = world.disk.move(path_of(b"file"), path_of(b"taken"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"taken"))
        assert world.application.read(b"file") == b"1"
        assert world.application.read(b"taken") == b"2"

    def test_another_entry_than_expected_stays(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        expected = expected_at(world.disk, b"file")
        world.application.append(b"file", b"2")
        outcome = world.disk.move(path_of(b"file"), path_of(b"moved"), expected)
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.list_tree() == {b"file"}

    def test_a_missing_target_directory_is_a_failure(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        expected = expected_at(world.disk, b"file")
        outcome = world.disk.move(path_of(b"file"), path_of(b"no/file"), expected)
        assert isinstance(outcome, Failed)
        assert outcome.errno == errno.ENOENT
        assert world.application.read(b"file") == b"1"

    def test_a_directory_does_not_move_into_itself(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        outcome = world.disk.move(path_of(b"d"), path_of(b"d/d"), expected_at(world.disk, b"d"))
        assert isinstance(outcome, Failed)
        assert world.application.list_tree() == {b"d"}

    def test_a_cycle_of_renames_is_broken_by_parking(self, world: DiskWorld) -> None:
        world.application.write(b"a", b"was a")
        world.application.make_directory(b"b")
        a, b = entry_at(world.disk, b"a"), entry_at(world.disk, b"b")
        parked = applied_entry(world.disk.park(path_of(b"a"), b"name", expect(a)))
        assert parked.handle == a.handle
        assert world.application.list_tree() == {b"b"}
        disk = world.restart()
        disk.clear_stage()
        place = disk.parked_path(b"name")
        assert entry_at(disk, place).handle == a.handle
        applied_entry(disk.move(path_of(b"b"), path_of(b"a"), expect(b)))
        applied_entry(disk.move(place, path_of(b"b"), expected_at(disk, place)))
        assert world.application.read(b"b") == b"was a"
        assert world.application.list_tree() == {b"a", b"b"}


class TestLinking:
    def test_a_file_gets_another_name(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        expected = expected_at(world.disk, b"file")
        outcome = world.disk.link(path_of(b"file"), expected, path_of(b"other"), None)
        entry = applied_entry(outcome)
        assert (entry.handle, entry.link_count) == (expected.handle, 2)
        assert entry == entry_at(world.disk, b"other")
        world.application.append(b"other", b"2")
        assert world.application.read(b"file") == b"12"

    def test_a_taken_name_stops_the_link(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.write(b"other", b"2")
        expected = expected_at(world.disk, b"file")
        outcome = world.disk.link(path_of(b"file"), expected, path_of(b"other"), None)
        assert isinstance(outcome, Mismatch)
        assert world.application.read(b"other") == b"2"
        assert entry_at(world.disk, b"file").link_count == 1

    def test_a_link_over_a_file_retires_it(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.write(b"other", b"2")
        outcome = world.disk.link(
            path_of(b"file"),
            expected_at(world.disk, b"file"),
            path_of(b"other"),
            expected_at(world.disk, b"other"),
        )
        assert applied_entry(outcome).handle == entry_at(world.disk, b"file").handle
        assert world.application.read(b"other") == b"1"
        assert read_retired(world.disk, retired_by(outcome)) == b"2"
        assert entry_at(world.disk, b"file").link_count == 2

    def test_names_of_one_file_need_no_link(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.hard_link(b"file", b"other")
        expected = expected_at(world.disk, b"file")
        outcome = world.disk.link(path_of(b"file"), expected, path_of(b"other"), expected)
        assert isinstance(outcome, Applied)
        assert outcome.retired is None
        assert entry_at(world.disk, b"file").link_count == 2

    def test_a_changed_source_or_target_stops_the_link(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.write(b"other", b"2")
        file, other = expected_at(world.disk, b"file"), expected_at(world.disk, b"other")
        world.application.append(b"other", b"+")
        outcome = world.disk.link(path_of(b"file"), file, path_of(b"other"), other)
        assert outcome == Mismatch(entry_at(world.disk, b"other"))
        file = expected_at(world.disk, b"file")
        world.application.append(b"file", b"+")
        outcome = world.disk.link(path_of(b"file"), file, path_of(b"third"), None)
        assert outcome == Mismatch(entry_at(world.disk, b"file"))
        assert world.application.list_tree() == {b"file", b"other"}


class TestAttributes:
    @pytest.mark.parametrize(
        "mtime_ns",
        [0, 1, 999_999_999, -1, -1_000_000_000, -86_400_000_000_000, 7_258_118_400_000_000_000],
    )
    def test_odd_times_are_kept(self, world: DiskWorld, mtime_ns: int) -> None:
        """The last one is in the year 2200."""
        attributes = replace(plain(world.disk), mtime_ns=mtime_ns)
        staged = stage(world.disk, b"x", attributes)
        entry = applied_entry(world.disk.place_new(staged, path_of(b"file")))
        assert entry.attributes.mtime_ns == mtime_ns
        entry = applied_entry(world.disk.make_directory(path_of(b"d"), attributes))
        assert entry.attributes.mtime_ns == mtime_ns

    @pytest.mark.parametrize("mode", [0o000, 0o400, 0o7777, 0o4755, 0o2711, 0o1644])
    def test_all_bits_of_a_mode_are_kept(self, world: DiskWorld, mode: int) -> None:
        attributes = replace(plain(world.disk), mode=mode)
        staged = stage(world.disk, b"x", attributes)
        entry = applied_entry(world.disk.place_new(staged, path_of(b"file")))
        assert entry.attributes == attributes

    @pytest.mark.parametrize("mode", [0o755, 0o555, 0o000, 0o2775, 0o1777])
    def test_a_directory_is_made_with_its_attributes(self, world: DiskWorld, mode: int) -> None:
        attributes = replace(plain(world.disk), mode=mode)
        entry = applied_entry(world.disk.make_directory(path_of(b"d"), attributes))
        assert entry.attributes == attributes
        assert entry == entry_at(world.disk, b"d")

    def test_a_directory_is_not_made_over_anything(self, world: DiskWorld) -> None:
        world.application.make_directory(b"d")
        outcome = world.disk.make_directory(path_of(b"d"), plain(world.disk))
        assert outcome == Mismatch(entry_at(world.disk, b"d"))
        assert names_in(world.disk, PRIVATE_DIRECTORY + b"/stage") == []

    @pytest.mark.parametrize("path", [b"file", b"directory"])
    def test_attributes_are_set_on_what_was_expected(self, world: DiskWorld, path: bytes) -> None:
        world.application.write(b"file", b"1")
        world.application.make_directory(b"directory")
        attributes = plain(world.disk)
        outcome = world.disk.set_attributes(
            path_of(path), expected_at(world.disk, path), attributes
        )
        assert applied_entry(outcome).attributes == attributes
        assert applied_entry(outcome) == entry_at(world.disk, path)

    def test_attributes_are_not_set_on_a_changed_file(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        expected = expected_at(world.disk, b"file")
        world.application.append(b"file", b"2")
        before = entry_at(world.disk, b"file")
        outcome = world.disk.set_attributes(path_of(b"file"), expected, plain(world.disk))
        assert outcome == Mismatch(before)
        assert entry_at(world.disk, b"file") == before

    def test_attributes_of_a_symlink_are_its_own(self, world: DiskWorld) -> None:
        world.application.write(b"file", b"1")
        world.application.symlink(b"file", b"link")
        file = entry_at(world.disk, b"file")
        attributes = replace(entry_at(world.disk, b"link").attributes, mtime_ns=5)
        outcome = world.disk.set_attributes(
            path_of(b"link"), expected_at(world.disk, b"link"), attributes
        )
        assert applied_entry(outcome).attributes.mtime_ns == 5
        assert entry_at(world.disk, b"file") == file


class TestRoot:
    def test_the_root_is_sound_until_its_marker_goes(self, world: DiskWorld) -> None:
        world.disk.check_root()
        world.lose_marker()
        with pytest.raises(RootLost):
            world.disk.check_root()

    def test_changes_can_be_made_durable_at_any_time(self, world: DiskWorld) -> None:
        world.disk.sync_changes()
        world.disk.make_directory(path_of(b"d"), plain(world.disk))
        world.disk.sync_changes()
        world.disk.sync_everything()
        assert world.application.list_tree() == {b"d"}
