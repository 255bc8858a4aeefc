"""What must hold when all is quiet: nothing lost, all sites the same, nothing left over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conflict.attributes import attributes_of
from conflict.content import Content, ContentKind
from conflict.observation import Attributes, DiskKind
from conflict.operations import Delete, Drop, Put
from conflict.projection import Projection, project
from conflict.rendering import Rendered
from conflict.report import Conflict
from conflict.synced import PARKED, ROOT_ENTRY, Path
from conflict.version import ActorId, Dot
from geosync.engine.engine import Engine
from geosync.engine.mirroring import mirror_path
from tests.simulation.inode_file_system import Inode
from tests.simulation.ledger import content_of
from tests.simulation.published import Log, contents_in, digest_of, read_segments
from tests.simulation.simulated_stage import PARKED as PARKED_DIRECTORY
from tests.simulation.simulated_stage import STAGE, TRASH
from tests.support.history import tree_of
from transport.hashing import VolumeHasher
from transport.object_names import PACKS_PREFIX, VOLUME_RECORD, segment_name
from transport.pack import ChunkLocation, read_chunk
from transport.segment import NO_SEGMENT

if TYPE_CHECKING:
    from tests.simulation.simulated_site import SimulatedSite
    from tests.simulation.simulated_store import SimulatedStore
    from tests.simulation.world import World

_KINDS = {
    ContentKind.REGULAR: DiskKind.REGULAR,
    ContentKind.SYMLINK: DiskKind.SYMLINK,
    ContentKind.FIFO: DiskKind.FIFO,
}


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a tree shows at one path, in a form that can be compared."""

    kind: DiskKind
    digest: bytes  # of the content; empty for directories
    mode: int
    owner: bytes
    mtime_ns: int
    extended: tuple[tuple[bytes, bytes], ...]
    names: tuple[bytes, ...]  # all paths of the same file


def require(is_so: bool, text: str) -> None:
    """Raises Violation unless it is so."""
    if not is_so:
        raise Violation(text)


def engine_of(site: SimulatedSite) -> Engine:
    """Returns the engine, which must run."""
    assert site.engine is not None
    return site.engine


def check_at_rest(world: World) -> None:
    """Checks everything that holds when nobody has anything left to do. Raises Violation."""
    engines = [engine_of(site) for site in world.sites]
    hasher = engines[0].site.hasher
    check_names_are_used_once(world)
    log = read_log(world.store.bodies_with_deleted("log/"), hasher)
    projection = project(log.operations)
    check_dots(log)
    actors = {engine.site.actor for engine in engines}
    for site in world.sites:
        check_nothing_committed_is_missing(site, log)
        check_site(site, projection, log, actors)
        check_received(site, world.store)
        check_disk(site, projection, hasher)
        check_conflicts(site, projection, hasher)
    bodies = world.store.bodies_with_deleted(PACKS_PREFIX)
    check_contents_are_in_the_store(bodies, log, hasher)
    check_every_version_is_accounted_for(log, projection, engines[0].conflicts())
    check_no_lost_write(world, log, engines[0].conflicts(), projection, hasher)
    check_nothing_hidden_is_captured(world, log, hasher)
    world.old_files.check(projection, hasher)


# The store


def check_names_are_used_once(world: World) -> None:
    """One name never stands for two bodies. The volume record alone is a race that is settled.

    A machine that was set back or cloned may send what is refused; nobody else does.
    """
    store = world.store
    for name, bodies in (store.stored if world.is_any_set_back else store.sent).items():
        is_used_once = name == VOLUME_RECORD or len(bodies) == 1
        require(is_used_once, f"{name} stood for several bodies")
    there = store.bodies()
    for name, bodies in world.acknowledged().items():
        is_ended = name == VOLUME_RECORD or name in store.deleted
        is_kept = is_ended or bodies == {there.get(name)}
        require(is_kept, f"{name} is not what the store said it has")


def read_log(bodies: dict[str, bytes], hasher: VolumeHasher) -> Log:
    """Reads all segments back, and proves that each log has no gap and one chain."""
    log = read_segments(bodies, hasher)
    for actor, segments in log.segments.items():
        previous = NO_SEGMENT
        for number, segment in enumerate(segments):
            name = segment_name(actor, number)
            require(segment.sequence == number, f"{name} is missing, and not what follows it")
            require(segment.previous_digest == previous, f"{name} follows another segment")
            previous = hasher.chain_digest(bodies[name])
    return log


def check_dots(log: Log) -> None:
    """Each dot names one operation; each actor's counters have no gap."""
    for actor, segments in log.segments.items():
        counters = [o.dot.counter for s in segments for t in s.transactions for o in t]
        wanted = list(range(1, len(counters) + 1))
        require(counters == wanted, f"the dots of {actor.hex()[:8]} are {counters}")


def check_contents_are_in_the_store(
    bodies: dict[str, bytes], log: Log, hasher: VolumeHasher
) -> None:
    """Every chunk of every version that ever was can be had from the store."""
    inline: dict[bytes, bytes] = {}
    packed: dict[bytes, list[ChunkLocation]] = defaultdict(list)
    for segments in log.segments.values():
        for segment in segments:
            inline.update(segment.inline_chunks)
            for digest, location in segment.pack_entries.items():
                packed[digest].append(location)
    for operation in log.operations:
        chunks = operation.content.chunks if isinstance(operation, Put) else ()
        for chunk in chunks:
            if chunk.digest not in inline:
                require(bool(packed[chunk.digest]), f"no segment tells where {operation} is")
            for at in packed[chunk.digest]:
                stored = bodies[at.pack][at.offset : at.offset + at.stored_size_bytes]
                read_chunk(stored, at, chunk.digest, hasher)


# Versions


def check_every_version_is_accounted_for(
    log: Log, projection: Projection, conflicts: list[Conflict]
) -> None:
    """Each version is shown, or somebody who had it on disk replaced, removed or settled it."""
    named: set[Dot] = set()
    for operation in log.operations:
        if isinstance(operation, (Put, Delete, Drop)):
            named |= operation.context
    shown = {
        dot
        for rendered in projection.entries.values()
        for claims in (rendered.claims, *(copy.claims for copy in rendered.copies))
        for claim in claims
        for dot in claim.content_dots
    }
    shown |= {
        dot for conflict in conflicts for claim in conflict.claims for dot in claim.content_dots
    }
    for operation in log.operations:
        if isinstance(operation, Put) and operation.dot not in named | shown:
            state = projection.states[operation.node]
            is_history = state.versions[operation.dot].is_aside  # under the policy NEWEST
            require(is_history, f"{operation} is neither shown nor replaced")


def check_nothing_committed_is_missing(site: SimulatedSite, log: Log) -> None:
    """Whatever the journal once held for certain is in the store, as it was."""
    stored = set(log.transactions)
    for transaction in site.committed:
        require(transaction in stored, f"{site.name} lost {transaction}")


def check_no_lost_write(
    world: World,
    log: Log,
    conflicts: list[Conflict],
    projection: Projection,
    hasher: VolumeHasher,
) -> None:
    """What somebody wrote, and nobody did away with, is seen; and nothing else was captured."""
    written = {digest_of(hasher, kind, body) for kind, body in world.ledger.written}
    written |= {digest_of(hasher, DiskKind.REGULAR, b""), digest_of(hasher, DiskKind.FIFO, b"")}
    written |= world.computed
    captured = {o.content.digest: o for o in log.operations if isinstance(o, Put)}
    for digest, operation in captured.items():
        require(digest in written, f"nobody ever wrote what {operation} says")
    visible = {r.content.digest for r in projection.entries.values() if r.content is not None}
    visible |= {
        copy.version.content.digest for r in projection.entries.values() for copy in r.copies
    }
    visible |= {conflict.loser.content.digest for conflict in conflicts}
    for (kind, body), who in world.ledger.standing().items():
        digest = digest_of(hasher, kind, body)
        if digest not in visible and digest not in world.decided:
            is_history = world.has_newest_policy and digest in captured
            put = captured.get(digest)
            require(is_history, f"{body[:40]!r} written on {who} is lost; captured as {put}")


def check_nothing_hidden_is_captured(world: World, log: Log, hasher: VolumeHasher) -> None:
    """What was written where the root was not mounted is no part of the volume."""
    published = contents_in(log.operations)
    for content in world.hidden:
        require(digest_of(hasher, *content) not in published, f"{content} was never in the root")


# One site


def check_received(site: SimulatedSite, store: SimulatedStore) -> None:
    """What a site once read is what the store holds for ever: no name was used again."""
    stored, bodies = engine_of(site).site.journal.log, store.bodies()
    for log in stored.actors():
        for sequence, body in stored.segments(log.actor):
            name = segment_name(log.actor, sequence)
            is_ended = name not in bodies and name in store.deleted
            require(is_ended or bodies.get(name) == body, f"{site.name} has read another {name}")


def check_site(
    site: SimulatedSite, projection: Projection, log: Log, actors: AbstractSet[ActorId]
) -> None:
    """The journal knows all, has shown all, and has nothing left to do.

    Args:
        site: to be checked.
        projection: of all operations.
        log: all of them.
        actors: that write still: nobody hears any more of what the others have.
    """
    engine = engine_of(site)
    journal = engine.site.journal
    received = journal.log.received()
    for actor, segments in log.segments.items():
        last = max((t.last_counter for s in segments for t in s.transactions), default=0)
        require(received.counter_of(actor) == last, f"{site.name} has not received all")
    require(engine.site.applied() == received, f"{site.name} has not applied what it received")
    for other in journal.log.actors():
        require(not other.problem, f"{site.name} refuses a log: {other.problem}")
        if other.actor not in actors - {engine.site.actor}:
            continue
        told = other.applied.join({other.actor: other.received})
        require(told == received, f"{site.name} has not heard from {other.site}")
    require(not journal.intents(), f"{site.name} has intents left")
    require(not engine.waiting(), f"{site.name} waits: {engine.waiting()}")
    require(not journal.retired(), f"{site.name} watches: {journal.retired()}")
    expected = (b"clock of ", b"incarnation")
    problems = [p for p in journal.problems() if not p.subject.startswith(expected)]
    require(not problems, f"{site.name} reports {problems}")
    require(not list(journal.synced.entries_in(PARKED)), f"{site.name} has parked entries")
    check_names_are_unique(site)
    for directory in (STAGE, TRASH, PARKED_DIRECTORY):
        left = site.machine.file_system.lookup(directory).names
        require(not left, f"{site.name} has left something in {directory!r}: {dict(left)}")
    tree = tree_of(journal.nodes)
    differences = [
        p for p in {**tree, **projection.entries} if tree.get(p) != projection.entries.get(p)
    ]
    require(not differences, f"{site.name}: merged tree and projection differ at {differences}")


def check_names_are_unique(site: SimulatedSite) -> None:
    """No two synced entries have one name."""
    synced = engine_of(site).site.journal.synced
    below = [ROOT_ENTRY]
    while below:
        directory = below.pop()
        entries = list(synced.entries_in(directory))
        names = [entry.name for entry in entries]
        require(len(set(names)) == len(names), f"{site.name}: one name twice in {names}")
        below += [entry.entry for entry in entries if entry.is_directory]


def check_conflicts(site: SimulatedSite, projection: Projection, hasher: VolumeHasher) -> None:
    """All sites list the same conflicts, no more than there can be, and show them."""
    engine = engine_of(site)
    found = engine.conflicts()
    names = [(conflict.path, conflict.copy_name) for conflict in found]
    require(len(set(names)) == len(names), f"two conflicts have one name: {names}")
    states = projection.states.values()
    claims = sum(len(state.versions) * max(1, len(state.presence())) for state in states)
    winners = sum(not rendered.is_directory for rendered in projection.entries.values())
    require(len(found) <= claims - winners, f"{len(found)} conflicts of {claims} claims")
    mirrored = {mirror_path(c): c for c in found if _is_mirrored(c)}
    for path, conflict in mirrored.items():
        inode = site.machine.file_system.find(path)
        require(inode is not None, f"{site.name} does not show the conflict {path!r}")
        assert inode is not None
        digest = digest_of(hasher, inode.kind, content_of(inode))
        require(digest == conflict.loser.content.digest, f"{path!r} is not what lost")
    there = set(_files_below(site, b".geosync/conflicts"))
    stale = there - mirrored.keys()
    require(not stale, f"{site.name} shows conflicts that are none: {sorted(stale)}")


def _is_mirrored(conflict: Conflict) -> bool:
    return conflict.policy.shows_copies_outside or conflict.winner is None


def _files_below(site: SimulatedSite, directory: bytes) -> Iterator[bytes]:
    inode = site.machine.file_system.find(directory)
    names = inode.names if inode is not None else {}
    for name in names:
        path = directory + b"/" + name
        found = site.machine.file_system.lookup(path)
        if found.kind is DiskKind.DIRECTORY:
            require(bool(found.names), f"{site.name} has left the empty directory {path!r}")
            yield from _files_below(site, path)
        else:
            yield path


# The disk against the projection


def check_disk(site: SimulatedSite, projection: Projection, hasher: VolumeHasher) -> None:
    """The disk shows what the operations say: kinds, contents, attributes, hard links."""
    wanted = dict(_wanted(projection.entries))
    shown = dict(_shown(site.application.tree(), hasher))
    for path in sorted(wanted.keys() | shown.keys()):
        here, there = wanted.get(path), shown.get(path)
        require(here == there, f"{site.name} at {path!r}: wanted {here}\nfound {there}")


def _wanted(entries: dict[Path, Rendered]) -> Iterator[tuple[bytes, Shown]]:
    names: dict[bytes, list[bytes]] = defaultdict(list)
    for path, rendered in entries.items():
        names[rendered.claims[0].node].append(b"/".join(path))
    for path, rendered in entries.items():
        values = attributes_of(rendered.attributes, is_directory=rendered.is_directory)
        same = names[rendered.claims[0].node] if not rendered.is_directory else [b"/".join(path)]
        yield b"/".join(path), _wanted_entry(rendered.content, values, same)
        if rendered.shows_copies_beside:
            for copy in rendered.copies:
                name = copy.copy_name
                while (*path[:-1], name) in entries:
                    name = name[:254] + b"~"
                beside = b"/".join((*path[:-1], name))
                values = attributes_of(copy.version.attributes, is_directory=False)
                yield beside, _wanted_entry(copy.version.content, values, [beside])


def _wanted_entry(content: Content | None, values: Attributes, names: Iterable[bytes]) -> Shown:
    kind = DiskKind.DIRECTORY if content is None else _KINDS[content.kind]
    return _with_attributes(kind, content.digest if content else b"", values, names)


def _shown(tree: dict[bytes, Inode], hasher: VolumeHasher) -> Iterator[tuple[bytes, Shown]]:
    names: dict[int, list[bytes]] = defaultdict(list)
    for path, inode in tree.items():
        names[inode.number].append(path)
    for path, inode in tree.items():
        is_directory = inode.kind is DiskKind.DIRECTORY
        digest = b"" if is_directory else digest_of(hasher, inode.kind, content_of(inode))
        yield path, _with_attributes(inode.kind, digest, inode.attributes, names[inode.number])


def _with_attributes(
    kind: DiskKind, digest: bytes, values: Attributes, names: Iterable[bytes]
) -> Shown:
    is_link = kind is DiskKind.SYMLINK
    return Shown(
        kind,
        digest,
        0o777 if is_link else values.mode,
        values.owner,
        values.mtime_ns,
        () if is_link else values.extended,
        tuple(sorted(names)),
    )


# Idle


def check_idle(world: World, before: list[dict[int, Inode]], sent: dict[str, set[bytes]]) -> None:
    """Nothing was sent, and no disk was touched, since `before` and `sent` were noted."""
    require(world.store.sent == sent, "something was sent although nothing happened")
    for site, inodes in zip(world.sites, before, strict=True):
        require(site.machine.file_system.inodes == inodes, f"the disk of {site.name} was touched")
