"""In place: names that show what they are to show, as one look at each tells, without a plan."""

from __future__ import annotations

from collections.abc import Iterable

from conflict.attributes import attributes_of
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.node import Location, NodeState
from conflict.operations import ROOT, NodeId
from conflict.policy import DEFAULT_RULE, VolumePolicy
from conflict.rendering import claimants_at, render
from conflict.synced import ROOT_ENTRY, SyncedEntry, SyncedStore, entry_at_path

_NO_POLICY = VolumePolicy()


def not_in_place(
    nodes: NodeStore, synced: SyncedStore, locations: Iterable[Location]
) -> set[Location]:
    """Returns the names for which a plan might have something to do.

    Left out are files for which it has nothing for certain: one version of a file with one name,
    which is alone there, and on the disk just so; and names that neither tree has. Most names that
    were captured are of this kind.
    """
    directories: dict[NodeId, SyncedEntry | None] = {}
    found: set[Location] = set()
    for at in locations:
        if at.parent not in directories:
            directories[at.parent] = _directory_of(nodes, synced, at.parent)
        directory = directories[at.parent]
        if directory is None or not _is_in_place(nodes, synced, directory, at):
            found.add(at)
    return found


def _directory_of(nodes: NodeStore, synced: SyncedStore, node: NodeId) -> SyncedEntry | None:
    """Returns the directory on the disk, if it is where it is to be and no other one besides."""
    if node == ROOT:
        return synced.entry(ROOT_ENTRY)
    state = nodes.node(node)
    if state is None or state.location is None:
        return None
    path = path_of(nodes, state.location)
    directory = entry_at_path(synced, path)
    is_alone = directories_at(nodes, path) == (node,)
    return directory if directory is not None and directory.nodes == {node} and is_alone else None


def _is_in_place(
    nodes: NodeStore, synced: SyncedStore, directory: SyncedEntry, at: Location
) -> bool:
    here = synced.entry_at(directory.entry, at.name)
    if synced.copies_of(directory.entry, at.name):
        return False
    claimants = claimants_at(nodes, (at.parent,), at.name)
    if here is None:
        return not claimants
    if len(claimants) != 1 or not _is_plain(claimants[0][0]):
        return False
    # With one version of one file, no policy has anything to decide.
    wanted = render(at.name, claimants, _NO_POLICY, DEFAULT_RULE)
    return (
        (here.claims, here.content) == (wanted.claims, wanted.content)
        and not (here.losers or here.copy_of)
        and here.intended == attributes_of(wanted.attributes, is_directory=False)
        and len(synced.entries_of_handle(here.handle)) == 1
    )


def _is_plain(state: NodeState) -> bool:
    return not state.is_directory and len(state.links) == 1 and len(state.versions) == 1
