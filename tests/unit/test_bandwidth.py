"""Limits of bandwidth: how long what waits, what never waits, and which limit counts when."""

from __future__ import annotations

import io

import pytest

from geosync.assembly.paced_line import bandwidths
from geosync.clock import SystemClock
from geosync.configuration.bandwidth import BandwidthRules, Period, Rates
from geosync.configuration.volume_configuration import (
    default_configuration_text,
    parse_configuration,
)
from geosync.errors import ConfigurationError
from transport.bandwidth import PASSES_SIZE_BYTES_MAX, Limited, PacedReader

MINIMAL = {"volume": "redmine", "site": "bari", "root": "/srv/files"}
KIB = 1024


class Line:
    """A clock that goes on while somebody sleeps, and a limit that reads it."""

    def __init__(self, bytes_per_s: float) -> None:
        self.now_s = 0.0
        self.bytes_per_s = bytes_per_s
        self.bandwidth = Limited(
            lambda: self.bytes_per_s, monotonic=lambda: self.now_s, sleep=self._sleep
        )

    def _sleep(self, pause_s: float) -> None:
        self.now_s += pause_s


def test_a_large_body_takes_its_size_divided_by_the_rate() -> None:
    line = Line(100 * KIB)
    reader = PacedReader(bytes(1000 * KIB), line.bandwidth)
    parts = list(iter(lambda: reader.read(64 * KIB), b""))
    assert b"".join(parts) == bytes(1000 * KIB)
    assert line.now_s == pytest.approx(10.0)


def test_two_bodies_share_the_rate() -> None:
    line = Line(100 * KIB)
    readers = [PacedReader(bytes(500 * KIB), line.bandwidth) for _ in range(2)]
    for _ in range(5):
        for reader in readers:
            reader.read(100 * KIB)
    assert line.now_s == pytest.approx(9.0)


def test_a_small_body_never_waits_and_counts_all_the_same() -> None:
    line = Line(100 * KIB)
    line.bandwidth.take(1000 * KIB, may_wait=True)
    PacedReader(bytes(PASSES_SIZE_BYTES_MAX), line.bandwidth).read()
    assert line.now_s == 0.0
    line.bandwidth.take(1, may_wait=True)
    assert line.now_s == pytest.approx(10.64)


def test_what_waited_under_an_old_limit_is_forgotten_when_there_is_none() -> None:
    line = Line(KIB)
    line.bandwidth.take(1000 * KIB, may_wait=True)
    line.bytes_per_s = 0
    line.bandwidth.take(1000 * KIB, may_wait=True)
    line.bytes_per_s = KIB
    line.bandwidth.take(1, may_wait=True)
    assert line.now_s == 0.0


@pytest.mark.parametrize(
    ("minute", "rate"), [(7 * 60 + 59, 0), (8 * 60, 100), (18 * 60, 0), (23 * 60, 200), (60, 200)]
)
def test_the_first_period_that_fits_counts(minute: int, rate: int) -> None:
    day = Period(8 * 60, 18 * 60, Rates(100))
    night = Period(22 * 60, 6 * 60, Rates(200))
    rules = BandwidthRules(periods=(day, night, Period(23 * 60, 24 * 60 - 1, Rates(300))))
    assert rules.rates_at(minute) == Rates(rate)


def test_a_period_from_a_time_to_the_same_time_is_the_whole_day() -> None:
    rules = BandwidthRules(periods=(Period(60, 60, Rates(100)),))
    assert {rules.rates_at(minute) for minute in range(24 * 60)} == {Rates(100)}


def test_the_table_is_read_and_written_as_it_was() -> None:
    period = {"from": "08:00", "to": "18:30", "upload_kib_per_s": 512}
    table = {"download_kib_per_s": 4096, "period": [period]}
    rules = parse_configuration(MINIMAL | {"bandwidth": table}, "test").bandwidth
    assert rules.rates == Rates(0, 4096)
    assert rules.periods == (Period(480, 1110, Rates(512, 0)),)
    configuration = parse_configuration(MINIMAL | {"bandwidth": table}, "test")
    lines = default_configuration_text(configuration).splitlines()
    assert {"download_kib_per_s = 4096", 'to = "18:30"', "upload_kib_per_s = 512"} <= set(lines)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"upload_kib_per_s": 15}, "at least 16"),
        ({"upload_kib_per_s": -1}, "upload_kib_per_s"),
        ({"upload": 100}, "an unknown key"),
        ({"period": [{"from": "8:00", "to": "18:00"}]}, "two digits each"),
        ({"period": [{"from": "08:00"}]}, "to"),
        ({"period": {"from": "08:00"}}, "an array of tables"),
    ],
)
def test_what_is_wrong_in_the_table_is_told(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_configuration(MINIMAL | {"bandwidth": table}, "test")


def test_without_limits_nothing_is_in_the_way() -> None:
    unlimited = bandwidths(BandwidthRules(), SystemClock())
    reader = PacedReader(bytes(10 * PASSES_SIZE_BYTES_MAX), unlimited.outgoing)
    assert len(reader.read()) == 10 * PASSES_SIZE_BYTES_MAX
    assert isinstance(reader, io.BytesIO)
