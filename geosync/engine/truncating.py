"""Truncating logs: segments that a confirmed checkpoint covers, and nobody reads any more, go.

The owner of a log says in that log that its older segments go, and waits until everybody has
applied these words: then everybody has read all that came before them. Any doubt keeps the log.
"""

from __future__ import annotations

from typing import Final

from conflict.checkpointing import KEPT_COUNT, Checkpointing, CheckpointKnown, Released
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.engine.authoring import declare
from geosync.engine.checkpoint_statements import checkpointing, confirmed_checkpoints
from geosync.engine.cuts import NEXT_CUT
from geosync.engine.site import Site
from geosync.engine.stability import stable
from geosync.event_log import event_logger
from transport.checkpoint_statement import encode_checkpoint_statement
from transport.cut import CUT_OBJECT_SIZE_BYTES_MAX, encode_cut
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import cut_name, segment_name

SEGMENTS_AT_ONCE: Final = 50
CUT_SETTLES_S: Final = 10.0  # an eventually consistent store needs a while to show a cut
CUT_SEQUENCE: Final = "cut_sequence"  # up to where the last of them goes
_CUT_STORED: Final = "cut_stored"  # how many of them are in the store
_log = event_logger(__name__)


def forget_lost_cut(site: Site) -> None:
    """Has our last cut stored again if the store has lost it: readers would wait for ever.

    Raises:
        StoreUnavailable, StoreRefused: see ObjectStore.
    """
    number = site.journal.integer_setting(_CUT_STORED)
    if not number:
        return
    try:
        site.store.get(cut_name(site.actor, number - 1), size_bytes_max=CUT_OBJECT_SIZE_BYTES_MAX)
    except ObjectNotVisible:
        with site.journal.transaction():
            site.journal.set_setting(_CUT_STORED, number - 1)
    except CorruptObject:
        pass  # it is there, whatever it says


class Truncating:
    """Cuts the logs of one site short: its own in the store, all of them in the journal."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._deletes_from_s = site.clock.monotonic_s() + CUT_SETTLES_S
        self.is_waiting = False  # for a cut to be seen everywhere

    def step(self) -> bool:
        """Does a part of what may be done now; returns whether there is more to do at once.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        site = self._site
        known = checkpointing(site)
        if not known.written:
            return False
        certain = stable(site)
        confirmed = confirmed_checkpoints(site, known)
        if self._release(known, confirmed[-KEPT_COUNT:]):
            return True
        gone = known.released(certain)
        has_more = self._cut(gone.get(site.actor, 0))
        self._trim(gone)
        obsolete = list(known.obsolete(confirmed, certain))
        if obsolete:
            with site.journal.transaction():
                site.journal.declarations.forget(obsolete)
        return has_more

    def _release(self, known: Checkpointing, kept: list[CheckpointKnown]) -> bool:
        """Says that the segments go which all of these cover, if there are any."""
        actor = self._site.actor
        if len(kept) < KEPT_COUNT:
            return False
        sequence = min(checkpoint.written.covered.get(actor, 0) for checkpoint in kept)
        if sequence <= known.released().get(actor, 0):
            return False
        log = self._site.journal.log.actor(actor)
        if log is None or log.next_sequence < sequence:
            return False
        statement = encode_checkpoint_statement(Released(actor, sequence))
        declare(self._site, Topic.CHECKPOINT, statement)
        _log.info("log_released", sequence=sequence)
        return True

    def _cut(self, sequence: int) -> bool:
        """Deletes segments of ours before this one from the store, the oldest first.

        The cut is there before the first of them goes: a journal of ours that was restored, and
        believes one of them to be its next, finds it. CRASH: the same cut is stored again, and
        the same segments are deleted again.
        """
        site, journal = self._site, self._site.journal
        number = journal.integer_setting(NEXT_CUT)
        cut = journal.integer_setting(CUT_SEQUENCE)
        if journal.integer_setting(_CUT_STORED) < number:
            body = encode_cut(site.volume, site.actor, number - 1, cut, site.hasher)
            site.store.put_once(cut_name(site.actor, number - 1), body)
            with journal.transaction():
                journal.set_setting(_CUT_STORED, number)
            self._deletes_from_s = site.clock.monotonic_s() + CUT_SETTLES_S
            return True
        kept = [each for each, is_stored in journal.log.sequences(site.actor) if is_stored]
        going = [each for each in kept if each < cut]
        self.is_waiting = bool(going) and site.clock.monotonic_s() < self._deletes_from_s
        if self.is_waiting:
            return False
        for each in going[:SEGMENTS_AT_ONCE]:
            site.store.delete(segment_name(site.actor, each))
            with journal.transaction():
                journal.log.forget_segments(site.actor, each + 1)
            _log.debug("segment_deleted", name=segment_name(site.actor, each))
        if not going and cut < sequence:
            with journal.transaction():
                journal.set_setting(NEXT_CUT, number + 1)
                journal.set_setting(CUT_SEQUENCE, sequence)
        return bool(going) or cut < sequence

    def _trim(self, gone: dict[ActorId, int]) -> None:
        """Forgets the segments of others that are gone, or about to go."""
        journal = self._site.journal
        for actor, sequence in gone.items():
            if actor != self._site.actor and journal.log.has_segments_before(actor, sequence):
                with journal.transaction():
                    journal.log.forget_segments(actor, sequence)
                _log.info("log_trimmed", actor=actor.hex(), sequence=sequence)
