"""Hypothesis strategies for every value of the core: identities, contents, operations, logs."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from conflict.content import (
    DIGEST_SIZE_BYTES,
    HOLE_DIGEST,
    SYMLINK_TARGET_SIZE_BYTES_MAX,
    ChunkReference,
    Content,
    ContentKind,
)
from conflict.operations import (
    ATTRIBUTE_KEY_SIZE_BYTES_MAX,
    EXTENDED_PREFIX,
    GROUP,
    MODE,
    MTIME_NS,
    NAME_SIZE_BYTES_MAX,
    OWNER,
    POLICY_PREFIX,
    ROOT,
    AttributeChanges,
    AttributeValue,
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
from conflict.stamp import TICKS_MAX, Stamp
from conflict.version import ACTOR_SIZE_BYTES, COUNTER_MAX, ActorId, Dot, VersionVector
from transport.chunker import CHUNK_SIZE_BYTES_MAX

actor_ids: st.SearchStrategy[ActorId] = st.one_of(
    st.sampled_from([bytes([number]) * ACTOR_SIZE_BYTES for number in (1, 2, 3)]),
    st.binary(min_size=ACTOR_SIZE_BYTES, max_size=ACTOR_SIZE_BYTES),
).map(ActorId)

counters: st.SearchStrategy[int] = st.one_of(st.integers(1, 9), st.integers(1, COUNTER_MAX))

dots: st.SearchStrategy[Dot] = st.builds(Dot, actor_ids, counters)

vectors: st.SearchStrategy[VersionVector] = st.dictionaries(actor_ids, counters, max_size=5).map(
    VersionVector
)

contexts: st.SearchStrategy[Context] = st.frozensets(dots, max_size=4)

digests: st.SearchStrategy[bytes] = st.binary(
    min_size=DIGEST_SIZE_BYTES, max_size=DIGEST_SIZE_BYTES
)

created_nodes: st.SearchStrategy[NodeId] = dots.map(lambda dot: NodeId(id_of(dot)))

nodes: st.SearchStrategy[NodeId] = st.one_of(st.just(ROOT), created_nodes)

links: st.SearchStrategy[LinkId] = created_nodes.map(LinkId)

names: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from([b"a", b" ", b"\n", b"...", b"\xff\xfe", b"x" * NAME_SIZE_BYTES_MAX]),
    st.binary(min_size=1, max_size=NAME_SIZE_BYTES_MAX)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in (b".", b"..")),
)

chunk_references: st.SearchStrategy[ChunkReference] = st.builds(
    ChunkReference, digests, st.integers(1, CHUNK_SIZE_BYTES_MAX)
) | st.builds(ChunkReference, st.just(HOLE_DIGEST), st.integers(1, 2**40))


def _regular(digest: bytes, chunks: Sequence[ChunkReference]) -> Content:
    size_bytes = sum(chunk.size_bytes for chunk in chunks)
    return Content(ContentKind.REGULAR, digest, size_bytes, tuple(chunks))


def _symlink(digest: bytes, target: bytes) -> Content:
    return Content(ContentKind.SYMLINK, digest, len(target), target=target)


contents: st.SearchStrategy[Content] = st.one_of(
    st.builds(_regular, digests, st.lists(chunk_references, max_size=4)),
    st.builds(
        _symlink,
        digests,
        st.binary(min_size=1, max_size=SYMLINK_TARGET_SIZE_BYTES_MAX).map(
            lambda target: target.replace(b"\0", b"_")
        ),
    ),
    digests.map(lambda digest: Content(ContentKind.FIFO, digest, 0)),
)

_attribute_keys = st.one_of(
    st.sampled_from([OWNER, GROUP, POLICY_PREFIX + b"*"]),
    st.binary(max_size=ATTRIBUTE_KEY_SIZE_BYTES_MAX - len(EXTENDED_PREFIX)).map(
        lambda name: EXTENDED_PREFIX + name
    ),
)

_attributes: st.SearchStrategy[tuple[bytes, AttributeValue]] = st.one_of(
    st.tuples(st.just(MODE), st.integers(0, 0o7777)),
    st.tuples(st.just(MTIME_NS), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(_attribute_keys, st.one_of(st.none(), st.binary(max_size=100))),
)

attribute_changes: st.SearchStrategy[AttributeChanges] = st.lists(
    _attributes, max_size=5, unique_by=lambda attribute: attribute[0]
).map(lambda attributes: tuple(sorted(attributes, key=lambda attribute: attribute[0])))


def stamps(actor: ActorId) -> st.SearchStrategy[Stamp]:
    """Returns stamps by one actor, in no order."""
    ticks = st.integers(0, TICKS_MAX)
    return st.builds(Stamp, st.integers(0, TICKS_MAX), ticks, st.just(actor))


def places(dot: Dot) -> st.SearchStrategy[Place]:
    """Returns placements with this dot: of new and old nodes, first and further names."""
    own = NodeId(id_of(dot))
    placed = st.one_of(st.just(own), created_nodes)

    def build(
        stamp: Stamp, identities: tuple[NodeId, LinkId, NodeId], name: bytes, context: Context
    ) -> Place:
        node, link, parent = identities
        return Place(dot, stamp, node, link, node == link, parent, name, context)

    identities = st.tuples(placed, st.one_of(st.just(LinkId(own)), links), nodes)
    apart = identities.filter(lambda three: three[0] != three[2])
    return st.builds(build, stamps(dot.actor), apart, names, contexts)


def operations(dot: Dot) -> st.SearchStrategy[Operation]:
    """Returns operations of every type with this dot."""
    given, stamp = st.just(dot), stamps(dot.actor)
    return st.one_of(
        places(dot),
        st.builds(Put, given, stamp, nodes, links, contents, attribute_changes, contexts),
        st.builds(SetAttributes, given, stamp, nodes, attribute_changes),
        st.builds(Delete, given, stamp, created_nodes, links, contexts, contexts, st.booleans()),
        st.builds(Drop, given, stamp, nodes, contexts),
        st.builds(Declare, given, stamp, st.sampled_from(Topic), st.binary(max_size=40)),
    )


any_operations: st.SearchStrategy[Operation] = dots.flatmap(operations)


@st.composite
def transactions(
    draw: st.DrawFn, first: Dot, others: VersionVector, size_max: int = 3
) -> Transaction:
    """Draws a transaction that begins with this dot.

    Args:
        draw: given by Hypothesis.
        first: of the first operation.
        others: what the author had received of others; its own entry is ignored.
        size_max: operations at most.
    """
    count = draw(st.integers(1, size_max))
    written = [draw(operations(Dot(first.actor, first.counter + index))) for index in range(count)]
    received = {actor: n for actor, n in others.items() if actor != first.actor}
    if first.counter > 1:
        received[first.actor] = first.counter - 1
    return Transaction(tuple(written), VersionVector(received))


@st.composite
def logs(draw: st.DrawFn, actor: ActorId, size_max: int = 4) -> tuple[Transaction, ...]:
    """Draws consecutive transactions of one actor.

    What was received changes in every way in between, even backwards, as when actors retire.
    """
    counter = draw(st.one_of(st.just(1), st.integers(1, COUNTER_MAX - 1000)))
    others = draw(vectors)
    written: list[Transaction] = []
    for _ in range(draw(st.integers(0, size_max))):
        others = draw(st.one_of(st.just(others), vectors.map(others.join), vectors))
        written.append(draw(transactions(Dot(actor, counter), others)))
        counter = written[-1].last_counter + 1
    return tuple(written)
