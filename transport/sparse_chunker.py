"""Cuts files with long runs of zeros: the runs become holes, and what is between them chunks.

What is a hole depends on nothing but the bytes, never on how a disk happens to keep them: the
same bytes have the same chunks on every site, and a hole that is filled with zeros is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from conflict.content import Block, Zeros
from transport.chunker import cut

# Another number means other holes: every file that has one would be stored once more.
HOLE_UNIT_SIZE_BYTES = 1024 * 1024
_ZERO_UNIT: Final = bytes(HOLE_UNIT_SIZE_BYTES)


def cut_sparse(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yields the chunks and holes of a file that is read block by block.

    A file is looked at in units of 1 MiB, of which the last may be shorter. Units of nothing but
    zeros, as many as follow each other, are one hole, if the first of them is complete. What is
    between holes is cut as if it were a file of its own. How the blocks are split, and which
    zeros come as `Zeros`, makes no difference.

    Raises:
        ChunkerUnavailableError: see `transport.chunker.cut`.
    """
    for is_hole, pieces in groupby(cut_in_pieces(blocks), lambda piece: isinstance(piece, Zeros)):
        if is_hole:
            yield Zeros(sum(piece.size_bytes for piece in pieces if isinstance(piece, Zeros)))
        else:
            yield from pieces


def cut_in_pieces(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yields as `cut_sparse`, but a hole in pieces, as it is read: together they are the hole.

    So whoever reads a large file bit by bit is never kept for as long as its zeros last.
    """
    for is_hole, units in groupby(_units(blocks), lambda unit: isinstance(unit, Zeros)):
        if is_hole:
            yield from units
        else:
            yield from cut(unit for unit in units if isinstance(unit, bytes))


def _units(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yields data by units, and any number of units of zeros as one."""
    is_after_hole = False
    for unit in _aligned(blocks):
        if isinstance(unit, bytes):
            is_complete = len(unit) == HOLE_UNIT_SIZE_BYTES
            is_hole = (is_complete or is_after_hole) and unit == _ZERO_UNIT[: len(unit)]
            yield Zeros(len(unit)) if is_hole else unit
        else:
            is_hole = True
            yield unit
        is_after_hole = is_hole


def _aligned(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yields units; whole units of `Zeros` stay together, parts of one become bytes."""
    rest = bytearray()
    for block in blocks:
        if isinstance(block, Zeros):
            filling = min(block.size_bytes, -len(rest) % HOLE_UNIT_SIZE_BYTES)
            if filling:
                rest += bytes(filling)
            if len(rest) == HOLE_UNIT_SIZE_BYTES:
                yield bytes(rest)
                rest.clear()
            remaining = block.size_bytes - filling
            tail = remaining % HOLE_UNIT_SIZE_BYTES
            if remaining > tail:
                yield Zeros(remaining - tail)
            rest += bytes(tail)
        elif not rest and len(block) == HOLE_UNIT_SIZE_BYTES:
            yield block
        else:
            rest += block
            while len(rest) >= HOLE_UNIT_SIZE_BYTES:
                yield bytes(rest[:HOLE_UNIT_SIZE_BYTES])
                del rest[:HOLE_UNIT_SIZE_BYTES]
    if rest:
        yield bytes(rest)
