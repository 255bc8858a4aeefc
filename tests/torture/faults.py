"""Faults: what happens to a site while programs write to it, in an order that the seed decides."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from tests.torture.tortured_site import TorturedSite

BETWEEN_S_MEAN = 2.5
CLOCK_STEPS_S = (-3e7, -3600, -1, 0, 0.5, 60, 86_400, 3e8)  # a year back, to ten years ahead


class Tormentor:
    """A thread that torments one site until it is asked to stop; then the site is whole again.

    Attributes:
        done: how often each fault was made.
        incidents: ends of the daemon that nobody asked for.
    """

    def __init__(self, site: TorturedSite, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.incidents: list[str] = []
        self._site = site
        self._dice = random.Random(f"{seed}/faults of {site.name}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._torment, name=f"torment {site.name}")

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and mends everything."""
        self._stop.set()
        self._thread.join()

    def _torment(self) -> None:
        faults: tuple[tuple[int, Callable[[], None]], ...] = (
            (4, self._kill),
            (3, self._pause),
            (3, self._partition),
            (2, self._silence),
            (2, self._step_clock),
        )
        while not self._stop.wait(self._dice.expovariate(1 / BETWEEN_S_MEAN)):
            [fault] = self._dice.choices([f for _, f in faults], [weight for weight, _ in faults])
            if self._is_dead():
                return
            self.done[fault.__name__.strip("_").replace("_", " ")] += 1
            fault()

    def _is_dead(self) -> bool:
        code = self._site.daemon.poll()
        if code is None:
            return False
        self.incidents.append(
            f"the daemon of {self._site.name} ended by itself with {code}:"
            f" {self._site.log_text()[-3000:]}"
        )
        return True

    def _for_a_while(self, seconds_max: float) -> None:
        self._stop.wait(self._dice.uniform(0.05, seconds_max))

    def _kill(self) -> None:
        self._site.kill()
        self._for_a_while(2.0)
        self._site.spawn()

    def _pause(self) -> None:
        self._site.pause()
        self._for_a_while(3.0)
        self._site.resume()

    def _partition(self) -> None:
        self._site.relay.partition()
        self._for_a_while(5.0)
        self._site.relay.heal()

    def _silence(self) -> None:
        self._site.relay.partition(is_silent=True)
        self._for_a_while(4.0)
        self._site.relay.heal()

    def _step_clock(self) -> None:
        self._site.set_clock(self._dice.choice(CLOCK_STEPS_S))
