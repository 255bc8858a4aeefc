"""Gathering: the next batch's contents come while this one is worked on, and are asked for once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import pytest

from geosync.assembly.transfer_pool import TransferPool
from geosync.engine import batch, gathering
from geosync.engine.site import SerialPool
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
FILES = 40
IN_A_BATCH = 10


class Unbegun(SerialPool):
    """Begins nothing in the background: all its workers are at other work."""

    def begin(
        self, function: Callable[[_Item], _Result], item: _Item, *, is_soon_awaited: bool = False
    ) -> Future[_Result]:
        """See Pool."""
        return Future()


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalSite, LocalSite]]:
    """Two sites; the first one has files, of which the other knows nothing yet."""
    monkeypatch.setattr(batch, "BATCH_ACTIONS_MAX", IN_A_BATCH)
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        settle(away, here)
        dice = random.Random(1)
        for number in range(FILES):
            away.write(b"%02d" % number, dice.randbytes(20_000))
        away.cycle()
        here.link.calls.clear()
        yield away, here


def _asked(site: LocalSite) -> int:
    return len(site.link.names("get_range"))


def test_each_batch_is_asked_for_once_while_the_one_before_is_staged(
    sites: tuple[LocalSite, LocalSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here = sites
    disk = here.engine.site.disk
    asked_when_synced: list[int] = []
    sync_stage = disk.sync_stage

    def noted() -> None:
        asked_when_synced.append(_asked(here))
        sync_stage()

    monkeypatch.setattr(disk, "sync_stage", noted)
    here.cycle()
    assert disk_tree(here.root) == disk_tree(away.root)
    assert asked_when_synced == [2, 3, 4, 4]


def test_what_no_worker_has_begun_is_not_waited_for(sites: tuple[LocalSite, LocalSite]) -> None:
    away, here = sites
    here.engine.site.pool = Unbegun()
    here.cycle()
    assert disk_tree(here.root) == disk_tree(away.root)
    assert _asked(here) == FILES / IN_A_BATCH


def test_in_threads_it_arrives_as_well(sites: tuple[LocalSite, LocalSite]) -> None:
    away, here = sites
    here.engine.site.pool = pool = TransferPool(2)
    here.cycle()
    pool.close()
    assert disk_tree(here.root) == disk_tree(away.root)
    assert _asked(here) == FILES / IN_A_BATCH


def test_no_more_is_begun_than_memory_allows(
    sites: tuple[LocalSite, LocalSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "BEGUN_SIZE_BYTES_MAX", IN_A_BATCH * 20_000 - 1)
    away, here = sites
    begun: list[object] = []
    begin = SerialPool.begin

    def noted(pool: SerialPool, function: Callable[..., object], item: object) -> Future[object]:
        begun.append(item)
        return begin(pool, function, item)

    monkeypatch.setattr(SerialPool, "begin", noted)
    here.cycle()
    assert disk_tree(here.root) == disk_tree(away.root)
    assert not begun


def test_a_disk_that_fails_gives_up_what_was_begun(
    sites: tuple[LocalSite, LocalSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here = sites
    here.engine.site.pool = Unbegun()
    futures: list[Future[object]] = []
    begin = Unbegun.begin

    def noted(pool: Unbegun, function: Callable[..., object], item: object) -> Future[object]:
        futures.append(begin(pool, function, item))
        return futures[-1]

    monkeypatch.setattr(Unbegun, "begin", noted)
    disk = here.engine.site.disk
    with monkeypatch.context() as broken:
        broken.setattr(disk, "sync_stage", _fail)
        assert here.cycle().disk_error is not None
    assert futures
    assert all(future.cancelled() for future in futures)
    settle(away, here)
    assert disk_tree(here.root) == disk_tree(away.root)


def _fail() -> None:
    raise OSError(5, "Input/output error")


def test_a_store_that_failed_meanwhile_is_asked_again(sites: tuple[LocalSite, LocalSite]) -> None:
    away, here = sites
    failed: list[str] = []

    def fail_once(method: str, name: str) -> None:
        if method == "get_range" and len(here.link.names("get_range")) == 2:
            failed.append(name)
            raise StoreUnavailable("get_range: the line broke")

    here.link.before = fail_once
    here.cycle()
    assert failed
    settle(away, here)
    assert disk_tree(here.root) == disk_tree(away.root)
