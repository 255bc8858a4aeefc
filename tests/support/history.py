"""Sites in memory whose users change files: each with a disk that lags behind what it received."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

from conflict.author import Author
from conflict.content import ChunkReference, Content, ContentKind
from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import MergedTree, NodeStore, path_of
from conflict.node import NodeState
from conflict.operations import (
    EXTENDED_PREFIX,
    MODE,
    MTIME_NS,
    NOTHING,
    ROOT,
    AttributeChanges,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    Transaction,
)
from conflict.policy import SITE_KEY_PREFIX, PolicyRule, policy_of, replace_rules
from conflict.rendering import Claim, ConflictCopy, Rendered, claimants_at, render
from conflict.stamp import HybridClock
from conflict.version import ActorId, Dot, VersionVector

Path = tuple[bytes, ...]
Tree = dict[Path, Rendered]
START_MS = 1_750_000_000_000


def content_of(text: str) -> Content:
    """Makes a content that can be traced back to its text, of 1 to 32 bytes; `->x` is a symlink."""
    digest = text.encode().ljust(32, b"\0")
    if text.startswith("->"):
        target = text[2:].encode()
        return Content(ContentKind.SYMLINK, digest, len(target), target=target)
    chunks = (ChunkReference(digest, len(text)),)
    return Content(ContentKind.REGULAR, digest, len(text), chunks)


def text_of(content: Content | None) -> str:
    """Returns the text that a content was made of; a directory reads `/`."""
    return "/" if content is None else content.digest.rstrip(b"\0").decode()


def path_from(text: str) -> Path:
    """Splits a path as people write it; the root is the empty text."""
    return tuple(text.encode().split(b"/")) if text else ()


def mtime_of(text: str) -> int:
    """Returns the modification time that every writer of this text gives it."""
    return sum(text.encode()) * 1_000


def tree_of(store: NodeStore) -> Tree:
    """Renders the whole tree of a store."""
    policy = policy_of(store.node(ROOT))
    tree: Tree = {}

    def walk(path: Path, together: tuple[NodeId, ...]) -> None:
        for name in sorted({live.name for node in together for live in store.live_links_in(node)}):
            here = (*path, name)
            claimants = claimants_at(store, together, name)
            tree[here] = render(name, claimants, policy, policy.rule_for(here))
            if tree[here].is_directory:
                walk(here, tuple(claim.node for claim in tree[here].claims))

    walk((), (ROOT,))
    return tree


def orphans_of(store: NodeStore) -> dict[Path, list[Claim]]:
    """Returns unsettled conflicts whose file is gone, by the path that the file had."""
    found: dict[Path, list[Claim]] = {}
    for node in store.contested_nodes():
        state = store.node(node)
        assert state is not None
        for version in sorted(state.orphaned_versions(), key=lambda version: version.dot):
            path = path_of(store, state.links[version.via].location)
            claim = Claim(node, version.via, NOTHING, frozenset({version.dot}))
            found.setdefault(path, []).append(claim)
    return found


class CopyingNodes:
    """A node store that gives out copies, as one on disk does: only what is saved counts."""

    def __init__(self) -> None:
        self._store = MemoryNodes()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def node(self, node: NodeId) -> NodeState | None:
        state = self._store.node(node)
        return None if state is None else _copied(state)

    def save_node(self, state: NodeState) -> None:
        self._store.save_node(_copied(state))


def _copied(state: NodeState) -> NodeState:
    return replace(
        state,
        links=dict(state.links),
        versions=dict(state.versions),
        registers=dict(state.registers),
    )


class Site:
    """One site: what it received, what its disk shows, and what its users do there.

    Users act on `disk`, which holds received transactions only once they are materialised; the
    operations are written against everything that was received, as in the daemon.

    Attributes:
        discarded: versions that a user here overwrote, deleted or settled with them on the disk.
        unlinked: versions of which a user here took one name away and kept another.
    """

    def __init__(self, number: int) -> None:
        self.actor = ActorId(bytes([number]) * 16)
        self.name = b"site%d" % number
        self.clock = HybridClock(self.actor)
        self.now_ms = START_MS
        self.received = VersionVector()
        self.log: list[Transaction] = []
        self.transactions: list[Transaction] = []  # of all sites, in the order of arrival
        self.merged = CopyingNodes()
        self.disk: Tree = {}
        self.discarded: set[Dot] = set()
        self.unlinked: set[tuple[Dot, LinkId]] = set()
        self._shown = CopyingNodes()
        self._waiting: deque[Transaction] = deque()

    @property
    def operations(self) -> list[Operation]:
        """All operations that this site has, in the order of arrival."""
        return [operation for transaction in self.transactions for operation in transaction]

    @property
    def is_stale(self) -> bool:
        """Tells whether something was received that is not on the disk."""
        return bool(self._waiting)

    @property
    def orphans(self) -> dict[Path, list[Claim]]:
        """Conflicts without a file, as this disk's conflict list shows them."""
        return orphans_of(self._shown)

    def receive(self, transaction: Transaction) -> bool:
        """Takes in what another site wrote; refuses what it has, or is not ready for."""
        if self.received.counter_of(transaction.actor) >= transaction.last_counter:
            return False
        if not self.received.covers(transaction.received):
            return False
        tree = MergedTree(self.merged)
        for operation in transaction:
            tree.apply(operation)
            self.clock = self.clock.observe(self.now_ms, operation.stamp)
        self._record(transaction)
        self._waiting.append(transaction)
        return True

    def materialise(self, count: int | None = None) -> None:
        """Brings the oldest `count` received transactions to the disk, or all of them."""
        tree = MergedTree(self._shown)
        for _ in range(len(self._waiting) if count is None else min(count, len(self._waiting))):
            for operation in self._waiting.popleft():
                tree.apply(operation)
        self.disk = tree_of(self._shown)

    def act(self, action: Callable[[Author], object]) -> None:
        """Writes one transaction; each context must be of what the disk showed (I6)."""
        on_disk = self._dots_on_disk()
        author = Author(self.merged, self.clock, self.received, self.now_ms)
        action(author)
        self.clock = author.clock
        transaction = author.transaction()
        if transaction is None:
            return
        tree = MergedTree(self._shown)
        for operation in transaction:
            _check_context_is_on_disk(operation, on_disk)
            on_disk.add(operation.dot)
            tree.apply(operation)
        self.log.append(transaction)
        self._record(transaction)
        self.disk = tree_of(self._shown)

    def create(self, path: str, text: str) -> None:
        self.act(lambda author: self._create(author, path_from(path), content_of(text)))

    def mkdir(self, path: str) -> None:
        *parent, name = path_from(path)
        self.act(lambda author: author.create_directory(self.directory(tuple(parent)), name, ()))

    def edit(self, path: str, text: str) -> None:
        """Writes into a file, through one of its names."""
        entry = self.disk[path_from(path)]
        self.act(lambda author: self._write(author, entry, content_of(text)))

    def chmod(self, path: str, mode: int) -> None:
        self._set_attributes(path, ((MODE, mode),))

    def set_extended(self, path: str, key: str, value: bytes) -> None:
        self._set_attributes(path, ((EXTENDED_PREFIX + key.encode(), value),))

    def move(self, source: str, target: str) -> None:
        """Renames a file or directory to a name that is free on this disk."""
        entry = self.disk[path_from(source)]
        *parent, name = path_from(target)

        def action(author: Author) -> None:
            author.move(entry.claims, self.directory(tuple(parent)), name)
            author.set_aside(_losers_of_other_nodes(entry))

        self.act(action)

    def replace(self, source: str, target: str) -> None:
        """Renames a file over another one: the name keeps its identity and gets the content."""
        entry = self.disk[path_from(source)]
        assert entry.content is not None

        def action(author: Author) -> None:
            self._overwrite_name(author, path_from(target), entry.content)
            self._remove(author, path_from(source), set())

        self.act(action)

    def exchange(self, first: str, second: str) -> None:
        """Swaps two names: files swap contents, directories their places."""
        one, other = self.disk[path_from(first)], self.disk[path_from(second)]

        def action(author: Author) -> None:
            if one.is_directory:
                for entry, path in ((one, second), (other, first)):
                    *parent, name = path_from(path)
                    author.move(entry.claims, self.directory(tuple(parent)), name)
                return
            self._overwrite_name(author, path_from(first), other.content)
            self._overwrite_name(author, path_from(second), one.content)

        self.act(action)

    def rewrite_name(self, path: str, text: str) -> None:
        """Puts a new file in place of a name; other names of the old file keep its content."""
        self.act(lambda author: self._overwrite_name(author, path_from(path), content_of(text)))

    def link(self, source: str, target: str) -> None:
        *parent, name = path_from(target)
        claim = self.disk[path_from(source)].claims[0]
        self.act(lambda author: author.add_name(claim, self.directory(tuple(parent)), name))

    def delete(self, path: str) -> None:
        """Deletes a file, or a directory with all that is in it."""
        self.act(lambda author: self._remove(author, path_from(path), set()))

    def delete_all(self, *paths: str) -> None:
        """Deletes several names in one observed change."""
        gone: set[LinkId] = set()

        def action(author: Author) -> None:
            for path in paths:
                self._remove(author, path_from(path), gone)

        self.act(action)

    def replace_with_directory(self, path: str) -> None:
        *parent, name = path_from(path)

        def action(author: Author) -> None:
            self._remove(author, path_from(path), set())
            author.create_directory(self.directory(tuple(parent)), name, ())

        self.act(action)

    def settle(self, path: str, text: str) -> None:
        """Deletes a conflict copy."""
        self._settle(self.copy(path, text).claims)

    def settle_orphans(self, path: str) -> None:
        """Deletes the conflicts that a deleted file left."""
        self._settle(self.orphans[path_from(path)])

    def edit_copy(self, path: str, copy_text: str, text: str) -> None:
        """Edits a conflict copy beside its file: it becomes a file of its own."""
        copy = self.copy(path, copy_text)
        beside = (*path_from(path)[:-1], copy.copy_name)

        def action(author: Author) -> None:
            self._create(author, beside, content_of(text))
            self._discard(author, copy.claims)

        self.act(action)

    def choose_copy(self, path: str, text: str) -> None:
        """Puts a conflict copy in its file's place, which settles that conflict."""
        entry, copy = self.disk[path_from(path)], self.copy(path, text)
        both = replace(entry, claims=entry.claims + copy.claims)
        self.act(lambda author: self._write(author, both, copy.version.content))

    def set_policy(self, *rules: PolicyRule) -> None:
        """Changes the volume's conflict policies."""
        changes = replace_rules(policy_of(self.merged.node(ROOT)), rules)
        if changes:
            self.act(lambda author: author.set_root_attributes(changes))

    def announce(self) -> None:
        """Tells which site this actor belongs to, for policies that name sites."""
        key = SITE_KEY_PREFIX + self.actor
        self.act(lambda author: author.set_root_attributes(((key, self.name),)))

    def copy(self, path: str, text: str) -> ConflictCopy:
        """Returns the conflict copy with this text."""
        copies = self.disk[path_from(path)].copies
        return next(copy for copy in copies if text_of(copy.version.content) == text)

    def directory(self, path: Path) -> NodeId:
        """Returns the node that new entries of a directory name as their parent."""
        return min(claim.node for claim in self.disk[path].claims) if path else ROOT

    def has_other_name(self, claim: Claim, gone: Container[LinkId]) -> bool:
        """Tells whether the disk holds a name of a file that is not among those that are gone."""
        return any(
            other.node == claim.node and other.link not in gone for other in _all_claims(self.disk)
        )

    def _record(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)
        self.received = self.received.join({transaction.actor: transaction.last_counter})

    def _dots_on_disk(self) -> set[Dot]:
        claims = [*_all_claims(self.disk), *(c for found in self.orphans.values() for c in found)]
        return {dot for claim in claims for dot in claim.place_dots | claim.content_dots}

    def _create(self, author: Author, path: Path, content: Content) -> None:
        author.create_file(self.directory(path[:-1]), path[-1], content, _with_mtime(content))

    def _write(self, author: Author, entry: Rendered, content: Content) -> None:
        self.discarded |= {dot for claim in entry.claims for dot in claim.content_dots}
        losers = [claim for copy in entry.copies for claim in copy.claims]
        author.write(entry.claims, content, _with_mtime(content), losers)

    def _overwrite_name(self, author: Author, path: Path, content: Content | None) -> None:
        entry = self.disk[path]
        assert content is not None
        if self.has_other_name(entry.claims[0], {claim.link for claim in entry.claims}):
            self._remove(author, path, set())
            self._create(author, path, content)
        else:
            self._write(author, entry, content)

    def _remove(self, author: Author, path: Path, gone: set[LinkId]) -> None:
        entry = self.disk[path]
        for child in [p for p in self.disk if p[:-1] == path and entry.is_directory]:
            self._remove(author, child, gone)
        gone.update(claim.link for claim in entry.claims)
        for claim in entry.claims:
            if self.has_other_name(claim, gone):
                self.unlinked |= {(dot, claim.link) for dot in claim.content_dots}
            else:
                self.discarded |= claim.content_dots
        losers = [claim for copy in entry.copies for claim in copy.claims]
        is_last_name = not self.has_other_name(entry.claims[0], gone)
        author.delete(entry.claims, losers, is_last_name=is_last_name)

    def _set_attributes(self, path: str, changes: AttributeChanges) -> None:
        entry = self.disk[path_from(path)]
        self.act(lambda author: author.set_attributes(entry.claims, changes))

    def _settle(self, claims: Sequence[Claim]) -> None:
        self.act(lambda author: self._discard(author, claims))

    def _discard(self, author: Author, claims: Sequence[Claim]) -> None:
        self.discarded |= {dot for claim in claims for dot in claim.content_dots}
        author.settle(claims)


def deliver(sites: Sequence[Site], rng: random.Random | None = None) -> None:
    """Brings everything to every site's disk, site by site or in random order."""
    pending = [(site, log.log) for site in sites for log in sites if site is not log]
    progress = True
    while progress:
        if rng is not None:
            rng.shuffle(pending)
        progress = False
        for site, log in pending:
            for transaction in log:
                progress = site.receive(transaction) or progress
    for site in sites:
        site.materialise()


def _with_mtime(content: Content) -> AttributeChanges:
    return ((MTIME_NS, mtime_of(text_of(content))),)


def _all_claims(tree: Tree) -> Iterable[Claim]:
    for entry in tree.values():
        yield from entry.claims
        for copy in entry.copies:
            yield from copy.claims


def _losers_of_other_nodes(entry: Rendered) -> list[Claim]:
    own = {claim.node for claim in entry.claims}
    return [claim for copy in entry.copies for claim in copy.claims if claim.node not in own]


def _check_context_is_on_disk(operation: Operation, on_disk: set[Dot]) -> None:
    if isinstance(operation, (Place, Put, Delete, Drop)):
        aside = operation.aside if isinstance(operation, Delete) else NOTHING
        unseen = (operation.context | aside) - on_disk
        assert not unseen, f"{operation} replaces what was not on the disk: {unseen}"
