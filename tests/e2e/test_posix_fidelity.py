"""What POSIX knows of a file arrives at another site, comes back from there, and then rests."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from geosync.disk.owner_names import OwnerNames
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.local_sites import LocalSite, operations_of, run, settle
from tests.support.loop_file_system import KINDS, loop_file_system
from tests.support.posix_look import Look, data_extents, data_size_bytes, look_at
from transport.memory_store import MemoryStore

is_root = os.geteuid() == 0
needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(not is_root, reason="only root may give files away"),
]
needs_lists = pytest.mark.skipif(not is_root, reason="needs a file system made for the test")
TERABYTE = 2**40
MIB = 2**20
NS = 10**9


@pytest.fixture(scope="module", params=("own", *KINDS))
def file_system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A directory on a file system of each kind, and on the one that temporary files are on."""
    directory = tmp_path_factory.mktemp("fidelity")
    if request.param == "own":
        yield directory
        return
    with loop_file_system(directory, request.param) as made:
        yield made.root


@dataclass
class Pair:
    """Two sites of one volume, on one file system."""

    base: bytes
    store: MemoryStore = field(default_factory=MemoryStore)
    time: SimulatedTime = field(default_factory=SimulatedTime)
    a: LocalSite = field(init=False)
    b: LocalSite = field(init=False)

    def __post_init__(self) -> None:
        self.a = LocalSite(self.base, "a", self.store, self.time)
        self.b = LocalSite(self.base, "b", self.store, self.time)

    def open(self) -> Pair:
        self.a.open()
        self.b.open()
        return self

    def close(self) -> None:
        self.a.close()
        self.b.close()

    def settle(self) -> None:
        """Brings both to rest, and makes sure that they stay there: nobody answers anything."""
        settle(self.a, self.b)
        self.check_quiet()

    def check_quiet(self) -> None:
        """Fails when another look at everything brings about anything at all."""
        before = self.operations()
        shown = look_at(self.a.root), look_at(self.b.root)
        cycles = run(self.a, self.b, rounds=3)
        assert not any(cycle.did_work for cycle in cycles), cycles
        assert self.operations() == before
        assert (look_at(self.a.root), look_at(self.b.root)) == shown

    def operations(self) -> int:
        """Returns how many operations both have published."""
        return sum(len(operations_of(site, self.store)) for site in (self.a, self.b))

    def same(self) -> dict[bytes, Look]:
        """Brings both to rest and returns what both show, which has to be the same."""
        self.settle()
        shown = look_at(self.a.root)
        assert look_at(self.b.root) == shown
        assert not self.a.engine.conflicts()
        return shown


@pytest.fixture
def pair(file_system: Path, tmp_path: Path) -> Iterator[Pair]:
    base = file_system / tmp_path.name
    base.mkdir()
    pair = Pair(bytes(base)).open()
    yield pair
    pair.close()


def there_and_back(
    pair: Pair, make: Callable[[LocalSite], None], edit: Callable[[LocalSite], None]
) -> tuple[dict[bytes, Look], dict[bytes, Look]]:
    """Returns what both sites show after `make` at the one, and after `edit` at the other."""
    make(pair.a)
    made = pair.same()
    edit(pair.b)
    edited = pair.same()
    return made, edited


def run_tool(*words: str | bytes) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


# Contents


def test_empty_files_and_directories(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        site.write(b"file", b"")
        os.makedirs(site.path(b"d/e"))

    def edit(site: LocalSite) -> None:
        site.write(b"file", b"1")
        site.write(b"d/e/again", b"")

    made, edited = there_and_back(pair, make, edit)
    assert made[b"file"].size_bytes == 0
    assert set(made) == {b"file", b"d", b"d/e"}
    assert edited[b"file"].size_bytes == 1
    assert edited[b"d/e/again"].size_bytes == 0


def test_symlinks_are_links_whatever_they_point_to(pair: Pair) -> None:
    targets = [b"nowhere", b"/etc/passwd", b"d", b"..", b"t\n\xff", b"./f"]

    def make(site: LocalSite) -> None:
        site.write(b"d/f", b"1")
        for number, target in enumerate(targets):
            os.symlink(target, site.path(b"d/link%d" % number))
            os.symlink(target, site.path(b"link%d" % number))

    def edit(site: LocalSite) -> None:
        for number, target in enumerate(targets):
            os.unlink(site.path(b"link%d" % number))
            os.symlink(target + b"-other", site.path(b"link%d" % number))
            os.utime(site.path(b"d/link%d" % number), ns=(5, 7), follow_symlinks=False)

    made, edited = there_and_back(pair, make, edit)
    for number, target in enumerate(targets):
        assert made[b"link%d" % number].content == made[b"d/link%d" % number].content == target
        assert edited[b"link%d" % number].content == target + b"-other"
        assert edited[b"d/link%d" % number].mtime_ns == 7


def test_a_symlink_may_be_as_long_as_the_file_system_allows(pair: Pair) -> None:
    target = b"t" * 4095
    while True:
        try:
            os.symlink(target, pair.a.path(b"link"))
            break
        except OSError:
            target = target[:-1]
    assert len(target) >= 1000
    assert pair.same()[b"link"].content == target


def test_holes_stay_holes_in_a_file_that_seems_to_have_a_terabyte(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        with open(site.path(b"sparse"), "wb") as file:
            file.write(b"head")
            file.seek(TERABYTE // 2 + 12345)
            file.write(b"middle")
            file.truncate(TERABYTE)

    def edit(site: LocalSite) -> None:
        with open(site.path(b"sparse"), "r+b") as file:
            file.seek(TERABYTE - 4)
            file.write(b"tail")

    made, edited = there_and_back(pair, make, edit)
    assert made[b"sparse"].size_bytes == edited[b"sparse"].size_bytes == TERABYTE
    for site in (pair.a, pair.b):
        assert data_size_bytes(site.path(b"sparse")) <= 4 * MIB
        begins = [begin for begin, _ in data_extents(site.path(b"sparse"))]
        assert begins[0] == 0
        assert len(begins) == 3
        with open(site.path(b"sparse"), "rb") as file:
            assert os.pread(file.fileno(), 6, TERABYTE // 2 + 12345) == b"middle"
            assert os.pread(file.fileno(), 9, TERABYTE - 4) == b"tail"


def test_small_holes_stay_too(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        with open(site.path(b"sparse"), "wb") as file:
            for at in range(0, 8 * MIB, 128 * 1024):
                file.seek(at)
                file.write(os.urandom(4096))
            file.truncate(8 * MIB)
        site.write(b"all-hole", b"")
        os.truncate(site.path(b"all-hole"), 3 * MIB + 5)

    def edit(site: LocalSite) -> None:
        with open(site.path(b"sparse"), "r+b") as file:
            file.seek(5 * MIB)
            file.write(os.urandom(4096))

    made, _ = there_and_back(pair, make, edit)
    assert made[b"all-hole"].size_bytes == 3 * MIB + 5
    for site in (pair.a, pair.b):
        assert data_size_bytes(site.path(b"sparse")) <= 2 * MIB
        assert data_size_bytes(site.path(b"all-hole")) == 0


def test_a_hole_may_be_filled_with_zeros_and_nobody_calls_it_an_edit(pair: Pair) -> None:
    pair.a.write(b"zeros", b"")
    os.truncate(pair.a.path(b"zeros"), 4 * MIB)
    pair.same()
    before = pair.operations()
    mtime_ns = os.lstat(pair.b.path(b"zeros")).st_mtime_ns
    pair.b.write(b"zeros", bytes(4 * MIB))
    os.utime(pair.b.path(b"zeros"), ns=(0, mtime_ns))
    pair.same()
    assert pair.operations() == before


def test_fifos(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        os.mkfifo(site.path(b"fifo"), 0o640)

    def edit(site: LocalSite) -> None:
        os.chmod(site.path(b"fifo"), 0o604)

    made, edited = there_and_back(pair, make, edit)
    assert stat.S_ISFIFO(made[b"fifo"].kind)
    assert edited[b"fifo"].mode == 0o604


def test_a_new_fifo_is_reported_and_skipped_where_they_are_not_wanted(pair: Pair) -> None:
    pair.b.close()
    pair.b.syncs_fifos = False
    pair.b.open()
    os.mkfifo(pair.a.path(b"from-a"))
    os.mkfifo(pair.b.path(b"of-b"))
    pair.settle()
    assert set(look_at(pair.a.root)) == {b"from-a"}
    assert set(look_at(pair.b.root)) == {b"from-a", b"of-b"}
    assert "fifos = true" in pair.b.problems()["path of-b"]
    os.rename(pair.b.path(b"from-a"), pair.b.path(b"moved"))
    os.unlink(pair.b.path(b"of-b"))
    assert set(pair.same()) == {b"moved"}
    assert pair.b.problems() == {}


def test_sockets_and_devices_are_reported_and_skipped(pair: Pair) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        here = os.open(pair.a.root, os.O_RDONLY)
        stack.callback(os.close, here)
        listening.bind(f"/proc/self/fd/{here}/socket")
    skipped = {"path socket"}
    with suppress(PermissionError):  # an ordinary user makes no devices
        os.mknod(pair.a.path(b"device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        skipped.add("path device")
    pair.a.write(b"file", b"1")
    pair.settle()
    assert set(look_at(pair.b.root)) == {b"file"}
    assert set(pair.a.problems()) == skipped
    assert all("socket or device" in text for text in pair.a.problems().values())


# Attributes


def test_modes_of_files_and_directories(pair: Pair) -> None:
    modes = [0o444, 0o600, 0o777, 0o4755, 0o2755, 0o1644, 0o7777]
    if is_root:
        modes += [0o000, 0o077, 0o4000]  # what its owner may not read only root can capture

    def make(site: LocalSite) -> None:
        for mode in modes:
            site.write(b"%o" % mode, b"1")
            os.chmod(site.path(b"%o" % mode), mode)
            os.mkdir(site.path(b"d%o" % mode))
            os.chmod(site.path(b"d%o" % mode), mode | 0o500)

    def edit(site: LocalSite) -> None:
        for mode in modes:
            os.chmod(site.path(b"d%o" % mode), 0o2770)
            os.chmod(site.path(b"%o" % mode), 0o600)
            site.write(b"%o" % mode, b"2")
            os.chmod(site.path(b"%o" % mode), 0o4711)

    made, edited = there_and_back(pair, make, edit)
    for mode in modes:
        assert made[b"%o" % mode].mode == mode
        assert made[b"d%o" % mode].mode == mode | 0o500
        assert edited[b"%o" % mode].mode == 0o4711
        assert edited[b"d%o" % mode].mode == 0o2770


ODD_TIMES_NS = (
    0,
    1,
    -1,
    -5 * NS - 1,
    -2_000_000_000 * NS,
    4_294_967_295 * NS,
    7_258_118_400 * NS + 123_456_789,  # in the year 2200
)


def test_odd_times_of_files_directories_and_symlinks(pair: Pair) -> None:
    def names_of(number: int) -> tuple[bytes, bytes, bytes]:
        return b"%d/file" % number, b"%d/link" % number, b"%d" % number

    def make(site: LocalSite) -> None:
        for number, mtime_ns in enumerate(ODD_TIMES_NS):
            site.write(b"%d/file" % number, b"1")
            os.symlink(b"file", site.path(b"%d/link" % number))
            for name in names_of(number):
                os.utime(site.path(name), ns=(0, mtime_ns), follow_symlinks=False)

    def edit(site: LocalSite) -> None:
        for number in range(len(ODD_TIMES_NS)):
            for name in names_of(number):
                os.utime(site.path(name), ns=(0, 1_000_000_001), follow_symlinks=False)

    made, edited = there_and_back(pair, make, edit)
    for number, mtime_ns in enumerate(ODD_TIMES_NS):
        for name in names_of(number):
            assert made[name].mtime_ns == as_held(pair, mtime_ns)
            assert edited[name].mtime_ns == 1_000_000_001


def as_held(pair: Pair, mtime_ns: int) -> int:
    """Returns what the file system makes of a time."""
    probe = os.path.join(pair.base, b"probe")
    with open(probe, "wb"):
        os.utime(probe, ns=(0, mtime_ns))
    return os.lstat(probe).st_mtime_ns


def test_a_directory_keeps_its_time_while_geosync_works_in_it(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        for number in range(5):
            site.write(b"d/e/%d" % number, b"1")
        os.utime(site.path(b"d/e"), ns=(0, 1_111))
        os.utime(site.path(b"d"), ns=(0, 2_222))

    def edit(site: LocalSite) -> None:
        site.write(b"d/e/0", b"2")
        os.unlink(site.path(b"d/e/1"))
        os.utime(site.path(b"d/e"), ns=(0, 3_333))

    made, edited = there_and_back(pair, make, edit)
    assert (made[b"d/e"].mtime_ns, made[b"d"].mtime_ns) == (1_111, 2_222)
    assert (edited[b"d/e"].mtime_ns, edited[b"d"].mtime_ns) == (3_333, 2_222)


class TestOwners:
    pytestmark = needs_root

    def test_owners_with_and_without_a_name(self, pair: Pair) -> None:
        def make(site: LocalSite) -> None:
            for name in (b"file", b"named", b"directory/file"):
                site.write(name, b"1")
            os.symlink(b"file", site.path(b"link"))
            for name in (b"file", b"directory", b"link"):
                os.chown(site.path(name), 61234, 61235, follow_symlinks=False)
            os.chown(site.path(b"named"), 1, 2)

        def edit(site: LocalSite) -> None:
            os.chown(site.path(b"file"), 1, 61236)
            site.write(b"file", b"2")

        made, edited = there_and_back(pair, make, edit)
        for name in (b"file", b"directory", b"link"):
            assert (made[name].uid, made[name].gid) == (61234, 61235)
        assert (made[b"named"].uid, made[b"named"].gid) == (1, 2)
        assert (edited[b"file"].uid, edited[b"file"].gid) == (1, 61236)

    def test_a_setuid_file_keeps_owner_and_bit(self, pair: Pair) -> None:
        def make(site: LocalSite) -> None:
            site.write(b"file", b"1")
            os.chown(site.path(b"file"), 1, 2)
            os.chmod(site.path(b"file"), 0o6711)

        def edit(site: LocalSite) -> None:
            os.chown(site.path(b"file"), 2, 1)
            os.chmod(site.path(b"file"), 0o4711)

        made, edited = there_and_back(pair, make, edit)
        assert (made[b"file"].uid, made[b"file"].gid, made[b"file"].mode) == (1, 2, 0o6711)
        assert (edited[b"file"].uid, edited[b"file"].gid, edited[b"file"].mode) == (2, 1, 0o4711)

    def test_a_setgid_directory_passes_its_group_on_at_each_site(self, pair: Pair) -> None:
        def make(site: LocalSite) -> None:
            os.mkdir(site.path(b"d"))
            os.chown(site.path(b"d"), 0, 2)
            os.chmod(site.path(b"d"), 0o2775)
            site.write(b"d/a", b"1")

        def edit(site: LocalSite) -> None:
            site.write(b"d/b", b"1")
            os.mkdir(site.path(b"d/e"))

        made, edited = there_and_back(pair, make, edit)
        assert made[b"d/a"].gid == edited[b"d/b"].gid == edited[b"d/e"].gid == 2
        assert edited[b"d/e"].mode & stat.S_ISGID

    def test_a_map_gives_files_to_whom_a_site_calls_otherwise(self, pair: Pair) -> None:
        pair.b.close()
        pair.b.names = OwnerNames({b"daemon": b"#61240"}, {b"bin": b"#61241"})
        pair.b.open()
        pair.a.write(b"file", b"1")
        os.chown(pair.a.path(b"file"), 1, 2)  # daemon, bin
        pair.settle()
        (shown,) = look_at(pair.b.root).values()
        assert (shown.uid, shown.gid) == (61240, 61241)
        pair.b.write(b"of-b", b"2")
        os.chown(pair.b.path(b"of-b"), 61240, 61241)
        pair.b.write(b"file", b"edited")
        pair.settle()
        shown_at_a = look_at(pair.a.root)
        assert (shown_at_a[b"of-b"].uid, shown_at_a[b"of-b"].gid) == (1, 2)
        assert (shown_at_a[b"file"].uid, shown_at_a[b"file"].size_bytes) == (1, 6)


def test_users_own_extended_attributes(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        site.write(b"d/file", b"1")
        os.setxattr(site.path(b"d/file"), b"user.key", b"\0value\xff")
        os.setxattr(site.path(b"d/file"), b"user.empty", b"")
        os.setxattr(site.path(b"d/file"), b"user.k\xff\n", b"v" * 1000)
        os.setxattr(site.path(b"d"), b"user.directory", b"d")

    def edit(site: LocalSite) -> None:
        os.setxattr(site.path(b"d/file"), b"user.key", b"changed")
        os.removexattr(site.path(b"d/file"), b"user.empty")
        os.removexattr(site.path(b"d"), b"user.directory")

    try:
        made, edited = there_and_back(pair, make, edit)
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    assert dict(made[b"d/file"].extended)["user.key"] == b"\0value\xff"
    assert len(made[b"d/file"].extended) == 3
    assert dict(edited[b"d/file"].extended).keys() == {"user.key", os.fsdecode(b"user.k\xff\n")}
    assert edited[b"d"].extended == ()


class TestAccessControlLists:
    pytestmark = needs_lists

    def test_lists_of_files_and_directories(self, pair: Pair) -> None:
        def make(site: LocalSite) -> None:
            site.write(b"d/file", b"1")
            os.chmod(site.path(b"d/file"), 0o640)
            run_tool("setfacl", "-m", "u:daemon:rwx,u:61234:r,g:bin:-,m::r-x", site.path(b"d/file"))
            run_tool("setfacl", "-m", "u:daemon:rwx", site.path(b"d"))

        def edit(site: LocalSite) -> None:
            run_tool("setfacl", "-x", "u:daemon", site.path(b"d/file"))
            run_tool("setfacl", "-m", "g:daemon:r", site.path(b"d/file"))
            run_tool("setfacl", "-b", site.path(b"d"))

        made, edited = there_and_back(pair, make, edit)
        assert made[b"d/file"].mode == 0o650
        assert [name for name, _ in made[b"d/file"].extended] == ["system.posix_acl_access"]
        shown = run_tool("getfacl", "-cE", pair.a.path(b"d/file"))
        assert "user:61234:r--\ngroup::r--\ngroup:daemon:r--\ngroup:bin:---\n" in shown
        assert "user:daemon" not in shown
        assert edited[b"d"].extended == ()

    def test_a_chmod_and_an_entry_of_two_sites_are_both_kept(self, pair: Pair) -> None:
        pair.a.write(b"file", b"1")
        os.chmod(pair.a.path(b"file"), 0o660)
        run_tool("setfacl", "-m", "u:daemon:rw", pair.a.path(b"file"))
        pair.same()
        os.chmod(pair.a.path(b"file"), 0o640)
        run_tool("setfacl", "-n", "-m", "u:bin:rw", pair.b.path(b"file"))
        shown = pair.same()[b"file"]
        assert shown.mode == 0o640
        text = run_tool("getfacl", "-cE", pair.b.path(b"file"))
        assert "user:daemon:rw-\nuser:bin:rw-\n" in text
        assert "mask::r--" in text

    def test_a_default_list_is_kept_and_passed_on_by_the_kernel_only(self, pair: Pair) -> None:
        def make(site: LocalSite) -> None:
            os.mkdir(site.path(b"d"))
            site.write(b"d/before", b"1")
            os.chmod(site.path(b"d/before"), 0o600)
            run_tool("setfacl", "-d", "-m", "u:daemon:rwx,o::-", site.path(b"d"))

        def edit(site: LocalSite) -> None:
            os.mkdir(site.path(b"d/e"))
            site.write(b"d/e/file", b"1")
            site.write(b"d/before", b"2")

        made, edited = there_and_back(pair, make, edit)
        assert [name for name, _ in made[b"d"].extended] == ["system.posix_acl_default"]
        assert made[b"d/before"].extended == ()
        assert "user:daemon:rwx" in run_tool("getfacl", "-cE", pair.a.path(b"d/e/file"))
        assert len(edited[b"d/e"].extended) == 2

    def test_entries_go_by_the_names_that_each_site_has(self, pair: Pair) -> None:
        pair.b.close()
        pair.b.names = OwnerNames({b"daemon": b"#61240"})
        pair.b.open()
        pair.a.write(b"file", b"1")
        run_tool("setfacl", "-m", "u:daemon:rwx", pair.a.path(b"file"))
        pair.settle()
        assert "user:61240:rwx" in run_tool("getfacl", "-cE", pair.b.path(b"file"))
        run_tool("setfacl", "-m", "u:61240:r,u:bin:x", pair.b.path(b"file"))
        pair.settle()
        text = run_tool("getfacl", "-cE", pair.a.path(b"file"))
        assert "user:daemon:r--\nuser:bin:--x\n" in text


# Names


def test_hard_links_edited_broken_moved_and_across_directories(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        site.write(b"d/first", b"1")
        os.makedirs(site.path(b"e"))
        for name in (b"d/second", b"e/third", b"fourth"):
            os.link(site.path(b"d/first"), site.path(name))

    def edit(site: LocalSite) -> None:
        site.write(b"e/third", b"edited through one name")
        os.rename(site.path(b"d/second"), site.path(b"e/moved"))
        os.unlink(site.path(b"fourth"))
        site.write(b"new", b"broken")
        os.rename(site.path(b"new"), site.path(b"fourth"))

    made, edited = there_and_back(pair, make, edit)
    assert made[b"fourth"].names == (b"d/first", b"d/second", b"e/third", b"fourth")
    assert edited[b"d/first"].names == (b"d/first", b"e/moved", b"e/third")
    assert edited[b"d/first"].size_bytes == len(b"edited through one name")
    assert edited[b"fourth"].names == (b"fourth",)


def test_a_name_outside_of_the_root_keeps_what_it_had(pair: Pair) -> None:
    outside = os.path.join(pair.base, b"outside")

    def make(site: LocalSite) -> None:
        site.write(b"file", b"1")
        os.link(site.path(b"file"), outside)

    def edit(site: LocalSite) -> None:
        site.write(b"file", b"22")

    _, edited = there_and_back(pair, make, edit)
    assert edited[b"file"].size_bytes == 2
    assert Path(os.fsdecode(outside)).read_bytes() in (b"1", b"22")
    with open(outside, "wb") as file:
        file.write(b"late, through the outer name")
    pair.same()


NAMES = (
    # as long as a name may be
    *(b"n" * 255, b"\xff" * 255, "ü".encode() * 127 + b"!"),
    # control characters, and what a shell would make something of
    *(b"with\nnewline", b"\n", b"\r", b"\t", b"\x1b[31m", b"\x01"),
    *(b"-rf", b"--", b"-", b" ", b" lead", b"trail ", b"*", b"?", b"$(true)", b"'\"`", b"~", b"#"),
    # no UTF-8, and characters with several spellings
    *(b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x80"),
    *(b"\xc3\xa9", b"e\xcc\x81", b"\xc3\x85", b"A\xcc\x8a", b"\xe2\x84\xab"),
    # twins for other systems, and what these forbid
    *(b"CASE", b"case", b"Case", b"CON", b"a:b", b"a\\b", b"trailing."),
    *(b"...", b"..a", b".hidden"),
    # as geosync's own
    *(b"stage", b"trash", b"unfinished-0123456789abcdef", b".geosync.new", b"conflicts"),
)


def test_names_are_bytes(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        os.mkdir(site.path(b"below"))
        for number, name in enumerate(NAMES):
            site.write(name, b"%d" % number)
            os.mkdir(site.path(b"below/" + name))
            site.write(b"below/" + name + b"/" + name, b"%d" % number)

    def edit(site: LocalSite) -> None:
        for number, name in enumerate(NAMES):
            if number % 3 == 0:
                site.write(name, b"edited")
            elif number % 3 == 1:
                os.unlink(site.path(name))
            else:
                os.rename(site.path(b"below/" + name), site.path(b"below/moved%d" % number))

    made, edited = there_and_back(pair, make, edit)
    assert len(made) == 3 * len(NAMES) + 1
    assert {path for path in made if b"/" not in path} == {*NAMES, b"below"}
    for number, name in enumerate(NAMES):
        assert (name in edited) == (number % 3 != 1)
        below = b"below/moved%d" % number if number % 3 == 2 else b"below/" + name
        assert below + b"/" + name in edited


def test_a_directory_below_the_root_may_be_called_like_the_private_one(pair: Pair) -> None:
    def make(site: LocalSite) -> None:
        site.write(b"d/.geosync/marker", b"mine")
        site.write(b"d/.geosync/stage/unfinished-00", b"mine")

    def edit(site: LocalSite) -> None:
        site.write(b"d/.geosync/marker", b"edited")

    made, _ = there_and_back(pair, make, edit)
    assert b"d/.geosync/stage/unfinished-00" in made


@pytest.mark.root
def test_what_one_file_system_can_not_hold_is_told_and_holds_nothing_back(tmp_path: Path) -> None:
    """A symlink's target may have 4095 bytes on ext4, and 1023 on xfs."""
    with (
        loop_file_system(tmp_path / "one", "ext4") as wide,
        loop_file_system(tmp_path / "other", "xfs") as narrow,
    ):
        pair = Pair(bytes(wide.root))
        pair.b = LocalSite(bytes(narrow.root), "b", pair.store, pair.time)
        pair.open()
        os.symlink(b"t" * 4095, pair.a.path(b"d"))
        pair.a.write(b"z", b"1")
        run(pair.a, pair.b)
        assert pair.b.read(b"z") == b"1"
        waiting = pair.b.engine.waiting()
        assert waiting == {(b"d",): "this file system can't hold it: File name too long"}
        os.unlink(pair.a.path(b"d"))
        pair.same()
        pair.close()
