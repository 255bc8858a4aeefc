"""How often Python looks for objects that hold each other, and can go only together."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (20_000, 20, 20)
"""New objects between two looks, and looks between two that go further; see gc.set_threshold."""


def look_for_cycles_seldom() -> None:
    """Has this process look less often than Python does by itself. To be called at its start.

    There are few such cycles here, and many objects that are part of none: to walk through all of
    them again and again took a fifth of the processor's time in a first sync.
    """
    gc.collect()
    gc.freeze()  # the modules stay
    gc.set_threshold(*THRESHOLDS)
