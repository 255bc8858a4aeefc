"""Which file system a directory lies on, as the kernel's list of mounts tells."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
NETWORK_KINDS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "glusterfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    point: bytes
    kind: str
    options: frozenset[str]

    @property
    def is_network(self) -> bool:
        """Tells whether other machines may change what is on it, unseen by inotify."""
        return self.kind in NETWORK_KINDS or self.kind.startswith("fuse.")


def mount_of(path: bytes) -> Mount | None:
    """Returns the mount that a path lies on; None when /proc does not tell."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found = [mount for line in lines if (mount := _parsed(line)) and _holds(mount.point, real)]
    # Of several on one point, the last one covers the others.
    longest = max((len(mount.point) for mount in found), default=0)
    return next((mount for mount in reversed(found) if len(mount.point) == longest), None)


def _parsed(line: bytes) -> Mount | None:
    """Reads one line of proc_pid_mountinfo(5)."""
    before, _, after = line.partition(b" - ")
    fields, rest = before.split(), after.split()
    if len(fields) < 6 or len(rest) < 3:
        return None
    point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
    options = {*fields[5].decode().split(","), *rest[2].decode(errors="replace").split(",")}
    return Mount(point, rest[0].decode(), frozenset(options))


def _holds(point: bytes, path: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")
