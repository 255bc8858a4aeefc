"""A `PosixDisk` on a directory of its own, with the application beside it."""

import os
from itertools import product

from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.interface import Disk
from geosync.disk.posix_disk import PosixDisk
from tests.support.disk_application import DiskWorld, RealApplication

NOTHING_SPECIAL = DiskCapabilities(exchange=False, leases=False, reflink=False, handles=False)
LESSER_PROTOCOLS = [
    (
        "with-" + ("-and-".join(name for name, has in chosen.items() if has) or "nothing-special"),
        DiskCapabilities(**chosen, reflink=False),
    )
    for chosen in (
        {"exchange": exchange, "leases": leases, "handles": handles}
        for exchange, leases, handles in product((False, True), repeat=3)
    )
    if not all(chosen.values())
]


def posix_world(root: bytes, capabilities: DiskCapabilities | None = None) -> DiskWorld:
    """Makes a disk in a fresh directory; `capabilities` limits the protocols that it uses."""
    os.mkdir(root)
    disk = PosixDisk(root, capabilities)
    marker = disk.initialise()

    current = [disk]

    def restart() -> Disk:
        close()
        again = PosixDisk(root, capabilities)
        again.initialise(marker)
        current.append(again)
        return again

    def close() -> None:
        current.pop().close()

    return DiskWorld(
        disk=disk,
        application=RealApplication(root),
        sees_writers=disk.capabilities.leases,
        lose_marker=lambda: os.unlink(os.path.join(root, b".geosync", b"marker")),
        restart=restart,
        close=close,
    )
