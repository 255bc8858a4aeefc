"""Worlds in which policies change at random, and sites merge what their users write at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from conflict.errors import GeosyncError
from conflict.line_merge import split_lines
from conflict.observation import DiskKind
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.settlement import Contention
from geosync.engine.settling import Settled, Settler
from tests.simulation.ledger import Written
from tests.simulation.mortality import Killed
from tests.simulation.published import digest_of
from tests.simulation.simulated_site import SimulatedSite
from tests.simulation.world import World, alive

SEEDS = (5, 17)
_CHANGED_SHARE = 0.1  # of an operator's looks
_GLOBS = (b"*", b"*", b"a/**", b"*.txt", b"**/a")
_POLICIES = (
    (ConflictPolicy.UNION, ()),
    (ConflictPolicy.UNION, ()),
    (ConflictPolicy.MERGE, ()),
    (ConflictPolicy.NEWEST, ()),
    (ConflictPolicy.BESIDE, ()),
    (ConflictPolicy.SITE_PRIORITY, (b"site1", b"site0")),
)


class PolicyWorld(World):
    """Counts what was settled, by policy."""

    def __init__(self, seed: int, directory: bytes) -> None:
        super().__init__(seed, directory, has_incidents=False)
        self.settled: list[ConflictPolicy] = []
        self._deciders = self._stream("deciders of policies")

    def _operate(self, site: SimulatedSite) -> None:
        super()._operate(site)
        if site.engine is not None and self._deciders.random() < _CHANGED_SHARE:
            self._change_policy(site)

    def _change_policy(self, site: SimulatedSite) -> None:
        assert site.engine is not None
        glob = self._deciders.choice(_GLOBS)
        policy, names = self._deciders.choice(_POLICIES)
        is_set = self._deciders.random() < 0.8
        self.has_newest_policy = self.has_newest_policy or policy is ConflictPolicy.NEWEST
        self.trace.add(site.name, "policy of", glob, policy.name if is_set else "nothing")
        try:
            if is_set:
                site.engine.decisions.set_policy(PolicyRule(glob, policy, names))
            else:
                site.engine.decisions.unset_policy(glob)
        except (Killed, GeosyncError) as error:
            self.trace.add(site.name, "no policy", error)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Lets each content that a site makes of others be one that may be captured.

        It takes the place of those: none of their lines is lost, and so is not it.
        """
        write = Settler._write

        def watched(settler: Settler, contention: Contention, data: bytes, to: Settled) -> None:
            texts = self._texts(contention)
            if contention.rule.policy is ConflictPolicy.UNION:
                _check_union(data, texts)
            hasher, made = settler._site.hasher, (DiskKind.REGULAR, data)
            self.computed.add(digest_of(hasher, *made))
            self.decided |= {version.content.digest for version in contention.versions}
            write(settler, contention, data, to)
            self.ledger.written.setdefault(made, settler._site.name)
            self.settled.append(contention.rule.policy)

        Settler._write = watched  # type: ignore[method-assign]
        try:
            yield
        finally:
            Settler._write = write  # type: ignore[method-assign]

    def _texts(self, contention: Contention) -> list[bytes]:
        """Returns what was merged, as the ledger knows it."""
        wanted = {version.content.digest for version in contention.versions}
        hasher = self._shared.hasher
        assert hasher is not None
        known: list[Written] = list(self.ledger.written)
        return [body for kind, body in known if digest_of(hasher, kind, body) in wanted]


def _check_union(data: bytes, texts: list[bytes]) -> None:
    lines = {line.rstrip(b"\n") for line in split_lines(data)}
    last = [split_lines(text)[-1].rstrip(b"\n") for text in texts if text]
    assert all(line in lines for line in last), f"{texts} became {data!r}"


def run_policies(seed: int) -> list[ConflictPolicy]:
    """Runs a seed, with all invariants at its end; returns what was settled."""
    with alive(partial(PolicyWorld, seed)) as world, world.watching():
        world.run()
        return world.settled


def test_policies_that_change_lose_nothing_and_all_sites_converge() -> None:
    settled = [policy for seed in SEEDS for policy in run_policies(seed)]
    assert ConflictPolicy.UNION in settled
