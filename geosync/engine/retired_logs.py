"""Logs and checkpoints of retired actors: who answers for their packs takes these away, too.

The rules are those of geosync.engine.truncating: two checkpoints that count cover the segments,
it is said in the log that they go, all have applied that, and a cut tells that they are gone. What
such a log holds beyond its end is void, and was read by nobody.
"""

from __future__ import annotations

from typing import Final

from conflict.checkpointing import KEPT_COUNT, Checkpointing, Released
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.engine.authoring import declare
from geosync.engine.checkpoint_statements import checkpointing, confirmed_checkpoints
from geosync.engine.checkpoint_writing import delete_others, numbers_to_keep
from geosync.engine.collecting import actors_in_care
from geosync.engine.site import Site
from geosync.engine.stability import stable
from geosync.engine.truncating import CUT_SETTLES_S, SEGMENTS_AT_ONCE
from geosync.event_log import event_logger
from transport.checkpoint_statement import encode_checkpoint_statement
from transport.cut import CUT_OBJECT_SIZE_BYTES_MAX, decode_cut, encode_cut
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.object_names import (
    CutName,
    SegmentName,
    checkpoints_prefix,
    cut_name,
    log_prefix,
    recognise,
)

LOOK_EVERY_S: Final = 60.0
CUT_ATTEMPTS_MAX: Final = 100
_log = event_logger(__name__)


class RetiredLogs:
    """Removes what is left in the store of the actors that one site has fenced."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._due_s = site.clock.monotonic_s()
        self._cut: dict[ActorId, tuple[int, float]] = {}  # where a log begins; seen everywhere at
        self._done: dict[ActorId, int] = {}  # where the logs began when all else was deleted

    def step(self) -> bool:
        """Does a part of what may be done now; returns whether there is more to do at once.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        site = self._site
        now_s = site.clock.monotonic_s()
        if now_s < self._due_s:
            return False
        care = [a for a in actors_in_care(site.journal, site.actor) if a != site.actor]
        known = checkpointing(site) if care else Checkpointing(())
        has_more = False
        for actor in care:
            has_more = self._release(known, actor) or has_more
            sequence = known.released(stable(site)).get(actor, 0)
            if sequence and self._done.get(actor) != sequence:
                has_more = self._clear(known, actor, sequence) or has_more
        if not has_more:
            self._due_s = now_s + LOOK_EVERY_S
        return has_more

    def _release(self, known: Checkpointing, actor: ActorId) -> bool:
        """Says that the segments go which all kept checkpoints cover."""
        kept = confirmed_checkpoints(self._site, known)[-KEPT_COUNT:]
        log = self._site.journal.log.actor(actor)
        if len(kept) < KEPT_COUNT or log is None:
            return False
        sequence = min(checkpoint.written.covered.get(actor, 0) for checkpoint in kept)
        if not known.released().get(actor, 0) < sequence <= log.next_sequence:
            return False
        statement = encode_checkpoint_statement(Released(actor, sequence))
        declare(self._site, Topic.CHECKPOINT, statement)
        _log.info("retired_log_released", actor=actor.hex(), sequence=sequence)
        return True

    def _clear(self, known: Checkpointing, actor: ActorId, sequence: int) -> bool:
        """Deletes what is needed no more; returns whether there is more to do at once.

        CRASH: a cut that is there is found, or stored once more with the same bytes.
        """
        begins_at, settled_s = self._cut.get(actor, (0, 0.0))
        if begins_at < sequence:
            if not self._store_cut(actor, sequence):
                return False
            settled_s = self._site.clock.monotonic_s() + CUT_SETTLES_S
            self._cut[actor] = (sequence, settled_s)
        if self._site.clock.monotonic_s() < settled_s:
            self._due_s = settled_s
            return False
        going = self._going(actor, sequence)
        for name in going[:SEGMENTS_AT_ONCE]:
            self._site.store.delete(name)
            _log.debug("retired_segment_deleted", name=name)
        if len(going) > SEGMENTS_AT_ONCE:
            return True
        delete_others(self._site, numbers_to_keep(self._site, known, actor), actor)
        self._done[actor] = sequence
        return False

    def _going(self, actor: ActorId, sequence: int) -> list[str]:
        """Returns the segments that go, the oldest first.

        The one at which the log begins now stays: it may be valid in part.
        """
        log = self._site.journal.log.actor(actor)
        end = log.next_sequence if log is not None else sequence
        going = []
        for name in self._site.store.list_names(log_prefix(actor)):
            found = recognise(name)
            if isinstance(found, SegmentName) and not sequence <= found.sequence <= end:
                going.append(name)
        return sorted(going)

    def _store_cut(self, actor: ActorId, sequence: int) -> bool:
        """Tells where the log begins, unless that is told; the actor itself may have cut it, too.

        Returns whether that is told now: where a listing lags far behind, it takes another time.
        """
        site = self._site
        cuts = [recognise(name) for name in site.store.list_names(checkpoints_prefix(actor))]
        numbers = sorted(cut.number for cut in cuts if isinstance(cut, CutName))
        if numbers and self._begins_at(actor, numbers[-1]) >= sequence:
            return True
        first = numbers[-1] + 1 if numbers else 0
        for number in range(first, first + CUT_ATTEMPTS_MAX):
            body = encode_cut(site.volume, actor, number, sequence, site.hasher)
            try:
                site.store.put_once(cut_name(actor, number), body)
            except ObjectCollision:
                continue  # of the actor's own, which the listing does not show yet
            return True
        return False

    def _begins_at(self, actor: ActorId, number: int) -> int:
        site, name = self._site, cut_name(actor, number)
        try:
            stored = site.store.get(name, size_bytes_max=CUT_OBJECT_SIZE_BYTES_MAX)
            return decode_cut(stored, site.hasher, site.volume, actor, number)
        except (ObjectNotVisible, CorruptObject):
            return 0
