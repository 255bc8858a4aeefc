"""The configured bandwidth as the transport needs it: by this machine's clock and time of day."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from geosync.clock import Clock
from geosync.configuration.bandwidth import KIB, BandwidthRules, Rates
from transport.bandwidth import Bandwidths, Limited


def bandwidths(rules: BandwidthRules, clock: Clock) -> Bandwidths:
    """Returns the limits of both directions, for all connections of a store together."""

    def rates() -> Rates:
        now = time.localtime(clock.wall_ns() / 1e9)
        return rules.rates_at(now.tm_hour * 60 + now.tm_min)

    def limited(rate_kib_per_s: Callable[[], int]) -> Limited:
        return Limited(
            lambda: rate_kib_per_s() * KIB,
            monotonic=clock.monotonic_s,
            sleep=lambda pause_s: clock.wait(Event(), pause_s),
        )

    if rules == BandwidthRules():
        return Bandwidths()
    return Bandwidths(
        outgoing=limited(lambda: rates().upload_kib_per_s),
        incoming=limited(lambda: rates().download_kib_per_s),
    )
