"""Fencing: whatever a former primary wrote late, what the new primary shows stays as it is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conflict.author import Author
from conflict.epochs import epoch_of
from conflict.fencing import copies_before, write_again
from conflict.operations import Put, Transaction
from conflict.version import COUNTER_MAX, VersionVector
from tests.support.small_history import SmallHistory, check_converged, link_groups, shown
from tests.support.small_site import SmallSite, exchange, quiesce

# A smaller seed is no simpler history, so nothing is shrunk.
SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
DIRECTORY = "directory"

# Each broke something once.
SEEDS_THAT_FAILED = (
    (1, 60),  # the time of a file had been set after it was written
    (9, 60),  # a name that was given late was written again, and won
    (68668, 13),  # the same with a content
    (560, 14),  # two directories were exchanged late
    (43, 60),  # a directory that was made late became one with one of the primary's
    (249, 14),  # a late write brought a name back that the primary had deleted
    (41, 60),  # a late move made a cycle of a move of the primary's
)


class Partition:
    """A primary and its standby that was promoted by force; both write, then they meet again."""

    def __init__(self, seed: int, steps: int) -> None:
        self.history = SmallHistory(seed)
        self.history.calm()
        while len(self.history.sites) < 2:
            seed += 1
            self.history = SmallHistory(seed)
            self.history.calm()
        self.rng = random.Random(seed)
        self.old, self.new = self.history.sites[:2]
        self.history.sites[:] = [self.old, self.new]
        self._let_act(self.old, steps)
        quiesce(self.old, self.new)
        for number, site in enumerate((self.old, self.new), start=1):
            site.clock = replace(site.clock, epoch=epoch_of(number, site.clock.actor))
        self.late: list[Transaction] = []
        for site in (self.old, self.new):
            self._let_act(site, steps)
            site.settle()
        self.before = shown(self.new)
        self.had_links = bool(link_groups(self.old) or link_groups(self.new))

    def _let_act(self, site: SmallSite, steps: int) -> None:
        for _ in range(self.rng.randint(1, steps)):
            self.history.world.time.advance(self.rng.choice((0.0001, 0.1, 3.0)))
            self.history.let_program_act(site)
            if self.rng.random() < 0.3:
                site.settle()

    def meet(self) -> None:
        """Lets the new primary hear of what was written late, some transactions at a time."""
        known = self.new.received
        self.late = late = [t for t in self.old.log if not known.includes(t.operations[-1].dot)]
        while late:
            count = self.rng.randint(1, len(late))
            own = {self.new.clock.actor: COUNTER_MAX}
            receive_late(self.new, late[:count], known.join(own))
            late = late[count:]


def receive_late(site: SmallSite, transactions: list[Transaction], known: VersionVector) -> None:
    """Takes in late transactions as the primary's engine does.

    Args:
        site: the new primary.
        transactions: of the old one.
        known: what the new one had received when it was promoted.
    """
    operations = [operation for transaction in transactions for operation in transaction]
    before = copies_before(site.nodes, operations)
    for transaction in transactions:
        assert site.receive(transaction)
    author = Author(site.nodes, site.clock, site.received, site._now_ms())
    write_again(author, site.nodes, before, lambda dot, _: not known.includes(dot))
    site.clock = author.clock
    site.dirty |= author.touched
    written = author.transaction()
    if written is not None:
        site._record(written)
        site.log.append(written)


def run(seed: int, steps: int) -> None:
    partition = Partition(seed, steps)
    partition.meet()
    new, old = partition.new, partition.old
    for _ in range(10):
        new.apply()
    after = shown(new)
    for path, was in partition.before.items():
        now = after.get(path)
        taken = [p for p in _above(path) if p not in partition.before and p in after]
        assert now is not None, (path, was, "is gone", taken)
        if now[0] == DIRECTORY and was[0] != DIRECTORY:
            continue  # a directory takes the name from a file, whoever made it
        known = was[:3] if was[0] == DIRECTORY else was  # its time follows from what is in it
        assert now[: len(known)] == known, path
    exchange(old, new)
    _check_nothing_lost(partition)
    if not (partition.had_links or link_groups(old) or link_groups(new)):
        quiesce(old, new)
        check_converged([old, new])


def _above(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:depth]) for depth in range(1, len(parts))]


def _check_nothing_lost(partition: Partition) -> None:
    """Each late content that nobody who saw it replaced or deleted is still a version."""
    old, new = partition.old, partition.new
    replaced = {
        dot
        for transaction in old.log
        for operation in transaction
        for dot in getattr(operation, "context", ())
    }
    for transaction in partition.late:
        for operation in transaction:
            if isinstance(operation, Put) and operation.dot not in replaced:
                state = new.nodes.node(operation.node)
                assert state is not None
                kept = {version.content.digest for version in state.versions.values()}
                assert operation.content.digest in kept, operation


@settings(parent=SETTINGS, max_examples=300)
@given(seed=st.integers(0, 2**32), steps=st.integers(2, 15))
def test_late_writes_change_nothing_that_the_new_primary_shows(seed: int, steps: int) -> None:
    run(seed, steps)


@pytest.mark.parametrize(("seed", "steps"), SEEDS_THAT_FAILED)
def test_what_failed_once_does_not_fail_again(seed: int, steps: int) -> None:
    run(seed, steps)


@pytest.mark.parametrize("seed", range(20))
def test_long_partitions(seed: int) -> None:
    run(seed, 60)
