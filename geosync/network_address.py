"""Addresses of a configuration: a host, or an address of IPv4 or IPv6, and a port."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """Where something listens; port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> NetworkAddress | None:
    """Reads "host:port" or "[address]:port"; None when it is neither."""
    host, _, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535
    if is_port and host.isprintable() and host.strip() and (is_bracketed or ":" not in host):
        return NetworkAddress(host, int(port))
    return None
