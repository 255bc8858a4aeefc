"""Values of the core as msgpack records, for the journal's own tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from conflict.merged_tree import DirectoryMove
from conflict.node import LinkState, Location, NodeState, PlaceRecord, Register, Version
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import Context, LinkId, NodeId, Transaction, dot_of, id_of
from conflict.rendering import Claim
from conflict.stamp import Stamp
from conflict.synced import EntryId, SyncedEntry
from conflict.version import Dot
from transport.actor_table import ActorTable
from transport.msgpack_codec import WireValue, decode_own, encode
from transport.operation_codec import (
    OperationReader,
    OperationWriter,
    decode_content,
    decode_operation,
    decode_vector,
    encode_content,
    encode_vector,
)

_KINDS = tuple(DiskKind)


def pack_transaction(transaction: Transaction) -> bytes:
    """Packs a transaction of the outbox."""
    writer = OperationWriter(transaction.actor)
    fields = tuple(map(writer.fields, transaction.operations))
    counter = transaction.operations[0].dot.counter
    return encode((encode_vector(transaction.received), writer.table.packed(), counter, fields))


def unpack_transaction(record: bytes) -> Transaction:
    """Unpacks what `pack_transaction` packed, also where an older geosync did that."""
    parts = _parts(record)
    if len(parts) == 2:
        received, packed = parts
        return Transaction(tuple(map(decode_operation, packed)), decode_vector(received))
    received, table, counter, fields = parts
    reader = OperationReader(ActorTable(table))
    operations = tuple(reader.operation(counter + i, each) for i, each in enumerate(fields))
    return Transaction(operations, decode_vector(received))


def pack_node(state: NodeState) -> bytes:
    """Packs the state of a node, but for its identity."""
    return encode(
        (
            state.is_directory,
            tuple(state.created),
            tuple(
                (k, tuple(map(_place, v.places)), _place(v.latest)) for k, v in state.links.items()
            ),
            tuple(map(_version, state.versions.values())),
            tuple((k, tuple(r.stamp), id_of(r.dot), r.value) for k, r in state.registers.items()),
            tuple(state.location) if state.location is not None else None,
            state.live_child_count,
        )
    )


def unpack_node(node: NodeId, record: bytes) -> NodeState:
    """Unpacks what `pack_node` packed."""
    is_directory, created, links, versions, registers, location, live_child_count = _parts(record)
    return NodeState(
        node=node,
        is_directory=is_directory,
        created=Stamp(*created),
        links={
            link: LinkState(tuple(map(_to_place, places)), _to_place(latest))
            for link, places, latest in links
        },
        versions={version.dot: version for version in map(_to_version, versions)},
        registers={
            key: Register(Stamp(*stamp), dot_of(dot), value) for key, stamp, dot, value in registers
        },
        location=Location(*location) if location is not None else None,
        live_child_count=live_child_count,
    )


def pack_version(version: Version) -> bytes:
    """Packs one version of a file."""
    return encode(_version(version))


def unpack_version(record: bytes) -> Version:
    """Unpacks what `pack_version` packed."""
    return _to_version(_parts(record))


def pack_move(move: DirectoryMove) -> bytes:
    """Packs a move of a directory, but for its stamp."""
    return encode((move.node, tuple(move.target), tuple(move.previous), move.is_effective))


def unpack_move(stamp: Stamp, record: bytes) -> DirectoryMove:
    """Unpacks what `pack_move` packed."""
    node, target, previous, is_effective = _parts(record)
    return DirectoryMove(stamp, node, Location(*target), Location(*previous), is_effective)


def pack_synced(entry: SyncedEntry) -> bytes:
    """Packs an entry of the synced tree, but for the columns that it has besides."""
    is_as_intended = entry.intended == entry.attributes
    return encode(
        (
            _KINDS.index(entry.kind),
            (
                entry.fingerprint.size_bytes,
                entry.fingerprint.mtime_ns,
                entry.fingerprint.ctime_ns,
            ),
            _attributes(entry.attributes),
            None if is_as_intended else _attributes(entry.intended),
            tuple(map(_claim, entry.claims)),
            None if entry.content is None else encode_content(entry.content),
            tuple(map(_claim, entry.losers)),
        )
    )


def unpack_synced(
    entry: EntryId, parent: EntryId, name: bytes, handle: bytes, copy_of: bytes, record: bytes
) -> SyncedEntry:
    """Unpacks what `pack_synced` packed."""
    kind, fingerprint, attributes, intended, claims, content, losers = _parts(record)
    seen = _to_attributes(attributes)
    return SyncedEntry(
        entry=entry,
        parent=parent,
        name=name,
        kind=_KINDS[kind],
        handle=handle,
        fingerprint=Fingerprint(*fingerprint),
        attributes=seen,
        intended=seen if intended is None else _to_attributes(intended),
        claims=tuple(map(_to_claim, claims)),
        content=None if content is None else decode_content(content),
        losers=tuple(map(_to_claim, losers)),
        copy_of=copy_of,
    )


def pack_whole_entry(entry: SyncedEntry) -> bytes:
    """Packs an entry with its columns, for tables other than its own."""
    keys = (entry.entry, entry.parent, entry.name, entry.handle, entry.copy_of)
    return encode((*keys, pack_synced(entry)))


def unpack_whole_entry(record: bytes) -> SyncedEntry:
    """Unpacks what `pack_whole_entry` packed."""
    return unpack_synced(*_parts(record))


def _parts(record: bytes) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", decode_own(record))


def _place(place: PlaceRecord) -> WireValue:
    return (id_of(place.dot), tuple(place.stamp), tuple(place.location))


def _to_place(parts: tuple[Any, ...]) -> PlaceRecord:
    dot, stamp, location = parts
    return PlaceRecord(dot_of(dot), Stamp(*stamp), Location(*location))


def _version(version: Version) -> WireValue:
    return (
        id_of(version.dot),
        tuple(version.stamp),
        encode_content(version.content),
        version.attributes,
        version.via,
        version.is_deleted,
        tuple(sorted(version.unlinked)),
        version.is_aside,
        version.is_settled,
    )


def _to_version(parts: tuple[Any, ...]) -> Version:
    dot, stamp, content, attributes, via, is_deleted, unlinked, is_aside, is_settled = parts
    return Version(
        dot=dot_of(dot),
        stamp=Stamp(*stamp),
        content=decode_content(content),
        attributes=attributes,
        via=via,
        is_deleted=is_deleted,
        unlinked=frozenset(unlinked),
        is_aside=is_aside,
        is_settled=is_settled,
    )


def _attributes(attributes: Attributes) -> WireValue:
    return (
        attributes.mode,
        attributes.owner,
        attributes.group,
        attributes.mtime_ns,
        attributes.extended,
    )


def _to_attributes(parts: tuple[Any, ...]) -> Attributes:
    return Attributes(*parts)


def _claim(claim: Claim) -> WireValue:
    places, contents = _dots(claim.place_dots), _dots(claim.content_dots)
    return (claim.node, claim.link, places, contents, claim.is_sibling)


def _to_claim(parts: tuple[Any, ...]) -> Claim:
    node, link, places, contents, is_sibling = parts
    return Claim(NodeId(node), LinkId(link), _to_dots(places), _to_dots(contents), is_sibling)


def _dots(dots: Context) -> WireValue:
    return tuple(sorted(map(id_of, dots)))


def _to_dots(parts: Iterable[bytes]) -> Context:
    found: frozenset[Dot] = frozenset(map(dot_of, parts))
    return found
