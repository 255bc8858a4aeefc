"""Hypothesis strategies for what only a site's own journal holds: states, moves, synced entries."""

from __future__ import annotations

from hypothesis import strategies as st

from conflict.merged_tree import DirectoryMove
from conflict.node import LinkState, Location, NodeState, PlaceRecord, Register, Version
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import AttributeValue, NodeId
from conflict.rendering import Claim
from conflict.stamp import TICKS_MAX, Stamp
from conflict.synced import EntryId, SyncedEntry
from tests.support.strategies import (
    actor_ids,
    attribute_changes,
    contents,
    contexts,
    created_nodes,
    dots,
    links,
    names,
    nodes,
)

times_ns = st.integers(-(2**63), 2**63 - 1)

stamps: st.SearchStrategy[Stamp] = st.builds(
    Stamp, st.integers(0, 3), st.integers(0, TICKS_MAX), actor_ids
)

locations: st.SearchStrategy[Location] = st.builds(Location, nodes, names)

_places = st.builds(PlaceRecord, dots, stamps, locations)

_links = st.builds(LinkState, st.lists(_places, max_size=3).map(tuple), _places)

_versions: st.SearchStrategy[Version] = st.builds(
    Version,
    dot=dots,
    stamp=stamps,
    content=contents,
    attributes=attribute_changes,
    via=links,
    is_deleted=st.booleans(),
    unlinked=st.frozensets(links, max_size=2),
    is_aside=st.booleans(),
    is_settled=st.booleans(),
)

_values: st.SearchStrategy[AttributeValue] = st.one_of(st.none(), times_ns, st.binary(max_size=50))

_registers = st.builds(Register, stamps, dots, _values)

moves: st.SearchStrategy[DirectoryMove] = st.builds(
    DirectoryMove, stamps, created_nodes, locations, locations, st.booleans()
)


def node_states(identities: st.SearchStrategy[NodeId] = nodes) -> st.SearchStrategy[NodeState]:
    """Returns states of these nodes: whatever the fields can hold, also together."""
    return st.builds(
        NodeState,
        node=identities,
        is_directory=st.booleans(),
        created=stamps,
        links=st.dictionaries(links, _links, max_size=3),
        versions=st.lists(_versions, max_size=3).map(lambda found: {v.dot: v for v in found}),
        registers=st.dictionaries(
            st.binary(min_size=1, max_size=9),
            st.builds(Register, stamps, dots, _values),
            max_size=3,
        ),
        location=st.one_of(st.none(), locations),
        live_child_count=st.integers(0, 2**40),
    )


attributes: st.SearchStrategy[Attributes] = st.builds(
    Attributes,
    mode=st.integers(0, 0o7777),
    owner=st.binary(max_size=20),
    group=st.binary(max_size=20),
    mtime_ns=times_ns,
    extended=st.dictionaries(st.binary(max_size=20), st.binary(max_size=20), max_size=2).map(
        lambda found: tuple(sorted(found.items()))
    ),
)

fingerprints: st.SearchStrategy[Fingerprint] = st.builds(
    Fingerprint, st.integers(-1, 2**63 - 1), times_ns, times_ns
)


def claims(identities: st.SearchStrategy[NodeId] = nodes) -> st.SearchStrategy[Claim]:
    """Returns claims to these nodes."""
    return st.builds(Claim, identities, links, contexts, contexts)


def synced_entries(
    entries: st.SearchStrategy[EntryId],
    parents: st.SearchStrategy[EntryId],
    entry_names: st.SearchStrategy[bytes] = names,
    identities: st.SearchStrategy[NodeId] = nodes,
    handles: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[SyncedEntry]:
    """Returns synced entries with these numbers, places, nodes and inodes."""
    own_claims = st.lists(claims(identities), min_size=1, max_size=2).map(tuple)
    return st.builds(
        SyncedEntry,
        entry=entries,
        parent=parents,
        name=entry_names,
        kind=st.sampled_from(DiskKind),
        handle=handles if handles is not None else st.binary(max_size=20),
        fingerprint=fingerprints,
        attributes=attributes,
        intended=attributes,
        claims=own_claims,
        content=st.one_of(st.none(), contents),
        losers=st.lists(claims(), max_size=2).map(tuple),
        copy_of=st.one_of(st.just(b""), entry_names),
    )
