"""The journal of a root: whether the two belong together, and what becomes of one that does not.

Each start and each change leaves a new token in both. When one of them was restored from a backup,
or both from different ones, the tokens differ, and nothing may be inferred from the comparison: an
old file would look like an edit, a missing one like a deletion. Then the site joins anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from glob import glob
from typing import Final, Protocol

from conflict.errors import MalformedValueError
from geosync.clock import Clock
from geosync.engine.generation import expect_generations, fresh_token, is_same_generation
from geosync.engine.membership import check_names
from geosync.engine.retiring import bequest, inherit
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.journal.database import FILE_NAME
from geosync.journal.journal import Journal

ROOT_MARKER: Final = "root_marker"
"""The journal's setting with the token of the root: a root without it is not the right one."""

_REASON: Final = b".reason"
# Files in the state directory, in which a journal that is set aside leaves something to the next.
_MEMBERSHIP: Final = b"retired-actors"
_MARKER: Final = b"root-marker"  # until the next journal has it
_INCARNATION: Final = b"incarnation"  # subject of a problem
_SUFFIXES: Final = (b"", b"-wal", b"-shm")
_log = event_logger(__name__)


class Root(Protocol):
    """What the disk of a root must be able to do here; see PosixDisk."""

    def initialise(self, known_marker: bytes | None = None) -> bytes:
        """Returns the token in the marker. Raises RootLost."""
        ...

    def generation(self) -> bytes | None:
        """Returns the token that was left last. Raises OSError."""
        ...

    def set_generation(self, token: bytes) -> None:
        """Leaves a token. Raises OSError, RootLost."""
        ...

    def sync_changes(self) -> None:
        """Makes it durable. Raises OSError."""
        ...


def open_journal(
    state_dir: bytes,
    disk: Root,
    names: tuple[str, str],
    clock: Clock,
    *,
    opening: Callable[[bytes], Journal] = Journal,
) -> Journal:
    """Opens the journal of a root, a fresh one if the one that is there is not of this root.

    Args:
        state_dir: where it lies.
        disk: of the root; it is initialised here.
        names: of the volume and of the site.
        clock: of this machine.
        opening: opens what is in a state directory: an argument, so that simulation can choose.

    Raises:
        RootLost: the directory is not the one that the journal knows; mount that.
        OperatorError: the journal can't be opened, or is of another volume or site.
    """
    journal = opening(state_dir)
    try:
        check_names(journal, names)
        marker = disk.initialise(journal.setting(ROOT_MARKER) or _left(state_dir, _MARKER))
        if not is_same_generation(journal, disk.generation()):
            journal.close()
            set_journal_aside(
                state_dir,
                "the directory and the journal are not of the same moment: one of them was"
                " restored from a backup",
            )
            journal = opening(state_dir)
        _tell(journal, state_dir, clock)
        _inherit(journal, state_dir)
        _begin_generation(journal, disk, marker)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(state_dir, _MARKER))
    except BaseException:
        journal.close()
        raise
    return journal


def set_journal_aside(state_dir: bytes, reason: str) -> None:
    """Keeps a journal that must not be gone on with under another name; the next one is fresh.

    CRASH: the file itself is renamed last; what is renamed before belongs to no other journal.
    """
    _bequeath(state_dir)
    number = 1
    while os.path.exists(_aside(state_dir, number)):
        number += 1
    for suffix in reversed(_SUFFIXES):
        path = os.path.join(state_dir, FILE_NAME + suffix)
        if os.path.exists(path):
            os.rename(path, _aside(state_dir, number) + suffix)
    with open(_aside(state_dir, number) + _REASON, "w", encoding="utf-8") as file:
        file.write(reason)
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    _log.warning("journal_set_aside", reason=reason, kept_as=_aside(state_dir, number))


def _bequeath(state_dir: bytes) -> None:
    """Keeps who was retired: the next journal must know that before it reads any log.

    And which directory is the root: what is in its place while it is not mounted is not joined.
    """
    try:
        with closing(Journal(state_dir, is_read_only=True)) as journal:
            membership, marker = bequest(journal), journal.setting(ROOT_MARKER)
    except (OperatorError, sqlite3.Error, MalformedValueError) as error:
        _log.warning("earlier_journal_not_read", reason=str(error))
        return
    _leave(state_dir, _MEMBERSHIP, membership)
    if marker is not None:
        _leave(state_dir, _MARKER, marker)


def _leave(state_dir: bytes, name: bytes, value: bytes) -> None:
    """Writes a file. CRASH: a part of it is never taken for the whole; it is written anew."""
    path = os.path.join(state_dir, name)
    with open(path + b".new", "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + b".new", path)


def _left(state_dir: bytes, name: bytes) -> bytes | None:
    with suppress(FileNotFoundError), open(os.path.join(state_dir, name), "rb") as file:
        return file.read()
    return None


def _inherit(journal: Journal, state_dir: bytes) -> None:
    if journal.setting("actor") is not None:
        return
    membership = _left(state_dir, _MEMBERSHIP)
    if membership is not None:
        inherit(journal, membership)


def _aside(state_dir: bytes, number: int) -> bytes:
    return os.path.join(state_dir, b"superseded-%d-" % number + FILE_NAME)


def _tell(journal: Journal, state_dir: bytes, clock: Clock) -> None:
    """Shows in the status, until the next start, why the site joins anew."""
    reasons = sorted(glob(_aside(state_dir, 0).replace(b"-0-", b"-*-") + _REASON))
    if journal.setting("actor") is not None or not reasons:
        journal.clear_problem(_INCARNATION)
        return
    with open(max(reasons, key=os.path.getmtime), encoding="utf-8") as file:
        reason = file.read()
    text = (
        f"{reason}. Where this machine or a part of it was restored or cloned, or the site was"
        " retired, it joins anew: what lay on its disk was compared with the volume, and what"
        " nobody else had is kept. Look at the conflicts; nothing else is to be done."
    )
    journal.set_problem(_INCARNATION, text, clock.wall_ns() // 1_000_000)


def _begin_generation(journal: Journal, disk: Root, marker: bytes) -> None:
    """Leaves a new token in both.

    CRASH: while it is left in the directory, the journal knows the old one and the new one.
    """
    token = fresh_token()
    with journal.transaction():
        journal.set_setting(ROOT_MARKER, marker)
        expect_generations(journal, disk.generation(), token)
    disk.set_generation(token)
    disk.sync_changes()
    with journal.transaction():
        expect_generations(journal, token, fresh_token())
