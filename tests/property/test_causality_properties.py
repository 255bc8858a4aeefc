"""What holds of clocks, version vectors and names of copies, whatever the values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conflict.naming import copy_name
from conflict.operations import check_name
from conflict.stamp import AHEAD_TOLERANCE_MS, HybridClock, Stamp
from conflict.version import ActorId, Dot, VersionVector
from tests.support.strategies import dots, vectors

names = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.text(min_size=1, max_size=60).map(str.encode),
    st.text(alphabet="é€𝄞", min_size=60, max_size=127).map(lambda text: text.encode()[:255]),
).filter(lambda name: name not in (b".", b"..") and not {0, ord("/")} & set(name))


@given(vectors, vectors, vectors)
def test_vectors_are_a_lattice(a: VersionVector, b: VersionVector, c: VersionVector) -> None:
    """Join is commutative, associative and idempotent, and covers what it joins."""
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a
    assert a.join(b).covers(a)
    assert a.covers(b) == (a.join(b) == a)
    assert b.join(a.changed_since(b)) == a.join(b)


@given(vectors, dots)
def test_vector_includes_a_prefix(vector: VersionVector, dot: Dot) -> None:
    """A vector includes a dot exactly if knowing it too adds nothing."""
    assert vector.includes(dot) == (vector.join({dot.actor: dot.counter}) == vector)


@given(st.integers(0, 2**45), st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=20))
def test_clock_goes_forward_whatever_the_physical_one_does(now_ms: int, steps: list[int]) -> None:
    """Stamps of one actor rise, also while the physical clock is set back."""
    clock = HybridClock(ActorId(b"1" * 16))
    issued = []
    for step in steps:
        now_ms = max(0, now_ms + step)
        clock, stamp = clock.stamp(now_ms, ())
        issued.append(stamp)
    assert issued == sorted(set(issued))


@given(st.integers(0, 2**45), st.integers(-(2**40), 2**40))
def test_clock_follows_others_within_tolerance_only(now_ms: int, ahead_ms: int) -> None:
    """A seen stamp is passed, unless it is so far ahead that its clock must be broken."""
    ours, theirs = ActorId(b"1" * 16), ActorId(b"2" * 16)
    seen = Stamp(0, max(0, now_ms + ahead_ms) << 16, theirs)
    _, stamp = HybridClock(ours).observe(now_ms, seen).stamp(now_ms, ())
    assert (stamp > seen) == (ahead_ms <= AHEAD_TOLERANCE_MS)
    assert stamp.time_ms <= now_ms + AHEAD_TOLERANCE_MS
    _, later = HybridClock(ours).stamp(now_ms, [seen])
    assert later > seen


@given(names, dots, dots, st.integers(0, 2**46))
def test_copies_have_legal_names_of_their_own(
    name: bytes, dot: Dot, other: Dot, time_ms: int
) -> None:
    """Copies of one file never share a name, whose length any file system takes."""
    stamp = Stamp(0, time_ms << 16, dot.actor)
    copy = copy_name(name, dot, stamp)
    check_name(copy)
    assert copy != name
    if (dot.actor[:4], dot.counter) != (other.actor[:4], other.counter):
        assert copy != copy_name(name, other, stamp)


@given(names, dots)
def test_copy_of_a_text_name_is_text(name: bytes, dot: Dot) -> None:
    """Cutting splits no character, and keeps a short extension."""
    copy = copy_name(name, dot, Stamp(0, 0, dot.actor))
    try:
        name.decode()
    except UnicodeDecodeError:
        return
    copy.decode()
    stem, point, extension = name.rpartition(b".")
    if stem.strip(b".") and 1 <= len(extension) <= 10:
        assert copy.endswith(point + extension)
