"""An engine that is killed at a system call loses nothing: a sample; `make crash` does all."""

from __future__ import annotations

import os
import zlib
from functools import partial

import pytest

from tests.crash.crash_scenarios import SCENARIOS, Scenario
from tests.crash.system_call_crashes import kill_everywhere, require_tracing
from tests.support.local_sites import quick_directory
from tests.support.system_call_kills import Death, Kill, live

SAMPLE_EVERY = 90


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_kill_at_a_system_call_loses_nothing(scenario: Scenario) -> None:
    require_tracing()
    first = zlib.crc32(scenario.name.encode()) % SAMPLE_EVERY  # another place in each of them
    tally = kill_everywhere(scenario, SAMPLE_EVERY, first)
    assert tally.crashes > 0
    assert not tally.failures


@pytest.mark.parametrize("name", ["replace and swap, applied", "create, captured", "conflict"])
def test_a_second_kill_during_the_recovery_loses_nothing(name: str) -> None:
    require_tracing()
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    tally = kill_everywhere(scenario, SAMPLE_EVERY, again=True)
    assert tally.crashes > 0
    assert not tally.failures


def _write(file: int) -> None:
    os.write(file, b"1234")


def test_a_child_dies_before_halfway_through_or_after_a_call() -> None:
    require_tracing()
    with quick_directory() as directory:
        found = []
        for death in Death:
            path = os.path.join(directory, death.value.encode())
            file = os.open(path, os.O_CREAT | os.O_WRONLY)
            life = live(partial(_write, file), Kill(0, death))
            assert life.was_killed
            assert [call.name for call in life.calls] == ["write"]
            found.append(os.fstat(file).st_size)
            os.close(file)
        assert found == [0, 2, 4]
