"""An engine survives power cuts on real file systems: a sample; `make crash` does all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.crash_scenarios import SCENARIOS
from tests.crash.power_cuts import cut_everywhere, require_devices
from tests.support.logged_device import Flush, Write, logged_device, missing_requirement, records
from tests.support.loop_file_system import KINDS

SAMPLE_EVERY = 7
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_power_cut_while_changes_are_applied_loses_nothing(kind: str) -> None:
    require_devices(kind)
    scenario = BY_NAME["replace and swap, applied"]
    tally = cut_everywhere(kind, scenario, syncs=True, every=SAMPLE_EVERY)
    assert tally.crashes > 0
    assert not tally.failures


@pytest.mark.parametrize("kind", KINDS)
def test_a_power_cut_takes_back_nothing_that_was_captured(kind: str) -> None:
    """Even if the program that wrote it has not synced it."""
    require_devices(kind)
    scenario = BY_NAME["create, captured"]
    tally = cut_everywhere(kind, scenario, syncs=False, every=SAMPLE_EVERY)
    assert tally.crashes > 0
    assert not tally.failures


def test_a_logged_device_tells_what_was_written_and_when_it_was_flushed(tmp_path: Path) -> None:
    reason = missing_requirement()
    if reason is not None:
        pytest.skip(reason)
    image, log = tmp_path / "image", tmp_path / "log"
    image.write_bytes(bytes(1 << 20))
    with logged_device(image, log) as device, open(device.path, "r+b", buffering=0) as opened:
        positions = [device.position_bytes()]
        for number in range(2):
            opened.seek(number * 8192)
            opened.write(b"%d" % number * 4096)
            os.fsync(opened.fileno())
            positions.append(device.position_bytes())
    told = [entry for at, entry in records(log) if positions[0] < at <= positions[2]]
    assert told == [Write(0, b"0" * 4096), Flush(), Write(8192, b"1" * 4096), Flush()]
    assert list(records(log, positions[1]))[-1] == (positions[1], Flush())
    assert image.read_bytes()[:4096] == b"0" * 4096
