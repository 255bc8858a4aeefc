"""What is gone is forgotten, and the tree is what it would be if nothing ever were."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given

from conflict.checkpoint import BEGINNING, canonical
from conflict.errors import MalformedValueError
from conflict.forgetting import is_gone, referred
from conflict.node import NodeState
from conflict.operations import ROOT, NodeId
from conflict.version import VersionVector
from tests.property.test_projection_properties import histories, many
from tests.support import forgetful_site
from tests.support.forgetful_site import ForgetfulSite
from tests.support.history import Site, deliver, orphans_of, tree_of
from tests.support.random_users import _ACTIONS, RandomHistory, plain


class ForgetfulHistory(RandomHistory):
    """Users at random on sites that hear of each other at random, and forget what is gone."""

    site_class = ForgetfulSite

    def __init__(self, seed: int, site_count: int, features: Iterable[str] = ()) -> None:
        super().__init__(seed, site_count, features)
        self._haste = self.rng.choice((0.5, 0.05))

    @property
    def forgetful(self) -> list[ForgetfulSite]:
        return [site for site in self.sites if isinstance(site, ForgetfulSite)]

    def step(self) -> Site:
        draw = self.rng.random()
        site = self.rng.choice(self.forgetful)
        if draw < 0.1:
            site.speak()
        elif draw < 0.2:
            site = self.forgetful[0]
            site.look([each.actor for each in self.sites[1:]])
        elif draw < 0.28:
            self.rng.choice((self.delete, self.delete_directory))(site, plain(site.disk))
        elif draw < 0.5:
            self._let_receive(self.sites.index(site))
            if self.rng.random() < 0.7:
                self._receive_all(site)
            if "stale disks" not in self.features or self.rng.random() < self._haste:
                site.materialise()
        else:
            return super().step()
        return site

    def _let_user_act(self, site: Site) -> None:
        """What an action does on its own disk is looked at by the tests of the projection."""
        action = self.rng.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
        action(self, site, plain(site.disk))

    def _receive_all(self, site: Site) -> None:
        for transaction in max(self.sites, key=lambda each: len(each.transactions)).transactions:
            site.receive(transaction)

    def come_to_rest(self) -> None:
        """Lets nobody write any more, and all hear of all, until nothing is left to forget."""
        decider, *others = self.forgetful
        for _ in range(8):
            deliver(self.sites, self.rng)
            for site in self.forgetful:
                site.speak()
            deliver(self.sites, self.rng)
            decider.look([each.actor for each in others])
        deliver(self.sites, self.rng)


def played(history: tuple[int, int, int], *features: str) -> ForgetfulHistory:
    """Plays a history, and looks after every step whether it makes a difference to forget."""
    seed, site_count, steps = history
    running = ForgetfulHistory(seed, site_count, features)
    for _ in range(6 * steps):
        site = running.step()
        assert isinstance(site, ForgetfulSite)
        assert_same(site)
    return running


def assert_same(site: ForgetfulSite) -> None:
    """Nobody sees that anything was forgotten."""
    assert tree_of(site.merged) == tree_of(site.remembered)
    assert orphans_of(site.merged) == orphans_of(site.remembered)
    spoken_of = {node for state in site.merged.all_nodes() for node in referred(state)} - {ROOT}
    assert all(site.merged.node(node) is not None for node in spoken_of)


@many(12)
@given(histories)
def test_what_is_forgotten_makes_no_difference(history: tuple[int, int, int]) -> None:
    """After every step, on disks that lag behind, with late moves of directories and cycles."""
    running = played(history)
    running.come_to_rest()
    for site in running.forgetful:
        assert_same(site)
    first, *others = [
        [repr(canonical(state)) for state in site.merged.all_nodes()] for site in running.forgetful
    ]
    assert all(other == first for other in others), "sites forget different things"


@many(8)
@given(histories)
def test_at_rest_nothing_is_kept_of_what_is_gone(history: tuple[int, int, int]) -> None:
    """But directories of which a file that is there speaks: it once had another name in them."""
    running = played(history, "links")
    running.come_to_rest()
    for site in running.forgetful:
        states = {state.node: state for state in site.merged.all_nodes()}
        needed = {node for node, state in states.items() if not is_gone(state)}
        while more := {n for node in needed for n in referred(states[node])} - needed - {ROOT}:
            needed |= more
        assert states.keys() == needed
        assert site.merged.moves_after(BEGINNING) == []


def test_histories_forget_in_the_middle_of_changes() -> None:
    """The properties above are about something."""
    running = [played((seed, 3, 60)) for seed in range(3)]
    assert sum(site.forgotten for each in running for site in each.forgetful) > 20


def _first(vectors: list[VersionVector]) -> VersionVector:
    return vectors[0]


def _all(candidates: Iterable[NodeId], _: Iterable[NodeId]) -> set[NodeId]:
    return set(candidates)


def _any_but_the_root(state: NodeState) -> bool:
    return state.node != ROOT


def _received(site: ForgetfulSite) -> VersionVector:
    return site.received


SMALL, LARGER = (2, 12), (3, 40)  # sites and steps
MUTANTS: dict[str, tuple[tuple[int, int], tuple[object, str, Callable[..., object]]]] = {
    "no word is waited for": (SMALL, (forgetful_site, "known_to_all", _first)),
    "what is not on the disk yet is told": (SMALL, (ForgetfulSite, "word", _received)),
    "what is spoken of is no matter": (LARGER, (forgetful_site, "unreferred", _all)),
    "what lives is gone": (SMALL, (forgetful_site, "is_gone", _any_but_the_root)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_noticed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above bite."""
    size, broken = MUTANTS[mutant]
    monkeypatch.setattr(*broken)
    for seed in range(200):
        try:
            played((seed, *size), "stale disks")
        except (AssertionError, MalformedValueError):
            return
    pytest.fail(f"nothing was noticed: {mutant}")
