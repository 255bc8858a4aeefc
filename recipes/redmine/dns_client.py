"""Asks a name server for the addresses of a name, as a resolver that caches nothing.

python -m recipes.redmine.dns_client NAME SERVER
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys

PORT = 53
TIMEOUT_S = 3.0
ANSWER_BYTES_MAX = 4096
TYPE_A, CLASS_IN = 1, 1


def addresses_of(name: str, server: str) -> list[str]:
    """Returns the IPv4 addresses of a name, in the server's order.

    Raises:
        TimeoutError: no answer came.
    """
    number = secrets.randbits(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        question.settimeout(TIMEOUT_S)
        question.sendto(_question(number, name), (server, PORT))
        answer = question.recv(ANSWER_BYTES_MAX)
    return _addresses(answer)


def _question(number: int, name: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!2H", TYPE_A, CLASS_IN)


def _addresses(answer: bytes) -> list[str]:
    _, _, questions, answers, _, _ = struct.unpack_from("!6H", answer)
    place = 12
    for _ in range(questions):
        place = _after_name(answer, place) + 4
    found = []
    for _ in range(answers):
        place = _after_name(answer, place)
        kind, _, _, size = struct.unpack_from("!2HIH", answer, place)
        place += 10
        if kind == TYPE_A:
            found.append(socket.inet_ntoa(answer[place : place + size]))
        place += size
    return found


def _after_name(answer: bytes, place: int) -> int:
    while True:
        length = answer[place]
        if length & 0xC0:
            return place + 2
        place += 1 + length
        if not length:
            return place


if __name__ == "__main__":
    print(" ".join(addresses_of(sys.argv[1], sys.argv[2])))
