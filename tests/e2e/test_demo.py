"""The demonstration ends well, says so, and leaves nothing behind, whatever ends it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)


def daemons_in(directory: Path) -> dict[int, str]:
    """The command lines, by process id, that name something below the directory."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(directory) in command and int(process.name) != os.getpid():
            found[int(process.name)] = command.replace(b"\0", b" ").decode()
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree, so that the test takes less than the real demonstration."""
    source = tmp_path / "source"
    for number in range(120):
        path = source / f"directory-{number % 7}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 37))
    return source


class Demonstration:
    """`geosync demo` in a process of its own."""

    def __init__(self, tmp_path: Path, tree: Path) -> None:
        self.directory = tmp_path / "demonstration"
        command = [sys.executable, "-m", "geosync", "demo", "--tree", str(tree)]
        # A program that is started with SIGINT ignored, as by `pytest &`, would ignore it too.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [*command, "--directory", str(self.directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        signal.signal(signal.SIGINT, before)

    def lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            yield line

    def until(self, text: str) -> None:
        """Reads until a line that contains the text."""
        for line in self.lines():
            if text in line:
                return
        pytest.fail(f"the demonstration never said {text!r}")

    def rest(self) -> tuple[int, str]:
        output = "".join(self.lines())
        return self.process.wait(), output


@pytest.fixture
def demonstration(tmp_path: Path, tree: Path) -> Iterator[Demonstration]:
    found = Demonstration(tmp_path, tree)
    yield found
    found.process.kill()
    found.process.wait()
    assert found.process.stdout is not None
    found.process.stdout.close()


def test_all_steps_succeed_are_told_and_leave_nothing(demonstration: Demonstration) -> None:
    code, output = demonstration.rest()
    assert code == 0, output
    for sentence in (
        "1. Copies of one directory",
        "2. A file is edited",
        "3. A large directory is renamed",
        "4. lyon is cut off, and everybody goes on writing",
        "5. The daemon of geneva is killed in the middle of a large file",
        "6. The conflict is looked at and settled",
        "7. The trees are compared, without asking geosync",
        "bari, geneva and lyon hold the same",
        "Everything was as it should be.",
    ):
        assert sentence in output
    assert list(demonstration.directory.iterdir()) == []
    assert daemons_in(demonstration.directory) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_and_removes_everything(
    demonstration: Demonstration, number: signal.Signals
) -> None:
    demonstration.until("2. A file is edited")
    demonstration.process.send_signal(number)
    code, output = demonstration.rest()
    assert (code, "Interrupted" in output) == (130, True), output
    assert list(demonstration.directory.iterdir()) == []
    assert daemons_in(demonstration.directory) == {}


def test_a_daemon_that_ends_by_itself_is_a_failure_that_keeps_the_directory(
    demonstration: Demonstration,
) -> None:
    demonstration.until("2. A file is edited")
    daemons = daemons_in(demonstration.directory)
    [victim] = [number for number, command in daemons.items() if "/lyon/" in command]
    os.kill(victim, signal.SIGKILL)
    code, output = demonstration.rest()
    assert code == 1, output
    assert "FAILED: the daemon of lyon ended by itself with exit code -9" in output
    [kept] = demonstration.directory.iterdir()
    assert f"kept in {kept}" in output
    assert (kept / "lyon" / "daemon.log").exists()
    assert daemons_in(demonstration.directory) == {}


def test_daemons_end_with_a_demonstration_that_is_killed(demonstration: Demonstration) -> None:
    demonstration.until("2. A file is edited")
    descriptors = [os.pidfd_open(number) for number in daemons_in(demonstration.directory)]
    demonstration.process.kill()
    for descriptor in descriptors:
        readable, _, _ = select.select([descriptor], [], [], 20.0)
        os.close(descriptor)
        assert readable, "a process is left"


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "geosync", "demo", "--tree", str(tmp_path / "missing")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (found.returncode, "is no directory" in found.stderr) == (2, True)
