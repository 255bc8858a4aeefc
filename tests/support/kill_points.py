"""Kills an engine in this process at a chosen step: of its disk, its store, or its journal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from geosync.journal.journal import Journal
from tests.support.local_sites import LocalSite, run

T = TypeVar("T")
READING = frozenset(
    {
        "check_root",
        "get",
        "get_range",
        "list_directory",
        "list_names",
        "observe",
        "open_retired",
        "open_source",
        "open_stable",
        "parked_path",
        "read_at",
        "retired",
    }
)


_FILLED = ("stage_file", "open_download")  # what these return is filled step by step


class Killed(BaseException):
    """The process is gone. No handler may do anything any more that outlives it."""


@dataclass(slots=True)
class KillPoints:
    """Counts the steps of one engine, and lets it die before one of them.

    A kill after a step, or before a call that only reads, is the same as one before the next
    step, since nothing that lasts happens in between.
    """

    kill_before: int | None = None  # counted from 0
    reached: int = 0
    is_dead: bool = False
    where: str = ""

    @property
    def why(self) -> str:
        """Says, for the message of a test that fails, when the engine died."""
        return f"killed before step {self.kill_before}: {self.where}"

    def reach(self, step: str) -> None:
        """Comes to a step. Raises Killed at the chosen one, and at all later ones."""
        if self.reached == self.kill_before:
            self.is_dead, self.where = True, step
        self.stay_dead()
        self.reached += 1

    def stay_dead(self) -> None:
        """Raises Killed once the process is gone: it does not even read any more."""
        if self.is_dead:
            raise Killed(self.where)

    def mortal(self, part: T) -> T:
        """Wraps a disk or a store: each call that changes something is a step."""
        return cast("T", _Mortal(part, self))

    def mortal_journal(self, journal: Journal) -> Journal:
        """Wraps a journal: each of its commits is a step, and so is what follows it."""
        return cast("Journal", _MortalJournal(journal, self))


def _run_a_while(site: LocalSite) -> None:
    run(site, rounds=5)


def run_to_death(
    site: LocalSite,
    points: KillPoints,
    work: Callable[[LocalSite], object] = _run_a_while,
) -> bool:
    """Starts a site's engine and lets it work until it is killed; returns whether it was.

    Args:
        site: whose engine is killed; it is closed before, if it is open, and after that.
        points: where.
        work: what the site does, perhaps with others, once it is open.
    """
    site.close()
    site.wrap_disk = points.mortal
    site.wrap_store = points.mortal
    site.wrap_journal = points.mortal_journal
    try:
        site.open()
        work(site)
    except Killed:
        return True
    finally:
        site.close()
        site.unwrap()
    return False


def kill_before_each_step(
    was_killed: Callable[[KillPoints], bool], *, first: int = 0, every: int = 1
) -> list[str]:
    """Plays a history again and again, with a kill before a later step each time.

    Args:
        was_killed: plays it, checks it, and returns whether it came as far as the kill.
        first: step, counted from 0.
        every: one step in so many.

    Returns:
        Where the kills were.
    """
    killed_at: list[str] = []
    for step in itertools.count(first, every):
        points = KillPoints(step)
        if not was_killed(points):
            break
        killed_at.append(points.where)
    return killed_at


class _Mortal:
    def __init__(self, part: Any, points: KillPoints) -> None:
        self._part = part
        self._points = points

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not callable(value) or name == "close":  # a kill closes what is open as well
            return value

        def step(*arguments: Any, **options: Any) -> Any:
            if name in READING:
                self._points.stay_dead()
                return value(*arguments, **options)
            self._points.reach(f"{type(self._part).__name__}.{name}")
            result = value(*arguments, **options)
            return _Mortal(result, self._points) if name in _FILLED else result

        return step


class _MortalJournal:
    def __init__(self, journal: Journal, points: KillPoints) -> None:
        self._journal = journal
        self._points = points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._journal.transaction():
            yield
            self._points.reach("before commit")
        self._points.reach("after commit")
