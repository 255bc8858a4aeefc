"""Incidents: what befalls whole machines and operators do to them, by name, each with a rate.

A run has some of them, at rates of its own, drawn from a random stream of their own: a new kind
does not change what else happens at a seed. Further kinds are entered with `@incident("name")`
in modules that this package's world imports.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

Incident = Callable[["World", random.Random], str]
"""Does it, and returns what it did to whom; empty: there was nothing to do it to."""

INCIDENTS: dict[str, Incident] = {}
_HAPPENS_SHARE = 0.6  # of all runs in which anything happens
_KIND_SHARE = 0.4
_RATE_MAX = 0.03


def incident(name: str) -> Callable[[Incident], Incident]:
    """Enters a function as an incident."""

    def enter(happens: Incident) -> Incident:
        INCIDENTS[name] = happens
        return happens

    return enter


def rates_of(fate: Callable[[str], random.Random]) -> dict[str, float]:
    """Draws which incidents a run has, and how likely each is in each step.

    Args:
        fate: returns the random stream of one purpose.
    """
    if fate("incidents").random() >= _HAPPENS_SHARE:
        return {}
    rates: dict[str, float] = {}
    for name in sorted(INCIDENTS):
        of_this = fate(f"incidents/{name}")
        if of_this.random() < _KIND_SHARE:
            rates[name] = of_this.random() * _RATE_MAX
    return rates
