"""What `geosync check` says, in the conventions of monitoring plugins.

These are the ones that Nagios, Icinga and others share: one line on standard output, whose exit
code is the state, with performance data behind a bar. A value is fine up to its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from geosync.errors import OperatorError
from geosync.terminal import escape_unprintable, human_duration

WARNING_ABOVE: Final = {"lag": 60.0, "conflicts": 0.0, "brakes": 0.0, "problems": 0.0}
CRITICAL_ABOVE: Final = {"lag": 300.0}

Limits = Mapping[str, float]
StatusJson = Mapping[str, Any]


class CheckState(IntEnum):
    """The state of a service; the numbers are exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that is checked.

    Attributes:
        name: as options and performance data call it.
        value: None when it is not known, which is never fine.
        unit: of performance data: '' for a count, 's', 'B'.
        text: what it says when it is above a threshold.
    """

    name: str
    value: float | None
    unit: str
    text: str


def measures(status: StatusJson) -> list[Measure]:
    """Returns what is checked of a status, as its JSON tells it."""
    daemon = status["daemon"] or {}
    lag_s = daemon.get("lag_s")
    brakes = sum(brake["verdict"] is None for brake in status["brakes"])
    peer_lag_s = max((site["behind_s"] for site in status["sites"]), default=0.0)
    unpublished = status["to_publish"]
    lag = "never up to date yet" if lag_s is None else f"{human_duration(lag_s)} behind"
    return [
        Measure("lag", lag_s, "s", lag),
        Measure("peer-lag", peer_lag_s, "s", _slowest(status["sites"], peer_lag_s)),
        Measure("conflicts", status["conflicts"], "", _counted(status["conflicts"], "conflict")),
        Measure("brakes", brakes, "", f"{_counted(brakes, 'brake')} to decide about"),
        Measure("problems", status["problem_count"], "", _problems(status)),
        Measure("waiting", daemon.get("waiting_count", 0), "", _waiting(daemon)),
        Measure(
            "unpublished",
            unpublished["operations"],
            "",
            f"{_counted(unpublished['operations'], 'change')} not in the store yet",
        ),
    ]


MEASURES: Final = (
    "lag", "peer-lag", "conflicts", "brakes", "problems", "waiting", "unpublished",
)  # fmt: skip


def check(status: StatusJson, warning: Limits, critical: Limits) -> tuple[CheckState, str]:
    """Returns the state by thresholds, which are the highest values that are still fine.

    Args:
        status: as its JSON tells it.
        warning: by the name of a measure; those that are left out never warn.
        critical: the same.
    """
    found = measures(status)
    states = {each.name: _state(each, warning, critical) for each in found}
    worst = max(states.values())
    texts = [
        each.text for state in (CheckState.CRITICAL, CheckState.WARNING)
        for each in found if states[each.name] is state
    ]  # fmt: skip
    said = "; ".join(texts) if texts else str(status["summary"])
    data = " ".join(_performance(each, warning, critical) for each in found)
    return worst, check_line(worst, f"{status['site']} of volume {status['volume']}: {said}", data)


def check_line(state: CheckState, text: str, data: str = "") -> str:
    """Returns the line; the bar, which begins performance data, is replaced in the text."""
    line = f"GEOSYNC {state.name} - {escape_unprintable(text).replace('|', '¦')}"
    return f"{line} | {data}" if data else line


def limits(words: Iterable[str] | None, default: Limits) -> dict[str, float]:
    """Reads thresholds such as `lag=60,conflicts=0`; what is not named keeps its default.

    Raises:
        OperatorError: a name or a number is none.
    """
    found = dict(default)
    for word in words or ():
        found.update(map(_limit, word.split(",")))
    return found


def _limit(word: str) -> tuple[str, float]:
    name, _, number = word.partition("=")
    try:
        value = float(number.removesuffix("s"))
    except ValueError:
        value = math.nan
    if name not in MEASURES or not 0 <= value < math.inf:
        known = ", ".join(MEASURES)
        raise OperatorError(f"{word!r} is no threshold: write NAME=NUMBER,… with names of {known}")
    return name, value


def _state(measure: Measure, warning: Limits, critical: Limits) -> CheckState:
    if measure.value is None:
        return CheckState.CRITICAL if measure.name in critical else CheckState.WARNING
    if measure.value > critical.get(measure.name, math.inf):
        return CheckState.CRITICAL
    if measure.value > warning.get(measure.name, math.inf):
        return CheckState.WARNING
    return CheckState.OK


def _performance(measure: Measure, warning: Limits, critical: Limits) -> str:
    """Returns NAME=VALUE[UNIT];WARNING;CRITICAL;MINIMUM; U stands for an unknown value."""
    value = "U" if measure.value is None else f"{_number(measure.value)}{measure.unit}"
    bounds = (_bound(warning, measure.name), _bound(critical, measure.name))
    return f"{measure.name}={value};{bounds[0]};{bounds[1]};0"


def _bound(limits: Limits, name: str) -> str:
    return _number(limits[name]) if name in limits else ""


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _slowest(sites: Sequence[StatusJson], behind_s: float) -> str:
    slowest = [site["site"] or site["actor"][:8] for site in sites if site["behind_s"] >= behind_s]
    return f"{slowest[0] if slowest else 'no site'} is {human_duration(behind_s)} behind this one"


def _problems(status: StatusJson) -> str:
    first: Iterator[str] = (f"{each['subject']}: {each['text']}" for each in status["problems"])
    text = next(first, "")
    count: int = status["problem_count"]
    return f"{_counted(count, 'problem')}, first {text}" if count > 1 else text or "no problem"


def _waiting(daemon: StatusJson) -> str:
    count: int = daemon.get("waiting_count", 0)
    first = [f"{each['path']}: {each['reason']}" for each in daemon.get("waiting", ())][:1]
    return f"{_counted(count, 'path')} waiting{', first ' + first[0] if first else ''}"


def _counted(count: int, singular: str) -> str:
    return f"{count} {singular if count == 1 else singular + 's'}"
