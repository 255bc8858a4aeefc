"""Writes operations: turns a change that was seen on this site's disk into what others can merge.

Every context comes from the claims of the entry that was on the disk, never from what the site
has merely received: a version that nobody here saw is not replaced by what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conflict.content import Content
from conflict.merged_tree import MergedTree, NodeStore
from conflict.node import Location, NodeState
from conflict.observation import Attributes
from conflict.operations import (
    MTIME_NS,
    NOTHING,
    ROOT,
    AttributeChanges,
    Context,
    Declare,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    Topic,
    Transaction,
    id_of,
)
from conflict.policy import policy_of
from conflict.rendering import Claim
from conflict.stamp import HybridClock, Stamp
from conflict.version import Dot, VersionVector


class Author:
    """Writes one transaction, and applies each operation to the merged tree as it is written."""

    def __init__(
        self, store: NodeStore, clock: HybridClock, received: VersionVector, now_ms: int
    ) -> None:
        """Begins a transaction.

        Args:
            store: holds the merged tree.
            clock: of this site's actor; `self.clock` is its successor afterwards.
            received: all that this site has received, its own operations included.
            now_ms: the physical clock, milliseconds since 1970.
        """
        self.clock = clock
        self.touched: set[Location] = set()
        self._store = store
        self._tree = MergedTree(store)
        self._received = received
        self._now_ms = now_ms
        self._operations: list[Operation] = []
        self._placed: dict[LinkId, Dot] = {}  # where this transaction put names: it is on the disk

    def transaction(self) -> Transaction | None:
        """Returns what was written, None when nothing was."""
        if not self._operations:
            return None
        return Transaction(tuple(self._operations), self._received)

    def create_directory(self, parent: NodeId, name: bytes, attributes: AttributeChanges) -> Claim:
        """Writes a new directory and returns what its entry on disk stands for."""
        claim = self._create(parent, name, is_directory=True)
        self.set_attributes((claim,), attributes)
        return claim

    def create_file(
        self, parent: NodeId, name: bytes, content: Content, attributes: AttributeChanges
    ) -> Claim:
        """Writes a new file and returns what its entry on disk stands for."""
        claim = self._create(parent, name, is_directory=False)
        dot = self._put(claim, content, attributes, NOTHING)
        return Claim(claim.node, claim.link, claim.place_dots, frozenset({dot}))

    def write(
        self,
        claims: tuple[Claim, ...],
        content: Content,
        attributes: AttributeChanges,
        losers: Iterable[Claim] = (),
    ) -> tuple[Claim, ...]:
        """Writes new content for an entry; files that had been one by equal content become one.

        Args:
            claims: what the entry stood for.
            content: what it holds now.
            attributes: those that came with the content.
            losers: conflicts that were shown with it. Under site-priority they would win the
                name back from a version that a site of lower priority writes.
        """
        first, *others = claims
        if self._state(first.node).has_several_names:
            self._place_again(first.node)
        dot = self._put(first, content, attributes, first.content_dots)
        for claim in others:
            if claim.node == first.node:
                self._drop(claim.node, claim.content_dots)
            else:
                is_last_name = self._is_last_name(claim)
                self._delete(claim, claim.content_dots, NOTHING, is_last_name=is_last_name)
        aside = _joined(loser.content_dots for loser in losers if loser.node == first.node)
        if aside and policy_of(self._store.node(ROOT)).has_site_priority:
            self._set_aside(first, NOTHING, aside)
        return (Claim(first.node, first.link, self._places(first), frozenset({dot})),)

    def write_beside(self, claim: Claim, content: Content, attributes: Attributes) -> Claim:
        """Writes a version that loses to the one that is there: nobody knows which came first.

        Of its attributes only the time belongs to the content; the volume's others stay.
        """
        mtime = ((MTIME_NS, attributes.mtime_ns),)
        dot = self._put(claim, content, mtime, NOTHING)
        self._set_aside(claim, NOTHING, frozenset({dot}))
        return replace(claim, content_dots=frozenset({dot}))

    def reassert(self, claims: tuple[Claim, ...], content: Content) -> tuple[Claim, ...]:
        """Writes what is on the disk once more, over what a person does not want at the name.

        Other versions stay conflicts, and lose to this one.
        """
        node = claims[0].node
        others = {version.dot for version in self._state(node).visible_versions()}
        others -= _joined(claim.content_dots for claim in claims)
        claims = self.write(claims, content, ())
        if others:
            self._set_aside(claims[0], NOTHING, frozenset(others))
        return claims

    def set_attributes(self, claims: tuple[Claim, ...], attributes: AttributeChanges) -> None:
        """Writes attributes of a file or directory; does nothing when there are none."""
        if attributes:
            dot, stamp = self._next(*(claim.node for claim in claims))
            self._emit(SetAttributes(dot, stamp, claims[0].node, attributes))

    def set_root_attributes(self, attributes: AttributeChanges) -> None:
        """Writes attributes of the root: its own, the volume's policies, the names of sites."""
        dot, stamp = self._next(ROOT)
        self._emit(SetAttributes(dot, stamp, ROOT, attributes))

    def move(self, claims: tuple[Claim, ...], parent: NodeId, name: bytes) -> tuple[Claim, ...]:
        """Writes a rename of all that an entry stands for; its first claim keeps the name."""
        return tuple(self._move(claim, parent, name) for claim in reversed(claims))[::-1]

    def _move(self, claim: Claim, parent: NodeId, name: bytes) -> Claim:
        self._place_again(claim.node, claim.link)
        return self._place(claim, parent, name)

    def _place_again(self, node: NodeId, but: LinkId | None = None) -> None:
        """Gives names that were deleted, and came back for an edit, a place of their own.

        They would go with that edit, or yield to a name that has a place. Their entries stand
        for one more place then.
        """
        state = self._state(node)
        if state.is_directory or state.is_placed:
            return
        for link, location in sorted(state.presence().items()):
            if link != but:
                self._place(Claim(node, link, NOTHING), *location)

    def _place(self, claim: Claim, parent: NodeId, name: bytes) -> Claim:
        is_directory = self._state(claim.node).is_directory
        after = self._stamps_of_later_moves() if is_directory else ()
        dot, stamp = self._next(claim.node, parent, after=after)
        self._emit(
            Place(
                dot=dot,
                stamp=stamp,
                node=claim.node,
                link=claim.link,
                is_directory=is_directory,
                parent=parent,
                name=name,
                context=self._places(claim),
            )
        )
        self._placed[claim.link] = dot
        return Claim(claim.node, claim.link, frozenset({dot}), claim.content_dots)

    def _places(self, claim: Claim) -> Context:
        placed = self._placed.get(claim.link)
        return claim.place_dots | ({placed} if placed else NOTHING)

    def add_name(self, claim: Claim, parent: NodeId, name: bytes) -> Claim:
        """Writes a hard link: one more name of a file."""
        self._place_again(claim.node)
        dot, stamp = self._next(claim.node, parent)
        link = LinkId(NodeId(id_of(dot)))
        self._emit(
            Place(
                dot=dot,
                stamp=stamp,
                node=claim.node,
                link=link,
                is_directory=False,
                parent=parent,
                name=name,
            )
        )
        return Claim(claim.node, link, frozenset({dot}), claim.content_dots)

    def delete(
        self, claims: tuple[Claim, ...], losers: Iterable[Claim], *, is_last_name: bool
    ) -> None:
        """Writes the removal of an entry.

        Args:
            claims: what the entry stood for.
            losers: conflicts that were shown with it: they stay conflicts, without a file.
            is_last_name: the disk holds no other name of the same file.
        """
        seen = list(losers)
        for claim in claims:
            aside = _joined(loser.content_dots for loser in seen if loser.node == claim.node)
            contents = claim.content_dots
            is_last = is_last_name if claim.node == claims[0].node else self._is_last_name(claim)
            self._delete(claim, contents, aside - contents, is_last_name=is_last)
        self.set_aside([loser for loser in seen if all(loser.node != c.node for c in claims)])

    def set_aside(self, losers: Iterable[Claim]) -> None:
        """Takes other files that lost a name away from it, so that they don't spring up there."""
        for loser in losers:
            self._place_again(loser.node, but=loser.link)
            self._set_aside(loser, self._places(loser), loser.content_dots)

    def settle(self, claims: Iterable[Claim]) -> None:
        """Writes that conflicting versions are no longer wanted."""
        for claim in claims:
            visible = {version.dot for version in self._state(claim.node).visible_versions()}
            if claim.is_sibling or not visible <= claim.content_dots:
                self._drop(claim.node, claim.content_dots)
            else:
                is_last_name = self._is_last_name(claim)
                self._delete(claim, claim.content_dots, NOTHING, is_last_name=is_last_name)

    def keep_name(self, claim: Claim, parent: NodeId, name: bytes) -> None:
        """Writes once more where a link is, in place of the places that its claim names.

        Other names of the file that came back for an edit are left as they are.
        """
        self._place(claim, parent, name)

    def keep_content(self, claim: Claim, content: Content, attributes: AttributeChanges) -> Dot:
        """Writes once more what a file holds, as `keep_name`; returns the new version."""
        return self._put(claim, content, attributes, claim.content_dots)

    def declare(self, topic: Topic, body: bytes) -> Dot:
        """Tells all sites something that changes no tree; returns the declaration's dot."""
        dot, stamp = self._next()
        self._emit(Declare(dot, stamp, topic, body))
        return dot

    def _create(self, parent: NodeId, name: bytes, *, is_directory: bool) -> Claim:
        dot, stamp = self._next(parent)
        node = NodeId(id_of(dot))
        self._emit(
            Place(
                dot=dot,
                stamp=stamp,
                node=node,
                link=LinkId(node),
                is_directory=is_directory,
                parent=parent,
                name=name,
            )
        )
        return Claim(node, LinkId(node), frozenset({dot}))

    def _put(
        self, claim: Claim, content: Content, attributes: AttributeChanges, context: Context
    ) -> Dot:
        dot, stamp = self._next(claim.node)
        self._emit(Put(dot, stamp, claim.node, claim.link, content, attributes, context))
        return dot

    def _drop(self, node: NodeId, context: Context) -> None:
        dot, stamp = self._next(node)
        self._emit(Drop(dot, stamp, node, context))

    def _delete(
        self, claim: Claim, contents: Context, aside: Context, *, is_last_name: bool
    ) -> None:
        if not is_last_name:
            self._place_again(claim.node, but=claim.link)
        dot, stamp = self._next(claim.node)
        context = self._places(claim) | contents
        self._emit(Delete(dot, stamp, claim.node, claim.link, context, aside, is_last_name))

    def _set_aside(self, claim: Claim, places: Context, aside: Context) -> None:
        dot, stamp = self._next(claim.node)
        self._emit(Delete(dot, stamp, claim.node, claim.link, places, aside))

    def _is_last_name(self, claim: Claim) -> bool:
        return self._state(claim.node).presence().keys() <= {claim.link}

    def _next(self, *referred: NodeId, after: Iterable[Stamp] = ()) -> tuple[Dot, Stamp]:
        """Returns the next dot, and a stamp later than all that the nodes have seen."""
        actor = self.clock.actor
        dot = Dot(actor, self._received.counter_of(actor) + len(self._operations) + 1)
        found = (self._store.node(node) for node in referred)
        states = [state for state in found if state is not None]
        seen = [stamp for state in states for stamp in _stamps(state)]
        self.clock, stamp = self.clock.stamp(self._now_ms, [*seen, *after])
        created = max((state.created for state in states), default=stamp)
        if stamp < created:  # of a higher epoch: nothing is older than what it is about
            stamp = Stamp(created.epoch, created.ticks + 1, actor)
        return dot, stamp

    def _stamps_of_later_moves(self) -> list[Stamp]:
        """Returns stamps of directory moves that run ahead of our clock.

        A move takes effect among those before it, so the next one has to come after all that is
        known, even from a site whose clock is broken. This also keeps stamps of moves unique.
        """
        ours = Stamp(self.clock.epoch, self.clock.ticks, self.clock.actor)
        return [move.stamp for move in self._store.moves_after(ours)]

    def _emit(self, operation: Operation) -> None:
        self.touched |= self._tree.apply(operation)
        self._operations.append(operation)

    def _state(self, node: NodeId) -> NodeState:
        state = self._store.node(node)
        assert state is not None, "an entry on disk stands for a node that was received"
        return state


def _joined(contexts: Iterable[Context]) -> Context:
    return frozenset().union(*contexts)


def _stamps(state: NodeState) -> Iterable[Stamp]:
    yield state.created
    yield from (link.latest.stamp for link in state.links.values())
    yield from (version.stamp for version in state.versions.values())
    yield from (register.stamp for register in state.registers.values())
