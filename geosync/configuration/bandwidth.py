"""The table [bandwidth] of a configuration: how fast contents may travel, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from geosync.configuration.table_reader import TableReader, shown, toml_string

KIB: Final = 1024
_KIB_PER_S_MIN, _KIB_PER_S_MAX = 16, 100_000_000
_RATE_KEYS: Final = ("upload_kib_per_s", "download_kib_per_s")
_PERIOD_KEYS: Final = ("from", "to", *_RATE_KEYS)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_MINUTES_OF_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast contents may travel, in KiB a second; 0: as fast as they can."""

    upload_kib_per_s: int = 0
    download_kib_per_s: int = 0


@dataclass(frozen=True, slots=True)
class Period:
    """A part of each day, in minutes since midnight; it may go over midnight."""

    from_minute: int
    to_minute: int
    rates: Rates

    def contains(self, minute: int) -> bool:
        """Tells whether a minute of the day is in it; the first one is, the last one is not."""
        length = (self.to_minute - self.from_minute) % _MINUTES_OF_DAY or _MINUTES_OF_DAY
        return (minute - self.from_minute) % _MINUTES_OF_DAY < length


@dataclass(frozen=True, slots=True)
class BandwidthRules:
    """Rates by the time of day; the first period that it is in counts."""

    rates: Rates = Rates()
    periods: tuple[Period, ...] = ()

    def rates_at(self, minute: int) -> Rates:
        """Returns what counts at a minute of the day, by this machine's local time."""
        found = (period.rates for period in self.periods if period.contains(minute))
        return next(found, self.rates)


def read_bandwidth(reader: TableReader) -> BandwidthRules:
    """Reads the table; what is wrong is added to the reader's problems."""
    reader.refuse_unknown((*_RATE_KEYS, "period"))
    periods = reader.tables("period", within="bandwidth")
    return BandwidthRules(_rates(reader), tuple(_period(each) for each in periods))


def _rates(table: TableReader) -> Rates:
    return Rates(*(_rate(table, key) for key in _RATE_KEYS))


def _rate(table: TableReader, key: str) -> int:
    value = table.number(key, 0, 0, _KIB_PER_S_MAX)
    if 0 < value < _KIB_PER_S_MIN:
        expected = f"0 for no limit, or at least {_KIB_PER_S_MIN}"
        table.report(key, str(value), expected, "a slower transfer would be taken for a dead one")
    return value


def _period(table: TableReader) -> Period:
    table.refuse_unknown(_PERIOD_KEYS)
    return Period(_minute(table, "from"), _minute(table, "to"), _rates(table))


def _minute(table: TableReader, key: str) -> int:
    expected = 'a time of day such as "08:00", by this machine\'s clock'
    text = table.text(key, expected)
    found = _TIME.fullmatch(text or "")
    if text is not None and found is None:
        table.report(key, shown(text), expected, "write hours and minutes, two digits each")
    return 0 if found is None else int(found[1]) * 60 + int(found[2])


def bandwidth_lines(rules: BandwidthRules) -> str:
    """Writes the table's lines as `read_bandwidth` reads them; defaults behind a #."""
    lines = _rate_lines(rules.rates)
    for period in rules.periods:
        lines.append("[[bandwidth.period]]")
        for key, minute in (("from", period.from_minute), ("to", period.to_minute)):
            lines.append(f"{key} = {toml_string(f'{minute // 60:02}:{minute % 60:02}')}")
        lines += _rate_lines(period.rates)
    if not rules.periods:
        lines += ["# [[bandwidth.period]]", '# from = "08:00"', '# to = "18:00"']
        lines += ["# upload_kib_per_s = 2048"]
    return "\n".join(lines)


def _rate_lines(rates: Rates) -> list[str]:
    values = zip(_RATE_KEYS, (rates.upload_kib_per_s, rates.download_kib_per_s), strict=True)
    return [f"{'' if value else '# '}{key} = {value}" for key, value in values]
