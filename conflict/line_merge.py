"""Merging of texts line by line: two versions and what they come from. Pure and deterministic.

Lines are matched as in Bram Cohen's patience diff: those that are unique on both sides first, then
what lies between them. Texts without any such line are matched by their longest common subsequence
where that is cheap, and else taken for different. So the time is bounded by the size, and any two
sites that merge the same texts get the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Lines = Sequence[bytes]
_SMALL_PRODUCT_MAX = 100_000  # lines of one side times lines of the other


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a merge.

    Attributes:
        base: its lines in what both come from.
        first: its lines in the one version.
        second: its lines in the other version.
    """

    base: Lines
    first: Lines
    second: Lines

    @property
    def agreed(self) -> Lines | None:
        """The lines that both sides want; None when both changed them, and differently."""
        if self.second in (self.base, self.first):
            return self.first
        return self.second if self.first == self.base else None


def split_lines(text: bytes) -> list[bytes]:
    """Cuts a text after each newline; the last line may lack one."""
    lines = text.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def join_lines(lines: Lines) -> bytes:
    """Makes a text of lines; one that lacks its newline gets it, unless it is the last."""
    ended = [line if line.endswith(b"\n") else line + b"\n" for line in lines[:-1]]
    return b"".join((*ended, *lines[-1:]))


def three_way(base: Lines, first: Lines, second: Lines) -> list[Piece]:
    """Cuts three texts into pieces that begin and end at lines that all have."""
    in_first, in_second = dict(matches(base, first)), dict(matches(base, second))
    pieces: list[Piece] = []
    at, at_first, at_second = 0, 0, 0
    for index in (*sorted(in_first.keys() & in_second.keys()), None):
        ends = (
            (len(base), len(first), len(second))
            if index is None
            else (index, in_first[index], in_second[index])
        )
        piece = Piece(base[at : ends[0]], first[at_first : ends[1]], second[at_second : ends[2]])
        if piece.base or piece.first or piece.second:
            pieces.append(piece)
        if index is not None:
            pieces.append(Piece(*[base[index : index + 1]] * 3))
        at, at_first, at_second = (end + 1 for end in ends)
    return pieces


def merged(base: bytes, first: bytes, second: bytes) -> bytes | None:
    """Returns the text with the changes of both sides; None when these are about the same lines."""
    lines: list[bytes] = []
    for piece in three_way(*map(split_lines, (base, first, second))):
        if piece.agreed is None:
            return None
        lines += piece.agreed
    return join_lines(lines)


def united(base: bytes, first: bytes, second: bytes) -> bytes:
    """Returns the text with the changes of both sides, and both where they are about one place.

    There the lines of `first` go before those of `second`; lines that both have come once.
    """
    lines: list[bytes] = []
    for piece in three_way(*map(split_lines, (base, first, second))):
        agreed = piece.agreed
        lines += _both(piece.first, piece.second) if agreed is None else agreed
    return join_lines(lines)


def _both(first: Lines, second: Lines) -> Iterator[bytes]:
    at_first, at_second = 0, 0
    for i, j in (*matches(first, second), (len(first), len(second))):
        yield from first[at_first:i]
        yield from second[at_second:j]
        yield from first[i : i + 1]
        at_first, at_second = i + 1, j + 1


def matches(first: Lines, second: Lines) -> list[tuple[int, int]]:
    """Returns the indices of lines that are the same ones in both texts, in order."""
    found: list[tuple[int, int]] = []
    pending = [(0, len(first), 0, len(second))]
    while pending:
        low, high, low_second, high_second = pending.pop()
        while low < high and low_second < high_second and first[low] == second[low_second]:
            found.append((low, low_second))
            low, low_second = low + 1, low_second + 1
        while (
            low < high and low_second < high_second and first[high - 1] == second[high_second - 1]
        ):
            high, high_second = high - 1, high_second - 1
            found.append((high, high_second))
        if low == high or low_second == high_second:
            continue
        anchors = _anchors(first[low:high], second[low_second:high_second])
        at, at_second = low, low_second
        for i, j in anchors:
            found.append((low + i, low_second + j))
            pending.append((at, low + i, at_second, low_second + j))
            at, at_second = low + i + 1, low_second + j + 1
        if anchors:
            pending.append((at, high, at_second, high_second))
    return sorted(found)


def _anchors(first: Lines, second: Lines) -> list[tuple[int, int]]:
    """Returns matches to begin with: of lines that are unique, or all of a small text."""
    counts, counts_second = Counter(first), Counter(second)
    places = {line: j for j, line in enumerate(second) if counts_second[line] == 1}
    unique = [
        (i, places[line]) for i, line in enumerate(first) if counts[line] == 1 and line in places
    ]
    if unique:
        return _longest_increasing(unique)
    is_small = len(first) * len(second) <= _SMALL_PRODUCT_MAX
    return _longest_common(first, second) if is_small and counts.keys() & counts_second else []


def _longest_increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the longest part of pairs, sorted by their first, whose second increases too."""
    tops: list[int] = []  # the smallest second with which a part of each length ends
    ends: list[int] = []  # the index of that pair
    before: list[int] = []
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(tops, j)
        before.append(ends[length - 1] if length else -1)
        tops[length : length + 1] = [j]
        ends[length : length + 1] = [index]
    chosen: list[tuple[int, int]] = []
    at = ends[-1]
    while at >= 0:
        chosen.append(pairs[at])
        at = before[at]
    return chosen[::-1]


def _longest_common(first: Lines, second: Lines) -> list[tuple[int, int]]:
    """Returns a longest common subsequence, the earliest lines of both before others."""
    lengths = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in range(len(first) - 1, -1, -1):
        row, below = lengths[i], lengths[i + 1]
        for j in range(len(second) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if first[i] == second[j] else max(below[j], row[j + 1])
    chosen: list[tuple[int, int]] = []
    i = j = 0
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            chosen.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return chosen
