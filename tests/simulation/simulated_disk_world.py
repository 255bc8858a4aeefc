"""A `SimulatedDisk` with the application beside it, as the disk contract wants them."""

import random

from geosync.disk.interface import Disk
from tests.simulation.disk_dice import DiskDice
from tests.simulation.inode_file_system import FileSystem
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from tests.simulation.simulated_disk import SimulatedDisk
from tests.simulation.simulated_stage import MARKER
from tests.support.disk_application import DiskWorld


def simulated_world() -> DiskWorld:
    """Makes a disk without faults in a fresh file system."""
    file_system = FileSystem(SimulatedClock(SimulatedTime()))
    dice = DiskDice(random.Random(0))
    disk = SimulatedDisk(file_system, dice)
    marker = disk.initialise()

    def restart() -> Disk:
        disk.crash()
        again = SimulatedDisk(file_system, dice)
        again.initialise(marker)
        return again

    return DiskWorld(
        disk=disk,
        application=SimulatedApplication(file_system),
        sees_writers=True,
        lose_marker=lambda: file_system.unlink(MARKER),
        restart=restart,
        close=lambda: None,
    )
