"""How the store behaves: how soon it shows what was stored, and how fast contents travel."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Final

from conflict.errors import GeosyncError
from geosync.clock import Clock
from geosync.examination.finding import Finding, Level, Subject
from geosync.terminal import human_duration, human_size
from transport.errors import ObjectNotVisible
from transport.object_store import ObjectStore

MEASURED_SIZE_BYTES: Final = 2 * 1024 * 1024
ANSWERS: Final = 3
SHOWN_AFTER_S_MAX: Final = 5.0
SLOW_ANSWER_S: Final = 1.0
SLOW_BYTES_PER_S: Final = 256 * 1024

_LOOK_AGAIN_S: Final = 0.1
_PREFIX: Final = "volume/doctor-"


def examine_behaviour(store: ObjectStore, clock: Clock) -> Iterator[Finding]:
    """Stores, reads, lists and removes an object of some size, under a name used once.

    Args:
        store: that these credentials may write to.
        clock: of this machine.
    """
    measurement = _Measurement(store, clock)
    try:
        yield from measurement.findings()
    except GeosyncError as error:
        text = f"the measurement was broken off: {error}"
        yield Finding(Subject.TRANSFER, Level.WARNING, text, "try again; look at the network")
    finally:
        with suppress(GeosyncError):
            store.delete(measurement.name)


class _Measurement:
    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.name = _PREFIX + secrets.token_hex(16)
        self._body = os.urandom(MEASURED_SIZE_BYTES)

    def findings(self) -> Iterator[Finding]:
        answer_s = min(self._timed(self._small_request) for _ in range(ANSWERS))
        sent_s = self._timed(lambda: self._store.put_once(self.name, self._body))
        read_s = self._until(self._is_read)
        received_s = self._timed(self._is_read)
        listed_s = self._until(self._is_listed)
        self._store.delete(self.name)
        gone_s = self._until(lambda: not self._is_read())
        yield _transfer(answer_s, _rate(sent_s, answer_s), _rate(received_s, answer_s))
        yield _consistency(read_s, listed_s, gone_s)

    def _small_request(self) -> object:
        return self._is_listed()

    def _is_read(self) -> bool:
        with suppress(ObjectNotVisible):
            return bool(self._store.get(self.name, size_bytes_max=MEASURED_SIZE_BYTES))
        return False

    def _is_listed(self) -> bool:
        return self.name in self._store.list_names(self.name)

    def _timed(self, act: Callable[[], object]) -> float:
        began_s = self._clock.monotonic_s()
        act()
        return self._clock.monotonic_s() - began_s

    def _until(self, is_so: Callable[[], bool]) -> float | None:
        """Returns after how many seconds it was so, 0 for at the first look; None for not yet."""
        began_s = self._clock.monotonic_s()
        if is_so():
            return 0.0
        while (lasted_s := self._clock.monotonic_s() - began_s) < SHOWN_AFTER_S_MAX:
            self._clock.wait(Event(), _LOOK_AGAIN_S)
            if is_so():
                return lasted_s
        return None


def _rate(took_s: float, answer_s: float) -> float:
    """Returns bytes a second, without what each request takes whatever its size."""
    return MEASURED_SIZE_BYTES / max(took_s - answer_s, took_s / 10, 1e-6)


def _transfer(answer_s: float, sent: float, received: float) -> Finding:
    facts = {
        "answer_s": round(answer_s, 4),
        "sent_bytes_per_s": round(sent),
        "received_bytes_per_s": round(received),
    }
    text = (
        f"a small request takes {human_duration(answer_s)}; one connection sends"
        f" {human_size(round(sent))}/s and receives {human_size(round(received))}/s"
    )
    if answer_s <= SLOW_ANSWER_S and min(sent, received) >= SLOW_BYTES_PER_S:
        return Finding(Subject.TRANSFER, Level.OK, text, facts=facts)
    remedy = (
        "look at the network and at the load of the store; with a long line, more transfers at the"
        " same time help: transfer_workers = 16 in the table [tuning]"
    )
    return Finding(Subject.TRANSFER, Level.WARNING, text, remedy, facts)


def _consistency(read_s: float | None, listed_s: float | None, gone_s: float | None) -> Finding:
    facts = {
        "read_after_s": _rounded(read_s),
        "listed_after_s": _rounded(listed_s),
        "gone_after_s": _rounded(gone_s),
    }
    text = (
        f"what was stored can be read {_when(read_s)} and is listed {_when(listed_s)}; what was"
        f" removed is gone {_when(gone_s)}"
    )
    if read_s is not None and read_s < 1:
        return Finding(Subject.CONSISTENCY, Level.OK, text, facts=facts)
    remedy = (
        "nothing is lost by that, and changes travel later: look at the health of the store's nodes"
        " with: swift-recon --replication --async"
    )
    return Finding(Subject.CONSISTENCY, Level.WARNING, text, remedy, facts)


def _rounded(time_s: float | None) -> float | None:
    return None if time_s is None else round(time_s, 2)


def _when(after_s: float | None) -> str:
    if after_s is None:
        return f"not within {human_duration(SHOWN_AFTER_S_MAX)}"
    return f"after {human_duration(after_s)}" if after_s else "at once"
