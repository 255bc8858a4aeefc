"""The network laboratory: real namespaces, real sockets, and what the WAN between them does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from laboratory.line import LineSettings
from laboratory.namespaces import missing_for_a_network, namespace_name
from laboratory.network import Network

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_for_a_network() != "", reason=missing_for_a_network()),
]

ONE_WAY_DELAY_S = 0.02
ANSWERING = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.bind(("0.0.0.0", 9000))
    print("ready", flush=True)
    while True:
        data, sender = echo.recvfrom(2000)
        echo.sendto(data, sender)
"""
ASKING = """
import socket, sys, time
host, timeout_s = sys.argv[1], float(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
    question.settimeout(timeout_s)
    start_s = time.monotonic()
    question.sendto(bytes(1000), (host, 9000))
    try:
        question.recv(2000)
    except TimeoutError:
        print("nothing")
    else:
        print(time.monotonic() - start_s)
"""


@contextmanager
def answering(network: Network, site: str) -> Iterator[None]:
    command = network.command_in(site, [sys.executable, "-c", ANSWERING])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
        server.kill()


def ask(network: Network, source: str, target: str, timeout_s: float) -> float | None:
    """Seconds until the answer, or None when none came."""
    program = [sys.executable, "-c", ASKING, network.address_of(target), str(timeout_s)]
    command = network.command_in(source, program)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "nothing" else float(done.stdout)


def test_packets_are_delayed_counted_cut_and_healed_while_the_network_runs() -> None:
    settings = LineSettings(one_way_delay_ms=ONE_WAY_DELAY_S * 1000)
    with Network(["bari", "geneva", "trieste"], settings) as network, answering(network, "geneva"):
        took_s = ask(network, "bari", "geneva", timeout_s=30)
        assert took_s is not None
        assert took_s >= 2 * ONE_WAY_DELAY_S
        counts = network.counts()
        there, back = counts["bari", "geneva"], counts["geneva", "bari"]
        assert (there.packets, there.size_bytes) == (1, 1000 + 20 + 8)  # IP, UDP
        assert there == back
        assert counts["trieste", "geneva"].packets == 0
        network.cut("bari", "geneva")
        assert ask(network, "bari", "geneva", timeout_s=0.3) is None
        assert ask(network, "trieste", "geneva", timeout_s=30) is not None
        network.heal("bari", "geneva")
        assert ask(network, "bari", "geneva", timeout_s=30) is not None
        network.change_direction("geneva", "bari", loss_share=1.0)
        assert ask(network, "bari", "geneva", timeout_s=0.3) is None
        assert network.counts()["geneva", "bari"].lost_packets == 1


def test_nothing_of_a_network_is_left_behind() -> None:
    with Network(["bari"], LineSettings()) as network:
        emulator = network.emulator_process_id
        assert os.path.exists(f"/run/netns/{namespace_name('bari')}")
    assert not os.path.exists(f"/run/netns/{namespace_name('bari')}")
    assert not os.path.exists(f"/proc/{emulator}")
