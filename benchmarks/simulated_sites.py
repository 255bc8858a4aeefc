"""W9 with many sites: how often each of them asks the store, counted in simulated time.

All sites run in this process: control loops, engines, journals and directories are those of the
daemon, and time jumps to when the next of them has something to do. The store is in memory, and a
request takes no time; a hint takes 10 ms. Nobody watches the disk: a change is marked by hand.
`python -m benchmarks.simulated_sites [--sites 2,4,8] [--polls-alone 2,4] [--busy-up-to 4]`.
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final
from unittest.mock import patch

from benchmarks.trees import require_equal
from geosync.daemon import control_loop
from geosync.daemon.control_loop import ControlLoop
from geosync.daemon.daemon_state import SETTLE_S_MAX
from geosync.daemon.pace import ACTIVE_FOR_S
from geosync.hints.hint_channel import FIRST_REPEAT_S, SEND_EVERY_S
from geosync.hints.packet import Hint
from geosync.hints.pending_hints import REPEAT_EVERY_S
from geosync.terminal import plain_table
from geosync.watching.dirty_directories import QUICK_S, ROOT, DirtyDirectories
from geosync.watching.tree_watcher import TreeWatcher
from tests.simulation.simulated_clock import NS_PER_S, SimulatedClock, SimulatedTime
from tests.support.control_loops import loop_parts
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

SITES: Final = "2,4,8,16,32,64,100"
HINT_TAKES_S: Final = 0.01
TURN_TAKES_S: Final = 0.001  # at least, so that time goes on while there is always more to do
CALM_S: Final = 15.0  # beyond that in which a daemon looks often
MINUTE_S: Final = 60.0
BUSY_BEFORE_S: Final = 4  # it is counted: until hints of acknowledgements come, too
BUSY_S: Final = 12  # a part of a minute: each change is acknowledged by all and read by all
ARRIVES_S_MAX: Final = 30.0
Requests = Counter[str]  # by method and kind of object


def main() -> None:
    """Prints what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", default=SITES, help="how many, with hints")
    parser.add_argument("--polls-alone", default=None, help="how many without; as many if not told")
    parser.add_argument("--busy-up-to", type=int, default=64, help="sites; it takes long with more")
    parser.add_argument("--kinds", action="store_true", help="tells what was asked for, too")
    options = parser.parse_args()
    polls_alone = options.sites if options.polls_alone is None else options.polls_alone
    runs = [(number, True) for number in _numbers(options.sites)]
    runs += [(number, False) for number in _numbers(polls_alone)]
    found = []
    for number, is_hinted in runs:
        began_s = time.process_time()
        is_busy = number <= options.busy_up_to
        counted = _counted(number, is_hinted=is_hinted, is_busy=is_busy)
        took_s = time.process_time() - began_s
        print(f"{number} sites, {counted.how}: {took_s:.0f} s of the processor", flush=True)
        found.append(counted)
    print("requests and packets of each site, in a minute:")
    print(_table(found))
    if options.kinds:
        print(_table_of_kinds(found))


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


# Time


class Agenda:
    """What is to happen in simulated time, and when."""

    def __init__(self, now: SimulatedTime) -> None:
        self._time = now
        self._order = count()  # of what is due at the same moment
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    @property
    def now_ns(self) -> int:
        """The time."""
        return self._time.now_ns

    def add(self, due_ns: int, action: Callable[[], None]) -> None:
        """Has something happen at a time; nothing can be taken back."""
        heapq.heappush(self._due, (due_ns, next(self._order), action))

    def run_for(self, duration_s: float, is_over: Callable[[], bool] | None = None) -> None:
        """Lets so much time pass; less, if it is over after some action."""
        end_ns = self.now_ns + round(duration_s * NS_PER_S)
        while self._due and self._due[0][0] <= end_ns:
            due_ns, _, action = heapq.heappop(self._due)
            self._time.now_ns = max(self.now_ns, due_ns)
            action()
            if is_over is not None and is_over():
                return
        self._time.now_ns = end_ns


# A site


class Blind(TreeWatcher):
    """Sees nothing, and says that it sees everything."""

    def start(self) -> None:
        """Does nothing."""

    def is_running(self) -> bool:
        """Says so."""
        return True

    def unwatched_directories(self) -> tuple[bytes, ...]:
        """Returns none."""
        return ()


class Voice:
    """Says the newest hint of a site again and again, when a `HintChannel` would."""

    def __init__(self, agenda: Agenda, say: Callable[[int], None], after_s: float) -> None:
        """Says the first one after so long, unless there is news before."""
        self._agenda = agenda
        self._say = say
        self._newest: int | None = None
        self._is_news = False
        self._may_speak_ns = 0
        self._pause_s = REPEAT_EVERY_S
        self._due_ns = 0
        self._speak_at(agenda.now_ns + round(after_s * NS_PER_S))

    def tell(self, sequence: int, *, is_news: bool) -> None:
        """See OnStored."""
        self._newest = sequence
        if is_news and not self._is_news:
            self._is_news = True
            self._speak_at(max(self._agenda.now_ns, self._may_speak_ns))

    def _speak_at(self, due_ns: int) -> None:
        self._due_ns = due_ns
        self._agenda.add(due_ns, partial(self._speak, due_ns))

    def _speak(self, due_ns: int) -> None:
        if due_ns != self._due_ns:
            return  # there was news, and it was said before
        self._pause_s = FIRST_REPEAT_S if self._is_news else min(REPEAT_EVERY_S, 2 * self._pause_s)
        self._is_news = False
        if self._newest is not None:
            self._say(self._newest)
        self._may_speak_ns = due_ns + round(SEND_EVERY_S * NS_PER_S)
        self._speak_at(self._may_speak_ns + round(self._pause_s * NS_PER_S))


class SimulatedDaemon:
    """The control loop of one site, and what it has asked of the store.

    Attributes:
        requests: of this site, since somebody cleared them.
        packets: that it sent, each to one other site.
    """

    def __init__(self, site: LocalSite, agenda: Agenda) -> None:
        self.site = site
        self.requests: Requests = Counter()
        self.packets = 0
        self._agenda = agenda
        self._due_ns: int | None = None  # of the next turn
        clock = SimulatedClock(site.time)
        parts = loop_parts(site, clock)
        settle_s = parts.configuration.tuning.settle_ms / 1000
        self.state, self.hints = parts.state, parts.hints
        self.state.dirty = DirtyDirectories(
            settle_s=settle_s, settle_s_max=SETTLE_S_MAX, clock=clock.monotonic_s
        )
        self.loop = ControlLoop(site.engine, parts)

    def begin(self, after_s: float) -> None:
        """Has the first turn taken after so long."""
        self._plan(after_s)

    def hear(self, hint: Hint) -> None:
        """Takes a hint of another site."""
        if self.hints.take(hint):
            self._plan(0.0)

    def write(self, name: bytes, content: bytes) -> None:
        """Writes a file in the root; a watcher would tell of that."""
        self.site.write(name, content)
        self.state.dirty.mark(ROOT, recursive=False, has_left=False)
        self._plan(QUICK_S)

    def gets(self) -> int:
        """Returns how often something was got, or it was asked whether it is there."""
        return self.asked("get") + self.asked("get_range")

    def asked(self, method: str) -> int:
        """Returns how often a method was called."""
        return sum(
            times for kind, times in self.requests.items() if kind.partition(" ")[0] == method
        )

    def _plan(self, after_s: float) -> None:
        due_ns = self._agenda.now_ns + round(after_s * NS_PER_S)
        if self._due_ns is None or due_ns < self._due_ns:
            self._due_ns = due_ns
            self._agenda.add(due_ns, partial(self._take_turn, due_ns))

    def _take_turn(self, due_ns: int) -> None:
        if due_ns != self._due_ns:
            return  # there was one before
        self._due_ns = None
        self.loop.take_turn()
        self.requests.update(_kind(*call) for call in self.site.link.calls)
        self.site.link.calls.clear()
        due_in_s = self.loop.due_in_s()
        if len(self.state.dirty):
            due_in_s = min(due_in_s, QUICK_S)
        self._plan(max(due_in_s, TURN_TAKES_S))


def _kind(method: str, name: str) -> str:
    """Tells what was asked for, as `get log` or `get cut`."""
    area, *rest = name.split("/")
    return f"{method} cut" if "cut" in rest else f"{method} {area}"


# All sites


@dataclass(slots=True)
class Found:
    """What was counted with so many sites.

    Attributes:
        rest: requests of all sites in a minute of rest.
        rest_packets: hints of all sites in that minute.
        puts: of who wrote a file, until all had it.
        gets: of each other site, until it had that file.
        after: requests of all sites in the minute that began with this.
        busy: requests of all sites in BUSY_S, with a change each second; nothing if not asked for.
    """

    sites: int
    is_hinted: bool
    rest: Requests = field(default_factory=Counter)
    rest_packets: int = 0
    puts: int = 0
    gets: list[int] = field(default_factory=list)
    after: Requests = field(default_factory=Counter)
    busy: Requests = field(default_factory=Counter)

    @property
    def how(self) -> str:
        """How the sites hear of changes."""
        return "hints" if self.is_hinted else "polls alone"


class SimulatedSites:
    """All sites of a volume: joined, at rest and in no hurry."""

    def __init__(self, sites: list[LocalSite], *, is_hinted: bool) -> None:
        self.agenda = Agenda(sites[0].time)
        self.daemons = [SimulatedDaemon(site, self.agenda) for site in sites]
        self.agenda.run_for(ACTIVE_FOR_S)  # a daemon looks often when it starts
        for number, daemon in enumerate(self.daemons):
            after_s = REPEAT_EVERY_S * number / len(sites)  # else all look at once, for ever
            if is_hinted:
                self._give_voice(daemon, after_s)
            daemon.begin(after_s)
        self.writer, *self.readers = self.daemons

    def _give_voice(self, daemon: SimulatedDaemon, after_s: float) -> None:
        engine = daemon.site.engine
        voice = Voice(self.agenda, partial(self._say, daemon), after_s)
        engine.site.on_stored = voice.tell
        stored = engine.last_stored()
        if stored is not None:
            voice.tell(stored, is_news=False)

    def _say(self, speaker: SimulatedDaemon, sequence: int) -> None:
        hint = Hint(speaker.site.engine.site.actor, sequence)
        others = [each for each in self.daemons if each is not speaker]
        speaker.packets += len(others)

        def arrive() -> None:
            for other in others:
                other.hear(hint)

        self.agenda.add(self.agenda.now_ns + round(HINT_TAKES_S * NS_PER_S), arrive)

    def requests(self) -> Requests:
        """Returns what all asked for together."""
        return sum((each.requests for each in self.daemons), Counter())

    def forget(self) -> None:
        """Begins to count anew."""
        for daemon in self.daemons:
            daemon.requests.clear()
            daemon.packets = 0


@contextmanager
def simulated_sites(number: int, *, is_hinted: bool) -> Iterator[SimulatedSites]:
    """Has so many sites join a volume, and removes them in the end."""
    names = [f"site-{each}" for each in range(number)]
    with (
        patch.object(control_loop, "TreeWatcher", Blind),
        # The status asks the store for nothing, and would take half of the time.
        patch.object(control_loop, "STATUS_EVERY_S", math.inf),
        local_sites(MemoryStore(), *names) as sites,
    ):
        for site in sites:  # each begins with all that those before it wrote
            settle(site)
        settle(*sites)
        for site in sites:
            site.link.calls.clear()
        yield SimulatedSites(sites, is_hinted=is_hinted)


# What is counted


def _counted(number: int, *, is_hinted: bool, is_busy: bool) -> Found:
    found = Found(number, is_hinted)
    with simulated_sites(number, is_hinted=is_hinted) as world:
        _rest(world, found)
        _change_once(world, found)
        if is_busy:
            _change_often(world, found)
            world.agenda.run_for(REPEAT_EVERY_S)
        require_equal(tuple(daemon.site.root for daemon in world.daemons))
    return found


def _rest(world: SimulatedSites, found: Found) -> None:
    world.agenda.run_for(CALM_S)
    world.forget()
    world.agenda.run_for(MINUTE_S)
    found.rest = world.requests()
    found.rest_packets = sum(daemon.packets for daemon in world.daemons)


def _change_once(world: SimulatedSites, found: Found) -> None:
    name = b"once"
    lacking = list(world.readers)
    world.forget()
    began_ns = world.agenda.now_ns
    world.writer.write(name, b"content")

    def is_everywhere() -> bool:
        for reader in [each for each in lacking if os.path.exists(each.site.path(name))]:
            found.gets.append(reader.gets())
            lacking.remove(reader)
        return not lacking

    world.agenda.run_for(ARRIVES_S_MAX, is_everywhere)
    assert not lacking, f"{len(lacking)} sites never got the file"
    found.puts = world.writer.asked("put_once")
    world.agenda.run_for(MINUTE_S - (world.agenda.now_ns - began_ns) / NS_PER_S)
    found.after = world.requests()


def _change_often(world: SimulatedSites, found: Found) -> None:
    for each in range(BUSY_BEFORE_S + BUSY_S):
        if each == BUSY_BEFORE_S:
            world.forget()
        world.writer.write(b"often-%d" % each, b"%d" % each)
        world.agenda.run_for(1.0)
    found.busy = world.requests()


# What is shown


def _table(found: list[Found]) -> str:
    numbers = (
        "sites",
        "rest: requests",
        "rest: packets",
        "one change: PUTs",
        "GETs of each reader",
        "in the minute after",
        "busy minute",
    )
    rows = [
        (
            str(each.sites),
            f"{each.rest.total() / each.sites:.0f}",
            f"{each.rest_packets / each.sites:.0f}",
            str(each.puts),
            _range(each.gets),
            f"{each.after.total() / each.sites:.0f}",
            f"{each.busy.total() / each.sites * MINUTE_S / BUSY_S:.0f}" if each.busy else "",
            each.how,
        )
        for each in found
    ]
    return plain_table((*numbers, "how"), rows, numbers)


def _range(counts: list[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _table_of_kinds(found: list[Found]) -> str:
    rows = [
        (str(each.sites), each.how, when, kind, f"{times / each.sites / minutes:.1f}")
        for each in found
        for when, requests, minutes in (
            ("rest", each.rest, 1.0),
            ("after one change", each.after, 1.0),
            ("busy", each.busy, BUSY_S / MINUTE_S),
        )
        for kind, times in requests.most_common()
    ]
    numbers = ("sites", "each site and minute")
    return plain_table(("sites", "how", "when", "requests", "each site and minute"), rows, numbers)


if __name__ == "__main__":
    main()
