"""A process of geosync looks for objects that hold each other less often than Python would."""

from __future__ import annotations

import gc
import weakref

from geosync.object_cycles import THRESHOLDS, look_for_cycles_seldom


class Link:
    """May hold another one."""

    other: Link | None = None


def test_cycles_still_go_only_less_often() -> None:
    before = gc.get_threshold()
    try:
        look_for_cycles_seldom()
        assert gc.isenabled()
        assert gc.get_threshold() == THRESHOLDS > before
        first, second = Link(), Link()
        first.other, second.other = second, first
        gone = weakref.ref(first)
        del first, second
        kept: list[list[int]] = []
        while gone() is not None:
            assert len(kept) <= 2 * THRESHOLDS[0]
            kept.append([])
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
