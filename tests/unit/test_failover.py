"""Failover between sites in one process: who is the primary, what is late, and that all is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.brakes import BrakeLimits, Limit
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.engine.promoting import Promotion, PromotionState
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.disk_tree import contents_of
from tests.support.local_sites import LocalSite, local_sites, quick_directory, run, settle
from transport.brake_record import Verdict
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore
from transport.object_names import log_prefix

Two = tuple[LocalSite, LocalSite]
Three = tuple[LocalSite, LocalSite, LocalSite]


@pytest.fixture
def three() -> Iterator[Three]:
    """`bari` is the primary, `cnaf` and `paris` follow; all have the files of bari."""
    store, time = MemoryStore(), SimulatedTime()
    with quick_directory() as base:
        bari, cnaf, paris = sites = (
            LocalSite(base, "bari", store, time, mode=Mode.PRIMARY),
            LocalSite(base, "cnaf", store, time, mode=Mode.STANDBY),
            LocalSite(base, "paris", store, time, mode=Mode.STANDBY),
        )
        bari.write(b"a", b"of the first epoch")
        bari.write(b"dir/b", b"of the first epoch, too")
        bari.write(b"dir/c", b"another one")
        try:
            for site in sites:
                site.open()
            settle(*sites)
            yield bari, cnaf, paris
        finally:
            for site in sites:
                site.close()


@pytest.fixture
def two(three: Three) -> Two:
    """The primary and one standby; the third is closed."""
    bari, cnaf, paris = three
    paris.close()
    return bari, cnaf


def _role(site: LocalSite) -> str:
    return site.engine.site.role.name


def _promote(site: LocalSite, *, is_forced: bool = False) -> Promotion:
    return site.engine.promote(is_forced=is_forced)


def _switch(old: LocalSite, new: LocalSite) -> None:
    old.engine.demote()
    settle(old, new)
    assert _promote(new).state is PromotionState.DONE
    settle(old, new)


def _late(site: LocalSite) -> dict[bytes, str]:
    return {each.path: each.what for each in site.journal.drift.late_writes()}


def _cut_off(site: LocalSite, rounds: int = 4) -> None:
    """Lets a site run for a while without the store."""
    for _ in range(rounds):
        site.cycle_alone()


# Who is the primary


def test_the_configured_primary_claims_the_first_epoch_and_its_files_arrive(three: Three) -> None:
    _, cnaf, paris = three
    assert [_role(site) for site in three] == ["primary", "standby", "standby"]
    for site in (cnaf, paris):
        assert site.read(b"dir/b") == b"of the first epoch, too"


def test_what_is_written_at_a_standby_is_drift_until_it_is_promoted(two: Two) -> None:
    bari, cnaf = two
    cnaf.write(b"early", b"written at the standby")
    run(bari, cnaf)
    assert not os.path.exists(bari.path(b"early"))
    assert [drift.path for drift in cnaf.journal.drift.all()] == [b"early"]
    _switch(bari, cnaf)
    assert bari.read(b"early") == b"written at the standby"
    assert cnaf.journal.drift.all() == []


def test_a_standby_acknowledges(two: Two) -> None:
    bari, cnaf = two
    bari.write(b"new", b"to be acknowledged")
    settle(bari, cnaf)
    run(bari, cnaf)
    log = bari.journal.log.actor(cnaf.engine.site.actor)
    assert log is not None
    actor = bari.engine.site.actor
    assert log.applied.counter_of(actor) == bari.engine.own_counter()


def test_a_clean_switch_and_back(two: Two) -> None:
    bari, cnaf = two
    bari.write(b"a", b"written right before the switch")
    _switch(bari, cnaf)
    assert [_role(site) for site in two] == ["standby", "primary"]
    assert cnaf.read(b"a") == b"written right before the switch"
    cnaf.write(b"a", b"of the second epoch")
    os.remove(cnaf.path(b"dir/c"))
    settle(*two)
    assert bari.read(b"a") == b"of the second epoch"
    assert not os.path.exists(bari.path(b"dir/c"))
    _switch(cnaf, bari)
    assert [_role(site) for site in two] == ["primary", "standby"]
    os.chmod(bari.path(b"a"), 0o640)
    settle(*two)
    assert os.stat(cnaf.path(b"a")).st_mode & 0o777 == 0o640
    for site in two:
        assert site.engine.conflicts() == []
        assert _late(site) == {}


def test_roles_outlive_a_restart_and_the_log_decides_not_the_configuration(two: Two) -> None:
    bari, cnaf = two
    _switch(bari, cnaf)
    for site in two:
        site.reopen()
    settle(*two)
    assert [_role(site) for site in two] == ["standby", "primary"]


def test_a_primary_that_is_not_demoted_is_not_replaced_without_force(two: Two) -> None:
    _, cnaf = two
    assert _promote(cnaf).state is PromotionState.HELD
    assert _role(cnaf) == "standby"


def test_a_promotion_waits_for_all_that_was_written_before(two: Two) -> None:
    bari, cnaf = two
    with open(bari.path(b"big"), "wb") as file:
        file.write(os.urandom(300_000))
    settle(bari)
    bari.engine.demote()
    settle(bari)
    before, cnaf.link.before = cnaf.link.before, _no_packs
    run(cnaf, rounds=3)
    found = _promote(cnaf)
    assert found.state is PromotionState.LACKING
    assert (found.paths, found.size_bytes) == (((b"big",),), 300_000)
    assert found.operations > 0
    cnaf.link.before = before
    settle(cnaf)
    assert _promote(cnaf).state is PromotionState.DONE


def test_drift_that_is_in_the_way_of_a_promotion_is_named_and_by_force_nothing_is_lost(
    two: Two,
) -> None:
    bari, cnaf = two
    cnaf.write(b"a", b"drift")
    cnaf.write(b"elsewhere", b"drift that is in nobody's way")
    run(bari, cnaf)
    bari.write(b"a", b"written last")
    bari.engine.demote()
    run(bari, cnaf, rounds=8)
    found = _promote(cnaf)
    assert found.state is PromotionState.LACKING
    assert found.paths == found.drifted == ((b"a",),)
    assert _promote(cnaf, is_forced=True).state is PromotionState.DONE
    settle(*two)
    for site in two:
        kept = {b"drift", b"written last", b"drift that is in nobody's way"}
        assert kept <= contents_of(site.root)
        assert _late(site) == {}, "whoever was demoted writes nothing late"
    assert len(cnaf.engine.conflicts()) == 1


def _no_packs(method: str, name: str) -> None:
    if name.startswith("pack"):
        raise StoreUnavailable(f"{method} {name}: not now")


def test_a_primary_is_not_demoted_before_what_a_brake_holds_is_decided(two: Two) -> None:
    """Else what was done there would be part of nothing."""
    bari, cnaf = two
    for number in range(30):
        bari.write(b"much/%d" % number, b"content %d" % number)
    settle(*two)
    bari.close()
    bari.brake_limits = BrakeLimits(deletions=Limit(10, 10, 20_480, 10_000))
    bari.open()
    shutil.rmtree(bari.path(b"much"))
    run(*two)
    bari.engine.demote()
    run(*two)
    assert _role(bari) == "primary, about to be a standby"
    (brake,) = bari.engine.brakes()
    bari.engine.decisions.decide_brake(brake.name, Verdict.APPROVED)
    settle(*two)
    assert _role(bari) == "standby"
    assert not os.path.exists(cnaf.path(b"much"))


def _ready(*sites: LocalSite) -> list[str]:
    return [site.name for site in sites if site.engine.takes_writes()]


def test_at_no_moment_of_a_switch_do_writes_belong_at_two_sites(two: Two) -> None:
    bari, cnaf = two
    for old, new in ((bari, cnaf), (cnaf, bari)):
        assert _ready(*two) == [old.name]
        old.write(b"a", b"written last at " + old.name.encode())
        old.engine.demote()
        for _ in range(8):
            assert _ready(*two) == []
            for site in two:
                site.cycle()
                assert _ready(*two) == []
        assert _promote(new).state is PromotionState.DONE
        for _ in range(4):
            for site in two:
                assert _ready(*two) == [new.name]
                site.cycle()


def test_a_primary_takes_no_writes_before_it_has_heard_that_it_still_is_one(two: Two) -> None:
    bari, cnaf = two
    bari.reopen()
    assert _ready(*two) == []
    bari.cycle_alone()
    assert _ready(*two) == []
    bari.cycle()
    assert _ready(*two) == ["bari"]
    bari.cycle_alone()
    assert _ready(*two) == [], "it can't know any more whether another one was promoted"
    _promote(cnaf, is_forced=True)
    cnaf.cycle()
    assert _ready(*two) == ["cnaf"]
    for _ in range(8):  # it comes back
        bari.cycle()
        assert _ready(*two) == ["cnaf"]
        cnaf.cycle()
    assert _role(bari) == "standby"


def test_an_operator_decides_nothing_at_a_standby(two: Two) -> None:
    with pytest.raises(OperatorError, match="a standby"):
        two[1].engine.decisions.resolve("any", Choice.WINNER)


def test_a_multi_master_has_nothing_to_promote() -> None:
    with local_sites(MemoryStore(), "bari") as (bari,):
        settle(bari)
        with pytest.raises(OperatorError, match="no primary to choose"):
            _promote(bari)
        with pytest.raises(OperatorError, match="no primary to choose"):
            bari.engine.demote()


def test_a_primary_that_lost_its_journal_goes_on_as_the_primary(two: Two) -> None:
    bari, cnaf = two
    bari.close()
    os.rename(bari.state_dir, bari.state_dir + b"-lost")
    bari.incarnation = 1
    settle(bari.open(), cnaf)
    assert [_role(site) for site in two] == ["primary", "standby"]
    bari.write(b"a", b"of the new incarnation")
    settle(*two)
    assert cnaf.read(b"a") == b"of the new incarnation"


# Forced


def test_only_one_of_two_forced_promotions_wins_and_nothing_is_lost(three: Three) -> None:
    bari, cnaf, paris = three
    bari.close()
    for site in (cnaf, paris):
        site.cycle_alone()
        _promote(site, is_forced=True)
        site.write(b"a", b"by " + site.name.encode())
        site.write(b"of " + site.name.encode(), b"new")
        _cut_off(site)
        assert _role(site) == "primary"
    run(cnaf, paris, rounds=8)
    settle(cnaf, paris)
    roles = {_role(cnaf): cnaf, _role(paris): paris}
    assert roles.keys() == {"primary", "standby"}
    winner = roles["primary"]
    for site in (cnaf, paris):
        assert site.read(b"a") == b"by " + winner.name.encode()
        assert {b"by cnaf", b"by paris"} <= contents_of(site.root)
        assert site.read(b"of cnaf") == site.read(b"of paris") == b"new"


def test_late_writes_never_win_and_are_all_told_and_kept(two: Two) -> None:
    """On both sides of a partition; the late ones follow what the new primary still has."""
    bari, cnaf = two
    for number in range(8):
        bari.write(b"f%d" % number, b"before")
    os.makedirs(bari.path(b"moving"))
    bari.write(b"moving/in", b"before")
    settle(*two)
    # The line breaks; cnaf is made the primary, and both sides write.
    bari.cycle_alone()
    found = _promote(cnaf, is_forced=True)
    assert found.state is PromotionState.DONE
    cnaf.write(b"f0", b"by the new primary")
    os.remove(cnaf.path(b"f1"))
    run(cnaf)
    bari.write(b"f0", b"late, concurrent")
    bari.write(b"f1", b"late, deleted there")
    bari.write(b"f2", b"late, only here")
    os.remove(bari.path(b"f3"))
    os.rename(bari.path(b"f4"), bari.path(b"f4 late"))
    os.chmod(bari.path(b"f5"), 0o600)
    bari.write(b"late", b"late, new")
    os.rename(bari.path(b"moving"), bari.path(b"moved late"))
    _cut_off(bari)
    assert _role(bari) == "primary"
    # The line is back.
    run(*two, rounds=10)
    settle(*two)
    assert [_role(site) for site in two] == ["standby", "primary"]
    for site in two:
        assert site.read(b"f0") == b"by the new primary"
        assert site.read(b"f2") == b"before"
        assert site.read(b"f3") == b"before"
        assert site.read(b"f4") == b"before"
        assert site.read(b"f6") == b"before"
        assert site.read(b"moving/in") == b"before"
        assert site.read(b"late") == b"late, new"
        assert os.stat(site.path(b"f5")).st_mode & 0o777 == 0o644
        late = {b"late, concurrent", b"late, deleted there", b"late, only here"}
        assert late <= contents_of(site.root)
        assert _late(site).keys() >= {b"f0", b"f1", b"f2", b"f3", b"f5", b"late"}
        assert set(_late(site).values()) >= {"written", "deleted", "moved", "attributes", "created"}


def test_a_late_write_is_written_over_as_if_it_had_never_won(two: Two) -> None:
    """The new primary's next change replaces its own version, without a conflict of its own."""
    bari, cnaf = two
    bari.cycle_alone()
    _promote(cnaf, is_forced=True)
    run(cnaf)
    bari.write(b"a", b"late")
    _cut_off(bari)
    bari.write(b"a", b"late, and later")
    _cut_off(bari)
    run(*two, rounds=10)
    cnaf.write(b"a", b"goes on")
    settle(*two)
    (conflict,) = cnaf.engine.conflicts()
    assert conflict.loser.content.size_bytes == len(b"late, and later")
    assert bari.read(b"a") == b"goes on"


def test_what_is_written_while_a_site_yields_does_not_win_either(two: Two) -> None:
    """Its author has heard of the new epoch by then, and must write in the old one all the same."""
    bari, cnaf = two
    _promote(cnaf, is_forced=True)
    cnaf.write(b"a", b"by the new primary")
    run(cnaf)
    bari.engine.cycle({})
    assert _role(bari) == "former primary"
    bari.write(b"a", b"while it yields")
    run(*two, rounds=8)
    settle(*two)
    for site in two:
        assert site.read(b"a") == b"by the new primary"
        assert b"while it yields" in contents_of(site.root)
        assert _late(site) == {b"a": "written"}


def test_what_is_written_again_is_what_the_disk_stands_for(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the disk can't be changed in between, or the process dies."""
    bari, cnaf = two
    bari.cycle_alone()
    _promote(cnaf, is_forced=True)
    run(cnaf)
    bari.write(b"a", b"late")
    _cut_off(bari)
    run(bari, rounds=3)
    with monkeypatch.context() as patched:
        patched.setattr(cnaf.engine._applier, "apply", _no_disk)
        cnaf.cycle()
    cnaf.write(b"a", b"goes on")
    settle(*two)
    assert [conflict.loser.content.size_bytes for conflict in cnaf.engine.conflicts()] == [4]
    assert bari.read(b"a") == b"goes on"


def _no_disk() -> None:
    raise OSError("the disk can't be changed now")


@pytest.mark.parametrize("was_off", [True, False])
def test_an_old_primary_listens_before_it_publishes(two: Two, was_off: bool) -> None:
    bari, cnaf = two
    if was_off:
        bari.close()
    bari.write(b"a", b"late")
    if not was_off:
        _cut_off(bari)
    _promote(cnaf, is_forced=True)
    claim = log_prefix(cnaf.engine.site.actor)
    run(cnaf)
    if was_off:
        bari.open()
    bari.link.calls.clear()
    run(bari, rounds=3)
    calls = bari.link.calls
    first_put = next(index for index, (method, _) in enumerate(calls) if method == "put_once")
    assert calls[first_put][1].startswith(log_prefix(bari.engine.site.actor))
    assert any(name.startswith(claim) for _, name in calls[:first_put])


def test_an_old_primary_that_was_off_says_nothing_before_it_has_listened(two: Two) -> None:
    bari, cnaf = two
    bari.close()
    bari.write(b"a", b"written while its daemon was off")
    _promote(cnaf, is_forced=True)
    cnaf.write(b"dir/b", b"by the new primary")
    settle(cnaf)
    bari.open()
    bari.cycle()
    assert _role(bari) == "former primary"
    run(*two, rounds=8)
    settle(*two)
    assert _role(bari) == "standby"
    for site in two:
        assert site.read(b"a") == b"of the first epoch"
        assert site.read(b"dir/b") == b"by the new primary"
        assert b"written while its daemon was off" in contents_of(site.root)
        assert _late(site) == {b"a": "written"}


def test_failback_after_a_forced_switch(two: Two) -> None:
    bari, cnaf = two
    bari.cycle_alone()
    _promote(cnaf, is_forced=True)
    bari.write(b"a", b"late")
    _cut_off(bari)
    run(*two, rounds=8)
    settle(*two)
    _switch(cnaf, bari)
    assert [_role(site) for site in two] == ["primary", "standby"]
    bari.write(b"a", b"of the third epoch")
    settle(*two)
    assert cnaf.read(b"a") == b"of the third epoch"


def test_a_standby_that_reverts_drift_keeps_what_was_there(two: Two) -> None:
    _, cnaf = two
    cnaf.close()
    cnaf.drift = DriftPolicy.REVERT
    cnaf.open()
    cnaf.write(b"a", b"drift")
    settle(*two)
    settle(*two)
    assert cnaf.read(b"a") == b"of the first epoch"
    (kept,) = cnaf.journal.drift.set_aside()
    assert cnaf.read(kept.kept_at) == b"drift"
    os.remove(cnaf.path(kept.kept_at))
    run(cnaf, rounds=10)
    assert cnaf.journal.drift.set_aside() == [], "it is listed until somebody removes it"
    assert os.listdir(cnaf.path(b".geosync/drift")) == []
