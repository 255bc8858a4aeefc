"""The names of files in a plan's picture, found without a look at all other names of the same file.

A file may have thousands of hard links. What each of them needs to know of the others is counted
once, when it is first asked for, and kept up with what the plan changes.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from conflict.operations import LinkId, NodeId
from conflict.synced import EntryId, SyncedEntry, SyncedStore


class _Role(NamedTuple):
    """What a name of an inode is a name of."""

    node: NodeId
    is_copy: bool


class FileNames:
    """Looks into a synced tree, and has to be told of each change of it."""

    def __init__(self, synced: SyncedStore) -> None:
        self._synced = synced
        self._looked_up: set[NodeId] = set()
        self._of_link: dict[LinkId, set[EntryId]] = {}
        self._roles: dict[bytes, Counter[_Role]] = {}

    def of_link(self, node: NodeId, link: LinkId) -> list[SyncedEntry]:
        """Returns the entries that stand for one name of a file, sorted by entry."""
        if node not in self._looked_up:
            self._looked_up.add(node)
            for entry in self._synced.entries_of_node(node):
                self._add_links(entry)
        found = (self._synced.entry(entry) for entry in sorted(self._of_link.get(link, ())))
        return [entry for entry in found if entry is not None]

    def is_of_one_file(self, entry: SyncedEntry, node: NodeId) -> bool:
        """Tells whether all other names of an entry's inode are names of this file."""
        roles = self._roles.get(entry.handle)
        if roles is None:
            roles = Counter(map(_role, self._synced.entries_of_handle(entry.handle)))
            self._roles[entry.handle] = roles
        own, right = _role(entry), _Role(node, is_copy=False)
        return all(
            role == right or count == (1 if role == own else 0) for role, count in roles.items()
        )

    def note(self, before: SyncedEntry | None, now: SyncedEntry | None) -> None:
        """Is told how an entry changed, before another question is asked."""
        if before is not None:
            for claim in before.claims:
                self._of_link.get(claim.link, set()).discard(before.entry)
            if before.handle in self._roles:
                self._roles[before.handle][_role(before)] -= 1
        if now is not None:
            self._add_links(now)
            if now.handle in self._roles:
                self._roles[now.handle][_role(now)] += 1

    def _add_links(self, entry: SyncedEntry) -> None:
        for claim in entry.claims:
            if claim.node in self._looked_up:
                self._of_link.setdefault(claim.link, set()).add(entry.entry)


def _role(entry: SyncedEntry) -> _Role:
    return _Role(entry.claims[0].node, bool(entry.copy_of))
