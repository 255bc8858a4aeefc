"""How much room is left on a file system."""

from __future__ import annotations

import os
from typing import Final

from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.shell_commands import quoted
from geosync.terminal import display_name, human_size

NEEDED_BYTES: Final = 64 * 1024 * 1024
COMFORTABLE_BYTES: Final = 1024**3
COMFORTABLE_INODES: Final = 10_000


def examine_space(subject: Subject, directory: bytes) -> Finding:
    """Looks at the file system of a directory that is there. Raises OSError."""
    space = os.statvfs(directory)
    free_bytes = space.f_bavail * space.f_frsize
    total_bytes = space.f_blocks * space.f_frsize
    inodes = space.f_favail if space.f_files else None  # btrfs has no fixed number
    facts = {"free_bytes": free_bytes, "total_bytes": total_bytes, "free_inodes": inodes}
    shown = display_name(directory)
    text = f"{human_size(free_bytes)} of {human_size(total_bytes)} are free below {shown}"
    commands = (f"du -xh --max-depth=2 {quoted(directory)} | sort -h | tail",)
    if free_bytes < NEEDED_BYTES or inodes == 0:
        remedy = "make room: what does not fit waits, and a full journal stops everything"
        return Finding(subject, Level.FAILURE, text, remedy, facts, commands)
    if free_bytes < COMFORTABLE_BYTES or (inodes is not None and inodes < COMFORTABLE_INODES):
        few = f", and {inodes} inodes" if inodes is not None else ""
        remedy = "make room before it is full"
        return Finding(subject, Level.WARNING, text + few, remedy, facts, commands)
    return Finding(subject, Level.OK, text, facts=facts)
