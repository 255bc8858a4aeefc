"""Commands that an administrator can paste into a shell of root, as they are."""

from __future__ import annotations

import os
import shlex
from typing import Final

from geosync.configuration.volume_configuration import Configuration, default_configuration_path
from transport.object_names import container_name
from transport.object_store import AREAS

_SERVICE_MANAGER: Final = "/run/systemd/system"  # sd_booted(3)


def quoted(path: bytes) -> str:
    r"""Returns a path as a shell takes it; bytes that are no text are written as `$'\xff'`."""
    try:
        return shlex.quote(path.decode())
    except UnicodeDecodeError:
        return "$'" + "".join(f"\\x{byte:02x}" for byte in path) + "'"


def kernel_setting(name: str, value: int) -> tuple[str, ...]:
    """Sets a number of sysctl(8), now and after each start of the machine."""
    file = f"/etc/sysctl.d/60-geosync-{name.rpartition('.')[2].replace('_', '-')}.conf"
    return (f"echo '{name} = {value}' > {file}", f"sysctl -p {file}")


def service_setting(volume: str, name: str, *lines: str) -> tuple[str, ...]:
    """Adds lines to the unit of a volume, and starts it again; none without a service manager."""
    if not os.path.isdir(_SERVICE_MANAGER):
        return ()
    directory = f"/etc/systemd/system/geosync@{volume}.service.d"
    text = "".join(f"{line}\\n" for line in ("[Service]", *lines))
    return (
        f"mkdir -p {directory}",
        f"printf '{text}' > {directory}/{name}.conf",
        "systemctl daemon-reload",
        f"systemctl restart geosync@{volume}",
    )


def start_command(configuration: Configuration) -> str:
    """Returns what starts the daemon of a volume: its unit, where that reads the configuration."""
    is_of_unit = configuration.source == default_configuration_path(configuration.volume)
    if is_of_unit and os.path.isdir(_SERVICE_MANAGER):
        return f"systemctl enable --now geosync@{configuration.volume}"
    return own_command(configuration, "run")


def own_command(configuration: Configuration, words: str) -> str:
    """Returns a command of geosync for this site, whatever else is configured on the machine."""
    return f"geosync {words} --config {shlex.quote(configuration.source)}"


def grants(configuration: Configuration, *, with_writing: bool) -> tuple[str, ...]:
    """Lets the user of the configuration into the containers; for the owner of the account."""
    user = configuration.swift.get("user") or configuration.swift.get("username") or "PROJECT:USER"
    option = "--write-acl" if with_writing else "--read-acl"
    who = user if with_writing else f"{user},.rlistings"
    return tuple(
        f"swift post {option} {shlex.quote(who)} {container_name(configuration.volume, area)}"
        for area in AREAS
    )
