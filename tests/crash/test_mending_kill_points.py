"""A repair that is killed before any of its steps harms nothing, and the next one completes it."""

from __future__ import annotations

import os
import random

from geosync.verification.finding import Level
from geosync.verification.repairs import mending_for
from tests.support.damage import bodies, damage_unseen, kinds, lose, names, repair, verify
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore
from transport.memory_store import MemoryStore
from transport.object_names import segment_name

FILM = random.Random(1).randbytes(40_000)
EVERY = 3  # steps; with 1, all 40 or so were survived as well
OTHER = random.Random(2).randbytes(40_000)


def killed_while_it_mends(points: KillPoints) -> bool:
    """Damages two names of a file, a pack and a segment; returns whether the repair was killed."""
    store = RecordingStore(MemoryStore())
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        bari.write(b"film", FILM)
        os.link(bari.path(b"film"), bari.path(b"twin"))
        settle(bari, cnaf)
        bari.write(b"other", OTHER)
        settle(bari, cnaf)
        damage_unseen(bari.path(b"twin"), 1000)
        lose(store, names(store, "packs/")[1])
        lose(store, segment_name(bari.engine.site.actor, 1))
        mending = mending_for(verify(bari))

        def mend(site: LocalSite) -> None:
            site.engine.upkeep.mend(mending)
            run(site, rounds=5)

        was_killed = run_to_death(bari, points, mend)
        bari.open()
        run(bari, cnaf, rounds=2)
        left = [finding for finding in verify(bari) if finding.level is Level.DAMAGE]
        assert set(kinds(left)) <= {"file_damaged", "pack_missing", "segment_missing"}
        repair(bari, left, cnaf)
        settle(bari, cnaf)
        assert [each for each in kinds(verify(bari)) if each != "pack_missing"] == []
        for site in (bari, cnaf):
            assert site.read(b"film") == site.read(b"twin") == FILM, points.where
            assert site.read(b"other") == OTHER
            assert sorted(os.listdir(site.root)) == [b".geosync", b"film", b"other", b"twin"]
            assert site.engine.conflicts() == [], points.where
        assert os.path.samefile(bari.path(b"film"), bari.path(b"twin"))
        assert bodies(store)[segment_name(bari.engine.site.actor, 1)]
    return was_killed


def test_a_repair_that_is_killed_before_any_step_harms_nothing_and_is_completed_later() -> None:
    killed_at = kill_before_each_step(killed_while_it_mends, every=EVERY)
    assert {"PosixDisk.link", "before commit"} <= set(killed_at)
    assert len(killed_at) > 8
