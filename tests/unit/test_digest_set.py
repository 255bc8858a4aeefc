"""The set of digests: as a set in memory, also when it is larger than what it keeps there."""

from __future__ import annotations

import hashlib
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from geosync.journal.digest_set import DigestSet
from tests.support.local_sites import quick_directory

MANY = 200_000  # of 32 bytes: more than it keeps in memory

changes = st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=2), max_size=6)))


@given(changes)
def test_it_holds_what_a_set_would_hold(steps: list[tuple[bool, list[bytes]]]) -> None:
    memory = set[bytes]()
    with quick_directory() as directory, closing(DigestSet(directory)) as digests:
        for is_added, some in steps:
            (digests.update if is_added else digests.difference_update)(some)
            (memory.update if is_added else memory.difference_update)(some)
            assert list(digests) == sorted(memory)


def test_it_takes_more_than_it_keeps_in_memory() -> None:
    every = [hashlib.sha256(b"%d" % number).digest() for number in range(MANY)]
    with quick_directory() as directory, closing(DigestSet(directory)) as digests:
        digests.update(every)
        digests.difference_update(every[1:-1])
        assert set(digests) == {every[0], every[-1]}
