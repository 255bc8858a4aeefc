"""What a site can't set: the volume keeps it, the operator is told once, and it is mended later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from geosync.disk.owner_names import Names, OwnerNames
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.await_condition import await_condition
from tests.support.local_sites import LocalSite, operations_of, run, settle
from tests.support.loop_file_system import LoopFileSystem, loop_file_system, mounted
from tests.support.posix_look import look_at
from transport.memory_store import MemoryStore

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away"),
]
ROUNDS = 4  # of the check of attributes, which is not made in every cycle
YEAR_2200_NS = 7_258_118_400 * 10**9 + 5


class Machine:
    """The users and groups of one machine, which the test decides on."""

    def __init__(self, **users: int) -> None:
        self.users = users

    def names(self) -> OwnerNames:
        names = OwnerNames(lifetime_s=0.0)
        names.users = Names(self.name_of, self.number_of, {})
        names.groups = Names(self.name_of, self.number_of, {})
        return names

    def name_of(self, number: int) -> str:
        for name, known in self.users.items():
            if known == number:
                return name
        raise KeyError(number)

    def number_of(self, name: str) -> int:
        return self.users[name]


class Volume:
    """Two sites, each where it is told to be."""

    def __init__(self, base_a: Path, base_b: Path) -> None:
        self.store = MemoryStore()
        time = SimulatedTime()
        self.a = LocalSite(bytes(base_a), "a", self.store, time)
        self.b = LocalSite(bytes(base_b), "b", self.store, time)

    def settle(self) -> None:
        """Brings both to rest, and makes sure that they stay there."""
        settle(self.a, self.b)
        run(self.a, self.b, rounds=ROUNDS)
        settle(self.a, self.b)
        before = self.operations()
        cycles = run(self.a, self.b, rounds=ROUNDS)
        assert not any(cycle.did_work for cycle in cycles)
        assert self.operations() == before

    def is_at_rest(self) -> bool:
        cycles = run(self.a, self.b)
        sites = (self.a, self.b)
        return not any(c.did_work for c in cycles) and all(s.engine.is_settled() for s in sites)

    def operations(self) -> int:
        return sum(len(operations_of(site, self.store)) for site in (self.a, self.b))

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def volume_of(stack: ExitStack, base_a: Path, base_b: Path) -> Volume:
    volume = Volume(base_a, base_b)
    stack.callback(volume.close)
    return volume


def look(site: LocalSite, name: bytes) -> tuple[int, int, int]:
    status = os.lstat(site.path(name))
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def acl_of(site: LocalSite, name: bytes) -> str:
    command = ("getfacl", "-cEn", site.path(name))
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def set_acl(site: LocalSite, name: bytes, entries: str) -> None:
    subprocess.run(("setfacl", "-m", entries, site.path(name)), check=True)


class TestUnknownNames:
    """Users that only one of the machines has."""

    @pytest.fixture
    def machine_b(self) -> Machine:
        return Machine(root=0)

    @pytest.fixture
    def volume(self, tmp_path: Path, stack: ExitStack, machine_b: Machine) -> Volume:
        volume = volume_of(stack, tmp_path, tmp_path)
        volume.a.names = Machine(root=0, alice=61_300).names()
        volume.b.names = machine_b.names()
        volume.a.open()
        volume.b.open()
        return volume

    def test_an_owner_is_set_once_the_machine_knows_him(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        for name in (b"file", b"d/file"):
            volume.a.write(name, b"1")
            os.chown(volume.a.path(name), 61_300, 61_300)
        os.chown(volume.a.path(b"d"), 61_300, 0)
        os.chmod(volume.a.path(b"file"), 0o4750)
        volume.settle()
        assert look(volume.b, b"file") == (os.geteuid(), os.getegid(), 0o750)
        problems = volume.b.problems()
        assert set(problems) == {
            "attributes: owner alice",
            "attributes: group alice",
            "attributes: mode",
        }
        assert "3 files" in problems["attributes: owner alice"]
        assert "[owners]" in problems["attributes: owner alice"]
        volume.b.write(b"d/file", b"edited where alice is unknown")
        volume.settle()
        assert look(volume.a, b"d/file")[:2] == (61_300, 61_300)
        before = volume.operations()
        machine_b.users["alice"] = 61_400
        volume.settle()
        assert look(volume.b, b"file") == (61_400, 61_400, 0o4750)
        assert look(volume.b, b"d/file")[:2] == (61_400, 61_400)
        assert look(volume.b, b"d")[0] == 61_400
        assert volume.b.problems() == {}
        assert volume.operations() == before

    def test_a_user_who_appears_while_the_daemon_is_down_gets_his_files_at_its_start(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        for number in range(50):
            volume.a.write(b"%d" % number, b"1")
            os.chown(volume.a.path(b"%d" % number), 61_300, 0)
        volume.settle()
        machine_b.users["alice"] = 61_400
        volume.b.reopen()
        volume.settle()
        assert {look(volume.b, b"%d" % number)[0] for number in range(50)} == {61_400}
        assert volume.b.problems() == {}

    def test_a_kill_while_it_is_mended_leaves_nothing_behind(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        volume.a.write(b"file", b"1")
        os.chown(volume.a.path(b"file"), 61_300, 0)
        volume.settle()
        machine_b.users["alice"] = 61_400
        while volume.b.engine.is_settled():
            volume.b.cycle()
        assert look(volume.b, b"file")[0] == os.geteuid()
        volume.b.reopen()
        volume.settle()
        assert look(volume.b, b"file")[0] == 61_400

    def test_an_entry_of_a_list_is_kept_by_a_site_that_can_not_have_it(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        volume.a.write(b"file", b"1")
        os.chmod(volume.a.path(b"file"), 0o640)
        set_acl(volume.a, b"file", "u:61300:rw,u:0:x")
        volume.settle()
        assert "61300" not in acl_of(volume.b, b"file")
        assert set(volume.b.problems()) == {"attributes: acl user:alice"}
        set_acl(volume.b, b"file", "u:0:rwx")
        volume.settle()
        assert "user:61300:rw-" in acl_of(volume.a, b"file")
        assert "user:0:rwx" in acl_of(volume.a, b"file")
        machine_b.users["alice"] = 61_400
        volume.settle()
        assert "user:61400:rw-" in acl_of(volume.b, b"file")
        assert volume.b.problems() == {}

    def test_a_number_gets_its_name_when_there_is_one(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        """The owner of b's file has a name at a only; then b's machine learns it, too."""
        volume.b.write(b"file", b"1")
        os.chown(volume.b.path(b"file"), 61_500, 0)
        volume.settle()
        assert look(volume.a, b"file")[0] == 61_500
        machine_b.users["alice"] = 61_500
        volume.settle()
        assert look(volume.a, b"file")[0] == 61_300
        assert volume.a.problems() == volume.b.problems() == {}

    def test_a_name_service_that_is_away_at_the_start_changes_nothing(
        self, volume: Volume, machine_b: Machine
    ) -> None:
        machine_b.users["alice"] = 61_400
        volume.a.write(b"file", b"1")
        os.chown(volume.a.path(b"file"), 61_300, 61_300)
        set_acl(volume.a, b"file", "u:61300:rw")
        volume.settle()
        before = volume.operations()
        machine_b.users.clear()
        volume.b.names = machine_b.names()
        volume.b.reopen()
        volume.settle()
        assert volume.operations() == before
        machine_b.users.update(root=0, alice=61_400)
        volume.settle()
        assert volume.operations() == before
        assert look(volume.b, b"file")[:2] == (61_400, 61_400)


def test_a_file_system_without_lists_gives_the_group_no_more_than_the_list_does(
    tmp_path: Path, stack: ExitStack
) -> None:
    ext4 = stack.enter_context(loop_file_system(tmp_path / "one", "ext4"))
    image = stack.enter_context(
        loop_file_system(tmp_path / "other", "btrfs", mount_options=("noacl",))
    )
    volume = volume_of(stack, ext4.root, image.root)
    volume.a.open()
    volume.b.open()
    volume.a.write(b"file", b"1")
    os.chmod(volume.a.path(b"file"), 0o600)
    set_acl(volume.a, b"file", "u:1:rwx,g::-")
    assert look(volume.a, b"file")[2] == 0o670
    volume.settle()
    assert look(volume.b, b"file")[2] == 0o600
    problems = volume.b.problems()
    assert {"attributes: acl user:daemon", "attributes: acl group:"} <= set(problems)
    assert "no access control lists" in problems["attributes: acl user:daemon"]
    volume.b.write(b"file", b"edited")
    os.chmod(volume.b.path(b"file"), 0o604)
    volume.settle()
    assert "user:1:rwx" in acl_of(volume.a, b"file")
    assert volume.a.read(b"file") == b"edited"
    assert look(volume.a, b"file")[2] == 0o604


def test_what_can_be_set_after_a_restart_is_set_then(tmp_path: Path, stack: ExitStack) -> None:
    ext4 = stack.enter_context(loop_file_system(tmp_path / "one", "ext4"))
    other = ExitStack()
    without: LoopFileSystem = other.enter_context(
        loop_file_system(tmp_path / "other", "btrfs", mount_options=("noacl",))
    )
    volume = Volume(ext4.root, without.root)
    volume.a.open()
    volume.b.open()
    for number in range(30):
        volume.a.write(b"%d" % number, b"1")
        set_acl(volume.a, b"%d" % number, "u:1:rwx")
    volume.settle()
    assert volume.b.problems()
    volume.b.close()
    other.close()
    stack.enter_context(mounted(without.image, "btrfs"))
    stack.callback(volume.close)
    volume.b.open()
    volume.settle()
    assert all("user:1:rwx" in acl_of(volume.b, b"%d" % number) for number in range(30))
    assert look_at(volume.a.root) == look_at(volume.b.root)
    assert volume.b.problems() == {}


def test_an_attribute_that_is_too_large_for_one_file_system_stays_in_the_volume(
    tmp_path: Path, stack: ExitStack
) -> None:
    xfs = stack.enter_context(loop_file_system(tmp_path / "one", "xfs"))
    ext4 = stack.enter_context(loop_file_system(tmp_path / "other", "ext4"))
    volume = volume_of(stack, xfs.root, ext4.root)
    volume.a.open()
    volume.b.open()
    volume.a.write(b"file", b"1")
    os.setxattr(volume.a.path(b"file"), b"user.large", bytes(20_000))
    os.setxattr(volume.a.path(b"file"), b"user.small", b"1")
    volume.settle()
    assert os.listxattr(volume.b.path(b"file")) == ["user.small"]
    assert set(volume.b.problems()) == {"attributes: xattr"}
    volume.b.write(b"file", b"edited")
    os.setxattr(volume.b.path(b"file"), b"user.small", b"2")
    volume.settle()
    assert os.getxattr(volume.a.path(b"file"), b"user.large") == bytes(20_000)
    assert os.getxattr(volume.a.path(b"file"), b"user.small") == b"2"
    os.removexattr(volume.a.path(b"file"), b"user.large")
    volume.settle()
    assert volume.b.problems() == {}


def test_a_time_that_one_file_system_can_not_hold_stays_in_the_volume(
    tmp_path: Path, stack: ExitStack
) -> None:
    """Inodes of 128 bytes have seconds only, and end in 2038."""
    wide = stack.enter_context(loop_file_system(tmp_path / "one", "ext4"))
    narrow = stack.enter_context(
        loop_file_system(tmp_path / "other", "ext4", mkfs_options=("-I", "128"))
    )
    volume = volume_of(stack, wide.root, narrow.root)
    volume.a.open()
    volume.b.open()
    volume.a.write(b"d/file", b"1")
    for name in (b"d/file", b"d"):
        os.utime(volume.a.path(name), ns=(0, YEAR_2200_NS))
    volume.settle()
    for name in (b"d/file", b"d"):
        assert os.lstat(volume.b.path(name)).st_mtime_ns == (2**31 - 1) * 10**9
        assert os.lstat(volume.a.path(name)).st_mtime_ns == YEAR_2200_NS
    assert set(volume.b.problems()) == {"attributes: mtime"}
    os.chmod(volume.b.path(b"d/file"), 0o600)
    volume.b.reopen()
    # Where times are whole seconds, what was read is read again before anything goes on from it.
    await_condition(volume.is_at_rest, "seconds pass")
    volume.settle()
    assert os.lstat(volume.a.path(b"d/file")).st_mtime_ns == YEAR_2200_NS
    assert look(volume.a, b"d/file")[2] == 0o600


def test_setuid_that_a_site_refuses_is_told_and_stays_elsewhere(
    tmp_path: Path, stack: ExitStack
) -> None:
    volume = volume_of(stack, tmp_path, tmp_path)
    volume.b.accepts_setuid = False
    volume.a.open()
    volume.b.open()
    volume.a.write(b"file", b"1")
    os.chmod(volume.a.path(b"file"), 0o4755)
    volume.settle()
    assert look(volume.b, b"file")[2] == 0o755
    assert "allow_setuid" in volume.b.problems()["attributes: mode"]
    volume.b.accepts_setuid = True
    volume.b.reopen()
    volume.settle()
    assert look(volume.b, b"file")[2] == 0o4755
    assert volume.b.problems() == {}
