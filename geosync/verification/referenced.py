"""Which chunks the merged tree refers to, and for each of them a file that needs it."""

from __future__ import annotations

from collections.abc import Mapping

from conflict.merged_tree import path_of
from conflict.node import NodeState
from conflict.operations import NodeId
from geosync.engine.site import joined
from geosync.journal.journal import Journal
from geosync.terminal import display_name

NO_NAME = "a conflict of a file that is deleted"


def referenced_chunks(journal: Journal) -> dict[bytes, NodeId]:
    """Returns the chunks of all versions that somebody may still want: digest -> a file."""
    found: dict[bytes, NodeId] = {}
    for state in journal.nodes.all_nodes():
        if state.is_directory:
            continue
        for version in (*state.visible_versions(), *state.orphaned_versions()):
            for chunk in version.content.chunks:
                if not chunk.is_hole:
                    found.setdefault(chunk.digest, state.node)
    return found


def shown_file(journal: Journal, node: NodeId) -> str:
    """Returns the path of a file, as it is shown."""
    state: NodeState | None = journal.nodes.node(node)
    names = sorted((state.presence() if state is not None else {}).values())
    return display_name(joined(path_of(journal.nodes, names[0]))) if names else NO_NAME


def shown_files(journal: Journal, lost: Mapping[bytes, NodeId]) -> str:
    """Returns the files that need chunks, in a few words."""
    nodes = sorted(set(lost.values()))
    more = f" and {len(nodes) - 1} more files" if len(nodes) > 1 else ""
    return shown_file(journal, nodes[0]) + more
