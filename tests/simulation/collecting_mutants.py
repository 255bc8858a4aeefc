"""Engines that break one rule of collecting garbage, or of forgetting, each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import pytest

from conflict.collection import Doom, Spare
from conflict.operations import Transaction
from conflict.version import VersionVector
from geosync.engine import collecting, forgetting, intake, publishing, reuse
from geosync.engine.publishing import Publisher
from geosync.engine.reuse import Reuse
from geosync.engine.site import Site

Break = Callable[[pytest.MonkeyPatch], None]


def _no_second_look(patch: pytest.MonkeyPatch) -> None:
    def judge(packs: Iterable[str], needed: Collection[str]) -> tuple[Spare, Doom]:
        assert needed is not None
        return Spare(()), Doom(tuple(sorted(packs)))

    patch.setattr(collecting, "judge", judge)


def _condemned_packs_are_used(patch: pytest.MonkeyPatch) -> None:
    class Careless(Reuse):
        def __init__(self, site: Site) -> None:
            super().__init__(site)
            self._forbidden = frozenset()

    _replace_reuse(patch, Careless)


def _new_actors_refer_to_all_packs(patch: pytest.MonkeyPatch) -> None:
    class Hasty(Reuse):
        def _is_usable(self, pack: str) -> bool:
            return pack not in self._forbidden

    _replace_reuse(patch, Hasty)


def _replace_reuse(patch: pytest.MonkeyPatch, other: type[Reuse]) -> None:
    patch.setattr(intake, "Reuse", other)
    patch.setattr(reuse, "Reuse", other)


def _received(site: Site) -> VersionVector:
    return site.journal.log.received()


def _age_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(collecting, "stable", _received)


def _told_at_publishing(patch: pytest.MonkeyPatch) -> None:
    def told_with(
        self: Publisher, transactions: list[Transaction]
    ) -> tuple[VersionVector, VersionVector]:
        assert transactions is not None
        return self._site.journal.log.received(), self._site.applied()

    patch.setattr(publishing.Publisher, "_told_with", told_with)


def _forgotten_unheard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(forgetting, "stable", _received)


BREAKS: dict[str, Break] = {
    "a condemned pack is doomed without a second look": _no_second_look,
    "what is condemned is referred to": _condemned_packs_are_used,
    "packs go by their age alone": _age_alone,
    "a segment tells what is applied while older operations wait": _told_at_publishing,
    "a new actor refers to packs of owners that do not know it": _new_actors_refer_to_all_packs,
    "what is gone is forgotten before all have told that they know": _forgotten_unheard,
}
