"""What programs do on two sites before one of their engines dies: short, and each time the same.

Every content is there once, so that it can be looked for afterwards.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from geosync.disk.renames import exchange
from geosync.disk.tree import Place
from tests.support.local_sites import LocalSite
from tests.support.system_call_kills import SystemCall

LARGE_SIZE_BYTES: Final = 120_000  # travels in a pack
_EXCHANGE_FLAG: Final = 2
_FLAGS_ARGUMENT: Final = 4

Change = Callable[[LocalSite], None]


@dataclass(slots=True)
class Meanwhile:
    """A program at work beside the engine that is about to die. This one does nothing.

    Attributes:
        site: where it works.
        written: the contents that it has put on the disk so far.
    """

    site: LocalSite
    written: set[bytes] = field(default_factory=set)

    def __call__(self, call: SystemCall) -> None:
        """Is called while the engine stands before a system call that changes something."""

    def close(self) -> None:
        """Ends."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story.

    Attributes:
        name: for people.
        away: what happens at the other site before the engine starts.
        here: what happens at the site whose engine dies.
        meanwhile: makes the program that works beside it.
        has_one_outcome: whether the log is the same wherever the engine dies. Where a program
            races with it, or both sites change a file, who was first decides.
        joins: whether the site whose engine dies has never been there before.
    """

    name: str
    away: Change | None = None
    here: Change | None = None
    meanwhile: Callable[[LocalSite], Meanwhile] = Meanwhile
    has_one_outcome: bool = True
    joins: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def is_alone(self) -> bool:
        """Tells whether no program works beside the engine."""
        return self.meanwhile is Meanwhile


def seed(site: LocalSite) -> None:
    """Makes the files that both sites have before anything happens."""
    site.write(b"notes", b"first notes")
    site.write(b"other", b"other notes")
    site.write(b"gone", b"goes away")
    site.write(b"large", content(b"large"))
    os.link(site.path(b"other"), site.path(b"linked"))
    for name in (b"1", b"2"):
        site.write(b"album/summer/" + name, b"picture " + name)
    site.write(b"old/file", b"in an old directory")


def content(name: bytes) -> bytes:
    """Returns a large content of its own for a name."""
    return random.Random(name).randbytes(LARGE_SIZE_BYTES)


def _create(site: LocalSite) -> None:
    site.write(b"new/deep/small", b"a new small file")
    site.write(b"new/large", content(b"new"))
    os.symlink(b"../notes", site.path(b"new/link"))


def _modify(site: LocalSite) -> None:
    site.write(b"notes", b"second notes, longer")
    site.write(b"large", content(b"large, changed"))
    os.chmod(site.path(b"album"), 0o750)
    os.utime(site.path(b"gone"), ns=(1, 1_600_000_000_123_456_789))


def _save(site: LocalSite, path: bytes, new: bytes) -> None:
    """Writes to a new file and renames it over the old one, as editors do."""
    site.write(path + b"~", new)
    os.rename(site.path(path + b"~"), site.path(path))


def _atomic_save(site: LocalSite) -> None:
    _save(site, b"notes", b"second notes, saved")
    _save(site, b"large", content(b"large, saved"))


def _rename_file(site: LocalSite) -> None:
    os.rename(site.path(b"notes"), site.path(b"renamed"))
    os.rename(site.path(b"gone"), site.path(b"album/moved"))


def _rename_directory(site: LocalSite) -> None:
    os.rename(site.path(b"album"), site.path(b"pictures"))
    os.rename(site.path(b"old"), site.path(b"pictures/summer/old"))


def _delete(site: LocalSite) -> None:
    os.unlink(site.path(b"gone"))
    shutil.rmtree(site.path(b"album"))


def _hard_link(site: LocalSite) -> None:
    os.link(site.path(b"notes"), site.path(b"album/link of notes"))
    site.write(b"linked", b"other notes, written through another name")
    os.link(site.path(b"gone"), site.path(b"between"))
    os.rename(site.path(b"between"), site.path(b"old/file"))


def _swap(site: LocalSite) -> None:
    root = os.open(site.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        exchange(Place(root, b"notes"), Place(root, b"gone"))
        exchange(Place(root, b"album"), Place(root, b"old"))
    finally:
        os.close(root)


def _replace_and_swap(site: LocalSite) -> None:
    _swap(site)
    _save(site, b"notes", b"new notes, under the other name")
    site.write(b"old/summer/1", b"picture 1, in the swapped directory")


def _replace_directory(site: LocalSite) -> None:
    """As `rm -r` and `cp -a` do: the directory and what is in it are others now."""
    shutil.rmtree(site.path(b"album"))
    site.write(b"album/summer/1", b"another picture 1")
    site.write(b"album/winter/3", b"picture 3")


def _pass_names_on(site: LocalSite) -> None:
    """One directory takes the name of another that is gone, and a new one takes its name."""
    shutil.rmtree(site.path(b"old"))
    os.rename(site.path(b"album"), site.path(b"old"))
    site.write(b"album/summer/1", b"another picture 1")
    os.rename(site.path(b"old/summer"), site.path(b"album/summer of before"))
    site.write(b"old/summer/file", b"in a new directory of an old one")


def _edit_there(site: LocalSite) -> None:
    site.write(b"notes", b"notes of the other site")
    _save(site, b"large", content(b"large of the other site"))
    site.write(b"both", b"made there")


def _edit_here(site: LocalSite) -> None:
    site.write(b"notes", b"notes of this site")
    _save(site, b"large", content(b"large of this site"))
    site.write(b"both", b"made here")


def _rename_and_delete(site: LocalSite) -> None:
    os.rename(site.path(b"notes"), site.path(b"notes of this site"))
    os.unlink(site.path(b"large"))
    os.rename(site.path(b"old"), site.path(b"album/old"))


def _own_files(site: LocalSite) -> None:
    site.write(b"mine/file", b"this site's own")
    site.write(b"mine/large", content(b"mine"))
    site.write(b"notes", b"notes of a site that joins")
    site.write(b"gone", b"goes away")  # as at the other site


class _SavesDuringSwap(Meanwhile):
    """Renames a file of its own over a name right before the engine swaps what is there."""

    def __call__(self, call: SystemCall) -> None:
        if is_exchange(call) and not self.written:
            self.written.add(b"notes, saved at the last moment")
            _save(self.site, b"notes", b"notes, saved at the last moment")


class _WritesLate(Meanwhile):
    """Writes to a file that it had open while the engine displaced it."""

    def __init__(self, site: LocalSite) -> None:
        super().__init__(site)
        self._open = os.open(site.path(b"notes"), os.O_RDONLY)
        self._was_displaced = False

    def __call__(self, call: SystemCall) -> None:
        if is_exchange(call):
            self._was_displaced = True
        elif self._was_displaced and call.name == "syncfs" and not self.written:
            self.written.add(b"first notes, written late")
            path = f"/proc/self/fd/{self._open}"
            again = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
            os.write(again, b", written late")
            os.close(again)

    def close(self) -> None:
        os.close(self._open)


def is_exchange(call: SystemCall) -> bool:
    """Tells whether a call exchanges two names."""
    return call.name == "renameat2" and bool(call.arguments[_FLAGS_ARGUMENT] & _EXCHANGE_FLAG)


def _write_notes(site: LocalSite) -> None:
    site.write(b"notes", b"second notes")


_CHANGES: Final = {
    "create": _create,
    "modify": _modify,
    "atomic save": _atomic_save,
    "rename file": _rename_file,
    "rename directory": _rename_directory,
    "delete": _delete,
    "hard link": _hard_link,
    "swap": _swap,
    "replace and swap": _replace_and_swap,
    "replace directory": _replace_directory,
    "pass names on": _pass_names_on,
}
SCENARIOS: Final = (
    *(Scenario(f"{name}, applied", away=change) for name, change in _CHANGES.items()),
    *(Scenario(f"{name}, captured", here=change) for name, change in _CHANGES.items()),
    Scenario("join", here=_own_files, joins=True),
    Scenario("conflict", away=_edit_there, here=_edit_here, has_one_outcome=False),
    Scenario(
        "edit against rename and delete",
        away=_edit_there,
        here=_rename_and_delete,
        has_one_outcome=False,
    ),
    Scenario(
        "save during the swap",
        away=_write_notes,
        meanwhile=_SavesDuringSwap,
        has_one_outcome=False,
    ),
    Scenario("late write", away=_write_notes, meanwhile=_WritesLate, has_one_outcome=False),
)
