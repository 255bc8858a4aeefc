"""What doctor tries is what the file system and the store really do, and it tidies up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from geosync.clock import SystemClock, Waitable
from geosync.examination.file_attributes import examine_attributes
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.findings_text import finding_text
from geosync.examination.shell_commands import kernel_setting, quoted
from geosync.examination.store_behaviour import SHOWN_AFTER_S_MAX, examine_behaviour
from tests.support.loop_file_system import loop_file_system, missing_requirement
from transport.errors import ObjectNotVisible, StoreUnavailable
from transport.memory_store import MemoryStore

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def _attributes_of(directory: Path, granularity_ns: int = 0) -> dict[Subject, Finding]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = list(examine_attributes(descriptor, granularity_ns))
    finally:
        os.close(descriptor)
    assert [name for name in os.listdir(directory) if name.startswith("file-")] == []
    return {finding.subject: finding for finding in found}


@pytest.mark.root
@needs_root
@pytest.mark.parametrize(("inode_size", "is_whole"), [("256", True), ("128", False)])
def test_times_are_tried_out_on_the_file_system(
    tmp_path: Path, inode_size: str, is_whole: bool
) -> None:
    if (reason := missing_requirement("ext4")) is not None:
        pytest.skip(reason)
    with loop_file_system(tmp_path, "ext4", mkfs_options=("-I", inode_size)) as mounted:
        found = _attributes_of(mounted.root, 4_000_000)
    times = found[Subject.TIMESTAMPS]
    assert times.level is (Level.OK if is_whole else Level.NOTE)
    assert times.facts["keeps_2112"] is is_whole
    assert "when they are 4 ms apart" in times.text
    assert found[Subject.EXTENDED_ATTRIBUTES].facts["size_bytes_max"] in {2048, 4096, 65536}
    assert found[Subject.ACCESS_LISTS].level is Level.OK


@pytest.mark.root
@needs_root
def test_a_file_system_without_attributes_is_worth_a_note(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "none", tmp_path], check=True)
    try:
        found = _attributes_of(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert found[Subject.EXTENDED_ATTRIBUTES].level is Level.NOTE
    assert found[Subject.EXTENDED_ATTRIBUTES].facts["size_bytes_max"] == 0
    assert found[Subject.ACCESS_LISTS].level is Level.NOTE


@dataclass
class SteppedClock(SystemClock):
    """Time passes only where somebody waits, or a store takes it."""

    now_s: float = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, waitable: Waitable, timeout_s: float | None) -> bool:
        self.now_s += timeout_s or 0.0
        return False


@dataclass
class LazyStore(MemoryStore):
    """Shows and forgets after a while, as an eventually consistent store does, and takes time."""

    clock: SteppedClock
    read_after_s: float = 0.0
    listed_after_s: float = 0.0
    gone_after_s: float = 0.0
    put_takes_s: float = 0.0
    stored_at_s: float = field(default=-1.0, init=False)
    removed_at_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def put_once(self, name: str, body: bytes) -> None:
        self.clock.now_s += self.put_takes_s
        self.stored_at_s = self.clock.now_s
        super().put_once(name, body)

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        is_gone = (
            self.removed_at_s is not None
            and self.clock.now_s >= self.removed_at_s + self.gone_after_s
        )
        if is_gone or self.clock.now_s < self.stored_at_s + self.read_after_s:
            raise ObjectNotVisible(name)
        return super().get(name, size_bytes_max=size_bytes_max)

    def list_names(self, prefix: str) -> Iterator[str]:
        if self.clock.now_s >= self.stored_at_s + self.listed_after_s:
            yield from super().list_names(prefix)

    def delete(self, name: str) -> None:
        self.removed_at_s = self.clock.now_s

    def names(self) -> list[str]:
        return list(super().list_names("volume/"))


def _behaviour(store: MemoryStore, clock: SteppedClock) -> dict[Subject, Finding]:
    return {finding.subject: finding for finding in examine_behaviour(store, clock)}


def test_a_store_that_shows_all_at_once_is_consistent_and_nothing_is_left_in_it() -> None:
    store, clock = MemoryStore(), SteppedClock()
    found = _behaviour(store, clock)[Subject.CONSISTENCY]
    assert found.level is Level.OK
    assert found.facts == {"read_after_s": 0.0, "listed_after_s": 0.0, "gone_after_s": 0.0}
    assert list(store.list_names("volume/")) == []


def test_how_late_a_store_shows_and_forgets_is_measured() -> None:
    clock = SteppedClock()
    store = LazyStore(clock, read_after_s=2.0, listed_after_s=4.0, gone_after_s=60.0)
    found = _behaviour(store, clock)[Subject.CONSISTENCY]
    assert found.level is Level.WARNING
    assert found.facts["read_after_s"] == pytest.approx(2.0, abs=0.2)
    assert found.facts["listed_after_s"] == pytest.approx(2.0, abs=0.2)  # after it could be read
    assert found.facts["gone_after_s"] is None
    assert f"gone not within {SHOWN_AFTER_S_MAX:.0f} s" in found.text
    assert "nothing is lost" in found.remedy


def test_a_listing_that_lags_is_no_reason_to_worry() -> None:
    clock = SteppedClock()
    found = _behaviour(LazyStore(clock, listed_after_s=4.0), clock)[Subject.CONSISTENCY]
    assert found.level is Level.OK
    assert found.facts["listed_after_s"] == pytest.approx(4.0, abs=0.2)


def test_a_slow_line_is_a_warning_with_its_rates() -> None:
    clock = SteppedClock()
    found = _behaviour(LazyStore(clock, put_takes_s=20.0), clock)[Subject.TRANSFER]
    assert found.level is Level.WARNING
    assert found.facts["sent_bytes_per_s"] == pytest.approx(2 * 2**20 / 20, rel=0.01)
    assert "transfer_workers" in found.remedy


def test_a_store_that_fails_midway_is_a_warning_and_not_the_end() -> None:
    class Failing(MemoryStore):
        def delete(self, name: str) -> None:
            raise StoreUnavailable("DELETE: answered 503")

    (found,) = examine_behaviour(Failing(), SteppedClock())
    assert found.level is Level.WARNING
    assert "answered 503" in found.text


def test_commands_are_printed_below_what_is_to_be_done() -> None:
    commands = kernel_setting("fs.inotify.max_user_watches", 524288)
    finding = Finding(Subject.WATCHES, Level.WARNING, "few", "raise it", commands=commands)
    lines = finding_text(finding).splitlines()
    assert lines[0].startswith("warning watches ")
    assert lines[1].strip() == "to do: raise it"
    assert [line.strip() for line in lines[2:]] == [
        (
            "# echo 'fs.inotify.max_user_watches = 524288'"
            " > /etc/sysctl.d/60-geosync-max-user-watches.conf"
        ),
        "# sysctl -p /etc/sysctl.d/60-geosync-max-user-watches.conf",
    ]


@pytest.mark.parametrize("name", [b"plain", b"two words", b"it's; rm -rf /", b"\xff\n'$(x)"])
def test_a_path_in_a_command_is_that_path_to_a_shell(name: bytes) -> None:
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True
    )
    assert printed.stdout == name
