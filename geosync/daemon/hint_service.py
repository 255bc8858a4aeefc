"""Hints beside the control thread: sent and heard if wanted, and never in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from conflict.version import ActorId
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.hints.hint_channel import HintChannel
from geosync.hints.packet import Hint
from geosync.hints.pending_hints import PendingHints
from geosync.reporting.status import HintState

_log = event_logger(__name__)


class HintService:
    """What the control thread has to do with hints. Every method may be called from any thread.

    Attributes:
        problem: why hints are not sent or heard although they are wanted; '' for none.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Sends and hears nothing until a channel is given."""
        self.problem = ""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pending = PendingHints()
        self._channel: HintChannel | None = None
        self._wake: Callable[[], object] = lambda: None

    def use(self, channel: HintChannel, wake: Callable[[], object]) -> None:
        """Sends through a channel from now on, and wakes the control thread when it hears news."""
        self._channel = channel
        self._wake = wake

    def take(self, hint: Hint) -> bool:
        """Takes what was heard; returns whether it was news."""
        with self._lock:
            is_news = self._pending.note(hint, self._monotonic())
        if is_news:
            self._wake()
        return is_news

    def tell(self, actor: ActorId, sequence: int, *, is_news: bool) -> None:
        """Has the peers told that we have stored our log up to a segment: at once, or soon."""
        if self._channel is not None:
            self._channel.tell(Hint(actor, sequence), is_news=is_news)

    def due(self, next_of: Callable[[ActorId], int | None]) -> frozenset[ActorId]:
        """Returns whose logs to look at now; see `PendingHints`."""
        with self._lock:
            return self._pending.due(self._monotonic(), next_of)

    def note_look(self, actors: frozenset[ActorId]) -> None:
        """Says that these logs were looked at just now."""
        with self._lock:
            self._pending.note_look(actors, self._monotonic())

    def vouched_for_since_s(self, next_sequences: Mapping[ActorId, int]) -> float | None:
        """Returns since when nothing of some logs can be unread; see `PendingHints`."""
        with self._lock:
            return self._pending.vouched_for_since_s(next_sequences, self._monotonic())

    def next_due_s(self) -> float | None:
        """Returns when to look next; None when nothing is pending."""
        with self._lock:
            return self._pending.next_due_s()

    def state(self, sites: Mapping[ActorId, str]) -> HintState | None:
        """Returns what was sent and heard so far; None without hints.

        Args:
            sites: whose logs are read here, and the names of their sites.
        """
        if self._channel is None:
            return None
        with self._lock:
            silent = self._pending.not_heard(sites, self._monotonic())
        names = sorted({sites[actor] or actor.hex() for actor in silent})
        return replace(self._channel.state, not_heard=tuple(names))


@contextmanager
def hint_service(
    configuration: Configuration, clock: Clock, wake: Callable[[], object]
) -> Iterator[HintService]:
    """Sends and hears hints while the block runs, if the configuration wants it.

    What keeps it from that is logged and becomes a problem in the status, and that is all: polls
    find everything that a hint would have told of.
    """
    service = HintService(clock.monotonic_s)
    if configuration.hints.secret_file is None:
        yield service
        return
    try:
        channel = HintChannel(configuration.hints, configuration.volume, service.take)
    except OperatorError as error:
        _log.warning("hints_off", reason=str(error))
        service.problem = f"{error}. Until then changes are found by polls alone."
        yield service
        return
    service.use(channel, wake)
    channel.start()
    _log.info("hints_on", address=channel.state.address, peers=len(channel.state.peers))
    try:
        yield service
    finally:
        channel.close()
