"""Merging texts line by line: laws that hold of all texts, and what it takes to be merged."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflict.line_merge import join_lines, matches, merged, split_lines, united

LINES = st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"long line\n"])
TEXTS = st.builds(
    lambda lines, rest: b"".join(lines) + rest,
    st.lists(LINES, max_size=9),
    st.sampled_from([b"", b"x"]),
)


@given(TEXTS, TEXTS)
def test_who_changed_nothing_does_not_count(base: bytes, changed: bytes) -> None:
    assert merged(base, base, changed) == merged(base, changed, base) == changed
    assert united(base, base, changed) == united(base, changed, base) == changed


@given(TEXTS, TEXTS)
def test_the_same_change_on_both_sides_is_made_once(base: bytes, changed: bytes) -> None:
    assert merged(base, changed, changed) == united(base, changed, changed) == changed


@given(TEXTS, TEXTS, TEXTS)
def test_a_union_has_all_lines_that_a_side_has_added(base: bytes, one: bytes, other: bytes) -> None:
    def count(text: bytes) -> Counter[bytes]:
        return Counter(line.rstrip(b"\n") for line in split_lines(text))

    found = count(united(base, one, other))
    for side in (one, other):
        assert count(side) - count(base) <= found


@given(TEXTS, TEXTS, TEXTS)
def test_a_merge_without_dispute_is_the_union(base: bytes, one: bytes, other: bytes) -> None:
    found = merged(base, one, other)
    assert found in (None, united(base, one, other))


@given(TEXTS, TEXTS)
def test_matched_lines_are_equal_and_in_order(one: bytes, other: bytes) -> None:
    first, second = split_lines(one), split_lines(other)
    found = matches(first, second)
    assert all(first[i] == second[j] for i, j in found)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))


@given(TEXTS)
def test_lines_make_the_text_that_they_were_cut_from(text: bytes) -> None:
    assert join_lines(split_lines(text)) == text


@given(st.lists(st.integers(1, 29), min_size=2, max_size=2, unique=True))
def test_changes_of_lines_that_are_apart_are_merged(changed: list[int]) -> None:
    """However many equal lines are around them."""
    base = [b"%d\n" % number if number % 3 else b"\n" for number in range(30)]
    one, other = list(base), list(base)
    one[min(changed)] = b"changed by one\n"
    other[max(changed)] = b"changed by other\n"
    found = merged(*(b"".join(lines) for lines in (base, one, other)))
    if max(changed) - min(changed) > 4:
        assert found is not None
        assert found.count(b"changed by") == 2
    elif found is not None:
        assert {b"changed by one\n", b"changed by other\n"} <= set(split_lines(found))


@pytest.mark.parametrize(
    ("base", "one", "other", "expected"),
    [
        (b"1\n2\n3\n", b"one\n2\n3\n", b"1\n2\nthree\n", b"one\n2\nthree\n"),
        (b"1\n2\n3\n", b"2\n3\n", b"1\n2\n3\n4\n", b"2\n3\n4\n"),
        (b"1\n", b"2\n", b"3\n", None),
        (b"", b"2\n", b"3\n", None),
    ],
)
def test_merges(base: bytes, one: bytes, other: bytes, expected: bytes | None) -> None:
    assert merged(base, one, other) == expected


@pytest.mark.parametrize(
    ("base", "one", "other", "expected"),
    [
        (b"1\n", b"1\na\n", b"1\nb\n", b"1\na\nb\n"),
        (b"1\n", b"1\na", b"1\nb", b"1\na\nb"),
        (b"", b"# log\na\n", b"# log\nb\n", b"# log\na\nb\n"),
        (b"1\n2\n", b"2\na\n", b"1\n2\nb\n", b"2\na\nb\n"),
    ],
)
def test_unions(base: bytes, one: bytes, other: bytes, expected: bytes) -> None:
    assert united(base, one, other) == expected


def test_a_long_text_of_equal_lines_is_matched_in_no_time_at_all() -> None:
    """It is not compared line by line with each other: that would take minutes."""
    one, other = [b"\n"] * 200_000 + [b"a\n"], [b"b\n"] + [b"\n"] * 200_000
    assert len(matches(one, other)) == 0
