"""The limits of inotify and of open files, against what this tree needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from geosync.disk.interface import PRIVATE_DIRECTORY
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.process import Worker
from geosync.examination.shell_commands import kernel_setting, service_setting

_SYSCTL: Final = "/proc/sys/fs/inotify/"
DIRECTORIES_COUNTED_MAX: Final = 5_000_000
DESCRIPTORS_MIN: Final = 1024
EVENT_QUEUE_MIN: Final = 16_384


def examine_watching(root: bytes, volume: str, worker: Worker) -> Iterator[Finding]:
    """Compares limits with needs. Needs a look at every directory, which may take a while."""
    instances, watches = _used_by(worker.user, apart_from=worker.process)
    yield _watches(count_directories(root), watches)
    yield _instances(instances)
    queue = _limit("max_queued_events")
    is_enough = queue is None or queue >= EVENT_QUEUE_MIN
    yield Finding(
        Subject.EVENT_QUEUE,
        Level.OK if is_enough else Level.NOTE,
        f"the kernel keeps up to {queue} events; when there are more, everything is scanned again",
        "" if is_enough else "raise the limit",
        {"limit": queue},
        () if is_enough else kernel_setting("fs.inotify.max_queued_events", EVENT_QUEUE_MIN),
    )
    yield _descriptors(volume, worker.descriptors_max)


def count_directories(root: bytes) -> int:
    """Counts the directories of a tree, with the root, on its file system alone."""
    device = os.stat(root).st_dev
    count = 0
    pending = [root]
    while pending and count < DIRECTORIES_COUNTED_MAX:
        path = pending.pop()
        count += 1
        try:
            with os.scandir(path) as entries:
                pending += [
                    entry.path
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                    and not (path == root and entry.name == PRIVATE_DIRECTORY)
                    and entry.stat(follow_symlinks=False).st_dev == device
                ]
        except OSError:
            continue  # gone, or not ours to read: the daemon's status tells of those
    return count


def _limit(name: str) -> int | None:
    try:
        with open(_SYSCTL + name, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _used_by(user: int, *, apart_from: int | None) -> tuple[int, int]:
    """Counts inotify instances and watches of a user's other processes that /proc shows."""
    instances = watches = 0
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) in {apart_from, os.getpid()}:
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != user:
                continue
            for descriptor in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{descriptor}") == "anon_inode:inotify":
                    instances += 1
                    watches += _watches_in(f"/proc/{name}/fdinfo/{descriptor}")
        except OSError:
            continue  # it has ended, or is none of our business
    return instances, watches


def _watches_in(path: str) -> int:
    with open(path, encoding="ascii", errors="replace") as file:
        return sum(line.startswith("inotify ") for line in file)


def _watches(needed: int, used: int) -> Finding:
    limit = _limit("max_user_watches")
    facts = {"needed": needed, "used_by_others": used, "limit": limit}
    text = f"{needed} directories need {needed} watches"
    if limit is None:
        return Finding(Subject.WATCHES, Level.NOTE, f"{text}; the limit is not known", facts=facts)
    text = f"{text}; other programs of this user have {used} of the {limit} that it may have"
    if needed + used > limit:
        remedy = (
            "raise the limit; the daemon notices it by itself. Until then directories without a"
            " watch are polled, and changes travel later"
        )
        commands = kernel_setting("fs.inotify.max_user_watches", _round_up(needed + used))
        return Finding(Subject.WATCHES, Level.WARNING, text, remedy, facts, commands)
    return Finding(Subject.WATCHES, Level.OK, text, facts=facts)


def _round_up(number: int) -> int:
    """Returns the next power of two that leaves as much room again."""
    return 1 << (2 * number).bit_length()


def _instances(used: int) -> Finding:
    limit = _limit("max_user_instances")
    facts = {"used_by_others": used, "limit": limit}
    text = f"other programs of this user have {used} of {limit} inotify instances"
    if limit is not None and used >= limit:
        remedy = "raise the limit: without an instance changes are found by scans only"
        commands = kernel_setting("fs.inotify.max_user_instances", _round_up(used + 1))
        return Finding(Subject.INSTANCES, Level.WARNING, text, remedy, facts, commands)
    return Finding(Subject.INSTANCES, Level.OK, text, facts=facts)


def _descriptors(volume: str, limit: int) -> Finding:
    facts = {"limit": limit}
    text = f"up to {limit} files may be open at once"
    if limit < DESCRIPTORS_MIN:
        remedy = "raise the limit of the service, or of the shell that starts it (ulimit -n)"
        commands = service_setting(volume, "descriptors", "LimitNOFILE=65536")
        commands = commands or ("ulimit -n 65536",)
        return Finding(Subject.DESCRIPTORS, Level.WARNING, text, remedy, facts, commands)
    return Finding(Subject.DESCRIPTORS, Level.OK, text, facts=facts)
