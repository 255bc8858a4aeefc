"""Chunk boundaries depend on the bytes alone."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from transport.chunker import cut

SIZES = (256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 700_000, 3_000_000)
NOISE = hashlib.shake_128(b"boundaries").digest(max(SIZES))
WHOLE = {size_bytes: list(cut([NOISE[:size_bytes]])) for size_bytes in SIZES}


@settings(deadline=None)
@given(st.sampled_from(SIZES), st.lists(st.integers(0, max(SIZES)), max_size=20))
def test_how_a_file_is_read_in_blocks_makes_no_difference(
    size_bytes: int, splits: list[int]
) -> None:
    """Empty blocks among them, which look like the end of a stream."""
    ends = [0, *sorted(min(split, size_bytes) for split in splits), size_bytes]
    blocks = [NOISE[start:end] for start, end in pairwise(ends)]
    assert list(cut(blocks)) == WHOLE[size_bytes]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 70_000))
def test_neither_do_many_small_blocks(block_size_bytes: int) -> None:
    noise = NOISE[:700_000]
    starts = range(0, len(noise), block_size_bytes)
    blocks = (noise[start : start + block_size_bytes] for start in starts)
    assert list(cut(blocks)) == WHOLE[700_000]
