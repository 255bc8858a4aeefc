"""A proxy's cache in its own memory, in the place of a memcached.

Without any cache Swift asks its account and container servers anew at each request, which takes
two to three times as long. With this one it also remembers for too long, as it does in the field.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable

WsgiEnvironment = dict[str, object]
WsgiApplication = Callable[[WsgiEnvironment, Callable[..., object]], Iterable[bytes]]

ENTRIES_MAX = 10_000
LIFE_MAX_S = 3600.0  # of entries that are set without a life of their own


class MemoryCache:
    """Has the methods of Swift's MemcacheRing that its proxy and its authentication call."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, str]] = {}  # key -> (end, value in JSON)

    def get(self, key: str, **_options: object) -> object:
        """Returns the value as JSON gives it back (a tuple comes back as a list), or None."""
        end, value = self._entries.get(key, (0.0, "null"))
        return json.loads(value) if time.monotonic() < end else None

    def set(self, key: str, value: object, *, time: float = 0, **_options: object) -> None:
        """Keeps the value for `time` seconds (Swift's name for it). Bytes come back as text."""
        if isinstance(value, bytes):
            value = value.decode()
        if len(self._entries) >= ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = (_seconds_from_now(time or LIFE_MAX_S), json.dumps(value))

    def incr(self, key: str, *, delta: int = 1, **_options: object) -> int:
        """Adds to a number, which is 0 at first and never below; returns it."""
        found = self.get(key)
        number = max(0, int(str(found)) + delta) if found is not None else max(0, delta)
        self.set(key, number)
        return number

    def decr(self, key: str, *, delta: int = 1, **_options: object) -> int:
        """Subtracts from a number; returns it."""
        return self.incr(key, delta=-delta)

    def delete(self, key: str, **_options: object) -> None:
        """Forgets the value, if there is one."""
        self._entries.pop(key, None)


def filter_factory(
    _global_options: dict[str, str], **_options: str
) -> Callable[[WsgiApplication], WsgiApplication]:
    """The entry point for a paste file: gives each request of one proxy the same cache."""
    cache = MemoryCache()

    def with_cache(application: WsgiApplication) -> WsgiApplication:
        def call(
            environment: WsgiEnvironment, start_response: Callable[..., object]
        ) -> Iterable[bytes]:
            environment["swift.cache"] = cache
            return application(environment, start_response)

        return call

    return with_cache


def _seconds_from_now(seconds: float) -> float:
    return time.monotonic() + seconds
