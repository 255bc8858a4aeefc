"""Access control lists: the kernel's bytes and the volume's entries say the same."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosync.disk.access_lists import (
    ACCESS,
    DEFAULT,
    Subjects,
    entries_of,
    group_permissions,
    is_entry,
    packed_list,
    unknown_subjects,
)

NOBODY = 0xFFFFFFFF
USERS = {b"alice": 1001, b"bob": 1002}
GROUPS = {b"staff": 50, b"users": 100}


def subjects_of(users: dict[bytes, int], groups: dict[bytes, int]) -> Subjects:
    def name_in(known: dict[bytes, int], number: int) -> bytes:
        return next((name for name, own in known.items() if own == number), b"#%d" % number)

    def number_in(known: dict[bytes, int], name: bytes) -> int | None:
        return int(name[1:]) if name.startswith(b"#") else known.get(name)

    return Subjects(
        lambda number: name_in(users, number),
        lambda number: name_in(groups, number),
        lambda name: number_in(users, name),
        lambda name: number_in(groups, name),
    )


HERE = subjects_of(USERS, GROUPS)


def kernel_list(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# As `setfacl -m u:alice:rw,u:1234:r,g:staff:-,m::rw` on a file with mode 0664 leaves it.
KERNEL = kernel_list(
    (0x01, 6, NOBODY),
    (0x02, 6, 1001),
    (0x02, 4, 1234),
    (0x04, 4, NOBODY),
    (0x08, 0, 50),
    (0x10, 6, NOBODY),
    (0x20, 4, NOBODY),
)
VOLUME = {
    b"acl.access:user:alice": b"rw-",
    b"acl.access:user:#1234": b"r--",
    b"acl.access:group:": b"r--",
    b"acl.access:group:staff": b"---",
}


def test_an_access_list_names_its_subjects_and_leaves_the_mode_to_the_mode() -> None:
    assert dict(entries_of(ACCESS, KERNEL, HERE)) == VOLUME
    assert packed_list(ACCESS, VOLUME, 0o664, HERE) == KERNEL


def test_a_chmod_changes_the_list_as_the_kernel_does() -> None:
    changed = kernel_list(
        (0x01, 7, NOBODY),
        (0x02, 6, 1001),
        (0x02, 4, 1234),
        (0x04, 4, NOBODY),
        (0x08, 0, 50),
        (0x10, 5, NOBODY),
        (0x20, 0, NOBODY),
    )
    assert packed_list(ACCESS, VOLUME, 0o750, HERE) == changed


def test_numbers_of_another_machine_are_those_of_its_names() -> None:
    there = subjects_of({b"alice": 7}, {b"staff": 8})
    packed = packed_list(ACCESS, VOLUME, 0o664, there)
    assert packed is not None
    assert packed[4:][8:16] == struct.pack("<HHI", 0x02, 6, 7)
    assert dict(entries_of(ACCESS, packed, there)) == VOLUME


def test_who_is_unknown_here_is_left_out_and_told() -> None:
    nobody = subjects_of({}, {})
    packed = packed_list(ACCESS, VOLUME, 0o664, nobody)
    assert packed is not None
    assert dict(entries_of(ACCESS, packed, nobody)) == {
        b"acl.access:user:#1234": b"r--",
        b"acl.access:group:": b"r--",
    }
    assert set(unknown_subjects(VOLUME, nobody)) == {
        b"acl.access:user:alice",
        b"acl.access:group:staff",
    }


def test_two_names_for_one_number_have_what_both_have() -> None:
    twins = subjects_of({b"alice": 7, b"also-alice": 7}, {})
    entries = {b"acl.access:user:alice": b"rw-", b"acl.access:user:also-alice": b"r-x"}
    packed = packed_list(ACCESS, entries, 0o777, twins)
    assert packed is not None
    assert struct.pack("<HHI", 0x02, 4, 7) in packed


def test_a_default_list_keeps_all_of_its_entries() -> None:
    kernel = kernel_list(
        (0x01, 7, NOBODY),
        (0x02, 5, 1001),
        (0x04, 5, NOBODY),
        (0x10, 5, NOBODY),
        (0x20, 0, NOBODY),
    )
    entries = dict(entries_of(DEFAULT, kernel, HERE))
    assert entries == {
        b"acl.default:user:": b"rwx",
        b"acl.default:user:alice": b"r-x",
        b"acl.default:group:": b"r-x",
        b"acl.default:mask:": b"r-x",
        b"acl.default:other:": b"---",
    }
    assert packed_list(DEFAULT, entries, 0o700, HERE) == kernel
    assert packed_list(ACCESS, entries, 0o700, HERE) is None


def test_a_default_list_of_which_a_part_was_taken_away_is_completed() -> None:
    packed = packed_list(DEFAULT, {b"acl.default:user:bob": b"rwx"}, 0o750, HERE)
    assert packed == kernel_list(
        (0x01, 7, NOBODY),
        (0x02, 7, 1002),
        (0x04, 5, NOBODY),
        (0x10, 7, NOBODY),
        (0x20, 0, NOBODY),
    )


@pytest.mark.parametrize("packed", [b"", b"\1\0\0\0", KERNEL[:-1], b"\3" + KERNEL[1:]])
def test_what_is_no_list_has_no_entries(packed: bytes) -> None:
    assert list(entries_of(ACCESS, packed, HERE)) == []


@pytest.mark.parametrize(
    "entry", [b"acl.access:", b"acl.access:alice", b"acl.access:user", b"acl.access:mob:alice"]
)
def test_entries_from_others_that_are_none_change_nothing(entry: bytes) -> None:
    assert packed_list(ACCESS, VOLUME | {entry: b"rwx"}, 0o664, HERE) == KERNEL


def test_permissions_from_others_that_are_none_give_none() -> None:
    for text in (b"", b"rw", b"wr-", b"rwxr", b"\xff\0\0"):
        entries = VOLUME | {b"acl.access:user:bob": text}
        assert packed_list(ACCESS, entries, 0o664, HERE) == KERNEL


def test_the_owning_group_has_its_own_entry() -> None:
    assert group_permissions(VOLUME) == 4
    assert group_permissions({}) is None
    assert is_entry(b"acl.access:group:")
    assert not is_entry(b"user.acl.access:group:")


@given(
    st.dictionaries(st.integers(0, 2**32 - 2), st.integers(0, 7), max_size=5),
    st.dictionaries(st.integers(0, 2**32 - 2), st.integers(0, 7), max_size=5),
    st.integers(0, 7),
    st.integers(0, 0o777),
)
def test_every_list_comes_back_as_it_was(
    users: dict[int, int], groups: dict[int, int], owning_group: int, mode: int
) -> None:
    kernel = kernel_list(
        (0x01, mode >> 6, NOBODY),
        *((0x02, permissions, number) for number, permissions in sorted(users.items())),
        (0x04, owning_group, NOBODY),
        *((0x08, permissions, number) for number, permissions in sorted(groups.items())),
        (0x10, mode >> 3 & 7, NOBODY),
        (0x20, mode & 7, NOBODY),
    )
    assert packed_list(ACCESS, dict(entries_of(ACCESS, kernel, HERE)), mode, HERE) == kernel
