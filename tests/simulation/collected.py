"""Worlds in which garbage is collected within seconds, and what must hold in them.

Nothing dangles: what any site still needs of the store is there, whatever was collected.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from conflict.content import Content
from geosync.configuration.collection_pace import CollectionPace
from geosync.engine import collecting, intake, publishing, silence
from geosync.engine.engine import Engine
from geosync.engine.joining import JOINING
from geosync.engine.reuse import verdicts
from geosync.journal.nodes import shown_versions
from tests.simulation import world as worlds
from tests.simulation.forgetting_witness import (
    check_little_is_kept,
    check_nobody_speaks_of_what_is_forgotten,
)
from tests.simulation.invariants import Violation
from tests.simulation.simulated_store import StoreFaults
from tests.simulation.weather import Weather
from tests.simulation.world import World, world_of
from transport.object_names import PACKS_PREFIX
from transport.pack import ChunkLocation, read_chunk

EVERY_S = 5.0
QUIET_ROUNDS = 15  # longer than all that is waited for
SETTLE_ROUNDS_MAX = 200
RETURNING_SHARE = 0.6
RETURNING = 6  # contents: fewer than there are files, so that they die out and come back


class Dangling(AssertionError):
    """A content that is needed can't be had from the store any more."""


class CollectionWitness:
    """Knows where every chunk ever was, and looks whenever a pack is deleted.

    Attributes:
        deletions: of packs.
        forgotten: how many nodes are forgotten at the end.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.deletions = 0
        self.forgotten = 0

    def on_deletion(self, name: str) -> None:
        """Raises Dangling if any site that takes part needs the pack."""
        if not name.startswith(PACKS_PREFIX):
            return
        self.deletions += 1
        places = self._places()
        gone = self._world.store.deleted | {name}
        for site, engine in self._engines():
            for content in _needed(engine):
                for digest in _stored_chunks(engine, content):
                    if digest in places and not places[digest].keys() - gone:
                        raise Dangling(f"{site} needs a chunk of {name}, which is deleted")

    def check_at_rest(self) -> int:
        """Proves that all that is needed can be had; returns how many packs nobody needs.

        Raises:
            Dangling: it can't.
        """
        places, bodies = self._places(), self._world.store.bodies()
        needed: set[str] = set()
        forbidden: set[str] = set()
        for site, engine in self._engines():
            forbidden |= verdicts(engine.site.journal).forbidden
            for content in _needed(engine):
                for digest in _stored_chunks(engine, content):
                    there = [at for at in places.get(digest, {}).values() if at.pack in bodies]
                    if not there:
                        raise Dangling(f"{site} needs {digest.hex()[:16]}, which is nowhere")
                    needed |= {at.pack for at in there}
                    for at in there:
                        stored = bodies[at.pack][at.offset : at.offset + at.stored_size_bytes]
                        read_chunk(stored, at, digest, engine.site.hasher)
        packs = {name for name in bodies if name.startswith(PACKS_PREFIX)}
        return len(packs - needed - forbidden - self._world.store.deleted)

    def _engines(self) -> Iterator[tuple[str, Engine]]:
        for site in self._world.sites:
            engine = site.engine
            if engine is not None and engine.site.journal.setting(JOINING) != b"1":
                yield site.name, engine

    def _places(self) -> dict[bytes, dict[str, ChunkLocation]]:
        """Returns all places that any log ever told: digest -> pack -> place."""
        places: dict[bytes, dict[str, ChunkLocation]] = defaultdict(dict)
        for segments in self._world._shared.published().segments.values():
            for segment in segments:
                for digest, at in segment.pack_entries.items():
                    places[digest][at.pack] = at
        return places


def _needed(engine: Engine) -> Iterator[Content]:
    for state in engine.site.journal.nodes.all_nodes():
        if not state.is_directory:
            for version in shown_versions(state):
                yield version.content


def _stored_chunks(engine: Engine, content: Content) -> Iterator[bytes]:
    """Yields the chunks that don't travel in segments, and that are not only here as yet."""
    chunks = engine.site.journal.chunks
    unannounced = {d for name in chunks.unannounced_packs() for d in chunks.locations_in(name)}
    for chunk in content.chunks:
        is_inline = engine.site.journal.chunks.inline_chunk(chunk.digest) is not None
        if not chunk.is_hole and not is_inline and chunk.digest not in unannounced:
            yield chunk.digest


def let_collect(world: World) -> CollectionWitness:
    """Makes the sites of a world collect garbage every few seconds, and somebody watch them.

    To be called before the world runs.
    """
    fate = Random(f"{world.seed}/collection")
    every_s = min(EVERY_S, collecting.TEND_EVERY_S)
    pace = CollectionPace(every_s, fate.choice((0.0, 0.0, 20.0)), fate.choice((1.0, 1.0, 30.0)))
    world.weather = world._shared.weather = replace(world.weather, collection_pace=pace)
    witness = CollectionWitness(world)
    delete = world.store.delete

    def watched(site: str, name: str) -> None:
        witness.on_deletion(name)
        delete(site, name)

    world.store.delete = watched  # type: ignore[method-assign]
    settle = world._settle

    def settle_all() -> None:
        settle()
        quiet = 0
        for _ in range(SETTLE_ROUNDS_MAX):
            quiet = 0 if world._round(10.0) else quiet + 1
            if quiet == QUIET_ROUNDS:
                return
        raise Violation(f"collecting does not end: {world._unsettled()}")

    world._settle = settle_all  # type: ignore[method-assign]
    return witness


def let_contents_come_back(world: World) -> None:
    """Makes programs write now and then what any program wrote before, and perhaps deleted."""
    known: list[bytes] = []
    fate = Random(f"{world.seed}/resurrection")

    def returning(fresh: Callable[[], bytes]) -> bytes:
        if known and fate.random() < RETURNING_SHARE:
            return fate.choice(known[-RETURNING:])
        known.append(fresh())
        return known[-1]

    for site in world.sites:
        fresh = site.user._content
        site.user._content = partial(returning, fresh)  # type: ignore[method-assign]


def dense_weather(fate: Random) -> Weather:
    """Draws the weather of a world that is about garbage, and little else.

    Few sites write few files, are cut off from each other, and lose answers of the store; what
    nobody needs goes at once.
    """
    return Weather(
        site_count=fate.choice((2, 3, 3, 4)),
        step_count=fate.choice((200, 300)),
        death_rate=fate.choice((0.0, 0.0, 0.005)),
        user_share=fate.choice((0.3, 0.45)),
        store=StoreFaults(
            unavailable=fate.choice((0.0, 0.1, 0.3)),
            answer_lost=fate.choice((0.0, 0.2)),
            invisible=fate.choice((0.0, 0.2)),
        ),
        partition_rate=fate.choice((0.05, 0.15)),
        features=("files", "renames"),
    )


def run_collected(seed: int, *, has_incidents: bool, is_dense: bool = False) -> CollectionWitness:
    """Runs a world of its own. Raises Dangling, or what a run of any world raises.

    Args:
        seed: decides about everything.
        has_incidents: whether anything befalls whole machines.
        is_dense: whether little else is in the world than garbage.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "INLINE_CHUNK_SIZE_BYTES_MAX", 8)  # nearly all goes into packs
        patch.setattr(publishing, "SEGMENT_RECORDS_SIZE_BYTES_MAX", 1)  # a transaction a segment
        patch.setattr(silence, "SILENT_S_MAX", 60.0)
        patch.setattr(silence, "OBSERVE_EVERY_S", 5.0)
        if is_dense:
            patch.setattr(worlds, "weather_of", dense_weather)
            patch.setattr(collecting, "TEND_EVERY_S", 0.1)
        with world_of(seed, has_incidents=has_incidents) as made:
            return _watched(made, has_incidents=has_incidents)


def _watched(made: World, *, has_incidents: bool) -> CollectionWitness:
    witness = let_collect(made)
    let_contents_come_back(made)
    made.run()
    unneeded = witness.check_at_rest()
    if not has_incidents and unneeded:
        raise Dangling(f"{unneeded} packs that nobody needs were left alone")
    witness.forgotten = check_nobody_speaks_of_what_is_forgotten(made)
    if not has_incidents:
        check_little_is_kept(made)
    return witness


def failure_of(seed: int, *, has_incidents: bool, is_dense: bool = True) -> str:
    """Runs a world; returns what is wrong with it, the empty text when nothing is."""
    try:
        run_collected(seed, has_incidents=has_incidents, is_dense=is_dense)
    except Exception:  # noqa: BLE001 - whatever an engine or a checker says
        return traceback.format_exc()
    return ""
