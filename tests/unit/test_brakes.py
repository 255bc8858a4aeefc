"""When a brake engages, what it looks at, and what sites tell each other of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflict.brakes import (
    EMPTIED_ROOT_ENTRIES_MIN,
    ENCRYPTED_FILES_MIN,
    NO_BRAKES,
    Amount,
    BrakeKind,
    BrakeLimits,
    Limit,
    OnEncryption,
    looks_encrypted,
    reason_of_empty_root,
    reason_of_encryption,
    reason_to_brake,
)
from conflict.prospect import Prospect, prospect
from conflict.scan import contents_wanted
from conflict.synced import EntryId
from conflict.version import ActorId, Dot
from geosync.configuration.brakes import brake_lines, read_brake_limits
from geosync.configuration.table_reader import TableReader
from tests.support.small_site import SmallSite, World
from transport.brake_record import (
    BRAKE_PATHS_MAX,
    BrakeRecord,
    Decided,
    Engaged,
    Grown,
    Released,
    Settled,
    Verdict,
    decode_brake_record,
    encode_brake_record,
)
from transport.msgpack_codec import encode
from transport.wire_errors import WireFormatError

DEFAULT = BrakeLimits()
MIB = 1024 * 1024
ACTOR = ActorId(b"a" * 16)

counts = st.integers(0, 2**40)
limits_strategy = st.builds(
    Limit,
    count=st.integers(0, 1000),
    percent=st.integers(0, 100),
    size_mib=st.integers(0, 1000),
    per_hour=st.integers(0, 1000),
)


def _reason(
    count: int,
    entries: int,
    *,
    size_bytes: int = 0,
    hour: int = 0,
    kind: BrakeKind = BrakeKind.DELETION,
    limits: BrakeLimits = DEFAULT,
) -> str | None:
    return reason_to_brake(limits, kind, Amount(count, size_bytes), hour, entries)


# The rules


@pytest.mark.parametrize(
    ("count", "entries", "is_braked"),
    [
        (50, 60, False),
        (51, 60, True),
        (51, 509, True),
        (51, 510, False),
        (100, 1000, False),
        (101, 1000, True),
        (10_000, 100_000, False),
    ],
)
def test_deletions_need_a_person_beyond_a_number_and_a_share(
    count: int, entries: int, is_braked: bool
) -> None:
    assert (_reason(count, entries) is not None) == is_braked


def test_changes_have_limits_of_their_own() -> None:
    assert _reason(100, 120, kind=BrakeKind.CHANGE) is None
    assert _reason(101, 120, kind=BrakeKind.CHANGE) is not None
    assert _reason(101, 404, kind=BrakeKind.CHANGE) is None


def test_sizes_and_numbers_within_an_hour_count_too() -> None:
    size_bytes = (DEFAULT.deletions.size_mib + 1) * MIB
    assert "MiB" in str(_reason(1, 1000, size_bytes=size_bytes))
    assert "within an hour" in str(_reason(1, 10**6, hour=DEFAULT.deletions.per_hour + 1))
    assert _reason(1, 10**6, size_bytes=10**15, kind=BrakeKind.CHANGE, hour=10**6) is None


@given(limit=limits_strategy, count=counts, more=counts, size_bytes=counts, hour=counts)
def test_who_brakes_for_less_brakes_for_more(
    limit: Limit, count: int, more: int, size_bytes: int, hour: int
) -> None:
    limits = BrakeLimits(deletions=limit)
    less = _reason(count, 1000, size_bytes=size_bytes, hour=hour, limits=limits)
    larger = _reason(count + more, 1000, size_bytes=size_bytes + more, hour=hour, limits=limits)
    assert less is None or larger is not None


@given(limit=limits_strategy, share=st.integers(2, 10), count=counts, hour=counts)
def test_a_share_of_the_limits_holds_all_that_the_limits_hold(
    limit: Limit, share: int, count: int, hour: int
) -> None:
    limits = BrakeLimits(deletions=limit)
    whole = _reason(count, 1000, hour=hour, limits=limits)
    part = _reason(count, 1000, hour=hour, limits=limits.divided_by(share))
    assert whole is None or part is not None


@given(count=counts, entries=counts, size_bytes=counts, hour=counts)
def test_brakes_that_are_off_hold_nothing(
    count: int, entries: int, size_bytes: int, hour: int
) -> None:
    assert _reason(count, entries, size_bytes=size_bytes, hour=hour, limits=NO_BRAKES) is None
    assert reason_of_empty_root(NO_BRAKES, entries) is None
    assert reason_of_encryption(NO_BRAKES, count, "") is None


def test_an_empty_root_needs_a_person_unless_it_held_next_to_nothing() -> None:
    assert reason_of_empty_root(DEFAULT, EMPTIED_ROOT_ENTRIES_MIN - 1) is None
    assert reason_of_empty_root(DEFAULT, EMPTIED_ROOT_ENTRIES_MIN) is not None
    assert reason_of_empty_root(BrakeLimits(is_empty_root_held=False), 10**6) is None


def test_encryption_is_suspected_of_many_files_that_compressed_before() -> None:
    assert reason_of_encryption(DEFAULT, ENCRYPTED_FILES_MIN - 1, "") is None
    assert ".locked" in str(reason_of_encryption(DEFAULT, ENCRYPTED_FILES_MIN, ".locked"))
    off = BrakeLimits(on_encryption=OnEncryption.OFF)
    assert reason_of_encryption(off, ENCRYPTED_FILES_MIN, "") is None
    assert looks_encrypted(0.3, 1.0)
    assert not looks_encrypted(1.0, 1.0)  # a picture, before and after
    assert not looks_encrypted(0.3, 0.4)
    assert not looks_encrypted(None, 1.0)


# What would go


@pytest.fixture
def site() -> SmallSite:
    """A site with ten files in a directory."""
    site = SmallSite(1, World())
    site.application.make_directory(b"d")
    for number in range(10):
        site.application.write(b"d/%d" % number, b"content %d" % number)
    site.settle()
    return site


def _ahead(site: SmallSite) -> Prospect:
    """Looks ahead where all that is missing is known to be gone."""
    scan = site.scan()
    contents = site.read(contents_wanted(site.synced, scan))
    return prospect(site.synced, scan, contents, frozenset(map(EntryId, range(100))))


def test_moves_and_renames_take_nothing_away(site: SmallSite) -> None:
    site.application.rename(b"d", b"renamed")
    site.application.rename(b"renamed/3", b"moved")
    found = _ahead(site)
    assert (found.deleted, found.replaced, found.created) == ({}, {}, {})


def test_a_deleted_directory_takes_all_away_that_is_in_it(site: SmallSite) -> None:
    for number in range(10):
        site.application.remove(b"d/%d" % number)
    site.application.remove(b"d")
    found = _ahead(site)
    assert found.amount(set(found.deleted)) == Amount(11, 90)
    assert found.replaced == {}


def test_an_atomic_save_replaces_one_file_and_deletes_none(site: SmallSite) -> None:
    site.application.write(b"d/new", b"other content")
    site.application.rename(b"d/new", b"d/3")
    found = _ahead(site)
    assert found.deleted == found.created == {}
    assert [replaced.now_at for replaced in found.replaced.values()] == [(b"d", b"3")]
    assert found.amount(set(found.replaced)) == Amount(1, len(b"content 3"))


def test_a_file_that_was_moved_and_rewritten_is_replaced(site: SmallSite) -> None:
    site.application.rename(b"d/3", b"d/3.locked")
    site.application.write(b"d/3.locked", b"other content")
    found = _ahead(site)
    assert found.deleted == found.created == {}
    (replaced,) = found.replaced.values()
    assert (replaced.entry.name, replaced.now_at) == (b"3", (b"d", b"3.locked"))


def test_new_files_and_new_attributes_take_nothing_away(site: SmallSite) -> None:
    site.application.write(b"d/new", b"content")
    site.application.chmod(b"d/3", 0o600)
    found = _ahead(site)
    assert (found.deleted, found.replaced) == ({}, {})
    assert list(found.created) == [(b"d", b"new")]


# The configuration


def _read(table: dict[str, object]) -> tuple[BrakeLimits, list[str]]:
    reader = TableReader("[brakes] ", table, [], ())
    limits = read_brake_limits(reader)
    return limits, [problem.key for problem in reader.problems]


def test_a_table_sets_what_it_names_and_leaves_the_rest() -> None:
    limits, problems = _read({"deleted_count": 7, "changed_percent": 3, "encryption": "brake"})
    assert problems == []
    assert limits.deletions == Limit(7, 10, 20_480, 10_000)
    assert limits.changes == Limit(100, 3, 0, 0)
    assert limits.on_encryption is OnEncryption.BRAKE
    assert _read({}) == (DEFAULT, [])


def test_all_that_is_wrong_with_a_table_is_reported_at_once() -> None:
    table: dict[str, object] = {
        "enabled": "yes",
        "deleted_percent": 101,
        "deleted_number": 5,
        "window_s": 0,
        "encryption": "stop",
    }
    assert sorted(_read(table)[1]) == sorted(f"[brakes] {key}" for key in table)


@given(limit=limits_strategy, window_s=st.integers(1, 86_400), is_on=st.booleans())
def test_a_table_that_was_written_reads_back(limit: Limit, window_s: int, is_on: bool) -> None:
    import tomllib  # noqa: PLC0415 - of this test only

    limits = BrakeLimits(
        is_on=is_on, window_s=window_s, changes=limit, on_encryption=OnEncryption.OFF
    )
    assert _read(tomllib.loads(brake_lines(limits)))[0] == limits


# What sites tell each other

dots = st.builds(Dot, st.just(ACTOR), st.integers(1, 2**40))
records = st.one_of(
    st.builds(
        Engaged,
        kind=st.sampled_from(BrakeKind),
        since_ms=counts,
        amount=st.builds(Amount, counts, counts),
        reason=st.text(),
        paths=st.lists(st.binary(), max_size=BRAKE_PATHS_MAX).map(tuple),
    ),
    st.builds(Decided, dots, st.sampled_from(Verdict)),
    st.builds(Released, st.integers(1, 2**40)),
    st.builds(Grown, st.integers(1, 2**40), st.builds(Amount, counts, counts)),
    st.builds(
        Settled,
        st.just(ACTOR),
        st.integers(1, 100),
        st.integers(100, 200),
        st.sampled_from(Verdict),
        st.none() | st.sampled_from(BrakeKind),
    ),
)


@given(record=records)
def test_a_record_reads_back(record: BrakeRecord) -> None:
    assert decode_brake_record(encode_brake_record(record)) == record


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        encode(()),
        encode((9, 1)),
        encode((False, 0, 0, 0, 0, b"", ())),
        encode((0, 7, 0, 0, 0, b"", ())),
        encode((0, 0, 0, 0, 0, b"\xff", ())),
        encode((1, b"short", 1, 1)),
        encode((1, ACTOR, 0, 1)),
        encode((1, ACTOR, 1, 3)),
        encode((3, ACTOR, 2, 1, 1, None)),
        encode((2, 1, 1)),
    ],
)
def test_what_is_no_record_is_refused(body: bytes) -> None:
    with pytest.raises(WireFormatError):
        decode_brake_record(body)


@given(
    first=st.integers(1, 50),
    length=st.integers(0, 50),
    dot=dots,
    kind=st.sampled_from(BrakeKind),
    of=st.none() | st.sampled_from(BrakeKind),
)
def test_a_decision_covers_just_its_operations(
    first: int, length: int, dot: Dot, kind: BrakeKind, of: BrakeKind | None
) -> None:
    settled = Settled(ACTOR, first, first + length, Verdict.APPROVED, of)
    is_among = first <= dot.counter <= first + length
    assert settled.covers(dot, kind) == (is_among and (of is None or of is kind))
    assert not settled.covers(Dot(ActorId(b"b" * 16), dot.counter), kind)
