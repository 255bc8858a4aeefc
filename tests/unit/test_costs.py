"""What things cost, in counts that are the same on every machine: a gate against regressions.

A limit is what was counted when it was written, with a little room. Whoever raises one knows why,
and says so in the same change; seconds are measured by `make bench`.
"""

from __future__ import annotations

import cProfile
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from conflict.brakes import NO_BRAKES
from geosync.engine.haste import Haste
from tests.crash.system_call_crashes import missing_tracing
from tests.support.local_sites import LocalSite, local_sites, settle
from tests.support.system_call_kills import live
from transport.directory_store import DirectoryStore
from transport.memory_store import MemoryStore
from transport.object_store import ObjectStore

FILES = 200
FILE_SIZE_BYTES = 1000  # of random bytes, which do not compress
RENAMED_FILES = 300
GROWING_TABLES = {
    *("chunk", "gone", "inline_chunk", "live_link", "node", "pack", "past_version", "replaced"),
    *("segment", "synced", "synced_node"),
}
INDEXES_OF_WHAT_WAITS = {
    *("chunk_to_announce", "inline_to_announce", "node_contested", "pack_ahead", "pack_to_store"),
    "segment_to_store",
}
FEW_NAMES, MANY_NAMES = 60, 240  # of one file

requires_tracing = pytest.mark.skipif(missing_tracing() is not None, reason=str(missing_tracing()))
Sites = tuple[LocalSite, LocalSite]
Names = tuple[str, ...]


@dataclass(slots=True)
class Costs:
    """What a block of work has cost one site."""

    requests: Counter[str]
    transactions: int = 0


@pytest.fixture
def sites() -> Iterator[Sites]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        settle(bari, cnaf)
        yield bari, cnaf


def costs(site: LocalSite, work: Callable[[], object]) -> Costs:
    """Counts requests to the store and transactions of the journal that change something."""
    found = Costs(Counter())
    site.link.calls.clear()

    def note(statement: str) -> None:
        found.transactions += statement == "COMMIT"

    connection = site.journal._connection
    connection.set_trace_callback(note)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    found.requests = Counter(method for method, _ in site.link.calls)
    return found


def stored_bytes(store: ObjectStore) -> int:
    names = [name for prefix in ("log/", "packs/") for name in store.list_names(prefix)]
    return sum(len(store.get(name, size_bytes_max=1 << 30)) for name in names)


def write_files(site: LocalSite, count: int) -> None:
    dice = random.Random(1)
    for number in range(count):
        site.write(b"%02d/%04d" % (number // 100, number), dice.randbytes(FILE_SIZE_BYTES))


def publish(site: LocalSite) -> None:
    """Captures and publishes all that there is, as the daemon does, without a look at the logs."""
    site.engine.cycle({(): True}, Haste(frozenset(), is_prompt=True))
    while site.engine.has_uncaptured() or site.engine.has_to_publish():
        site.engine.cycle({}, Haste(frozenset(), is_prompt=True))


def bring(site: LocalSite) -> None:
    """Receives and applies, as the daemon does after polls."""
    while True:
        cycle = site.engine.cycle({}, Haste(is_prompt=True))
        if not (cycle.has_more or cycle.received or site.engine.is_settled() is False):
            return


@pytest.mark.parametrize("readers", [("cnaf",), ("cnaf", "lngs", "roma")])
def test_one_small_change_costs_one_put_and_one_get_at_each_reader(readers: Names) -> None:
    with local_sites(MemoryStore(), "bari", *readers) as (bari, *others):
        bari.write(b"file", b"before")
        settle(bari, *others)
        bari.write(b"file", b"after")
        look = Haste(frozenset(), is_prompt=True)
        at_bari = costs(bari, lambda: bari.engine.cycle({(): False}, look))
        assert at_bari.requests == {"put_once": 1}
        assert at_bari.transactions <= 4
        hinted = Haste(frozenset((bari.engine.site.actor,)), is_prompt=True)
        for other in others:
            at_other = costs(other, partial(other.engine.cycle, {}, hinted))
            assert other.read(b"file") == b"after"
            assert at_other.requests == {"get": 1}
            assert at_other.transactions <= 4


def scans(site: LocalSite, work: Callable[[], object]) -> set[str]:
    """Returns how a block of work read tables that grow with the tree from end to end."""
    statements: list[str] = []
    connection = site.journal._connection
    connection.set_trace_callback(statements.append)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    wanted = {each for each in statements if each.startswith(("SELECT", "UPDATE", "DELETE"))}
    plans = (row[3] for each in wanted for row in connection.execute(f"EXPLAIN QUERY PLAN {each}"))
    return {
        plan
        for plan in plans
        if plan.startswith("SCAN")
        and plan.split()[1] in GROWING_TABLES
        and plan.split()[-1] not in INDEXES_OF_WHAT_WAITS
    }


def test_one_small_change_reads_no_table_as_a_whole(sites: Sites) -> None:
    bari, cnaf = sites
    write_files(bari, FILES)
    settle(bari, cnaf)
    bari.write(b"00/0000", b"changed")
    bari.write(b"00/large", os.urandom(100_000))
    assert scans(bari, lambda: bari.engine.cycle({(b"00",): False}, Haste(frozenset()))) == set()
    bari.engine.cycle({})
    assert scans(cnaf, lambda: bring(cnaf)) == set()
    assert cnaf.read(b"00/0000") == b"changed"


def test_one_small_change_is_a_few_hundred_bytes_in_the_store(sites: Sites) -> None:
    bari, cnaf = sites
    bari.write(b"file", b"before")
    settle(bari, cnaf)
    before = stored_bytes(bari.store)
    bari.write(b"file", b"after")
    bari.engine.cycle({(): False}, Haste(frozenset()))
    assert stored_bytes(bari.store) - before <= 400


def test_many_small_files_cost_few_requests_and_transactions(sites: Sites) -> None:
    """At most five requests for a hundred files, of both sites together."""
    bari, cnaf = sites
    write_files(bari, FILES)
    before = stored_bytes(bari.store)
    at_bari = costs(bari, lambda: publish(bari))
    at_cnaf = costs(cnaf, lambda: bring(cnaf))
    assert len(os.listdir(cnaf.root)) == len(os.listdir(bari.root))
    requests = at_bari.requests.total() + at_cnaf.requests["get"] + at_cnaf.requests["get_range"]
    assert requests <= 5 * FILES / 100, (at_bari, at_cnaf)
    assert at_bari.transactions <= 4
    assert at_cnaf.transactions <= 4
    assert stored_bytes(bari.store) - before <= FILES * (FILE_SIZE_BYTES + 100)


def test_a_renamed_directory_costs_the_same_whatever_is_in_it(sites: Sites) -> None:
    bari, cnaf = sites
    for number in range(RENAMED_FILES):
        bari.write(b"before/%d" % number, b"%d" % number)
    settle(bari, cnaf)
    before = stored_bytes(bari.store)
    os.rename(bari.path(b"before"), bari.path(b"after"))
    at_bari = costs(bari, lambda: publish(bari))
    at_cnaf = costs(cnaf, lambda: bring(cnaf))
    assert len(os.listdir(cnaf.path(b"after"))) == RENAMED_FILES
    assert at_bari.requests["put_once"] == 1
    assert stored_bytes(bari.store) - before <= 300
    assert at_bari.transactions <= 4
    assert at_cnaf.transactions <= 4


def calls_for(work: Callable[[], object]) -> int:
    """Counts calls of functions, which are the same in each run."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


def costs_of_names(count: int) -> dict[str, int]:
    """Returns what a file with so many names costs two sites: new, moved, written and deleted."""
    found = {}
    with local_sites(MemoryStore(), "bari", "cnaf", brake_limits=NO_BRAKES) as (bari, cnaf):
        settle(bari, cnaf)
        bari.write(b"names/0", b"before")
        names = [b"names/%d" % number for number in range(1, count)]
        for name in names:
            os.link(bari.path(b"names/0"), bari.path(name))
        found["new"] = calls_for(lambda: settle(bari, cnaf))
        assert os.stat(cnaf.path(b"names/0")).st_nlink == count
        for name in names:
            os.rename(bari.path(name), bari.path(name + b"-moved"))
        found["moved"] = calls_for(lambda: settle(bari, cnaf))
        bari.write(b"names/0", b"after")
        found["written"] = calls_for(lambda: settle(bari, cnaf))
        for name in names:
            os.unlink(bari.path(name + b"-moved"))
        found["deleted"] = calls_for(lambda: settle(bari, cnaf))
        assert os.listdir(cnaf.path(b"names")) == [b"0"]
    return found


def test_each_name_of_a_file_costs_the_same_however_many_it_has() -> None:
    """Nearly so: of moved names, each looks at the others, which is to be the smaller part."""
    few, many = costs_of_names(FEW_NAMES), costs_of_names(MANY_NAMES)
    more = MANY_NAMES / FEW_NAMES
    ratios = {what: many[what] / few[what] / more for what in few}
    assert ratios.pop("moved") < 2.5
    assert max(ratios.values()) < 1.5, ratios


def test_a_site_at_rest_asks_for_one_object_and_writes_nothing(sites: Sites) -> None:
    bari, cnaf = sites
    write_files(bari, 10)
    settle(bari, cnaf)
    bari.engine.cycle({}, Haste(is_prompt=True))
    at_rest = costs(bari, lambda: bari.engine.cycle({}, Haste(is_prompt=True)))
    assert at_rest.requests == {"get": 1}
    assert at_rest.transactions == 0


@requires_tracing
@pytest.mark.parametrize(("is_sender", "calls_per_file_max"), [(True, 5.0), (False, 13.0)])
def test_a_file_costs_few_changing_system_calls(is_sender: bool, calls_per_file_max: float) -> None:
    """Changing ones: writes, renames, syncs and the like, of files and of the journal."""
    with local_sites(MemoryStore(), "probe") as (probe,):
        store = DirectoryStore(probe.base + b"/store")
        store.prepare()
        with local_sites(store, "bari", "cnaf") as (bari, cnaf):
            settle(bari, cnaf)
            write_files(bari, FILES)
            if is_sender:
                life = live(partial(publish, bari), None)
            else:
                publish(bari)
                life = live(partial(bring, cnaf), None)
            names = Counter(call.name for call in life.calls)
            assert names["fsync"] + names["fdatasync"] + names["syncfs"] <= 12, names
            assert len(life.calls) / FILES <= calls_per_file_max, names
