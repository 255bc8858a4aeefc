"""Ordering: files appear on a disk in the order in which they were published.

A plan goes from name to name. A reader who follows one file to the next, an index to what it lists,
must not meet the index first. So files that are placed or replaced without anything else in between
are put into the order of their stamps, which never contradicts cause and effect unless a site's
clock is minutes off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conflict.actions import (
    Action,
    Adopt,
    ApplyAttributes,
    MakeDirectory,
    PlaceFile,
    ReplaceFile,
)
from conflict.merged_tree import NodeStore
from conflict.stamp import Stamp
from conflict.synced import EntryId
from conflict.version import ActorId

_BEFORE_ALL = Stamp(0, 0, ActorId(b""))
_MOVABLE = (Adopt, ApplyAttributes, MakeDirectory, PlaceFile, ReplaceFile)


def in_order_of_writing(actions: Iterable[Action], nodes: NodeStore) -> tuple[Action, ...]:
    """Returns the same actions, files in the order in which they got their names and contents.

    Only actions that don't depend on each other change places: moves, hard links and removals stay
    where they are, and nothing goes past them.
    """
    return tuple(_ordered(actions, nodes))


def _ordered(actions: Iterable[Action], nodes: NodeStore) -> Iterator[Action]:
    run: list[Action] = []
    for action in actions:
        if isinstance(action, _MOVABLE):
            run.append(action)
            continue
        yield from _ordered_run(run, nodes)
        run = []
        yield action
    yield from _ordered_run(run, nodes)


def _ordered_run(run: list[Action], nodes: NodeStore) -> Iterator[Action]:
    files = [action for action in run if isinstance(action, PlaceFile | ReplaceFile)]
    placed: set[EntryId] = {action.becomes.entry for action in files}
    first: list[Action] = []
    last: list[Action] = []
    for action in run:
        if isinstance(action, MakeDirectory):
            first.append(action)
        elif isinstance(action, Adopt):
            (last if action.becomes.entry in placed else first).append(action)
        elif isinstance(action, ApplyAttributes):
            last.append(action)
    yield from first
    yield from sorted(files, key=lambda action: _published(action, nodes))
    yield from last


def _published(action: PlaceFile | ReplaceFile, nodes: NodeStore) -> Stamp:
    """Returns when the file got its content or its name, whichever was later."""
    found = [_BEFORE_ALL]
    for claim in action.becomes.claims[:1]:
        state = nodes.node(claim.node)
        if state is None:
            continue
        found += [v.stamp for v in state.versions.values() if v.dot in claim.content_dots]
        link = state.links.get(claim.link)
        if link is not None:
            found += [place.stamp for place in link.places]
    return max(found)
