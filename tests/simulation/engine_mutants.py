"""Ways to break the engine, one safety rule each, while a simulation runs.

Each is a change to the running code. Where a rule is kept by the disk, the simulated disk breaks
it: the engine then works on a disk that does not do what the interface promises.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from conflict.author import Author
from conflict.content import Content
from conflict.joining import Beside, Known, Recognition
from conflict.node import Location
from conflict.observation import Attributes, DirectoryListing
from conflict.operations import AttributeChanges, Transaction
from conflict.rendering import Claim
from conflict.synced import EntryId, Path, entry_at_path
from conflict.version import VersionVector
from geosync.assembly import journal_of_root
from geosync.clock import Clock
from geosync.disk.interface import (
    EntryUnreadable,
    EntryVanished,
    Expected,
    Outcome,
    RelativePath,
    Retired,
    Staged,
)
from geosync.engine import batch, capturing, engine, receiving, recovery
from geosync.engine.applying import Applier
from geosync.engine.authoring import author_of, save_written
from geosync.engine.capturing import Capturer
from geosync.engine.downloading import ContentUnavailable
from geosync.engine.engine import Engine
from geosync.engine.fetching import Fetcher
from geosync.engine.joining import Joining
from geosync.engine.membership import Identity, Randomness
from geosync.engine.mirroring import Mirror
from geosync.engine.publishing import Publisher
from geosync.engine.receiving import Receiver
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.engine.sweeping import Sweeper
from geosync.engine.uploads import send_pack
from geosync.journal.journal import Intent, Journal, RetiredFile
from geosync.journal.log import ActorLog
from tests.simulation import simulated_disk, simulated_site
from tests.simulation.mortality import MortalStore
from tests.simulation.simulated_disk import SimulatedDisk, SimulatedReader
from tests.simulation.simulated_stage import TRASH
from tests.support.history import tree_of
from transport.errors import ObjectCollision, StoreUnavailable
from transport.hashing import VolumeHasher
from transport.object_names import segment_name
from transport.object_store import ObjectStore
from transport.pack import ChunkLocation, read_chunk
from transport.segment import ExpectedSegment, Segment, decode_segment

Break = Callable[[pytest.MonkeyPatch], None]
BREAKS: dict[str, Break] = {}


def mutant(name: str) -> Callable[[Break], Break]:
    """Enters a function that breaks the engine, under the name of what is broken."""

    def enter(breaks: Break) -> Break:
        BREAKS[name] = breaks
        return breaks

    return enter


# After a crash


@mutant("recovery forgets what was under way")
def recovery_forgets_what_was_under_way(patch: pytest.MonkeyPatch) -> None:
    def forget(site: Site) -> bool:
        with site.journal.transaction():
            site.journal.end_intents()
        return False

    patch.setattr(engine, "recover", forget)


@mutant("recovery takes all that was under way for done")
def recovery_takes_all_that_was_under_way_for_done(patch: pytest.MonkeyPatch) -> None:
    def done(site: Site, intent: Intent, *_: object) -> None:
        if intent.becomes is None:
            site.journal.synced.remove_entry(intent.entry)
        else:
            becomes = replace(intent.becomes, handle=intent.handle)
            site.journal.synced.save_entry(becomes)

    patch.setattr(recovery, "_recover_one", done)


@mutant("recovery forgets what its changes displaced")
def recovery_forgets_what_its_changes_displaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_remember_displaced", lambda *_: None)
    patch.setattr(recovery, "_remember_strays", lambda *_: None)


@mutant("intents are not noted")
def intents_are_not_noted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "begin_intents", lambda *_: None)


@mutant("the stage is not synced")
def the_stage_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedDisk, "sync_stage", lambda _: None)


@mutant("changes of the disk are not synced")
def changes_of_the_disk_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedDisk, "sync_changes", lambda _: None)


@mutant("a start does not look at what was left to do")
def a_start_does_not_look_at_what_was_left_to_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Applier, "mark_everything", lambda _: None)


@mutant("a start clears the spool")
def a_start_clears_the_spool(patch: pytest.MonkeyPatch) -> None:
    clear = Spool.clear
    patch.setattr(Spool, "clear", lambda self, _keep: clear(self, ()))


@mutant("a start takes the trash for garbage")
def a_start_takes_the_trash_for_garbage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sweeper, "_look_at_stray", _discard_stray)


def _discard_stray(sweeper: Sweeper, there: Retired) -> set[Location]:
    sweeper._site.disk.discard_retired(there)
    return set()


# Publishing


@mutant("the outbox is lost with the process")
def the_outbox_is_lost_with_the_process(patch: pytest.MonkeyPatch) -> None:
    start = Engine._start

    def lose(self: Engine) -> None:
        log = self.site.journal.log
        with self.site.journal.transaction():
            log.take_from_outbox(log.outbox(2**40))
        start(self)

    patch.setattr(Engine, "_start", lose)


@mutant("a segment counts as stored before it is")
def a_segment_counts_as_stored_before_it_is(patch: pytest.MonkeyPatch) -> None:
    send = Publisher._send_segments

    def mark_first(self: Publisher) -> bool:
        log, waiting = self._site.journal.log, self._site.journal.log.segments_to_store()
        with self._site.journal.transaction():
            for segment in waiting:
                log.mark_stored(self._site.actor, segment.sequence)
        for segment in waiting:
            name = segment_name(self._site.actor, segment.sequence)
            self._site.store.put_once(name, segment.body)
        return bool(waiting) or send(self)

    patch.setattr(Publisher, "_send_segments", mark_first)


@mutant("a pack counts as stored before it is")
def a_pack_counts_as_stored_before_it_is(patch: pytest.MonkeyPatch) -> None:
    send = Publisher._send_packs

    def mark_first(self: Publisher, *, under_way_max: int) -> None:
        chunks = self._site.journal.chunks
        names = chunks.packs_to_store()
        with self._site.journal.transaction():
            for name in names:
                chunks.mark_pack_stored(name)
        for name in names:
            send_pack(self._site, self._spool, name)
        send(self, under_way_max=under_way_max)

    patch.setattr(Publisher, "_send_packs", mark_first)


@mutant("packs are stored after the segment that tells of them")
def packs_are_stored_after_the_segment_that_tells_of_them(patch: pytest.MonkeyPatch) -> None:
    publish, send = Publisher.publish, Publisher._send_packs

    def segments_first(
        self: Publisher, *, acknowledge: VersionVector | None, has_more: bool = False
    ) -> bool:
        sent = publish(self, acknowledge=acknowledge, has_more=has_more)
        send(self, under_way_max=0)
        return sent

    patch.setattr(Publisher, "publish", segments_first)
    patch.setattr(Publisher, "_send_packs", lambda *_, **__: None)
    patch.setattr(Publisher, "_unsent", lambda _: dict[bytes, str]())


@mutant("a failed segment is sent again under a new name")
def a_failed_segment_is_sent_again_under_a_new_name(patch: pytest.MonkeyPatch) -> None:
    _rebuild_after_failure(patch, is_new_name=True)


@mutant("a failed segment is built anew under its name")
def a_failed_segment_is_built_anew_under_its_name(patch: pytest.MonkeyPatch) -> None:
    _rebuild_after_failure(patch, is_new_name=False)


def _rebuild_after_failure(patch: pytest.MonkeyPatch, *, is_new_name: bool) -> None:
    send = Publisher._send_segments

    def rebuild(self: Publisher) -> bool:
        try:
            return send(self)
        except StoreUnavailable:
            _take_apart(self._site, is_new_name=is_new_name)
            raise

    patch.setattr(Publisher, "_send_segments", rebuild)


def _take_apart(site: Site, *, is_new_name: bool) -> None:
    """Puts what is in segments that are not stored back into the outbox."""
    journal, actor = site.journal, site.actor
    waiting = journal.log.segments_to_store()
    segments = [
        decode_segment(w.body, site.hasher, ExpectedSegment(site.volume, actor, w.sequence))
        for w in waiting
    ]
    with journal.transaction():
        for segment in segments:
            for transaction in segment.transactions:
                journal.log.add_to_outbox(transaction)
        for table in ("chunk", "inline_chunk"):
            journal.chunks._connection.execute(f"UPDATE {table} SET is_announced = 0")
        journal.log._connection.execute("DELETE FROM segment WHERE is_stored = 0")
        log = journal.log.actor(actor)
        assert log is not None
        if not is_new_name:
            first, digest = segments[0].sequence, segments[0].previous_digest
            journal.log.save_actor(replace(log, next_sequence=first, chain_digest=digest))


@mutant("what was received is acknowledged before it is applied")
def what_was_received_is_acknowledged_before_it_is_applied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Site, "applied", lambda self: self.journal.log.received())


# Receiving


@mutant("a segment that is not visible is passed over")
def a_segment_that_is_not_visible_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    fetch = Receiver._fetch

    def pass_over(self: Receiver, log: ActorLog) -> receiving._Fetched:
        fetched = fetch(self, log)
        if fetched.body is not None or fetched.error is not None or log.actor in self._held:
            return fetched
        following = replace(log, next_sequence=log.next_sequence + 1)
        after = fetch(self, following)
        if after.body is None:
            return fetched
        with self._site.journal.transaction():
            self._site.journal.log.save_actor(following)
        return after

    def decode(self: Receiver, log: ActorLog, body: bytes) -> Segment:
        expected = ExpectedSegment(self._site.volume, log.actor, log.next_sequence)
        return decode_segment(body, self._site.hasher, expected)

    patch.setattr(Receiver, "_fetch", pass_over)
    patch.setattr(Receiver, "_decoded", decode)


@mutant("the order of causes is ignored")
def the_order_of_causes_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(receiving, "_ready", _ready_at_once)


def _ready_at_once(
    segment: Segment, known: VersionVector, _limit: int | None
) -> Iterator[Transaction]:
    counter = known.counter_of(segment.actor)
    return (t for t in segment.transactions if t.last_counter > counter)


@mutant("transactions that are known are merged again")
def transactions_that_are_known_are_merged_again(patch: pytest.MonkeyPatch) -> None:
    def again(segment: Segment, known: VersionVector, _limit: int | None) -> Iterator[Transaction]:
        for transaction in segment.transactions:
            if not known.covers(transaction.received):
                return
            known = known.join({segment.actor: transaction.last_counter})
            yield transaction

    patch.setattr(receiving, "_ready", again)


# Fetching


@mutant("hashes of what is fetched are not compared")
def hashes_of_what_is_fetched_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    class Trusting(VolumeHasher):
        def __init__(self, digest: bytes) -> None:
            self._digest = digest

        def chunk_digest(self, chunk: bytes) -> bytes:
            return self._digest

    def trust(stored: bytes, at: ChunkLocation, digest: bytes, _hasher: VolumeHasher) -> bytes:
        return read_chunk(stored, at, digest, Trusting(digest))

    patch.setattr("geosync.engine.ranges.read_chunk", trust)


@mutant("a content that can't be had is taken for empty")
def a_content_that_cannot_be_had_is_taken_for_empty(patch: pytest.MonkeyPatch) -> None:
    blocks = Fetcher.blocks

    def empty(self: Fetcher, content: Content) -> Iterator[object]:
        try:
            yield from blocks(self, content)
        except ContentUnavailable:
            return

    patch.setattr(Fetcher, "blocks", empty)


# Applying


@mutant("replace ignores what is expected")
def replace_ignores_what_is_expected(patch: pytest.MonkeyPatch) -> None:
    replace_file = SimulatedDisk.replace

    def careless(
        self: SimulatedDisk, staged: Staged, path: RelativePath, expected: Expected
    ) -> Outcome:
        return replace_file(self, staged, path, _what_is_there(self, path, expected))

    patch.setattr(SimulatedDisk, "replace", careless)


@mutant("remove_file ignores what is expected")
def remove_file_ignores_what_is_expected(patch: pytest.MonkeyPatch) -> None:
    remove_file = SimulatedDisk.remove_file

    def careless(self: SimulatedDisk, path: RelativePath, expected: Expected) -> Outcome:
        return remove_file(self, path, _what_is_there(self, path, expected))

    patch.setattr(SimulatedDisk, "remove_file", careless)


@mutant("move ignores what is expected")
def move_ignores_what_is_expected(patch: pytest.MonkeyPatch) -> None:
    move = SimulatedDisk.move

    def careless(
        self: SimulatedDisk, source: RelativePath, target: RelativePath, expected: Expected
    ) -> Outcome:
        return move(self, source, target, _what_is_there(self, source, expected))

    patch.setattr(SimulatedDisk, "move", careless)


@mutant("set_attributes ignores what is expected")
def set_attributes_ignores_what_is_expected(patch: pytest.MonkeyPatch) -> None:
    set_attributes = SimulatedDisk.set_attributes

    def careless(
        self: SimulatedDisk, path: RelativePath, expected: Expected, attributes: Attributes
    ) -> Outcome:
        return set_attributes(self, path, _what_is_there(self, path, expected), attributes)

    patch.setattr(SimulatedDisk, "set_attributes", careless)


def _what_is_there(disk: SimulatedDisk, path: RelativePath, expected: Expected) -> Expected:
    inode = disk.file_system.find(path)
    return expected if inode is None else Expected(inode.handle, inode.fingerprint())


@mutant("what a change displaced is not examined")
def what_a_change_displaced_is_not_examined(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulated_disk, "_is_untouched", lambda *_: True)


@mutant("the trash is emptied unseen")
def the_trash_is_emptied_unseen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sweeper, "sweep", _empty_trash)


def _empty_trash(sweeper: Sweeper) -> set[Location]:
    site = sweeper._site
    with site.journal.transaction():
        for record in site.journal.retired():
            site.journal.remove_retired(record.token)
    assert isinstance(site.disk, SimulatedDisk)
    for retired in list(site.disk.retired()):
        site.disk.file_system.unlink(TRASH + b"/" + retired.token)
    return set()


@mutant("displaced files are not watched for late writes")
def displaced_files_are_not_watched_for_late_writes(patch: pytest.MonkeyPatch) -> None:
    def let_go(self: Sweeper, record: RetiredFile, there: Retired) -> set[Location]:
        self._let_go(record, there)
        return set()

    patch.setattr(Sweeper, "_capture_late_write", let_go)


@mutant("nothing is ever swept")
def nothing_is_ever_swept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sweeper, "sweep", lambda _: set())


@mutant("a change that could not be made is forgotten")
def a_change_that_could_not_be_made_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Applier, "_note", lambda *_: None)


@mutant("conflict copies are not shown")
def conflict_copies_are_not_shown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mirror, "refresh", lambda _: True)


# Capturing


@mutant("a file that is missing once is deleted")
def a_file_that_is_missing_once_is_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Capturer, "_confirmed", _all_missing)


def _all_missing(capturer: Capturer) -> set[EntryId]:
    synced = capturer._site.journal.synced
    rows = synced._connection.execute("SELECT entry FROM synced").fetchall()
    return {EntryId(entry) for (entry,) in rows}


@mutant("what can't be read is taken for deleted")
def what_cannot_be_read_is_taken_for_deleted(patch: pytest.MonkeyPatch) -> None:
    list_directory = SimulatedDisk.list_directory

    def incomplete(self: SimulatedDisk, directory: RelativePath) -> DirectoryListing:
        try:
            return replace(list_directory(self, directory), unreadable=())
        except EntryUnreadable as error:
            raise EntryVanished(str(error)) from error

    patch.setattr(SimulatedDisk, "list_directory", incomplete)


@mutant("a file is captured while it is written")
def a_file_is_captured_while_it_is_written(patch: pytest.MonkeyPatch) -> None:
    def torn(self: SimulatedReader, _size_bytes: int) -> Iterator[bytes]:
        position = 0
        while True:
            self._disk.window("read", self.entry.name)
            present = self._disk.file_system.inodes.get(self._inode.number, self._inode)
            block = present.content[position : position + 8]
            if not block:
                return
            position += len(block)
            yield block

    patch.setattr(SimulatedReader, "blocks", torn)
    patch.setattr(SimulatedDisk, "_is_busy", lambda *_: False)


@mutant("a version replaces all that was received")
def a_version_replaces_all_that_was_received(patch: pytest.MonkeyPatch) -> None:
    write = Author.write

    def overwrite(
        self: Author,
        claims: tuple[Claim, ...],
        content: Content,
        attributes: AttributeChanges,
        losers: Iterable[Claim] = (),
    ) -> tuple[Claim, ...]:
        known = tuple(_with_all_versions(self, claim) for claim in claims)
        return write(self, known, content, attributes, losers)

    patch.setattr(Author, "write", overwrite)


@mutant("a deletion deletes all that was received")
def a_deletion_deletes_all_that_was_received(patch: pytest.MonkeyPatch) -> None:
    delete = Author.delete

    def overwrite(
        self: Author, claims: Iterable[Claim], losers: Iterable[Claim] = (), *, is_last_name: bool
    ) -> None:
        known = tuple(_with_all_versions(self, claim) for claim in claims)
        delete(self, known, losers, is_last_name=is_last_name)

    patch.setattr(Author, "delete", overwrite)


def _with_all_versions(author: Author, claim: Claim) -> Claim:
    return replace(claim, content_dots=frozenset(author._state(claim.node).versions))


@mutant("the own counter is not kept")
def the_own_counter_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    start = Engine._start

    def forget(self: Engine) -> None:
        log = self.site.journal.log.actor(self.site.actor)
        if log is not None and log.received > 1:
            with self.site.journal.transaction():
                self.site.journal.log.save_actor(replace(log, received=log.received - 1))
        start(self)

    patch.setattr(Engine, "_start", forget)


@mutant("the logical clock is not kept")
def the_logical_clock_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Site, "save_hybrid_clock", lambda *_: None)


@mutant("the root is not checked")
def the_root_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedDisk, "check_root", lambda _: None)


# Incarnations


@mutant("another body under a name of ours is taken for ours")
def another_body_under_a_name_of_ours_is_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    put_once = MortalStore.put_once

    def careless(self: MortalStore, name: str, body: bytes) -> None:
        with contextlib.suppress(ObjectCollision):
            put_once(self, name, body)

    patch.setattr(MortalStore, "put_once", careless)
    patch.setattr(engine, "is_log_ours", lambda _: True)
    patch.setattr(receiving, "require_own", lambda *_: None)


@mutant("a fresh journal is the actor that the site was before")
def a_fresh_journal_is_the_actor_that_the_site_was_before(patch: pytest.MonkeyPatch) -> None:
    identify = simulated_site.identify

    def again(
        journal: Journal,
        store: ObjectStore,
        clock: Clock,
        names: tuple[str, str],
        randomness: Randomness,
        *,
        may_write: bool,
    ) -> Identity:
        same = replace(randomness, actor=hashlib.sha256(names[1].encode()).digest()[:16])
        return identify(journal, store, clock, names, same, may_write=may_write)

    patch.setattr(simulated_site, "identify", again)


@mutant("journal and directory of different moments go together")
def journal_and_directory_of_different_moments_go_together(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_of_root, "is_same_generation", lambda *_: True)


@mutant("changes leave no new generation")
def changes_leave_no_new_generation(patch: pytest.MonkeyPatch) -> None:
    for module in (batch, capturing, recovery):
        patch.setattr(module, "begin_generation", lambda _: None)


@mutant("an old file is new to a site that joins")
def an_old_file_is_new_to_a_site_that_joins(patch: pytest.MonkeyPatch) -> None:
    file = Recognition.file

    def forgetful(self: Recognition, path: Path, content: Content) -> Known | Beside | None:
        found = file(self, path, content)
        wanted = self._wanted(path).content
        is_present = wanted is not None and wanted.digest == content.digest
        return found if is_present else None

    patch.setattr(Recognition, "file", forgetful)


@mutant("what a site lacks when it joins counts as deleted")
def what_a_site_lacks_when_it_joins_counts_as_deleted(patch: pytest.MonkeyPatch) -> None:
    finish = Joining.finish

    def infer(self: Joining) -> None:
        site, author = self._site, author_of(self._site)
        for path, rendered in tree_of(site.journal.nodes).items():
            is_there = entry_at_path(site.journal.synced, path) is not None
            if not is_there and not rendered.is_directory:
                author.delete(rendered.claims, (), is_last_name=True)
        with site.journal.transaction():
            save_written(site, author)
        finish(self)

    patch.setattr(Joining, "finish", infer)


@mutant("what only an earlier journal knew is not rescued")
def what_only_an_earlier_journal_knew_is_not_rescued(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "rescue", lambda *_: None)
