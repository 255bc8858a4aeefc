"""One daemon per state directory and per root."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import parse_configuration
from geosync.daemon.single_instance import single_instance
from geosync.errors import OperatorError

HOLDER_PROGRAM = """
import sys
from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import parse_configuration
from geosync.daemon.single_instance import single_instance
document = {"volume": "v", "site": "bari", "root": sys.argv[1], "state_dir": sys.argv[2]}
with single_instance(parse_configuration(document, "test"), SystemClock()):
    print("held", flush=True)
    sys.stdin.read()
"""


def _held(root, state_dir):
    document = {"volume": "v", "site": "bari", "root": str(root), "state_dir": str(state_dir)}
    return single_instance(parse_configuration(document, "test"), SystemClock())


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def holder(root, tmp_path):
    """Another process that holds the locks of `root` and `state`."""
    command = [sys.executable, "-c", HOLDER_PROGRAM, str(root), str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_lock_files_say_who_holds_them(root, tmp_path):
    with _held(root, tmp_path / "new" / "state"):
        for path in (tmp_path / "new" / "state" / "lock", root / ".geosync" / "lock"):
            lines = path.read_text().splitlines()
            assert lines[0] == f"process id {os.getpid()}"
            assert lines[2:4] == ["site bari", "volume v"]
            assert lines[4].startswith("started 20")
            assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("root_name", "state_name", "lock"),
    [("root", "state", "state/lock"), ("root", "other", "root/.geosync/lock")],
)
def test_a_second_daemon_is_refused_with_the_first_ones_process_id(
    holder, tmp_path, root_name, state_name, lock
):
    with (
        pytest.raises(OperatorError, match=rf"{lock} \(process id {holder.pid}, host .*Stop that"),
        _held(tmp_path / root_name, tmp_path / state_name),
    ):
        pass


def test_one_state_directory_does_not_serve_two_roots(holder, tmp_path):
    (tmp_path / "root2").mkdir()
    with pytest.raises(OperatorError, match="another geosync daemon"):
        _held(tmp_path / "root2", tmp_path / "state").__enter__()


def test_daemons_with_nothing_in_common_run_side_by_side(holder, tmp_path):
    (tmp_path / "root2").mkdir()
    with _held(tmp_path / "root2", tmp_path / "state2"):
        assert holder.poll() is None


def test_what_a_killed_daemon_left_does_not_matter(holder, root, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with _held(root, tmp_path / "state"):
        text = (tmp_path / "state" / "lock").read_text()
    assert text.startswith(f"process id {os.getpid()}\n")


def test_a_longer_text_of_an_earlier_daemon_is_replaced_as_a_whole(root, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").write_text("process id 1\n" * 100)
    with _held(root, tmp_path / "state"):
        assert len((tmp_path / "state" / "lock").read_text().splitlines()) == 5


def test_a_refused_daemon_releases_the_lock_it_had_taken(holder, root, tmp_path):
    with pytest.raises(OperatorError):
        _held(root, tmp_path / "other").__enter__()
    (tmp_path / "root2").mkdir()
    with _held(tmp_path / "root2", tmp_path / "other"):
        assert True


def test_leaving_the_block_releases_both_locks_and_every_descriptor(root, tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with _held(root, tmp_path / "state"):
            pass
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_program_that_the_daemon_starts_does_not_keep_the_locks(root, tmp_path):
    with ExitStack() as stack:
        with _held(root, tmp_path / "state"):
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
            stack.callback(child.wait)
            stack.callback(child.kill)
        with _held(root, tmp_path / "state"):
            assert child.poll() is None


def test_a_missing_root_is_never_created(tmp_path):
    with pytest.raises(OperatorError, match=r"use the root .*No such file.*mount what belongs"):
        _held(tmp_path / "missing", tmp_path / "state").__enter__()
    assert not (tmp_path / "missing").exists()


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match=r"use the root .*Not a directory"):
        _held(tmp_path / "file", tmp_path / "state").__enter__()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_state_directory_that_cannot_be_made_is_refused(root, tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match=r"use the state directory .*a directory is needed"):
        _held(root, tmp_path / name).__enter__()


def test_a_state_directory_may_be_reached_by_a_link(root, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with _held(root, tmp_path / "link"):
        assert (tmp_path / "real" / "lock").exists()


def test_a_link_that_an_application_put_in_the_root_is_not_followed(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / ".geosync").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match=r"use the directory .*\.geosync: "):
        _held(root, tmp_path / "state").__enter__()
    (root / ".geosync").unlink()
    (root / ".geosync").mkdir()
    (root / ".geosync" / "lock").symlink_to(tmp_path / "elsewhere" / "lock")
    with pytest.raises(OperatorError, match="symbolic link"):
        _held(root, tmp_path / "state").__enter__()
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.fixture
def mounted(tmp_path):
    """Mounts a tmpfs of 16 KiB at `small`, to be filled or made read-only by the test."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    target = tmp_path / "small"
    target.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "geosync-test", str(target)]
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode != 0:
        pytest.skip(f"cannot mount here: {mount.stderr.strip()}")
    yield target
    subprocess.run(["umount", str(target)], check=True)


@pytest.mark.root
def test_a_full_disk_is_explained(root, mounted):
    with open(mounted / "filling", "wb", 0) as file:
        assert file.write(b"x" * 65536) < 65536
    with pytest.raises(OperatorError, match=r"No space left.*make room"):
        _held(root, mounted / "state").__enter__()


@pytest.mark.root
def test_a_read_only_file_system_is_explained(root, mounted):
    (mounted / "state").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for state_dir in (mounted / "state", mounted / "new"):
        with pytest.raises(OperatorError, match=r"Read-only file system; mount .* read-write"):
            _held(root, state_dir).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write whatever the mode says")
def test_a_directory_without_write_permission_is_explained(root, tmp_path):
    (tmp_path / "state").mkdir(mode=0o500)
    with pytest.raises(OperatorError, match=r"Permission denied; let the user"):
        _held(root, tmp_path / "state").__enter__()
