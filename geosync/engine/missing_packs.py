"""Missing packs: those that the store lost without anybody noticing yet; their contents are wanted.

Whoever needs a chunk that is lost asks for it, once it is needed. But the last site that has the
file may be gone by then: so the owner of a pack looks for it by itself.
"""

from __future__ import annotations

from typing import Final

from conflict.version import ActorId
from geosync.engine.reuse import verdicts
from geosync.engine.site import Site
from geosync.engine.wanting import Wants
from geosync.journal.nodes import shown_versions
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import packs_prefix
from transport.pack import ChunkLocation

MISSING_FOR_S: Final = 300.0
"""So long a pack must be missing before that counts: what was copied just now may not be seen."""

NODES_AT_ONCE: Final = 2000


class MissingPacks:
    """Remembers, while the engine runs, which packs are missing, and asks for what they held."""

    def __init__(self, site: Site, wants: Wants) -> None:
        self._site = site
        self._wants = wants
        self._since_s: dict[str, float] = {}
        self._told: set[str] = set()  # all that is needed of these was asked for
        self._asking: frozenset[str] = frozenset()  # which packs a look at the files is about
        self._looked_up_to: bytes | None = None  # the last node of that look; None: none goes on
        self._lost: dict[bytes, list[ChunkLocation]] = {}  # what they held, with all places of it
        self._needed: set[bytes] = set()

    def unlisted(self, actor: ActorId) -> list[str]:
        """Returns the packs of an actor that should be in the store, and are not listed.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        journal, prefix = self._site.journal, packs_prefix(actor)
        expected = {*journal.collection.packs_of(prefix)} - self._told
        expected -= {*journal.chunks.packs_to_store(), *verdicts(journal).forbidden}
        unlisted = expected.difference(self._site.store.list_names(prefix)) if expected else set()
        for name in [each for each in self._since_s if each.startswith(prefix)]:
            if name not in unlisted:
                del self._since_s[name]
        return sorted(unlisted)

    def look_at(self, name: str) -> None:
        """Notes whether a pack is missing.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        if self._is_visible(name, 0):
            self._since_s.pop(name, None)
        else:
            self._since_s.setdefault(name, self._site.clock.monotonic_s())

    def has_to_look_again(self) -> bool:
        """Tells whether something is missing, but not for long."""
        return bool(self._since_s.keys() - self._long_missing())

    def has_to_ask(self) -> bool:
        """Tells whether something is missing for so long that it is lost."""
        return self._looked_up_to is None and bool(self._long_missing())

    def ask(self) -> bool:
        """Finds out, bit by bit, what is needed of these packs, and asks for it.

        Returns:
            Whether there is more to look at.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        if self._looked_up_to is None:
            self._begin()
        assert self._looked_up_to is not None
        states = self._site.journal.nodes.some_after(self._looked_up_to, NODES_AT_ONCE)
        for state in states:
            if not state.is_directory:
                chunks = (c.digest for v in shown_versions(state) for c in v.content.chunks)
                self._needed.update(digest for digest in chunks if digest in self._lost)
        if states:
            self._looked_up_to = states[-1].node
            return True
        self._want()
        return False

    def _begin(self) -> None:
        chunks = self._site.journal.chunks
        self._asking = self._long_missing()
        digests = {digest for pack in self._asking for digest in chunks.locations_in(pack)}
        inline = {digest for digest in digests if chunks.inline_chunk(digest) is not None}
        self._lost = {digest: chunks.locations(digest) for digest in digests - inline}
        self._needed = set()
        self._looked_up_to = b""

    def _want(self) -> None:
        places = {at.pack: at for digest in self._needed for at in self._lost[digest]}
        there = {name for name, at in places.items() if self._is_there(name, at)}
        packs_of = {
            digest: frozenset(at.pack for at in self._lost[digest]) for digest in self._needed
        }
        self._wants.want({d: packs for d, packs in packs_of.items() if there.isdisjoint(packs)})
        self._told |= self._asking
        for name in self._asking:
            self._since_s.pop(name, None)
        self._lost, self._looked_up_to = {}, None

    def _is_there(self, name: str, at: ChunkLocation) -> bool:
        is_waiting = name in self._site.journal.chunks.packs_to_store()
        return is_waiting or (name not in self._asking and self._is_visible(name, at.offset))

    def _long_missing(self) -> frozenset[str]:
        now_s = self._site.clock.monotonic_s()
        return frozenset(
            name for name, since_s in self._since_s.items() if now_s - since_s >= MISSING_FOR_S
        )

    def _is_visible(self, name: str, offset: int) -> bool:
        try:
            self._site.store.get_range(name, offset, 1)
        except ObjectNotVisible:
            return False
        except CorruptObject:
            pass  # it is there; whoever reads it finds out
        return True
