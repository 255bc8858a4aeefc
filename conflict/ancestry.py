"""What concurrent versions of a file come from: the last version that all of them have replaced."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from conflict.operations import Put
from conflict.version import Dot

PutOf = Callable[[Dot], Put | None]  # None: it is not known any more


def common_ancestor(versions: Sequence[Dot], put_of: PutOf) -> Put | None:
    """Returns the last version that all of these come from; None when there is none, or no more.

    A version has a later stamp than all that it comes from. So whatever is met first on the way
    back, from the latest stamp to earlier ones, is met before anything that it comes from, and no
    more of the history is looked at than that.

    Args:
        versions: of one file; at least one.
        put_of: returns the operation that wrote a version.
    """
    reached: dict[Dot, set[Dot]] = {}  # version -> those of `versions` that come from it
    pending: list[tuple[tuple[int, int, bytes], Dot, Put]] = []

    def reach(dot: Dot, by: set[Dot]) -> None:
        is_new = dot not in reached
        reached.setdefault(dot, set()).update(by)
        put = put_of(dot) if is_new else None
        if put is not None:
            epoch, ticks, _ = put.stamp
            heapq.heappush(pending, ((-epoch, -ticks, bytes(255 - b for b in dot.actor)), dot, put))

    for version in versions:
        reach(version, {version})
    while pending:
        _, dot, put = heapq.heappop(pending)
        if len(reached[dot]) == len(set(versions)) and dot not in versions:
            return put
        for earlier in put.context:
            reach(earlier, reached[dot])
    return None
