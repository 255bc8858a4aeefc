"""Two sites that collect garbage every few seconds of simulated time, and time that passes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from geosync.configuration.collection_pace import CollectionPace
from tests.support.local_sites import ROUND_S, LocalSite, run
from tests.support.pair_of_sites import Pair, pair_of_sites
from transport.object_store import ObjectStore

PACE: Final = CollectionPace(every_s=20.0, history_s=60.0, grace_s=30.0)


def collecting_sites(
    store: ObjectStore, pace: CollectionPace = PACE
) -> AbstractContextManager[Pair]:
    """Opens bari and cnaf, and removes them at the end."""
    return pair_of_sites(store, collection_pace=pace)


def while_time_passes(*sites: LocalSite, seconds: float = 300.0) -> None:
    """Lets sites run for so long; by default for longer than anything of PACE takes."""
    run(*sites, rounds=int(seconds / ROUND_S / len(sites)) + 1)
