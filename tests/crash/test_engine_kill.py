"""Engines in real processes, killed at random moments, with programs at work on both sites."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable

import pytest

from conflict.operations import Delete
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.doomed_child import DoomedChild
from tests.support.local_sites import LocalSite, local_sites, operations_of, quick_directory, settle
from transport.directory_store import DirectoryStore

ROUNDS = 14
KILL_AFTER_S_MAX = 0.15
FINISH_S = 60


class _Programs:
    """Programs on several sites; they remember what must be found somewhere at the end."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.written: set[bytes] = set()

    def write(self, site: LocalSite, path: bytes, content: bytes) -> None:
        """Writes a file. What this site showed there until now was replaced on purpose."""
        if os.path.exists(site.path(path)):
            self.written.discard(site.read(path))
        site.write(path, content)
        self.written.add(content)

    def seed(self, site: LocalSite) -> None:
        for number in range(60):
            path = b"albums/%d/pictures/%d.jpg" % (number % 7, number)
            site.write(path, self.rng.randbytes(20_000))
            self.write(site, b"notes/%d.txt" % number, b"first version of note %d" % number)
        site.write(b"film", self.rng.randbytes(9_000_000))

    def reorganise(self, site: LocalSite) -> None:
        """Renames, swaps, deletes, links, and changes a large file."""
        os.rename(site.path(b"albums/1"), site.path(b"albums/renamed"))
        os.rename(site.path(b"albums/2/pictures"), site.path(b"pictures"))
        os.rename(site.path(b"albums/4/pictures/4.jpg"), site.path(b"between"))
        os.rename(site.path(b"albums/5/pictures/5.jpg"), site.path(b"albums/4/pictures/4.jpg"))
        os.rename(site.path(b"between"), site.path(b"albums/5/pictures/5.jpg"))
        shutil.rmtree(site.path(b"albums/3"))
        os.chmod(site.path(b"albums"), 0o750)
        film = site.read(b"film")
        self.write(site, b"film", film[:4_000_000] + b"a scene" + film[4_000_000:])

    def work_away(self, site: LocalSite, number: int) -> None:
        """Adds files and edits others, some of which the other site edits at the same time."""
        for index in range(8):
            size_bytes = self.rng.choice((10, 30_000, 300_000))
            path = b"new/%d/%d" % (number % 4, 100 * number + index)
            self.write(site, path, self.rng.randbytes(size_bytes))
        os.link(site.path(path), site.path(b"linked %d" % number))
        for note in self.rng.sample(range(60), 8):
            content = b"note %d, far away, %d" % (note, number)
            self.write(site, b"notes/%d.txt" % note, content)

    def work_here(self, site: LocalSite, number: int) -> None:
        """Writes new files and in place, while the engine is dead."""
        self.write(site, b"here/%d" % number, b"a new file, %d" % number)
        for note in self.rng.sample(range(60), 2):
            path = b"notes/%d.txt" % note
            if os.path.exists(site.path(path)):
                self.write(site, path, b"note %d, here, %d" % (note, number))


def _work(site: LocalSite) -> Callable[[Callable[[bytes], None]], None]:
    """Runs the engine as a daemon would, until it has nothing left to do."""

    def work(tell: Callable[[bytes], None]) -> None:
        site.open()
        settle(site)
        tell(b"done")

    return work


@pytest.mark.parametrize("seed", range(3))
def test_an_engine_that_is_killed_again_and_again_ends_with_the_same_tree(seed: int) -> None:
    """Nothing that any program wrote is lost, and nothing is taken for deleted."""
    programs = _Programs(seed)
    kills = 0
    with quick_directory() as directory:
        store = DirectoryStore(directory + b"/store")
        with local_sites(store, "away", "here") as (away, here):
            programs.seed(away)
            settle(away, here)
            here.close()
            programs.reorganise(away)
            for number in range(ROUNDS):
                programs.work_away(away, number)
                for _ in range(2):
                    away.cycle()
                child = DoomedChild(_work(here))
                child.wait(KILL_AFTER_S_MAX * programs.rng.random())
                kills += child.kill() != b"done"
                programs.work_here(here, number)
            last = DoomedChild(_work(here))
            assert last.wait(FINISH_S)
            assert last.kill() == b"done"
            here.open()
            settle(away, here)
            assert disk_tree(here.root) == disk_tree(away.root)
            assert programs.written <= contents_of(here.root)
            assert not any(isinstance(o, Delete) for o in operations_of(here, store))
            assert not here.problems()
            assert not away.problems()
    assert kills > ROUNDS // 3
