"""Verification and repair of single sites: each kind of damage, on simulated time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from geosync.configuration.volume_configuration import parse_configuration
from geosync.errors import OperatorError
from geosync.verification.finding import Kind, Level
from geosync.verification.repairs import mending_for
from geosync.verification.verification import Verification
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from tests.support.damage import bodies, damage_unseen, flip, kinds, lose, names, repair, verify
from tests.support.local_sites import VOLUME, LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore
from transport.object_names import segment_name
from transport.segment import ExpectedSegment, decode_segment, encode_segment

LARGE = os.urandom(300_000)  # more than a segment carries


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def sites(store: RecordingStore) -> Iterator[list[LocalSite]]:
    with local_sites(store, "bari", "cnaf") as opened:
        bari = opened[0]
        bari.write(b"large", LARGE)
        bari.write(b"directory/small", b"small")
        os.symlink(b"large", bari.path(b"link"))
        settle(*opened)
        yield opened


def test_a_sound_site_is_sound(sites: list[LocalSite]) -> None:
    for site in sites:
        assert verify(site) == verify(site, is_deep=True) == []


# The disk


def test_a_damaged_file_is_found_once_put_back_and_never_propagated(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    damage_unseen(bari.path(b"large"), 200_000)
    damaged = bari.read(b"large")
    settle(*sites)
    findings = verify(bari)
    assert kinds(findings) == ["file_damaged"]
    assert verify(cnaf) == []
    repair(bari, findings, cnaf)
    assert bari.read(b"large") == LARGE == cnaf.read(b"large")
    (kept,) = os.listdir(os.path.join(bari.state_dir, b"damaged"))
    with open(os.path.join(bari.state_dir, b"damaged", kept), "rb") as file:
        assert file.read() == damaged
    assert bari.engine.conflicts() == cnaf.engine.conflicts() == []
    assert verify(bari) == []


def test_all_names_of_a_damaged_file_become_names_of_the_one_that_is_put_back(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    os.link(bari.path(b"large"), bari.path(b"twin"))
    settle(*sites)
    damage_unseen(bari.path(b"twin"), 7)
    findings = verify(bari)
    assert kinds(findings) == ["file_damaged"] * 2
    repair(bari, findings, cnaf)
    assert os.path.samefile(bari.path(b"large"), bari.path(b"twin"))
    assert bari.read(b"twin") == LARGE
    assert bari.engine.upkeep.mending().failed == ()
    assert os.path.samefile(cnaf.path(b"large"), cnaf.path(b"twin"))


def test_a_file_that_a_program_changed_is_no_damage_and_is_not_put_back(
    sites: list[LocalSite],
) -> None:
    bari, cnaf = sites
    damage_unseen(bari.path(b"large"), 200_000)
    findings = verify(bari)
    bari.write(b"large", b"written by a program")
    assert kinds(verify(bari)) == ["file_changed"]
    assert verify(bari)[0].level is Level.NOTE
    repair(bari, findings, cnaf)
    assert bari.read(b"large") == cnaf.read(b"large") == b"written by a program"


def test_removed_and_exchanged_names_are_no_damage(sites: list[LocalSite]) -> None:
    bari, _ = sites
    os.unlink(bari.path(b"link"))
    os.symlink(b"elsewhere", bari.path(b"link"))
    os.unlink(bari.path(b"directory/small"))
    os.mkdir(bari.path(b"directory/small"))
    os.unlink(bari.path(b"large"))
    assert kinds(verify(bari)) == ["file_changed"] * 3


def test_a_hole_that_the_disk_has_filled_is_damage(sites: list[LocalSite]) -> None:
    bari, _ = sites
    with open(bari.path(b"sparse"), "wb") as file:
        file.truncate(1 << 34)
        file.seek(1 << 33)
        file.write(b"in the middle")
    settle(bari)
    assert verify(bari) == []
    damage_unseen(bari.path(b"sparse"), 5_000_000)
    assert kinds(verify(bari)) == ["file_damaged"]


# The store


def cut_short(store: RecordingStore, name: str) -> None:
    bodies(store)[name] = bodies(store)[name][:-1]


@pytest.mark.parametrize(
    ("trouble", "kind"), [(lose, Kind.PACK_MISSING), (cut_short, Kind.PACK_DAMAGED)]
)
def test_what_the_store_has_lost_is_supplied_again(
    store: RecordingStore,
    sites: list[LocalSite],
    trouble: Callable[[RecordingStore, str], None],
    kind: Kind,
) -> None:
    bari, cnaf = sites
    (pack,) = names(store, "packs/")
    trouble(store, pack)
    findings = verify(cnaf)
    assert [finding.kind for finding in findings] == [kind]
    assert "large" in findings[0].text
    repair(cnaf, findings, bari)
    (new,) = [name for name in names(store, "packs/") if name != pack]
    assert cnaf.engine.site.actor.hex() in new
    for site in sites:
        assert verify(site, is_deep=True) == [], "the place that is bad is forgotten"


def test_damage_in_the_middle_of_a_pack_takes_a_deep_look(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, cnaf = sites
    (pack,) = names(store, "packs/")
    flip(store, pack, 100_000)
    assert verify(bari) == []
    findings = verify(bari, is_deep=True)
    assert kinds(findings) == ["pack_damaged"]
    repair(bari, findings, cnaf)
    assert len(names(store, "packs/")) == 2
    assert verify(cnaf, is_deep=True) == []


def test_a_pack_that_is_visible_a_moment_later_is_no_damage(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, _ = sites
    (pack,) = names(store, "packs/")
    body = bodies(store).pop(pack)

    def show(method: str, name: str) -> None:
        if len(bari.link.names("get_range")) > 1:
            bodies(store)[pack] = body

    bari.link.calls.clear()
    bari.link.before = show
    assert verify(bari) == []


@pytest.mark.parametrize("is_lost", [True, False])
def test_segments_of_our_own_log_are_stored_again_byte_for_byte(
    store: RecordingStore, sites: list[LocalSite], is_lost: bool
) -> None:
    bari, cnaf = sites
    actor = bari.engine.site.actor
    before = dict(bodies(store))
    for sequence in (0, 1):
        name = segment_name(actor, sequence)
        lose(store, name) if is_lost else flip(store, name, len(before[name]) // 2)
    findings = verify(bari)
    assert kinds(findings) == ["segment_missing" if is_lost else "segment_damaged"] * 2
    repair(bari, findings, cnaf)
    assert bari.engine.upkeep.mending().segments == 2
    for sequence in (0, 1):
        name = segment_name(actor, sequence)
        assert bodies(store)[name] == before[name]
    assert verify(bari) == []


def test_the_segment_of_a_clone_is_never_replaced(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    """What another daemon wrote with our identity is its only copy."""
    bari, _ = sites
    actor = bari.engine.site.actor
    (last,) = names(store, f"log/{actor.hex()}/")[-1:]
    mine = bodies(store)[last]
    with sqlite3.connect(os.path.join(bari.state_dir, b"journal.sqlite")) as connection:
        (sequence,) = connection.execute(
            "SELECT max(sequence) FROM segment WHERE actor = ?", (actor,)
        ).fetchone()
    connection.close()
    foreign = _another_segment(bari, sequence)
    bodies(store)[last] = foreign
    findings = verify(bari)
    assert kinds(findings) == ["segment_foreign"]
    assert not findings[0].is_repairable
    assert mine != foreign


def _another_segment(site: LocalSite, sequence: int) -> bytes:
    hasher, actor = site.engine.site.hasher, site.engine.site.actor
    body = site.journal.log.segment(actor, sequence)
    assert body is not None
    segment = decode_segment(body, hasher, ExpectedSegment(VOLUME, actor, sequence))
    return encode_segment(replace(segment, created_at_ms=segment.created_at_ms + 1), hasher)


def test_what_a_site_does_not_have_is_asked_of_the_others_which_supply_it(
    store: RecordingStore, sites: list[LocalSite]
) -> None:
    bari, cnaf = sites
    for pack in names(store, "packs/"):
        lose(store, pack)
    damage_unseen(bari.path(b"large"), 200_000)
    findings = verify(bari)
    assert set(kinds(findings)) == {"file_damaged", "pack_missing"}
    bari.engine.upkeep.mend(mending_for(findings))
    run(bari, rounds=8)
    progress = bari.engine.upkeep.mending()
    assert progress.wanted > 0
    assert [name for name, _ in progress.failed] == ["large"]
    assert "contents that are lost" in bari.problems()
    assert verify(bari)[0].subject == "a repair that was begun"
    bari.reopen()
    run(bari, cnaf, rounds=60)
    settle(bari, cnaf)
    assert bari.read(b"large") == LARGE
    assert verify(bari) == []
    assert "contents that are lost" not in bari.problems()


def test_a_store_that_can_not_be_asked_is_told_and_nothing_is_taken_for_lost(
    sites: list[LocalSite],
) -> None:
    bari, _ = sites

    def refuse(method: str, name: str) -> None:
        raise StoreUnavailable("no answer")

    bari.link.before = refuse
    findings = verify(bari)
    assert {finding.level for finding in findings} == {Level.UNKNOWN}
    assert not any(finding.is_repairable for finding in findings)


# The journal


def test_a_journal_that_contradicts_itself_is_told_and_nothing_rests_on_it(
    sites: list[LocalSite],
) -> None:
    bari, _ = sites
    with sqlite3.connect(os.path.join(bari.state_dir, b"journal.sqlite")) as connection:
        connection.execute("DELETE FROM node")
    connection.close()
    damage_unseen(bari.path(b"large"), 1)
    findings = verify(bari)
    assert kinds(findings) == ["journal_damaged"]
    assert "names in the volume" in findings[0].text
    assert mending_for(findings) == mending_for([])


def test_a_log_in_the_journal_that_is_damaged_is_told(sites: list[LocalSite]) -> None:
    bari, _ = sites
    with sqlite3.connect(os.path.join(bari.state_dir, b"journal.sqlite")) as connection:
        connection.execute("UPDATE segment SET object = x'00' WHERE sequence = 1")
    connection.close()
    findings = verify(bari)
    assert kinds(findings) == ["log_broken"]
    assert mending_for(findings) == mending_for([])


def test_a_site_that_has_not_joined_has_nothing_to_verify(tmp_path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    document = {"volume": "v", "site": "s", "root": str(root), "state_dir": str(state)}
    verification = Verification(
        parse_configuration(document, "a test"),
        MemoryStore(),
        SimulatedClock(SimulatedTime()),
        is_fast=True,
    )
    with pytest.raises(OperatorError, match="has not joined its volume yet"):
        list(verification.findings(is_deep=False))
