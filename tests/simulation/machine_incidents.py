"""What befalls machines: lost and restored journals, rollbacks, clones, lost mounts, new sites."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.incidents import incident
from tests.simulation.simulated_site import Backup, SimulatedSite

if TYPE_CHECKING:
    from tests.simulation.world import World

SITES_MAX = 9


def _known(world: World) -> list[SimulatedSite]:
    """Returns the machines that were part of the volume at some time, with their root mounted."""
    return [site for site in world.sites if site.actor and site.machine.file_system.is_mounted]


def _any_known(world: World, fate: random.Random) -> SimulatedSite | None:
    known = _known(world)
    return fate.choice(known) if known else None


def _backed_up(world: World, fate: random.Random) -> tuple[SimulatedSite, Backup] | None:
    """Returns one of all backups; makes the first one, for another time, when there is none."""
    known = _known(world)
    found = [(site, backup) for site in known for backup in site.backups]
    if known and not found:
        fate.choice(known).back_up()
    return fate.choice(found) if found else None


@incident("a machine is backed up")
def back_up(world: World, fate: random.Random) -> str:
    site = _any_known(world, fate)
    if site is None:
        return ""
    site.back_up()
    return site.name


@incident("a journal is lost")
def lose_journal(world: World, fate: random.Random) -> str:
    site = _any_known(world, fate)
    if site is None:
        return ""
    site.lose_journal()
    world.note_set_back(site)
    return site.name


@incident("a journal is set back")
def set_journal_back(world: World, fate: random.Random) -> str:
    found = _backed_up(world, fate)
    if found is None:
        return ""
    site, backup = found
    site.set_journal_back(backup)
    world.note_set_back(site)
    return site.name


@incident("a directory is set back")
def set_directory_back(world: World, fate: random.Random) -> str:
    found = _backed_up(world, fate)
    if found is None:
        return ""
    site, backup = found
    is_by_program = fate.random() < 0.5
    _restore_disk(site, backup, is_by_program=is_by_program)
    world.note_set_back(site)
    return f"{site.name} {'as files' if is_by_program else 'as a disk'}"


def _restore_disk(site: SimulatedSite, backup: Backup, *, is_by_program: bool) -> None:
    disk = site.machine.file_system
    restore = disk.restore_files if is_by_program else disk.restore
    site.change_disk(lambda: restore(backup.image))


@incident("a machine is set back")
def set_machine_back(world: World, fate: random.Random) -> str:
    found = _backed_up(world, fate)
    if found is None:
        return ""
    site, backup = found
    _restore_disk(site, backup, is_by_program=fate.random() < 0.2)
    # From two moments, the parts of a machine come from two kinds of backup.
    of_journal = fate.choice(site.backups) if fate.random() < 0.3 else backup
    site.set_journal_back(of_journal)
    world.note_set_back(site)
    return f"{site.name} {'to two moments' if of_journal is not backup else ''}"


@incident("a machine is installed anew")
def install_anew(world: World, fate: random.Random) -> str:
    site = _any_known(world, fate)
    if site is None:
        return ""
    site.change_disk(site.machine.file_system.clear)
    site.lose_journal()
    world.note_set_back(site)
    return site.name


@incident("a machine is cloned")
def clone(world: World, fate: random.Random) -> str:
    site = _any_known(world, fate)
    if site is None or len(world.sites) >= SITES_MAX:
        return ""
    if not site.backups or fate.random() < 0.5:
        site.back_up()
    backup = fate.choice((site.backups[-1], fate.choice(site.backups)))
    twin = world.add_site(f"{site.name}-twin{len(world.sites)}", site.site_name)
    twin.machine.file_system.restore(backup.image)
    twin.set_journal_back(backup)
    world.note_set_back(twin)
    return f"{site.name} as {twin.name}"


@incident("a mount comes or goes")
def mount_or_unmount(world: World, fate: random.Random) -> str:
    missing = [site for site in world.sites if not site.machine.file_system.is_mounted]
    if missing and fate.random() < 0.7:
        site = fate.choice(missing)
        world.mount(site)
        return f"{site.name} mounted"
    found = _any_known(world, fate)
    if found is None:
        return ""
    found.user.forget_open_files()
    found.machine.file_system.unmount()
    return f"{found.name} not mounted"


@incident("a site joins")
def join(world: World, fate: random.Random) -> str:
    if len(world.sites) >= SITES_MAX:
        return ""
    number = len(world.sites)
    site = world.add_site(f"site{number}")
    kind = fate.choice(("empty", "copied", "copied from a backup"))
    known = _known(world)
    if kind == "empty" or not known:
        return f"{site.name} empty"
    source = fate.choice(known)
    image = source.machine.file_system.snapshot()
    if kind == "copied from a backup" and source.backups:
        image = fate.choice(source.backups).image
    site.machine.file_system.restore_files(image)
    if fate.random() < 0.5:
        site.remove_private_directory()
    world.note_set_back(site)
    return f"{site.name} {kind} of {source.name}"


@incident("a site is killed while it joins")
def kill_joining(world: World, fate: random.Random) -> str:
    joining = [site for site in world.sites if site.engine is not None and site.is_joining]
    if not joining:
        return ""
    site = fate.choice(joining)
    site.kill(with_power=fate.random() < world.weather.power_cut_share)
    return site.name
