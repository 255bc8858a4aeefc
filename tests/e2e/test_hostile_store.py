"""Whatever somebody does to the objects of one site: the operator is told, the others go on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator

import pytest

from conflict.content import (
    FILE_SIZE_BYTES_MAX,
    HOLE_DIGEST,
    ChunkReference,
    Content,
    ContentKind,
)
from conflict.errors import MalformedValueError
from conflict.operations import (
    GROUP,
    MODE,
    MTIME_NS,
    OWNER,
    POLICY_PREFIX,
    ROOT,
    AttributeChanges,
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
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot
from geosync.engine.receiving import REREAD_QUARANTINED_S
from geosync.errors import OperatorError
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.disk_tree import Shown, disk_tree
from tests.support.local_sites import VOLUME, LocalSite, local_sites, run, settle
from transport import segment as segment_module
from transport.chunker import CHUNK_SIZE_BYTES_MAX
from transport.frame import seal, unseal
from transport.hashing import VolumeHasher
from transport.memory_store import MemoryStore
from transport.msgpack_codec import decode
from transport.object_names import VOLUME_RECORD, pack_name, segment_name
from transport.segment import (
    SEGMENT_OBJECT_SIZE_BYTES_MAX,
    SEGMENT_SIZE_BYTES_MAX,
    ExpectedSegment,
    Segment,
    decode_segment,
    encode_segment,
)
from transport.volume_record import VolumeRecord, encode_volume_record

LARGE = os.urandom(200_000)  # travels in a pack
UNHEARD_OF = ActorId(b"\7" * 16)


class HostileStore(MemoryStore):
    """A store whose objects can be overwritten, which no store allows geosync itself."""

    def body(self, name: str) -> bytes:
        return self._bodies[name]

    def overwrite(self, name: str, body: bytes) -> None:
        self._bodies[name] = body


@dataclasses.dataclass(frozen=True)
class World:
    """Three sites at rest: one whose objects are attacked, and two that read them."""

    store: HostileStore
    time: SimulatedTime
    bari: LocalSite
    cnaf: LocalSite
    roma: LocalSite

    def publish(self, path: bytes, content: bytes) -> str:
        """Lets the first site write a file; returns the segment that tells of it."""
        self.bari.write(path, content)
        assert self.bari.cycle().published
        return self.last_segment(self.bari)

    def last_segment(self, site: LocalSite) -> str:
        return max(self.store.list_names(f"log/{site.engine.site.actor.hex()}/"))

    def read(self, name: str) -> Segment:
        site = self.bari.engine.site
        expected = ExpectedSegment(VOLUME, site.actor, int(name.rpartition("/")[2], 16))
        return decode_segment(self.store.body(name), site.hasher, expected)

    def sealed(self, segment: Segment) -> bytes:
        return encode_segment(segment, self.bari.engine.site.hasher)

    def others_go_on(self) -> None:
        """The other two exchange a file; what is on their disks is otherwise what it was."""
        before = disk_tree(self.cnaf.root)
        self.roma.write(b"from roma", b"roma writes")
        run(self.roma, self.cnaf)
        after = disk_tree(self.cnaf.root)
        assert after.pop(b"from roma").content == b"roma writes"
        assert after == before
        assert disk_tree(self.roma.root).keys() == {*before, b"from roma"}

    def others_go_on_beside(self, name: bytes) -> None:
        """As `others_go_on`, where a file of this name, too large to be read, may be there."""
        self.roma.write(b"from roma", b"roma writes")
        run(self.roma, self.cnaf)
        assert self.cnaf.read(b"from roma") == b"roma writes"
        for site in (self.roma, self.cnaf):
            if os.path.exists(site.path(name)):
                os.unlink(site.path(name))

    def settle(self) -> dict[bytes, Shown]:
        """Lets all three come to rest; returns the tree that they all show."""
        settle(self.bari, self.cnaf, self.roma)
        tree = disk_tree(self.bari.root)
        assert disk_tree(self.cnaf.root) == tree
        assert disk_tree(self.roma.root) == tree
        return tree


@pytest.fixture
def world() -> Iterator[World]:
    store = HostileStore()
    with local_sites(store, "bari", "cnaf", "roma") as (bari, cnaf, roma):
        bari.write(b"directory/file", b"there from the begin")
        bari.write(b"plain", b"there from the begin, too")
        settle(bari, cnaf, roma)
        yield World(store, bari.time, bari, cnaf, roma)


# Segments that can't be read: nothing of them counts, and when they are mended the log goes on.

Damage = Callable[[World, str], bytes]


def _flipped(world: World, name: str) -> bytes:
    body = bytearray(world.store.body(name))
    body[len(body) // 2] ^= 4
    return bytes(body)


def _emptied(world: World, name: str) -> bytes:
    return b""


def _of_another_actor(world: World, name: str) -> bytes:
    return world.store.body(segment_name(world.roma.engine.site.actor, 0))


def _of_another_sequence(world: World, name: str) -> bytes:
    return world.store.body(segment_name(world.bari.engine.site.actor, 0))


def _of_another_key(world: World, name: str) -> bytes:
    return encode_segment(world.read(name), VolumeHasher(b"k" * 32))


def _of_another_volume(world: World, name: str) -> bytes:
    return world.sealed(dataclasses.replace(world.read(name), volume="wiki"))


def _of_another_chain(world: World, name: str) -> bytes:
    return world.sealed(dataclasses.replace(world.read(name), previous_digest=b"d" * 32))


def _with_evil_name(world: World, name: str) -> bytes:
    """Seals, with the right key, a name that no operation can be built with."""
    frame, hasher = segment_module._FRAME, world.bari.engine.site.hasher
    body = unseal(frame, world.store.body(name), name, hasher.authenticator)
    assert decode(body, SEGMENT_SIZE_BYTES_MAX)
    evil = body.replace(b"new file", b"../../ab")
    assert evil != body
    return seal(frame, evil, hasher.authenticator)


DAMAGES: list[tuple[Damage, str, str]] = [
    (_flipped, "bytes of it have changed", "restore the object"),
    (lambda w, n: w.store.body(n)[:-20], "ends after", "restore the object"),
    (_emptied, "ends after 0 of", "fetch it again"),
    (lambda w, n: w.store.body(n) + b"!", "1 bytes follow the end", "restore the object"),
    (lambda _w, _n: b"<html>", "begins with b'<htm'", "find out what wrote it"),
    (lambda w, n: b"GSEG\x02" + w.store.body(n)[5:], "format version 2", "update geosync"),
    (lambda _w, _n: bytes(SEGMENT_OBJECT_SIZE_BYTES_MAX + 1), "at most", "nothing of ours"),
    (_of_another_actor, "says that it is log/", "restore the right one, or retire that site"),
    (_of_another_sequence, "says that it is log/", "restore the right one, or retire that site"),
    (_of_another_key, "not written with this volume's key", "find out who can write"),
    (_of_another_volume, "belongs to the volume 'wiki'", "check the containers"),
    (_of_another_chain, "does not follow", "start it with an empty state directory"),
    (_with_evil_name, "a name holds a slash", "not a"),
]


@pytest.mark.parametrize(("damage", "finding", "remedy"), DAMAGES)
def test_a_segment_that_cannot_be_read_stops_only_its_own_log(
    world: World, damage: Damage, finding: str, remedy: str
) -> None:
    name = world.publish(b"new file", b"what bari wrote")
    intact = world.store.body(name)
    world.store.overwrite(name, damage(world, name))
    world.others_go_on()
    problem = world.cnaf.problems()[world.bari.label]
    assert finding in problem
    assert remedy in problem or damage is _with_evil_name
    assert name in problem
    world.store.overwrite(name, intact)
    assert world.settle()[b"new file"].content == b"what bari wrote"
    assert world.cnaf.problems() == {}


def test_what_is_damaged_after_it_was_read_does_no_harm(world: World) -> None:
    """A site reads each segment once; it keeps its own copy."""
    name = world.publish(b"new file", b"what bari wrote")
    world.settle()
    world.store.overwrite(name, b"rubbish")
    world.cnaf.reopen()
    world.publish(b"next file", b"bari goes on")
    assert world.settle()[b"next file"].content == b"bari goes on"


def test_no_operation_can_be_built_with_a_name_that_leads_elsewhere() -> None:
    actor_dot = Dot(ActorId(b"a" * 16), 1)
    node = NodeId(id_of(actor_dot))
    for name in (b"..", b".", b"a/b", b"", b"a\0b", b"n" * 256):
        with pytest.raises(MalformedValueError):
            Place(actor_dot, Stamp(0, 1, actor_dot.actor), node, LinkId(node), False, ROOT, name)


# Segments that are well made, with the right key, and say what can't be.


class Forger:
    """Writes operations in the name of a site, as a broken version of it might."""

    def __init__(self, world: World) -> None:
        self._world = world
        site = world.bari.engine.site
        self._received = site.journal.log.received()
        self._first = self._received.counter_of(site.actor) + 1
        self._ticks = site.hybrid_clock().ticks
        self.operations: list[Operation] = []
        self.actor = site.actor
        self.hasher = site.hasher

    def next(self) -> tuple[Dot, Stamp]:
        number = len(self.operations)
        stamp = Stamp(0, self._ticks + 1 + number, self.actor)
        return Dot(self.actor, self._first + number), stamp

    def unknown_node(self) -> NodeId:
        return NodeId(id_of(Dot(self.actor, 10_000)))

    def node_at(self, name: bytes) -> NodeId:
        nodes = self._world.bari.journal.nodes
        return next(live.node for live in nodes.live_links_in(ROOT) if live.name == name)

    def create(self, name: bytes, parent: NodeId = ROOT, *, is_directory: bool = False) -> NodeId:
        dot, stamp = self.next()
        node = NodeId(id_of(dot))
        self.operations.append(Place(dot, stamp, node, LinkId(node), is_directory, parent, name))
        return node

    def put(self, node: NodeId, attributes: AttributeChanges = ()) -> None:
        digest = self._world.bari.engine.site.hasher.content_digest(ContentKind.REGULAR)
        content = Content(ContentKind.REGULAR, digest, 0)
        dot, stamp = self.next()
        self.operations.append(Put(dot, stamp, node, LinkId(node), content, attributes))

    def store(self) -> str:
        """Stores a segment with the operations, after the last one of the site."""
        world = self._world
        last = world.last_segment(world.bari)
        hasher = world.bari.engine.site.hasher
        before = world.read(last)
        segment = dataclasses.replace(
            before,
            sequence=before.sequence + 1,
            previous_digest=hasher.chain_digest(world.store.body(last)),
            received=self._received.join({self.actor: self.next()[0].counter - 1}),
            transactions=(Transaction(tuple(self.operations), self._received),),
            pack_entries={},
            inline_chunks={},
        )
        name = segment_name(self.actor, segment.sequence)
        world.store.put_once(name, world.sealed(segment))
        return name


def _in_unknown_directory(forger: Forger) -> None:
    forger.create(b"evil", forger.unknown_node())


def _in_a_file(forger: Forger) -> None:
    forger.create(b"evil", forger.node_at(b"plain"))


def _of_unknown_file(forger: Forger) -> None:
    forger.put(forger.unknown_node())


def _of_a_directory(forger: Forger) -> None:
    forger.put(forger.node_at(b"directory"))


def _delete_of_unknown_name(forger: Forger) -> None:
    dot, stamp = forger.next()
    link = LinkId(forger.unknown_node())
    forger.operations.append(Delete(dot, stamp, forger.node_at(b"plain"), link, frozenset()))


def _drop_of_a_directory(forger: Forger) -> None:
    dot, stamp = forger.next()
    forger.operations.append(Drop(dot, stamp, forger.node_at(b"directory"), frozenset()))


def _file_for_a_directory(forger: Forger) -> None:
    dot, stamp = forger.next()
    node = forger.node_at(b"directory")
    forger.operations.append(Place(dot, stamp, node, LinkId(node), False, ROOT, b"evil"))


def _attributes_of_unknown_file(forger: Forger) -> None:
    dot, stamp = forger.next()
    forger.operations.append(SetAttributes(dot, stamp, forger.unknown_node(), ((MODE, 0o777),)))


def _older_than_its_directory(forger: Forger) -> None:
    directory = forger.create(b"evil directory", is_directory=True)
    dot, _ = forger.next()
    node = NodeId(id_of(dot))
    stamp = Stamp(0, 1, forger.actor)
    forger.operations.append(Place(dot, stamp, node, LinkId(node), False, directory, b"evil"))


@pytest.mark.parametrize(
    "contradiction",
    [
        _in_unknown_directory,
        _in_a_file,
        _of_unknown_file,
        _of_a_directory,
        _delete_of_unknown_name,
        _drop_of_a_directory,
        _file_for_a_directory,
        _attributes_of_unknown_file,
        _older_than_its_directory,
    ],
)
def test_a_log_that_contradicts_itself_is_not_read_any_further(
    world: World, contradiction: Callable[[Forger], None]
) -> None:
    """None of the transaction counts, not even what was right in it; all else goes on."""
    forger = Forger(world)
    forger.put(forger.create(b"right, but together with what is wrong"))
    contradiction(forger)
    name = forger.store()
    world.others_go_on()
    world.cnaf.reopen()
    world.roma.write(b"later", b"still going on")
    run(world.roma, world.cnaf)
    assert world.cnaf.read(b"later") == b"still going on"
    problem = world.cnaf.problems()[world.bari.label]
    assert problem.startswith(f"{name} of site bari contradicts what came before it: ")
    assert "Its log is not read any further; what came before stays." in problem
    assert "Check that site's version and disk." in problem
    assert disk_tree(world.cnaf.root).keys() == disk_tree(world.roma.root).keys()
    assert not any(b"evil" in path for path in disk_tree(world.cnaf.root))


@pytest.mark.parametrize("topic", Topic)
def test_a_declaration_that_says_nothing_legible_counts_for_nothing(
    world: World, topic: Topic
) -> None:
    forger = Forger(world)
    dot, stamp = forger.next()
    forger.operations.append(Declare(dot, stamp, topic, b"\xc1 garbage"))
    forger.store()
    world.others_go_on()
    world.cnaf.reopen()
    world.roma.write(b"later", b"still going on")
    run(world.roma, world.cnaf)
    assert world.cnaf.read(b"later") == b"still going on"
    assert world.bari.label in world.cnaf.problems()
    assert all(
        each.operation.dot != dot for each in world.cnaf.journal.declarations.of_topic(topic)
    )


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_log_is_read_again_once_what_contradicted_is_mended(
    world: World, is_restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    forger = Forger(world)
    _in_unknown_directory(forger)
    name = forger.store()
    run(world.cnaf)
    assert "contradicts" in world.cnaf.problems()[world.bari.label]
    (since_ms,) = (problem.since_ms for problem in world.cnaf.journal.problems())
    world.time.advance(2 * REREAD_QUARANTINED_S)
    run(world.cnaf)  # read again, and found to be as it was
    assert [problem.since_ms for problem in world.cnaf.journal.problems()] == [since_ms]
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("log_quarantined") == 1
    world.store.delete(name)
    world.publish(b"new file", b"what bari really wrote")
    if is_restarted:
        world.cnaf.reopen()
    else:
        run(world.cnaf)
        assert not os.path.exists(world.cnaf.path(b"new file"))
        world.time.advance(REREAD_QUARANTINED_S)
    run(world.cnaf)
    assert world.cnaf.read(b"new file") == b"what bari really wrote"
    assert world.cnaf.problems() == {}


def test_a_segment_that_cannot_be_read_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    name = world.publish(b"new file", b"what bari wrote")
    world.store.overwrite(name, _flipped(world, name))
    run(world.cnaf, rounds=8)
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("segment_refused") == 1


@pytest.mark.parametrize(
    "attributes",
    [
        ((OWNER, b"#99999999999999999999"),),
        ((OWNER, b"#-7"),),
        ((GROUP, b"#4294967295"),),
        ((GROUP, b"#99999999999999999999"),),
        ((OWNER, b"no\0body\xff"),),
        ((OWNER, b""),),
        ((MTIME_NS, -(2**63)),),
        ((MTIME_NS, 2**63 - 1),),
        ((b"x:", b"no name"),),
        ((b"x:user.with\0zero", b"value"),),
        ((b"x:user." + b"n" * 240, b"value"),),
        ((b"x:trusted.overlay.opaque", b"y"),),
        ((b"x:security.capability", b"\1\0\0\2"),),
        ((b"x:system.posix_acl_access", b"rubbish"),),
        ((b"unheard of", b"value"),),
        ((MODE, 0o7777),),
    ],
)
def test_attributes_that_no_disk_can_hold_harm_nothing(
    world: World, attributes: AttributeChanges
) -> None:
    forger = Forger(world)
    forger.put(forger.create(b"strange"), attributes)
    directory = forger.create(b"strange directory", is_directory=True)
    dot, stamp = forger.next()
    forger.operations.append(SetAttributes(dot, stamp, directory, attributes))
    forger.store()
    for site in (world.cnaf, world.roma):
        for cycle in run(site):
            assert cycle.disk_error is None
        assert {b"strange", b"strange directory"} <= disk_tree(site.root).keys()
        assert all(subject.startswith("attributes: ") for subject in site.problems())
        assert site.engine.waiting() == {}


def test_policies_that_nobody_can_read_count_as_none(world: World) -> None:
    forger = Forger(world)
    dot, stamp = forger.next()
    policy = ((POLICY_PREFIX + b"\xff*", b"no such policy\n\n\t"),)
    forger.operations.append(SetAttributes(dot, stamp, ROOT, policy))
    forger.store()
    run(world.cnaf, world.roma)
    world.cnaf.write(b"plain", b"by cnaf")
    world.roma.write(b"plain", b"by roma")
    settle(world.cnaf, world.roma)
    assert len(world.cnaf.engine.conflicts()) == 1
    assert disk_tree(world.cnaf.root) == disk_tree(world.roma.root)


# Packs


def _pack_of(world: World) -> str:
    return pack_name(world.bari.engine.site.actor, 0)


def _bytes_of_another_chunk(world: World, name: str) -> bytes:
    """A pack in which another chunk, of the same size, is where the log says one is."""
    body = world.store.body(name)
    return body[:5] + os.urandom(len(body) - 5)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda w, n: w.store.body(n)[:-1], "cut short"),
        (_emptied, "cut short"),
        (_bytes_of_another_chunk, "digest of what is stored there is another one"),
        (lambda w, n: bytes(len(w.store.body(n))), "where the log says"),
        (lambda w, n: b"\x07" + w.store.body(n)[1:], "compress"),
    ],
)
def test_a_damaged_pack_holds_back_the_files_in_it_alone(
    world: World, damage: Damage, finding: str
) -> None:
    world.bari.write(b"small", b"in the same segment")
    world.publish(b"new/deep/large", LARGE)
    name = _pack_of(world)
    intact = world.store.body(name)
    world.store.overwrite(name, damage(world, name))
    _held_back_until_mended(world, finding, lambda: world.store.overwrite(name, intact))


def test_a_missing_pack_holds_back_the_files_in_it_alone(world: World) -> None:
    world.bari.write(b"small", b"in the same segment")
    world.publish(b"new/deep/large", LARGE)
    name = _pack_of(world)
    intact = world.store.body(name)
    world.store.delete(name)
    _held_back_until_mended(world, "not visible", lambda: world.store.put_once(name, intact))


def _held_back_until_mended(world: World, finding: str, mend: Callable[[], None]) -> None:
    run(world.cnaf)
    assert world.cnaf.read(b"small") == b"in the same segment"
    assert not os.path.exists(world.cnaf.path(b"new/deep/large"))
    text = world.cnaf.engine.waiting()[b"new", b"deep", b"large"]
    assert text.startswith("waits for its content: ")
    assert finding in text
    world.roma.write(b"from roma", b"roma writes")
    run(world.roma, world.cnaf)
    assert world.cnaf.read(b"from roma") == b"roma writes"
    mend()
    assert world.settle()[b"new/deep/large"].content == LARGE
    assert world.cnaf.engine.waiting() == {}


# Bombs: sizes far beyond what is there


def _declare(forger: Forger, name: bytes, chunks: tuple[ChunkReference, ...]) -> None:
    """Creates a file of these chunks, with the digest that belongs to them."""
    node = forger.create(name)
    hasher = forger.hasher
    digest = hasher.content_digest(ContentKind.REGULAR, chunks)
    content = Content(ContentKind.REGULAR, digest, sum(c.size_bytes for c in chunks), chunks)
    dot, stamp = forger.next()
    forger.operations.append(Put(dot, stamp, node, LinkId(node), content, ()))


def _used_bytes(site: LocalSite) -> int:
    """What the state directory and the stage of a site take up on the disk."""
    return sum(
        os.lstat(os.path.join(directory, name)).st_blocks * 512
        for top in (site.state_dir, site.path(b".geosync"))
        for directory, _, names in os.walk(top)
        for name in names
    )


def _staged_blocks(site: LocalSite) -> int:
    stage = site.path(b".geosync/stage")
    return sum(os.lstat(os.path.join(stage, name)).st_blocks for name in os.listdir(stage))


def test_a_file_of_hundreds_of_gigabytes_that_nobody_stored_fills_no_disk(world: World) -> None:
    forger = Forger(world)
    chunk = ChunkReference(b"c" * 32, CHUNK_SIZE_BYTES_MAX)
    _declare(forger, b"enormous", (chunk,) * 200_000)  # 400 gibibytes
    forger.store()
    before = _used_bytes(world.cnaf)
    world.others_go_on()
    assert "no room" in world.cnaf.engine.waiting()[(b"enormous",)]
    assert _used_bytes(world.cnaf) < before + 100_000_000  # the log itself, with its digests
    assert not os.path.exists(world.cnaf.path(b"enormous"))
    assert _staged_blocks(world.cnaf) == 0


def test_a_file_that_would_fit_of_chunks_that_nobody_stored_only_waits(world: World) -> None:
    forger = Forger(world)
    chunks = tuple(ChunkReference(bytes([n]) * 32, CHUNK_SIZE_BYTES_MAX) for n in range(1, 30))
    _declare(forger, b"large", chunks)
    forger.store()
    world.others_go_on()
    assert "not in the store yet" in world.cnaf.engine.waiting()[(b"large",)]
    assert not os.path.exists(world.cnaf.path(b"large"))
    assert _staged_blocks(world.cnaf) == 0


def test_a_hole_as_large_as_a_file_can_be_is_refused_or_costs_nothing(world: World) -> None:
    forger = Forger(world)
    _declare(forger, b"hole", (ChunkReference(HOLE_DIGEST, FILE_SIZE_BYTES_MAX),))
    forger.store()
    before = _used_bytes(world.cnaf)
    world.others_go_on_beside(b"hole")
    assert _used_bytes(world.cnaf) < before + 10_000_000


@pytest.mark.parametrize("size_bytes", [CHUNK_SIZE_BYTES_MAX + 1, 2**40])
def test_a_chunk_that_no_reader_could_hold_in_memory_is_refused(
    world: World, size_bytes: int
) -> None:
    forger = Forger(world)
    _declare(forger, b"bomb", (ChunkReference(b"c" * 32, size_bytes),))
    forger.store()
    world.others_go_on()
    assert "size of a chunk" in world.cnaf.problems()[world.bari.label]
    assert not os.path.exists(world.cnaf.path(b"bomb"))


def test_a_content_under_the_digest_of_another_one_is_refused(world: World) -> None:
    """Sites compare digests in place of bytes: this one would differ unseen."""
    forger = Forger(world)
    node = forger.create(b"evil")
    digest = forger.hasher.content_digest(ContentKind.REGULAR, ())
    chunk = ChunkReference(b"c" * 32, 5)
    dot, stamp = forger.next()
    content = Content(ContentKind.REGULAR, digest, 5, (chunk,))
    forger.operations.append(Put(dot, stamp, node, LinkId(node), content, ()))
    forger.store()
    run(world.cnaf, world.roma)
    world.others_go_on()
    assert "digest is not that of its parts" in world.cnaf.problems()[world.bari.label]
    assert not os.path.exists(world.cnaf.path(b"evil"))


# Listings, and the record of the volume


def test_strangers_in_the_containers_are_left_alone(world: World) -> None:
    strangers = (
        "actors/readme.txt",
        "actors/evil/zz",
        "actors/unknown-site/" + "00" * 16,
        "log/" + "11" * 16 + "/0000000000000000",
        "log/" + world.bari.engine.site.actor.hex() + "/ffffffffffffffff",
        "packs/backup.tar",
        "volume/old-record",
    )
    for name in strangers:
        world.store.put_once(name, b"of a stranger")
    world.publish(b"new file", b"what bari wrote")
    assert world.settle()[b"new file"].content == b"what bari wrote"
    assert world.cnaf.problems() == {}
    for name in strangers:
        assert world.store.body(name) == b"of a stranger"


def test_an_actor_without_any_name_that_fits_is_read_all_the_same(world: World) -> None:
    """Actors are known from the vectors in the logs too: a lost announcement hides nobody."""
    site = world.bari.engine.site
    world.store.delete(f"actors/bari/{site.actor.hex()}")
    world.publish(b"new file", b"what bari wrote")
    assert world.settle()[b"new file"].content == b"what bari wrote"


def _record(volume: str = VOLUME, format_version: int = 1) -> bytes:
    return encode_volume_record(VolumeRecord(volume, b"k" * 32, "bari", 1, format_version))


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (b"", "ends after 0"),
        (b"rubbish", "begins with b'rubb'"),
        (_record()[:-1], "ends after"),
        (_record(volume="wiki"), "belongs to the volume 'wiki'"),
        (_record(format_version=2), "update geosync on this site"),
        (b"GVOL\x09" + _record()[5:], "update geosync on this site"),
        (bytes(2**20), "at most"),
    ],
)
def test_a_volume_record_that_is_not_ours_keeps_new_sites_out_and_stops_nobody(
    world: World, body: bytes, finding: str
) -> None:
    intact = world.store.body(VOLUME_RECORD)
    world.store.overwrite(VOLUME_RECORD, body)
    late = LocalSite(world.bari.base, "late", world.store, world.bari.time)
    with pytest.raises(OperatorError) as refused:
        late.open()
    late.close()
    assert "cannot join the volume" in str(refused.value)
    assert finding in str(refused.value)
    assert "Nothing was changed here." in str(refused.value)
    assert os.listdir(late.root) == []
    for site in (world.bari, world.cnaf, world.roma):
        site.reopen()
    world.publish(b"new file", b"what bari wrote")
    tree = world.settle()
    assert tree[b"new file"].content == b"what bari wrote"
    assert world.store.body(VOLUME_RECORD) == body
    world.store.overwrite(VOLUME_RECORD, intact)
    late.open()
    settle(late, world.bari)
    assert disk_tree(late.root) == tree
    late.close()


def test_a_counter_that_was_never_written_only_waits(world: World) -> None:
    """A vector may claim operations that no store shows: their readers wait, all others go on."""
    name = world.publish(b"new file", b"what bari wrote")
    segment = world.read(name)
    claimed = segment.received.join({UNHEARD_OF: 5})
    transactions = tuple(
        dataclasses.replace(t, received=t.received.join({UNHEARD_OF: 5}))
        for t in segment.transactions
    )
    forged = dataclasses.replace(segment, received=claimed, transactions=transactions)
    world.store.overwrite(name, world.sealed(forged))
    world.others_go_on()
    assert not os.path.exists(world.cnaf.path(b"new file"))
    assert not world.cnaf.engine.is_settled()
