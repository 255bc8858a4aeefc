"""Names of users and groups, as the volume calls them, and the numbers that they have here.

The volume knows owners by name, since numbers differ between machines, and by b"#" and the number
where there is no name. A site may call somebody by another name: its map says so.
"""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable, Mapping
from typing import Final

LIFETIME_S: Final = 60.0
_NUMBER_MAX = 2**32 - 2  # the one above means: leave it as it is


class Names:
    """Users, or groups, by name and by number; answers are remembered until `forget`.

    Args:
        name_of: asks the system for the name of a number; raises KeyError.
        number_of: asks the system for the number of a name; raises KeyError.
        local_names: the volume's name -> the name (or b"#" and number) here, where they differ.
    """

    def __init__(
        self,
        name_of: Callable[[int], str],
        number_of: Callable[[str], int],
        local_names: Mapping[bytes, bytes],
    ) -> None:
        self._ask_name = name_of
        self._ask_number = number_of
        self._local_names = dict(local_names)
        self._volume_names = {local: name for name, local in local_names.items()}
        self._names: dict[int, bytes] = {}
        self._numbers: dict[bytes, int | None] = {}
        self._names_before: dict[int, bytes] = {}
        self._numbers_before: dict[bytes, int] = {}

    def name_of(self, number: int) -> bytes:
        """Returns what the volume calls this number: a name, else b"#" and the number."""
        name = self._names.get(number)
        if name is None:
            name = self._names[number] = self._find_name(number)
        return name

    def _find_name(self, number: int) -> bytes:
        numeric = b"#%d" % number
        if numeric in self._volume_names:
            return self._volume_names[numeric]
        try:
            local = os.fsencode(self._ask_name(number))
        except KeyError:
            # A name service that does not answer looks the same as a user who is gone. Files must
            # not change their owners on all sites because of it.
            return self._names_before.get(number, numeric)
        # A name by which the volume calls somebody else can't stand for this one.
        own = numeric if local in self._local_names else local
        name = self._names_before[number] = self._volume_names.get(local, own)
        return name

    def number_of(self, name: bytes) -> int | None:
        """Returns the number here of what the volume calls by this name; None: nobody."""
        if name not in self._numbers:
            self._numbers[name] = self._find_number(name)
        return self._numbers[name]

    def _find_number(self, name: bytes) -> int | None:
        local = self._local_names.get(name, name)
        if local.startswith(b"#"):
            return _number(local[1:])
        try:
            number = self._ask_number(os.fsdecode(local))
        except (KeyError, ValueError):
            return self._numbers_before.get(name)
        self._numbers_before[name] = number
        return number

    def forget(self) -> None:
        """Asks the system again from now on; who was known stays so if it does not answer."""
        self._names.clear()
        self._numbers.clear()


class OwnerNames:
    """Users and groups of this machine.

    Attributes:
        users: all users.
        groups: all groups.
    """

    def __init__(
        self,
        local_users: Mapping[bytes, bytes] | None = None,
        local_groups: Mapping[bytes, bytes] | None = None,
        *,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        """See `Names` for the two maps; answers are at most `lifetime_s` old."""
        self.users = Names(
            lambda number: pwd.getpwuid(number).pw_name,
            lambda name: pwd.getpwnam(name).pw_uid,
            local_users or {},
        )
        self.groups = Names(
            lambda number: grp.getgrgid(number).gr_name,
            lambda name: grp.getgrnam(name).gr_gid,
            local_groups or {},
        )
        self._lifetime_s = lifetime_s
        self._asked_s = time.monotonic()

    def refresh(self) -> None:
        """Forgets answers that are too old; for between two pieces of work, never within one."""
        now_s = time.monotonic()
        if now_s - self._asked_s >= self._lifetime_s:
            self._asked_s = now_s
            self.users.forget()
            self.groups.forget()


def _number(digits: bytes) -> int | None:
    if not digits.isdigit() or len(digits) > 10:
        return None
    number = int(digits)
    return number if number <= _NUMBER_MAX else None
