"""Worlds of garbage: sites stay equal, nothing dangles, and the store stays small for ever."""

from __future__ import annotations

import pytest

from tests.simulation.forgetting_witness import kept_for_nothing
from tests.simulation.garbage_world import OFTEN, SIZE_BYTES, garbage_world

STEPS = 150
PACKS_FACTOR = 4  # a pack of which a quarter is needed stays
CHECKPOINTS_KEPT = 2  # that count; another one may be under way
SEGMENTS_PER_CHECKPOINT = 3 * OFTEN.operations  # one for each operation, and acknowledgements
DECLARATIONS_MAX = 60  # of checkpoints, and of packs that are deleted again in some days


@pytest.mark.parametrize("seed", [6])
def test_the_store_and_the_journals_stay_small_however_long_it_goes_on(seed: int) -> None:
    """Contents come back, sites hear of each other late, machines lose their journals.

    Everything is bounded by what is live, and by what one checkpoint waits for: packs by four times
    the contents, logs by the operations since the older checkpoint that is kept, and journals by
    what is there. How much happened before is no matter.
    """
    with garbage_world(seed) as world:
        for _ in range(STEPS):
            world.step()
        world.calm_down()
        assert world.deletions > 5
        live_size_bytes = world.live_size_bytes()
        assert world.stored_size_bytes("packs/") <= PACKS_FACTOR * live_size_bytes + SIZE_BYTES
        segments = len(list(world.store.list_names("log/")))
        actors = len(world.sites[0].journal.log.actors())
        assert segments <= (CHECKPOINTS_KEPT + 1) * SEGMENTS_PER_CHECKPOINT + actors
        for site in world.sites:
            assert not kept_for_nothing(site.journal.nodes)
            assert site.journal.nodes.first_move() is None
            assert site.journal.history.count() == site.journal.collection.count_replaced() == 0
            assert len(site.journal.declarations.all()) <= DECLARATIONS_MAX
        world.check()
