"""Resolving: writes an operator's decisions about conflicts as operations."""

from __future__ import annotations

from enum import Enum

from conflict.author import Author
from conflict.merged_tree import directories_at
from conflict.node import Location
from conflict.operations import NodeId
from conflict.report import Conflict, conflicts
from conflict.synced import Path, SyncedEntry, entry_at_path
from geosync.engine.authoring import author_of, save_written
from geosync.engine.site import Site, joined
from geosync.errors import OperatorError
from geosync.journal.journal import Journal


class Choice(Enum):
    """What is to become of a losing version."""

    WINNER = "winner"  # the version at the name stays, the loser is dropped
    LOSER = "loser"  # the loser takes the name
    BOTH = "both"  # the loser becomes a file of its own, beside the other


def find_conflict(site: Site, identity: str) -> Conflict:
    """Returns the conflict with this identity, or the only one at this path.

    Raises:
        OperatorError: there is none, or several.
    """
    return chosen_conflict(site.journal, identity)


def chosen_conflict(journal: Journal, identity: str) -> Conflict:
    """As `find_conflict`, with a journal that may be open for reading only."""
    found = [
        conflict
        for conflict in conflicts(journal.nodes)
        if identity in (conflict.identity, joined(conflict.path).decode(errors="surrogateescape"))
    ]
    if not found:
        raise OperatorError(
            f"no open conflict is called {identity!r}: `geosync conflicts list` shows those there"
            " are. It may have been settled here or on another site."
        )
    if len(found) > 1:
        names = ", ".join(conflict.identity for conflict in found)
        raise OperatorError(f"{identity!r} has several conflicts: name one of {names}.")
    return found[0]


def resolve(site: Site, conflict: Conflict, choice: Choice) -> set[Location]:
    """Writes the decision; the next apply shows it on the disk. Returns the names it touches.

    Raises:
        OperatorError: the file is not on this site's disk as the decision needs it.
    """
    with site.journal.transaction():
        author = author_of(site)
        if choice is Choice.LOSER:
            _take_loser(site, author, conflict)
        elif choice is Choice.BOTH:
            _keep_both(site, author, conflict)
        author.settle(conflict.claims)
        save_written(site, author)
    return author.touched


def _take_loser(site: Site, author: Author, conflict: Conflict) -> None:
    loser = conflict.loser
    here = entry_at_path(site.journal.synced, conflict.path)
    if here is None:
        parent = _parent(site, author, conflict.path)
        author.create_file(parent, conflict.path[-1], loser.content, loser.attributes)
        return
    _check_is_file(here, conflict)
    author.write(here.claims, loser.content, loser.attributes)


def _keep_both(site: Site, author: Author, conflict: Conflict) -> None:
    loser = conflict.loser
    parent = _parent(site, author, conflict.path)
    author.create_file(parent, conflict.copy_name, loser.content, loser.attributes)


def _check_is_file(here: SyncedEntry, conflict: Conflict) -> None:
    if here.is_directory:
        raise OperatorError(
            f"{joined(conflict.path)!r} is a directory now, so the losing file can't take its"
            " name: choose `both`, which keeps the file beside it, or `winner`."
        )


def _parent(site: Site, author: Author, path: Path) -> NodeId:
    """Returns the directory of a path, made anew as far as it was deleted."""
    for depth in range(len(path) - 1, -1, -1):
        together = directories_at(site.journal.nodes, path[:depth])
        if together:
            node = min(together)
            for name in path[depth:-1]:
                node = author.create_directory(node, name, ()).node
            return node
    raise AssertionError("the root is always there")
