"""The weather of one run: which faults there are, how often, and how small the limits are.

Swarm testing (Groce et al., 2012): each seed has only some of the faults, at rates of its own, so
that what is drowned by the others in one run stands out in another.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType

from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.configuration.large_files import LargeFiles
from geosync.engine import (
    ahead,
    batch,
    capturing,
    checkpoint_keeping,
    checkpoint_writing,
    downloading,
    fetching,
    intake,
    publishing,
    ranges,
    truncating,
)
from tests.simulation.disk_dice import DiskFaults
from tests.simulation.incidents import rates_of
from tests.simulation.simulated_store import StoreFaults
from tests.simulation.workload import FEATURES

STEPS = (30, 80, 150, 300)
SITE_COUNTS = (2, 2, 2, 3, 3, 3, 4, 5, 8)

_LIMITS: tuple[tuple[ModuleType, str, int], ...] = (
    (batch, "BATCH_ACTIONS_MAX", 3),
    (batch, "BATCH_SIZE_BYTES_MAX", 200),
    (capturing, "ENTRIES_AT_ONCE_MAX", 4),
    (publishing, "SEGMENT_RECORDS_SIZE_BYTES_MAX", 500),
    (intake, "INLINE_CHUNK_SIZE_BYTES_MAX", 60),
    (intake, "INLINE_SIZE_BYTES_MAX", 300),
    (fetching, "LARGE_SIZE_BYTES", 1_000),
    (downloading, "WINDOW_SIZE_BYTES", 9_000),
    (downloading, "PIECE_SIZE_BYTES", 9_000),
    (ranges, "RANGE_SIZE_BYTES_MAX", 9_000),
    (ahead, "PACK_SIZE_BYTES_MIN", 1_000),
    (ahead, "BUDGET_SIZE_BYTES", 100_000),
)


_CHECKPOINT_LIMITS: tuple[tuple[ModuleType, str, int], ...] = (
    (checkpoint_writing, "CHECKPOINT_PART_SIZE_BYTES_TARGET", 300),
    (checkpoint_keeping, "LOOK_EVERY_S", 0),
    (checkpoint_keeping, "TURN_S", 20),
    (truncating, "CUT_SETTLES_S", 1),
    (truncating, "SEGMENTS_AT_ONCE", 2),
)


@dataclass(frozen=True, slots=True)
class Weather:
    """What one seed makes of the world. Rates are from 0 (never) to 1 (at each chance)."""

    site_count: int
    step_count: int
    death_rate: float = 0.0
    power_cut_share: float = 0.0  # of all deaths
    race_rate: float = 0.0  # in each window of a disk
    user_share: float = 0.4  # of all steps
    disk: DiskFaults = field(default_factory=DiskFaults)
    store: StoreFaults = field(default_factory=StoreFaults)
    partition_rate: float = 0.0
    clock_step_rate: float = 0.0
    has_poisoned_clock: bool = False
    operator_rate: float = 0.0  # policies and decisions about conflicts
    lost_hint_rate: float = 0.0
    incidents: dict[str, float] = field(default_factory=dict)  # see tests.simulation.incidents
    checkpoint_pace: CheckpointPace = field(default_factory=CheckpointPace)
    collection_pace: CollectionPace = field(default_factory=CollectionPace)
    is_begun_together: bool = False  # the first two sites create the volume at one moment
    features: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()  # that are small
    large_files: LargeFiles = field(default_factory=LargeFiles)


def weather_of(fate: random.Random) -> Weather:
    """Draws the weather of a seed."""

    def some(rate_max: float) -> float:
        return fate.random() * rate_max if fate.random() < 0.4 else 0.0

    death_rate = some(0.02)
    return Weather(
        site_count=fate.choice(SITE_COUNTS),
        step_count=fate.choice(STEPS),
        death_rate=death_rate,
        power_cut_share=fate.choice((0.0, 0.0, 0.5, 1.0)),
        race_rate=some(0.1),
        user_share=fate.choice((0.2, 0.4, 0.6)),
        disk=DiskFaults(
            stage_full=some(0.1),
            read_error=some(0.05),
            busy=some(0.3),
            refused=some(0.1),
            sync_error=some(0.2),
        ),
        store=_store_faults(some, fate),
        partition_rate=some(0.05),
        clock_step_rate=some(0.05),
        has_poisoned_clock=fate.random() < 0.2,
        operator_rate=some(0.1),
        lost_hint_rate=some(0.5),
        features=("files", *(f for f in FEATURES if fate.random() < 0.5)),
        limits=tuple(name for _, name, _ in _LIMITS if fate.random() < 0.3),
        large_files=_large_files(fate),
    )


def _large_files(fate: random.Random) -> LargeFiles:
    """Lets files of some size, or all, be read ahead, a chunk or a part of the proof at a time."""
    if fate.random() < 0.5:
        return LargeFiles()
    return LargeFiles(
        size_bytes_min=fate.choice((0, 30, 1000)),
        slice_size_bytes=1,
        unsent_size_bytes_max=fate.choice((1, 5_000, 1_000_000)),
        announced_size_bytes_min=fate.choice((1, 2_000)),
    )


def with_incidents(weather: Weather, fate: Callable[[str], random.Random]) -> Weather:
    """Adds what may befall whole machines.

    CRASH: where a log may have two writers, a write must be known to most replicas before it is
    answered: two parts of a store that know nothing of each other take two bodies for one name.
    """
    rates = rates_of(fate)
    return replace(
        weather,
        incidents=rates,
        is_begun_together=fate("begun together").random() < 0.1,
        store=replace(weather.store, is_quorum_certain=bool(rates)),
    )


def with_checkpoints(weather: Weather, fate: Callable[[str], random.Random]) -> Weather:
    """Lets checkpoints follow each other so quickly that logs are cut in a short run."""
    drawn = fate("checkpoints")
    names = (name for _, name, _ in _CHECKPOINT_LIMITS if drawn.random() < 0.7)
    return replace(
        weather,
        checkpoint_pace=CheckpointPace(operations=drawn.choice((3, 10, 30))),
        limits=(*weather.limits, *names),
    )


def _store_faults(some: object, fate: random.Random) -> StoreFaults:
    assert callable(some)
    return StoreFaults(
        lag=some(0.5),
        unavailable=some(0.3),
        answer_lost=some(0.3),
        done_late=some(0.2),
        repeated=some(0.2),
        invisible=some(0.3),
        corrupt=some(0.1),
        truncated=some(0.1),
        row_missing=some(0.3),
        row_ghost=some(0.3),
        listing_stale=some(0.3),
        delay_s_max=fate.choice((1.0, 20.0, 90.0)),
    )


@contextlib.contextmanager
def small_limits(weather: Weather) -> Iterator[None]:
    """Makes limits so small meanwhile that a few small files reach them."""
    limits = (*_LIMITS, *_CHECKPOINT_LIMITS)
    saved = [(module, name, getattr(module, name)) for module, name, _ in limits]
    try:
        for module, name, value in limits:
            if name in weather.limits:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in saved:
            setattr(module, name, value)
