"""The protocol by which a disk is read and changed, in a few words for the operator."""

from geosync.disk.capabilities import DiskCapabilities


def protocol_text(capabilities: DiskCapabilities) -> str:
    """Returns one line: what is used, and what stands in for what is missing."""
    parts = (
        "exchange in one step" if capabilities.exchange else "exchange in two steps",
        _leases(capabilities),
        "handles" if capabilities.handles else "inode numbers with birth times",
        "reflink" if capabilities.reflink else "no reflink",
        "openat2" if capabilities.openat2 else "paths step by step",
    )
    return ", ".join(parts)


def _leases(capabilities: DiskCapabilities) -> str:
    if not capabilities.leases:
        return "no leases (files are read twice)"
    return "leases" if capabilities.foreign_leases else "leases on own files only"
