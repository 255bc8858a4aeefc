"""A small world that is about garbage only: real engines that hear of each other late.

Programs at a few sites write, copy, move and delete a few files that share a few contents, so that
what was garbage comes back all the time. Each site may be deaf to some of the others' logs for a
while, and loses answers of the store; engines are killed; machines lose their journals and come
back as other actors. Somebody looks at each deletion. One seed gives one history.
"""

from __future__ import annotations

import os
import shutil
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from conflict.collection import Doom
from conflict.operations import Declare, Topic
from conflict.version import ActorId
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.engine import checkpoint_keeping, collecting, intake, publishing, retired_logs, silence
from geosync.engine.joining import JOINING
from geosync.journal.nodes import shown_versions
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import VOLUME, LocalSite, local_sites, run, settle
from tests.support.rejoining import rejoin
from transport.collection_record import decode_verdict
from transport.errors import ObjectNotVisible, StoreUnavailable
from transport.hashing import VolumeHasher
from transport.memory_store import MemoryStore
from transport.object_names import (
    PACKS_PREFIX,
    SegmentName,
    actor_name,
    log_prefix,
    recognise,
)
from transport.segment import ExpectedSegment, decode_segment

PACE = CollectionPace(every_s=4.0, history_s=0.0, grace_s=1.0)
OFTEN = CheckpointPace(operations=60)
NAMES = (b"a", b"b", b"d/a", b"d/e/f")
CONTENTS = 6  # that are known to programs at a time: more than there are files
FRESH_SHARE = 0.1
SIZE_BYTES = 3_000
QUIET_ROUNDS = 40


class Dangling(AssertionError):
    """A content that is needed can't be had from the store any more."""


class GarbageWorld:
    """Three sites, and what befalls them."""

    def __init__(self, seed: int, sites: list[LocalSite], store: MemoryStore) -> None:
        self.fate = Random(seed)
        self.sites = sites
        self.store = store
        self.deletions = 0
        self._contents = [self.fate.randbytes(SIZE_BYTES) for _ in range(CONTENTS)]
        self._places: dict[bytes, set[str]] = defaultdict(set)  # digest -> packs, for ever
        self._gone: set[str] = set()
        self._deaf: dict[str, set[ActorId]] = defaultdict(set)  # site -> whose logs it can't hear
        self._mute: set[str] = set()  # sites that can't write to the store
        self._trouble = self.fate.choice((0.0, 0.02, 0.1))
        for site in sites:
            site.link.before = self._before(site)
            site.link.after = self._after(site)

    # Faults

    def _before(self, site: LocalSite):  # type: ignore[no-untyped-def]
        def before(method: str, name: str) -> None:
            is_refused = method == "put_once" and site.name in self._mute
            if is_refused or self.fate.random() < self._trouble:
                raise StoreUnavailable(f"{method} {name}: answered 503")
            found = recognise(name)
            is_segment = method == "get" and isinstance(found, SegmentName)
            if is_segment and found.actor in self._deaf[site.name]:
                raise ObjectNotVisible(name)
            if method == "delete":
                self._delete(name)

        return before

    def _delete(self, name: str) -> None:
        """Deletes before the request does, so that its answer may be lost."""
        self.store.delete(name)
        if name.startswith(PACKS_PREFIX):
            self._on_deletion(name)
        if self.fate.random() < self._trouble:
            raise StoreUnavailable(f"delete {name}: the connection broke")

    def _after(self, site: LocalSite):  # type: ignore[no-untyped-def]
        def after(method: str, name: str) -> None:
            if method == "put_once" and name.startswith("log/"):
                self._note_places(site, name)
            if self.fate.random() < self._trouble:
                raise StoreUnavailable(f"{method} {name}: the connection broke")

        return after

    def _note_places(self, site: LocalSite, name: str) -> None:
        found = recognise(name)
        assert isinstance(found, SegmentName)
        hasher: VolumeHasher = site.engine.site.hasher
        body = self.store.get(name, size_bytes_max=2**30)
        segment = decode_segment(body, hasher, ExpectedSegment(VOLUME, *found))
        for digest, at in segment.pack_entries.items():
            self._places[digest].add(at.pack)
        for operation in (each for transaction in segment.transactions for each in transaction):
            if isinstance(operation, Declare) and operation.topic is Topic.COLLECTION:
                verdict = decode_verdict(operation.body)
                if isinstance(verdict, Doom):
                    self._gone.update(verdict.packs)
                    self._require_contents_everywhere(f"when {site.name} doomed its pack")

    def make_deaf(self, *sites: LocalSite) -> None:
        """Makes these sites, and no others, hear of nobody."""
        self._deaf.clear()
        for site in sites:
            logs = site.journal.log.actors()
            self._deaf[site.name] = {log.actor for log in logs} - {site.engine.site.actor}

    def make_mute(self, *sites: LocalSite) -> None:
        """Makes these sites, and no others, unable to store anything."""
        self._mute = {site.name for site in sites}

    def let_pass_segments(self, site: LocalSite, count: int) -> Callable[[], None]:
        """Lets only so many segments of a site pass from now on; the result ends that."""
        before, left = site.link.before, [count]

        def refusing(method: str, name: str) -> None:
            if method == "put_once" and name.startswith("log/"):
                left[0] -= 1
                if left[0] < 0:
                    raise StoreUnavailable(f"{method} {name}: answered 503")
            before(method, name)

        def end() -> None:
            site.link.before = before

        site.link.before = refusing
        return end

    def let_hear_only_what_is_told(self, site: LocalSite, other: LocalSite) -> Callable[[], None]:
        """Lets a site hear nothing that another one tells from now on; the result ends that."""
        before, actor = site.link.before, other.engine.site.actor
        log = other.journal.log.actor(actor)
        assert log is not None

        def hearing(method: str, name: str) -> None:
            found = recognise(name)
            is_segment = method == "get" and isinstance(found, SegmentName)
            if is_segment and found.actor == actor and found.sequence >= log.next_sequence:
                raise ObjectNotVisible(name)
            before(method, name)

        def end() -> None:
            site.link.before = before

        site.link.before = hearing
        return end

    @contextmanager
    def hidden_site(self, name: str) -> Iterator[LocalSite]:
        """Opens one more site, of which no other hears: what it stores is not listed yet."""
        with local_sites(self.store, name) as (site,):
            site.collection_pace = PACE
            site.reopen()
            site.link.before = self._before(site)
            self.sites.append(site)
            try:
                run(site, rounds=2)
                self.make_mute(site)
                actor = actor_name(site.name, site.engine.site.actor)
                self.store.delete(actor)
                for segment in list(self.store.list_names(log_prefix(site.engine.site.actor))):
                    self.store.delete(segment)
                yield site
            finally:
                self.sites.remove(site)

    # Witness

    def _on_deletion(self, name: str) -> None:
        self.deletions += 1
        self._gone.add(name)
        self._require_contents_everywhere(f"when {name} was deleted")

    def _require_contents_everywhere(self, when: str) -> None:
        for site in self.sites:
            if site.journal.setting(JOINING) != b"1":
                self._require_contents(site, when)

    def _require_contents(self, site: LocalSite, when: str) -> None:
        chunks = site.journal.chunks
        waiting = {d for name in chunks.unannounced_packs() for d in chunks.locations_in(name)}
        for state in site.journal.nodes.all_nodes():
            for version in () if state.is_directory else shown_versions(state):
                for chunk in version.content.chunks:
                    places = self._places.get(chunk.digest, set())
                    if places and not places - self._gone and chunk.digest not in waiting:
                        raise Dangling(f"{site.name} needs {chunk.digest.hex()[:12]} {when}")

    # What happens

    def step(self) -> None:
        """Lets one site do something, or something happen to it."""
        fate = self.fate
        site = fate.choice(self.sites)
        draw = fate.random()
        if draw < 0.03:
            site.reopen()
        elif draw < 0.035:
            self._lose_journal(site)
        elif draw < 0.15:
            self._change_line(site)
        elif draw < 0.65:
            self._act(site)
        if site.engine.superseded is not None:
            rejoin(site)
        site.cycle()

    def _change_line(self, site: LocalSite) -> None:
        actors = [log.actor for log in site.journal.log.actors()]
        others = [actor for actor in actors if actor != site.engine.site.actor]
        count = self.fate.choice((0, 0, 0, len(others)))
        self._deaf[site.name] = set(self.fate.sample(others, min(count, len(others))))
        if self.fate.random() < 0.3:
            self._mute.add(site.name)
        else:
            self._mute.discard(site.name)

    def _lose_journal(self, site: LocalSite) -> None:
        site.close()
        shutil.rmtree(site.state_dir)
        site.incarnation += 1
        site.open()

    def _act(self, site: LocalSite) -> None:
        fate = self.fate
        name, other = fate.sample(NAMES, 2)
        path = site.path(name)
        match fate.randrange(6):
            case 0 | 1 | 5 if os.path.exists(path):
                os.unlink(path)
            case 2 if os.path.exists(path) and os.path.isdir(os.path.dirname(site.path(other))):
                os.rename(path, site.path(other))
            case 3 if os.path.isdir(site.path(b"d")):
                shutil.rmtree(site.path(b"d"))
            case _:
                site.write(name, self._content())

    def _content(self) -> bytes:
        if self.fate.random() < FRESH_SHARE:
            self._contents[self.fate.randrange(CONTENTS)] = self.fate.randbytes(SIZE_BYTES)
        return self.fate.choice(self._contents)

    # The end

    def calm(self) -> None:
        """Ends all trouble."""
        self._trouble = 0.0
        self.make_deaf()
        self.make_mute()

    def calm_down(self) -> None:
        """Lets all hear of all, until nothing is left to do, nor to collect."""
        self.calm()
        for _ in range(QUIET_ROUNDS):
            for site in self.sites:
                if site.engine.superseded is not None:
                    rejoin(site)
                site.cycle()
        settle(*self.sites)
        run(*self.sites, rounds=QUIET_ROUNDS)
        self._require_contents_everywhere("at the end")

    def check(self) -> None:
        """Proves that all sites are equal, and that a new one gets all of it."""
        with local_sites(self.store, "late") as (late,):
            settle(late, *self.sites)
            trees = [disk_tree(site.root) for site in (late, *self.sites)]
            assert all(tree == trees[0] for tree in trees), "sites differ"

    def stored_size_bytes(self, prefix: str) -> int:
        """Returns how much the store holds under names that begin so."""
        names = self.store.list_names(prefix)
        return sum(len(self.store.get(name, size_bytes_max=2**30)) for name in names)

    def live_size_bytes(self) -> int:
        """Returns how much is in files, each content once, and in conflicts."""
        sizes = {}
        for state in self.sites[0].journal.nodes.all_nodes():
            for version in () if state.is_directory else shown_versions(state):
                sizes[version.content.digest] = version.content.size_bytes
        return sum(sizes.values())


@contextmanager
def garbage_world(seed: int) -> Iterator[GarbageWorld]:
    """Makes the world of a seed."""
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "TEND_EVERY_S", 0.1)
        patch.setattr(intake, "INLINE_CHUNK_SIZE_BYTES_MAX", 8)
        patch.setattr(publishing, "SEGMENT_RECORDS_SIZE_BYTES_MAX", 1)
        patch.setattr(silence, "SILENT_S_MAX", 300.0)
        patch.setattr(silence, "OBSERVE_EVERY_S", 5.0)
        patch.setattr(checkpoint_keeping, "TURN_S", 30.0)
        patch.setattr(retired_logs, "LOOK_EVERY_S", 5.0)
        with local_sites(store, "bari", "cnaf", "lyon") as sites:
            for site in sites:
                site.collection_pace, site.checkpoint_pace = PACE, OFTEN
                site.reopen()
            settle(*sites)
            yield GarbageWorld(seed, sites, store)


def failure_of(seed: int, steps: int = 150) -> str:
    """Runs a world; returns what is wrong with it, the empty text when nothing is."""
    try:
        with garbage_world(seed) as world:
            for _ in range(steps):
                world.step()
            world.calm_down()
            world.check()
    except Exception:  # noqa: BLE001 - whatever an engine or a checker says
        return traceback.format_exc()
    return ""
