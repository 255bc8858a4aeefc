"""Cutting files with holes: what is a hole follows from the bytes alone."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from conflict.content import Block, Zeros
from transport.chunker import cut
from transport.sparse_chunker import HOLE_UNIT_SIZE_BYTES, cut_sparse

MIB = HOLE_UNIT_SIZE_BYTES
NOISE = random.Random(1).randbytes(5 * MIB)


def shape(blocks: list[Block]) -> list[tuple[str, int]]:
    """Returns data and holes with their sizes, whatever the chunks of the data are."""
    runs: list[tuple[str, int]] = []
    for block in blocks:
        kind, size = (
            ("hole", block.size_bytes) if isinstance(block, Zeros) else ("data", len(block))
        )
        if runs and runs[-1][0] == kind == "data":
            size += runs.pop()[1]
        runs.append((kind, size))
    return runs


def split(data: bytes, size_bytes: int) -> Iterator[bytes]:
    for begin in range(0, len(data), size_bytes):
        yield data[begin : begin + size_bytes]


def test_a_file_without_holes_is_cut_as_ever() -> None:
    for data in (b"", b"small", bytes(MIB - 1), NOISE, NOISE[:300_000] + bytes(MIB)):
        assert list(cut_sparse([data])) == list(cut([data]))


def test_whole_units_of_zeros_are_one_hole_and_a_rest_of_zeros_after_it_too() -> None:
    assert shape(list(cut_sparse([bytes(MIB)]))) == [("hole", MIB)]
    assert shape(list(cut_sparse([bytes(3 * MIB + 5)]))) == [("hole", 3 * MIB + 5)]
    data = NOISE[:MIB] + bytes(2 * MIB) + b"tail"
    assert shape(list(cut_sparse([data]))) == [("data", MIB), ("hole", 2 * MIB), ("data", 4)]
    data = NOISE[:10] + bytes(3 * MIB) + NOISE[:MIB] + bytes(7)
    expected = [("data", MIB), ("hole", 2 * MIB), ("data", MIB + 17)]
    assert shape(list(cut_sparse([data]))) == expected


@pytest.mark.parametrize("size_bytes", [1000, 65_536, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_how_the_blocks_are_split_makes_no_difference(size_bytes: int) -> None:
    data = NOISE[: MIB + 5] + bytes(4 * MIB) + NOISE + bytes(MIB + 9)
    assert list(cut_sparse(split(data, size_bytes))) == list(cut_sparse([data]))


@pytest.mark.parametrize("before", [0, 1, MIB - 1, MIB, MIB + 1])
@pytest.mark.parametrize("hole", [1, MIB - 1, MIB, 3 * MIB + 7])
def test_zeros_are_the_same_whether_a_disk_keeps_them_or_not(before: int, hole: int) -> None:
    data = NOISE[:before] + bytes(hole) + NOISE[:100]
    told: list[Block] = [NOISE[:before], Zeros(hole), NOISE[:100]]
    assert list(cut_sparse(told)) == list(cut_sparse([data]))
    twice: list[Block] = [NOISE[:before], Zeros(1), Zeros(hole - 1), NOISE[:100]]
    assert list(cut_sparse(twice)) == list(cut_sparse([data]))


def test_a_terabyte_of_nothing_costs_nothing() -> None:
    assert list(cut_sparse([Zeros(2**40), b"end"])) == [Zeros(2**40), b"end"]
    assert list(cut_sparse([Zeros(2**62 + 1)])) == [Zeros(2**62 + 1)]
