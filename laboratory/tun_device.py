"""A TUN device: the end of a network interface through which a program carries IP packets.

TUN rather than TAP: there is no ARP and no broadcast to carry, only what has an address. The
device takes large packets of TCP whole (TSO), each with the header that the kernel's virtual
network devices use, so that half a gigabit a second costs a few thousand packets a second instead
of forty thousand; the header goes to the other device unchanged, where the kernel cuts, or merges,
as if it had come from a network card.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_OFFLOAD_CHECKSUM, _OFFLOAD_TCP4 = 0x01, 0x02
# struct virtio_net_hdr: flags, kind of segmentation, length of the headers, size of a segment,
# where the checksum starts and where it belongs.
_HEADER = struct.Struct("<BBHHHH")
_PACKET_BYTES_MAX = _HEADER.size + 65_536
IPV4_TARGET = slice(_HEADER.size + 16, _HEADER.size + 20)


class TunDevice:
    """One device of this process. Reads and writes packets with their header; never blocks."""

    def __init__(self, name: str) -> None:
        """Makes the device, in the network namespace of the caller; it may be moved to another.

        Raises:
            OSError: no /dev/net/tun, no permission, or the name is taken.
        """
        self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
            fcntl.ioctl(self._descriptor, _TUNSETIFF, request)
            self.take_large_packets(are_taken=True)
        except BaseException:
            os.close(self._descriptor)
            raise

    def fileno(self) -> int:
        """The descriptor, to wait for packets."""
        return self._descriptor

    def close(self) -> None:
        """Removes the device."""
        os.close(self._descriptor)

    def take_large_packets(self, *, are_taken: bool) -> None:
        """Whether the kernel may hand over large packets of TCP uncut, from the next one on."""
        offload = _OFFLOAD_CHECKSUM | _OFFLOAD_TCP4 if are_taken else 0
        fcntl.ioctl(self._descriptor, _TUNSETOFFLOAD, offload)

    def read(self) -> bytes | None:
        """The next IPv4 packet that a program sent, with its header; None when there is none now.

        Raises:
            OSError: the device is gone.
        """
        try:
            while True:
                packet = os.read(self._descriptor, _PACKET_BYTES_MAX)
                if len(packet) >= IPV4_TARGET.stop and packet[_HEADER.size] >> 4 == 4:
                    return packet
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> None:
        """Delivers a packet with its header to the programs behind the device.

        RACE: a device that is being taken down, or whose queue is full, takes nothing: the packet
        is lost, as any packet may be.
        """
        with suppress(OSError):
            os.write(self._descriptor, packet)


def pieces_on_the_wire(packet: bytes) -> tuple[int, int]:
    """How many packets, and bytes with all headers, a network card would make of a packet."""
    _flags, kind, header_bytes, segment_bytes, _start, _offset = _HEADER.unpack_from(packet)
    size_bytes = len(packet) - _HEADER.size
    if not kind or not segment_bytes:
        return 1, size_bytes
    pieces = -(-(size_bytes - header_bytes) // segment_bytes)
    return pieces, size_bytes + (pieces - 1) * header_bytes
