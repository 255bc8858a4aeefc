"""Restocking: notices what the store has lost of logs and packs, and sees to it that it comes back.

A region that is lost takes with it what was not copied to another one yet: segments that some
site has yet to read, the announcement of a site, packs. Nobody tells; readers merely wait. So each
site looks at its own things now and then, and as soon as it reaches the store by another way; and
later at the logs of the others, whose owners may be lost together with their region. A listing
only says where to look: it may lag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from conflict.version import ActorId
from geosync.engine.checkpoint_statements import checkpointing
from geosync.engine.collecting import actors_in_care
from geosync.engine.missing_packs import MISSING_FOR_S, MissingPacks
from geosync.engine.site import Site
from geosync.engine.truncating import CUT_SEQUENCE, forget_lost_cut
from geosync.engine.wanting import Wants
from geosync.event_log import event_logger
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.object_names import ACTORS_PREFIX, actor_name, log_prefix, segment_name
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX

FIRST_LOOK_AFTER_S: Final = 120.0
LOOK_EVERY_S: Final = 3600.0
OTHERS_LATER_BY_S: Final = 600.0
"""So much later than at its own log a site looks at those of others: mostly they have done it."""

STEPS_AT_ONCE: Final = 20
_log = event_logger(__name__)


class Restocking:
    """Looks after what one site has in the store, and after the logs that it has read."""

    def __init__(self, site: Site, wants: Wants) -> None:
        self._site = site
        self._packs = MissingPacks(site, wants)
        self._steps: deque[Callable[[], None]] = deque()
        now_s = site.clock.monotonic_s()
        self._due_s = now_s + FIRST_LOOK_AFTER_S
        self._others_due_s = self._due_s + OTHERS_LATER_BY_S
        self._endpoint = self._endpoint_in_use()

    def tend(self) -> bool:
        """Does a part of what is due; returns whether there is more to do at once.

        Raises:
            StoreUnavailable, StoreRefused: the rest is tried in a later cycle.
            ObjectCollision: another daemon writes our log.
        """
        self._begin_what_is_due()
        for _ in range(STEPS_AT_ONCE):
            if not self._steps:
                return False
            self._steps[0]()  # which may put others behind itself
            self._steps.popleft()
        return bool(self._steps)

    def _begin_what_is_due(self) -> None:
        now_s = self._site.clock.monotonic_s()
        endpoint = self._endpoint_in_use()
        if endpoint != self._endpoint:  # which may not have all that the other one had
            self._endpoint = endpoint
            self._due_s = now_s
            self._others_due_s = now_s + OTHERS_LATER_BY_S
        own = self._site.actor
        if now_s >= self._due_s:
            self._due_s = now_s + LOOK_EVERY_S
            self._steps.append(self._look_at_announcement)
            self._steps.append(partial(self._look_at_log, own))
            self._steps.append(partial(forget_lost_cut, self._site))
        if now_s >= self._others_due_s:
            self._others_due_s = now_s + LOOK_EVERY_S
            for log in self._site.journal.log.actors():
                if log.actor != own:
                    self._steps.append(partial(self._look_at_log, log.actor))
            for actor in actors_in_care(self._site.journal, own):
                self._steps.append(partial(self._look_at_packs, actor))

    def _endpoint_in_use(self) -> str:
        endpoints = self._site.store.counters().endpoints
        return next((each.name for each in endpoints if each.is_in_use), "")

    # Logs

    def _look_at_announcement(self) -> None:
        name = actor_name(self._site.name, self._site.actor)
        if name not in self._site.store.list_names(ACTORS_PREFIX):
            self._site.store.put_once(name, self._site.name.encode())

    def _look_at_log(self, actor: ActorId) -> None:
        """Finds out which segments are not listed."""
        expected = self._expected(actor)
        if expected:
            listed = set(self._site.store.list_names(log_prefix(actor)))
            for sequence in expected:
                if segment_name(actor, sequence) not in listed:
                    self._steps.append(partial(self._look_at_segment, actor, sequence))

    def _expected(self, actor: ActorId) -> list[int]:
        """Returns the segments that the store should have, and that are kept here.

        Not those that their owner has said it will delete: it may have begun.
        """
        begins_at = checkpointing(self._site).released().get(actor, 0)
        if actor == self._site.actor:
            begins_at = max(begins_at, self._site.journal.integer_setting(CUT_SEQUENCE))
        known = self._site.journal.log.sequences(actor)
        return [sequence for sequence, is_stored in known if is_stored and sequence >= begins_at]

    def _look_at_segment(self, actor: ActorId, sequence: int) -> None:
        """Stores a segment again, byte for byte, if the store does not show it.

        RACE: several sites may do so at a time, and the object may be there but not visible: the
        name and the bytes are the same.
        """
        name = segment_name(actor, sequence)
        body = self._site.journal.log.segment(actor, sequence)
        if body is None or sequence not in self._expected(actor):
            return  # a checkpoint took its place meanwhile
        try:
            self._site.store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        except ObjectNotVisible:
            self._store_again(actor, name, body)
        except CorruptObject:
            pass  # it is there; a verification tells whether it is damaged

    def _store_again(self, actor: ActorId, name: str, body: bytes) -> None:
        try:
            self._site.store.put_once(name, body)
        except ObjectCollision as error:
            if actor == self._site.actor:
                raise
            _log.error("log_of_two_daemons", name=name, reason=str(error))  # readers tell of it
            return
        _log.warning("segment_stored_again", name=name, size_bytes=len(body))

    # Packs

    def _look_at_packs(self, actor: ActorId) -> None:
        for name in self._packs.unlisted(actor):
            self._steps.append(partial(self._packs.look_at, name))
        self._steps.append(self._after_packs)

    def _after_packs(self) -> None:
        if self._packs.has_to_look_again():
            again_s = self._site.clock.monotonic_s() + MISSING_FOR_S
            self._others_due_s = min(self._others_due_s, again_s)
        if self._packs.has_to_ask():
            self._steps.append(self._ask_for_packs)

    def _ask_for_packs(self) -> None:
        if self._packs.ask():
            self._steps.append(self._ask_for_packs)
