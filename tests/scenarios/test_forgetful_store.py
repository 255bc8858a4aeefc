"""A store that forgets and damages packs all the time: what a site has, all get in the end."""

from __future__ import annotations

import random

import pytest

from geosync.verification.finding import Level
from tests.support.damage import bodies, flip, lose, names, repair, verify
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore
from transport.errors import ObjectNotVisible, StoreUnavailable
from transport.memory_store import MemoryStore

STEPS = 60
LARGE = 40_000  # more than travels in a segment
ROUNDS = 240  # for long enough to miss something, to ask for it, and to have it supplied


@pytest.mark.parametrize("seed", range(2))
def test_whatever_packs_are_lost_all_sites_get_all_that_one_of_them_has(seed: int) -> None:
    """Each site writes to a directory of its own: so the current contents are on its disk."""
    fate = random.Random(seed)
    store = RecordingStore(MemoryStore())

    def trouble(method: str, name: str) -> None:
        if method == "get_range" and fate.random() < 0.2:
            raise fate.choice((ObjectNotVisible(name), StoreUnavailable(name)))

    with local_sites(store, "bari", "cnaf", "desy") as sites:
        settle(*sites)
        for site in sites:
            site.link.before = trouble
        for _ in range(STEPS):
            _step(fate, store, sites)
        for site in sites:
            site.link.before = lambda *_: None
        run(*sites, rounds=ROUNDS)
        settle(*sites)
        trees = [disk_tree(site.root) for site in sites]
        assert trees[0] == trees[1] == trees[2]
        assert not any(site.engine.conflicts() for site in sites)
        _repair_all(sites)


def _step(fate: random.Random, store: RecordingStore, sites: list[LocalSite]) -> None:
    site = fate.choice(sites)
    match fate.choice(("write", "write", "cycle", "cycle", "cycle", "lose", "damage", "restart")):
        case "write":
            name = b"%s/%d" % (site.name.encode(), fate.randrange(4))
            site.write(name, fate.randbytes(LARGE + fate.randrange(1000)))
        case "cycle":
            site.cycle()
        case "restart":
            site.reopen()
        case trouble:
            packs = names(store, "packs/")
            if packs and trouble == "lose":
                lose(store, fate.choice(packs))
            elif packs:
                pack = fate.choice(packs)
                flip(store, pack, fate.randrange(len(bodies(store)[pack])))


def _repair_all(sites: list[LocalSite]) -> None:
    """What nobody misses, as all have the files, only a deep look finds and repairs."""
    for site in sites:
        found = verify(site, is_deep=True)
        others = [other for other in sites if other is not site]
        if any(finding.is_repairable for finding in found):
            repair(site, found, *others)
    for site in sites:
        assert all(each.level is Level.NOTE for each in verify(site, is_deep=True))
