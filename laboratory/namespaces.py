"""Network namespaces of this machine, made and removed with `ip` (iproute2)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from conflict.errors import GeosyncError

NAMESPACES_DIRECTORY = "/run/netns"
NAME_PREFIX = "laboratory"
INTERFACE = "wan"
_COMMANDS = ("ip", "nsenter")
# As on a server that serves across a WAN; a namespace starts with the kernel's own defaults.
_KERNEL_SETTINGS = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv4/tcp_congestion_control": "cubic",
    "net/ipv4/tcp_rmem": "4096 131072 33554432",
    "net/ipv4/tcp_wmem": "4096 131072 33554432",
}


class NetworkError(GeosyncError):
    """The network could not be made or changed; says with which command and why."""


def missing_for_a_network() -> str:
    """What this machine or this process lacks, in words; an empty text when nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    commands = [name for name in _COMMANDS if shutil.which(name) is None]
    if commands:
        return f"missing commands: {', '.join(commands)} (Debian: iproute2, util-linux)"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return _refusal_of_namespaces()


def _refusal_of_namespaces() -> str:
    """Containers may be root and still not be allowed to; only trying tells."""
    name = f"{NAME_PREFIX}-{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "delete", name)
    except NetworkError as error:
        return str(error)
    return ""


def namespace_name(site: str) -> str:
    """Of a site of a network of this process."""
    return f"{NAME_PREFIX}-{os.getpid()}-{site}"


def make_namespace(name: str) -> None:
    """Makes a namespace with loopback alone.

    Raises:
        NetworkError: it exists, or this process may not.
    """
    run("ip", "netns", "add", name)
    run("ip", "-netns", name, "link", "set", "lo", "up")


def give_interface(name: str, device: str, address: str) -> None:
    """Moves a device of ours into a namespace and routes everything through it.

    Raises:
        NetworkError: there is no such device or namespace.
    """
    run("ip", "link", "set", device, "netns", name, "name", INTERFACE)
    write_kernel_settings(name)
    run("ip", "-netns", name, "address", "add", f"{address}/24", "dev", INTERFACE)
    # A long queue here would only hide the one of the line, which is the emulator's to drop from.
    run("ip", "-netns", name, "link", "set", INTERFACE, "txqueuelen", "10000", "up")


def write_kernel_settings(name: str) -> None:
    """Sets what the namespace may set; a kernel that lacks one of them keeps its own."""
    program = ["sh", "-c", 'echo "$2" > "/proc/sys/$1" 2>/dev/null || true', "sh"]
    for setting, value in _KERNEL_SETTINGS.items():
        run(*command_in_namespace(name, [*program, setting, value]))


def remove_namespace(name: str) -> None:
    """Removes a namespace; programs that still run in it keep it, without a name. Never raises."""
    with suppress(NetworkError):
        run("ip", "netns", "delete", name)


def remove_abandoned() -> None:
    """Removes the namespaces of processes that ended without removing them."""
    with suppress(FileNotFoundError):
        for name in os.listdir(NAMESPACES_DIRECTORY):
            prefix, _, rest = name.partition("-")
            owner = rest.partition("-")[0]
            if prefix == NAME_PREFIX and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                remove_namespace(name)


def command_in_namespace(name: str, command: Sequence[str]) -> list[str]:
    """The command that runs a command in a namespace, as the same process."""
    return ["nsenter", f"--net={NAMESPACES_DIRECTORY}/{name}", "--", *command]


def run(*command: str) -> None:
    """Runs a command to its end.

    Raises:
        NetworkError: it failed, or there is no such command; with what it printed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NetworkError(f"tried `{' '.join(command)}`: {error}") from error
    if done.returncode:
        raise NetworkError(
            f"tried `{' '.join(command)}`: {done.stderr.strip() or f'exit code {done.returncode}'}"
        )
