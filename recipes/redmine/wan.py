"""Holds the emulated WAN between the machines of the recipe, and obeys orders about it.

python -m recipes.redmine.wan hold SOCKET ONE_WAY_DELAY_MS    (until it is ended)
python -m recipes.redmine.wan ask SOCKET cut MACHINE [OTHER]  (from all others, or one)
python -m recipes.redmine.wan ask SOCKET heal MACHINE [OTHER]
python -m recipes.redmine.wan ask SOCKET limit MACHINE MBIT   (all its lines; 0: no limit)
python -m recipes.redmine.wan ask SOCKET delay MACHINE MS     (one way, all its lines)
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from laboratory.line import LineSettings
from laboratory.network import Network

MACHINES = ("bari", "cnaf", "roma")  # their addresses are 10.77.0.1 to 10.77.0.3
ORDER_BYTES_MAX = 1000


class _Ended(Exception):
    """Somebody asked the process to end."""


def hold(path: str, one_way_delay_ms: float) -> None:
    """Makes namespaces and lines, and changes lines as told, until SIGTERM."""
    signal.signal(signal.SIGTERM, _end)
    with (
        contextlib.suppress(_Ended),
        Network(MACHINES, LineSettings(one_way_delay_ms=one_way_delay_ms)) as network,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        if os.path.exists(path):
            os.remove(path)
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                order = connection.recv(ORDER_BYTES_MAX).decode().split()
                connection.sendall(_obey(network, order).encode())


def ask(path: str, order: Sequence[str]) -> str:
    """Gives an order to the process that holds the WAN; returns an empty text or what is wrong."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(" ".join(order).encode())
        return connection.recv(ORDER_BYTES_MAX).decode()


def _obey(network: Network, order: Sequence[str]) -> str:
    try:
        verb, machine, *rest = order
        action = _ACTIONS[verb]
        others = [rest[0]] if verb in {"cut", "heal"} and rest else None
        for other in others or [name for name in MACHINES if name != machine]:
            action(network, machine, other, rest[-1] if rest else "0")
    except (ValueError, KeyError, AssertionError) as error:
        return f"can't obey {' '.join(order)}: {error!r}"
    return ""


_ACTIONS: dict[str, Callable[[Network, str, str, str], None]] = {
    "cut": lambda network, one, other, _: network.cut(one, other),
    "heal": lambda network, one, other, _: network.heal(one, other),
    "limit": lambda network, one, other, number: network.change_line(
        one, other, bandwidth_mbit_per_s=float(number)
    ),
    "delay": lambda network, one, other, number: network.change_line(
        one, other, one_way_delay_ms=float(number)
    ),
}


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise _Ended


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2], float(sys.argv[3]))
    else:
        problem = ask(sys.argv[2], sys.argv[3:])
        sys.exit(problem or None)
