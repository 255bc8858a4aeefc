"""Collecting garbage: packs in our care that nobody needs any more go, once all know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from conflict.collection import Condemn, Verdict, Verdicts, judge
from conflict.node import NodeState, Version
from conflict.operations import Topic
from conflict.supply import Want
from conflict.version import ActorId
from geosync.engine.authoring import declare
from geosync.engine.forgetting import Forgetter
from geosync.engine.old_declarations import forget_old_declarations
from geosync.engine.retiring import membership
from geosync.engine.reuse import verdicts
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.engine.stability import stable
from geosync.engine.supplying import supply
from geosync.event_log import event_logger
from geosync.journal.collection import NEVER_MS, Doomed, PackUse
from geosync.journal.journal import Journal
from geosync.journal.nodes import shown_versions
from transport.collection_record import PACKS_MAX, encode_verdict
from transport.errors import CorruptObject, StoreRefused
from transport.object_names import PackName, packs_prefix, parse_pack_name, recognise
from transport.supply_record import decode_supply

TEND_EVERY_S: Final = 5.0
NODES_AT_ONCE: Final = 2000
DELETIONS_AT_ONCE: Final = 50
NEEDED_SHARE_MIN: Final = 0.25  # a pack of which less is needed is written anew
DELETE_AGAIN_AFTER_S: Final = (86_400.0, 8 * 86_400.0)
"""An eventually consistent store may bring back what was deleted; no name is used again."""
_COLLECTION: Final = b"collection"
_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at all that is live, while it is under way."""

    last_node: bytes  # that was looked at


def actors_in_care(journal: Journal, own: ActorId) -> list[ActorId]:
    """Returns whose packs a site answers for: its own, and those of actors that it fenced."""
    state = membership(journal)
    actors = [log.actor for log in journal.log.actors()]
    live = state.live(actors, journal.log.received())
    return [
        actor
        for actor in actors
        if actor == own or (actor not in live and state.owner_of(actor) == own)
    ]


def uses_in_care(journal: Journal, own: ActorId, known: Verdicts) -> Iterator[PackUse]:
    """Yields how much is needed of each pack in the care of a site, once all that is live is told.

    Of a chunk that is in several packs, one of an actor that is at work is kept. Packs that
    somebody looked into in vain count for nothing: what was stored in their place must stay.
    """
    state = membership(journal)
    received = journal.log.received()
    actors = [log.actor for log in journal.log.actors()]
    retired = set(actors) - state.live(actors, received)
    untrusted = {*known.forbidden, *packs_tried_in_vain(journal)}
    for actor in retired:
        untrusted.update(journal.collection.packs_of(packs_prefix(actor)))
    for actor in actors_in_care(journal, own):
        is_retired = actor in retired
        yield from journal.collection.uses(
            packs_prefix(actor), untrusted, is_any_other_better=is_retired
        )


def packs_tried_in_vain(journal: Journal) -> set[str]:
    """Returns the packs in which somebody did not find what was said to be in them."""
    tried: set[str] = set()
    for declaration in journal.declarations.of_topic(Topic.SUPPLY):
        with suppress(CorruptObject):  # of a later version; the packs are found in vain again
            statement = decode_supply(declaration.operation.body)
            if isinstance(statement, Want):
                tried.update(pack for packs in statement.chunks.values() for pack in packs)
    return tried


def add_live(journal: Journal, versions: Iterable[Version]) -> None:
    """Says that the contents of versions are needed."""
    digests = (c.digest for v in versions for c in v.content.chunks if not c.is_hole)
    journal.collection.add_live(digests)


class Collector:
    """Collects the packs in the care of one site, bit by bit.

    Attributes:
        asks_for_word: a look has ended since it was told what is on the disk of this site, its
            own changes included.
    """

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._look: _Look | None = None
        self._forgetter = Forgetter(site)
        self.asks_for_word = False
        now_s = site.clock.monotonic_s()
        self._look_due_s = now_s + site.collection_pace.every_s
        self._tend_due_s = now_s

    def hurry(self) -> None:
        """Makes the next look due at once."""
        self._look_due_s = self._tend_due_s = self._site.clock.monotonic_s()

    @property
    def has_more(self) -> bool:
        """Tells whether a look is under way."""
        return self._look is not None

    def tend(self, doubt: Callable[[], str | None]) -> None:
        """Does a bit of what is due. Nothing is said of packs, or deleted, while there is a doubt.

        Args:
            doubt: returns why what is needed can't be told for certain; None: it can.

        Raises:
            StoreUnavailable, StoreRefused: a pack could not be deleted, or the packs not listed.
            OSError: a pack that is written anew can't be spooled.
        """
        now_s = self._site.clock.monotonic_s()
        if self._look is None and now_s < self._tend_due_s:
            return
        self._tend_due_s = now_s + TEND_EVERY_S
        if doubt() is not None:
            self._look = None
            self._site.journal.nodes.while_looking = None
            return
        known = verdicts(self._site.journal)
        self._forget_doomed(known)
        self._delete_due(known)
        if self._look is not None:
            self._go_on_looking(self._look)
        elif now_s >= self._look_due_s:
            self._begin_looking()

    # What is live

    def _begin_looking(self) -> None:
        journal = self._site.journal
        journal.collection.begin_looking()
        self._forgetter.begin(self._site.collection_pace.history_s)
        journal.nodes.while_looking = self._look_again  # what changes meanwhile counts as well
        self._look = _Look(b"")

    def _go_on_looking(self, look: _Look) -> None:
        states = self._site.journal.nodes.some_after(look.last_node, NODES_AT_ONCE)
        for state in states:
            self._add_live(state)
            self._forgetter.look_at(state)
        if states:
            self._look = _Look(states[-1].node)
            with self._site.journal.transaction():
                for state in states:
                    if not state.is_directory:
                        shown = shown_versions(state)
                        self._site.journal.collection.forget_shown(state.node, shown)
            return
        self._look = None
        self._site.journal.nodes.while_looking = None
        self._look_due_s = self._site.clock.monotonic_s() + self._site.collection_pace.every_s
        self._add_history()
        self._decide()
        self._forgetter.end()
        forget_old_declarations(self._site)
        self.asks_for_word = True

    def _look_again(self, state: NodeState) -> None:
        self._add_live(state)
        self._forgetter.look_again(state)

    def _add_live(self, state: NodeState) -> None:
        if not state.is_directory:
            add_live(self._site.journal, shown_versions(state))

    def _add_history(self) -> None:
        journal, now_ms = self._site.journal, self._site.now_ms()
        kept_ms = int(self._site.collection_pace.history_s * 1000)
        with journal.transaction():
            journal.collection.note_replaced(now_ms)
            journal.collection.forget_replaced(now_ms - kept_ms)
        add_live(journal, journal.collection.all_replaced())

    # What becomes of packs

    def _decide(self) -> None:
        site = self._site
        known = verdicts(site.journal)
        uses = {use.pack: use for use in self._uses(known)}
        needed = {pack for pack, use in uses.items() if use.needed_size_bytes}
        spare, doom = judge(known.to_judge(site.actor, stable(site)), needed)
        self._say(spare)
        self._say(doom)
        idle = [use for pack, use in uses.items() if pack not in known.forbidden]
        if site.journal.log.outbox_counts()[0] == 0:
            unneeded = [use.pack for use in idle if not use.needed_size_bytes]
            self._say(Condemn(tuple(sorted({*unneeded, *self._orphans(known)}))))
        self._write_anew(idle)

    def _uses(self, known: Verdicts) -> Iterator[PackUse]:
        """Yields the packs in our care that are in the store and announced.

        But those of a large file that is being read: it will refer to them.
        """
        chunks = self._site.journal.chunks
        waiting = set(chunks.packs_to_store())
        waiting |= chunks.unannounced_packs() | chunks.packs_ahead()
        for use in uses_in_care(self._site.journal, self._site.actor, known):
            if use.pack not in waiting:
                yield use

    def _orphans(self, known: Verdicts) -> Iterator[str]:
        """Yields packs in our care that are in the store, and of which no log tells."""
        chunks = self._site.journal.chunks
        ours, next_pack = set(chunks.packs()), self._site.journal.integer_setting("next_pack")
        for actor in actors_in_care(self._site.journal, self._site.actor):
            for name in self._site.store.list_names(packs_prefix(actor)):
                found = recognise(name)
                is_new = actor == self._site.actor and (
                    name in ours or not isinstance(found, PackName) or found.number >= next_pack
                )
                if not is_new and name not in known.forbidden and not chunks.locations_in(name):
                    yield name

    def _write_anew(self, uses: Iterable[PackUse]) -> None:
        """Stores again what little is needed of a pack; the next look finds the pack unneeded.

        Not what is in a better place already: of the new pack it would not be needed either.
        """
        collection = self._site.journal.collection
        digests: set[bytes] = set()
        for use in uses:
            if 0 < use.needed_size_bytes < use.size_bytes * NEEDED_SHARE_MIN:
                is_retired = parse_pack_name(use.pack).actor != self._site.actor
                digests.update(
                    collection.needed_chunks_in(use.pack, is_any_other_better=is_retired)
                )
        if digests:
            supply(self._site, self._spool, digests)

    def _say(self, verdict: Verdict) -> None:
        kind = type(verdict)
        for start in range(0, len(verdict.packs), PACKS_MAX):
            part = verdict.packs[start : start + PACKS_MAX]
            declare(self._site, Topic.COLLECTION, encode_verdict(kind(part)))
            _log.info(f"packs_{kind.__name__.lower()}", packs=len(part), first=part[0])

    # What is doomed

    def _forget_doomed(self, known: Verdicts) -> None:
        """Forgets the places of chunks in packs that will go; remembers those we are to delete."""
        journal, now_ms = self._site.journal, self._site.now_ms()
        grace_ms = int(self._site.collection_pace.grace_s * 1000)
        care = set(actors_in_care(journal, self._site.actor))
        done = {each.pack for each in journal.collection.doomed()}
        for pack in known.doomed:
            locations = journal.chunks.locations_in(pack)
            found = recognise(pack)
            is_ours = isinstance(found, PackName) and found.actor in care and pack not in done
            if not locations and not is_ours:
                continue
            with journal.transaction():
                journal.chunks.forget_pack(pack)
                if is_ours:
                    size_bytes = sum(at.stored_size_bytes for at in locations.values())
                    doomed = Doomed(pack, size_bytes, now_ms + grace_ms, 0)
                    journal.collection.save_doomed(doomed)

    def _delete_due(self, known: Verdicts) -> None:
        journal, now_ms = self._site.journal, self._site.now_ms()
        may_go = set(known.to_delete(stable(self._site)))
        due = [
            each
            for each in journal.collection.doomed()
            if each.due_ms <= now_ms and each.pack in may_go
        ]
        for doomed in due[:DELETIONS_AT_ONCE]:
            if not self._delete(doomed.pack):
                return
            # CRASH: it is deleted once more, which does no harm.
            again_ms = [int(after_s * 1000) for after_s in DELETE_AGAIN_AFTER_S]
            is_over = doomed.deletions >= len(again_ms)
            due_ms = NEVER_MS if is_over else now_ms + again_ms[doomed.deletions]
            with journal.transaction():
                following = Doomed(doomed.pack, doomed.size_bytes, due_ms, doomed.deletions + 1)
                journal.collection.save_doomed(following)
            _log.debug("pack_deleted", name=doomed.pack, deletions=doomed.deletions + 1)

    def _delete(self, pack: str) -> bool:
        try:
            self._site.store.delete(pack)
        except StoreRefused as error:
            text = (
                f"packs that nobody needs can't be deleted: {error}. The store only grows until"
                " this site may delete objects; give it that right."
            )
            self._site.report(_COLLECTION, text)
            return False
        self._site.report(_COLLECTION, None)
        return True
