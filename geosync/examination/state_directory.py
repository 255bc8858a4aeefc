"""The state directory: whether it can be used, is private, and belongs to this site."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.mounts import mount_of
from geosync.examination.process import Worker
from geosync.examination.shell_commands import own_command, quoted
from geosync.examination.space import examine_space
from geosync.journal.database import FILE_NAME
from geosync.journal.journal import Journal
from geosync.terminal import display_name

VOLATILE_KINDS: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Memory:
    """What the journal remembers; None for what it does not, or could not be asked."""

    root_marker: bytes | None = None
    volume_key: bytes | None = None


def remember(configuration: Configuration) -> Memory:
    """Asks the journal, if it can be opened."""
    try:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            return Memory(journal.setting("root_marker"), journal.setting("volume_key"))
    except OperatorError:
        return Memory()


def examine_state_directory(configuration: Configuration, worker: Worker) -> Iterator[Finding]:
    """Looks at the state directory and the journal in it."""
    directory = configuration.state_dir
    shown = display_name(directory)
    existing = directory
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if existing != directory:
        yield _missing(directory, existing)
        yield examine_space(Subject.STATE_SPACE, existing)
        return
    status = os.stat(directory)
    if not stat.S_ISDIR(status.st_mode):
        remedy = "move it away, or correct `state_dir` in the configuration"
        yield Finding(Subject.STATE_DIRECTORY, Level.FAILURE, f"{shown} is no directory", remedy)
        return
    if not worker.is_daemon and not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        text = f"user {worker.user} may not write to {shown}"
        remedy = "run geosync as its owner, or give it to the user that runs geosync"
        yield Finding(Subject.STATE_DIRECTORY, Level.FAILURE, text, remedy)
        return
    yield _where(directory, status.st_mode)
    yield _journal(configuration)
    yield examine_space(Subject.STATE_SPACE, directory)


def _where(directory: bytes, mode: int) -> Finding:
    """Looks at the file system on which the directory lies, and at who may enter it."""
    shown, mount = display_name(directory), mount_of(directory)
    kind = None if mount is None else mount.kind
    facts = {"kind": kind, "mode": f"{stat.S_IMODE(mode):04o}"}
    if mount is not None and mount.is_network:
        text = f"{shown} lies on {kind}, whose locks and syncs SQLite can't rely on"
        remedy = "stop the daemon, move the directory to a local disk, and correct `state_dir`"
        return Finding(Subject.STATE_DIRECTORY, Level.WARNING, text, remedy, facts)
    if kind in VOLATILE_KINDS:
        text = (
            f"{shown} lies on {kind}, which is empty after a restart of the machine: the site then"
            " joins anew, and what was captured and not stored is gone"
        )
        remedy = "stop the daemon, move the directory to a disk, and correct `state_dir`"
        return Finding(Subject.STATE_DIRECTORY, Level.WARNING, text, remedy, facts)
    if mode & 0o077:
        text = f"{shown} is open to other users, and holds the volume's key"
        remedy = "close it to them"
        commands = (f"chmod 0700 {quoted(directory)}",)
        return Finding(Subject.STATE_DIRECTORY, Level.WARNING, text, remedy, facts, commands)
    text = f"{shown} is there, on {kind}" if kind else f"{shown} is there"
    return Finding(Subject.STATE_DIRECTORY, Level.OK, text, facts=facts)


def _missing(directory: bytes, existing: bytes) -> Finding:
    text = f"{display_name(directory)} is not there yet"
    if os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return Finding(Subject.STATE_DIRECTORY, Level.OK, f"{text}; it is made at the first start")
    return Finding(
        Subject.STATE_DIRECTORY,
        Level.FAILURE,
        f"{text}, and user {os.geteuid()} may not write to {display_name(existing)}",
        "create it, and give it to the user that runs geosync",
        commands=(f"install -d -m 0700 -o {os.geteuid()} {quoted(directory)}",),
    )


def _journal(configuration: Configuration) -> Finding:
    if not os.path.exists(os.path.join(configuration.state_dir, FILE_NAME)):
        return Finding(Subject.JOURNAL, Level.OK, "this site has not joined its volume yet")
    try:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            names = tuple((journal.setting(key) or b"").decode() for key in ("volume", "site"))
            problems = len(journal.problems())
    except OperatorError as error:
        return Finding(Subject.JOURNAL, Level.FAILURE, str(error), "do what that says")
    if names not in {("", ""), (configuration.volume, configuration.site)}:
        return Finding(
            Subject.JOURNAL,
            Level.FAILURE,
            f"the journal belongs to site {names[1]!r} of volume {names[0]!r}",
            "give each site of each volume a state_dir of its own, or correct the names",
        )
    if problems:
        return Finding(
            Subject.JOURNAL,
            Level.WARNING,
            f"the journal tells of {problems} problems",
            "look at them",
            {"problems": problems},
            (own_command(configuration, "status"),),
        )
    return Finding(Subject.JOURNAL, Level.OK, "the journal can be read", facts={"problems": 0})
