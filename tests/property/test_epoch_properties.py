"""Epochs: all sites derive the same primary from the same declarations, and no two ever tie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conflict.epochs import NUMBER_MAX, Claim, Release, Stated, epoch_of, succession
from conflict.stamp import TICKS_MAX, Stamp
from conflict.version import ActorId, Dot, VersionVector
from transport.epoch_record import decode_epoch_statement, encode_epoch_statement

ACTORS = [ActorId(bytes([number]) * 16) for number in (1, 2, 3)]
SITES = ["bari", "cnaf", "paris"]


@st.composite
def histories(draw: st.DrawFn) -> list[Stated]:
    """Sites claim and release as they like, each knowing some of what the others said."""
    knows: list[list[Stated]] = [[], [], []]
    counters = [0, 0, 0]
    everything: list[Stated] = []
    for who, step in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12)):
        if step == 3:  # hears all that another one knows
            other = draw(st.integers(0, 2))
            knows[who] = list({*knows[who], *knows[other]})
            continue
        own = succession(knows[who])
        tenure = own.own(ACTORS[who])
        if step == 2:
            if tenure is None:
                continue
            statement: Claim | Release = Release(tenure.epoch)
        else:
            statement = Claim(own.next_number, SITES[who])
        received = VersionVector(
            {
                ACTORS[i]: max(e.dot.counter for e in knows[who] if e.dot.actor == ACTORS[i])
                for i in range(3)
                if any(e.dot.actor == ACTORS[i] for e in knows[who])
            }
        )
        counters[who] += 1
        stated = Stated(Dot(ACTORS[who], counters[who]), received, statement)
        knows[who].append(stated)
        everything.append(stated)
    return everything


@given(histories(), st.randoms())
def test_the_order_of_arrival_does_not_matter(history: list[Stated], random: object) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert succession(shuffled + shuffled[:3]) == succession(history)


@given(histories())
def test_no_two_claims_tie(history: list[Stated]) -> None:
    claims = [each for each in history if isinstance(each.statement, Claim)]
    found = succession(history)
    assert len(found.tenures) == len(claims)
    assert len({tenure.epoch for tenure in found.tenures}) == len(claims)


@given(histories())
def test_who_knows_of_a_claim_claims_a_higher_epoch(history: list[Stated]) -> None:
    found = succession(history)
    for earlier in found.tenures:
        for later in found.tenures:
            if later.received.includes(earlier.dot):
                assert later.epoch > earlier.epoch


@given(histories())
def test_a_release_ends_the_epoch_of_its_author_only(history: list[Stated]) -> None:
    for tenure in succession(history).tenures:
        ends = [
            each.dot
            for each in history
            if each.dot.actor == tenure.actor and each.statement == Release(tenure.epoch)
        ]
        assert (tenure.barrier is not None) == bool(ends)
        if tenure.barrier is not None:
            assert tenure.barrier.includes(min(ends))


@given(histories(), st.integers(0, 2), st.integers(1, 20))
def test_what_a_claimant_had_received_is_never_late(
    history: list[Stated], who: int, counter: int
) -> None:
    found = succession(history)
    dot = Dot(ACTORS[who], counter)
    for tenure in found.tenures:
        stamp = Stamp(tenure.epoch, 1, ACTORS[who])
        higher = [each for each in found.tenures if each.epoch > tenure.epoch]
        expected = any(not each.received.includes(dot) for each in higher)
        assert found.is_late(dot, stamp) == expected


@given(st.integers(1, NUMBER_MAX), st.binary(min_size=16, max_size=16))
def test_an_epoch_fits_into_a_stamp_and_comes_back_from_the_wire(number: int, actor: bytes) -> None:
    assert 0 < epoch_of(number, ActorId(actor)) <= TICKS_MAX
    for statement in (Claim(number, "bari"), Release(epoch_of(number, ActorId(actor)))):
        assert decode_epoch_statement(encode_epoch_statement(statement)) == statement
