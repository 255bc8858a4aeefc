"""One direction of an emulated WAN: delay, bandwidth, queue, loss and cut, without a network."""

from __future__ import annotations

import random
import struct

import pytest

from laboratory.line import Line, LineSettings, LineSettingsError
from laboratory.tun_device import pieces_on_the_wire


def never() -> float:
    return 0.999


def test_a_packet_arrives_after_the_delay() -> None:
    line = Line(LineSettings(one_way_delay_ms=10))
    assert line.send(5.0, 1, 1500, never) == pytest.approx(5.010)


def test_bandwidth_spaces_packets_and_the_queue_drops_what_would_wait_too_long() -> None:
    line = Line(LineSettings(bandwidth_mbit_per_s=1, queue_ms=25))
    one_s = 1250 / 125_000
    arrivals = [line.send(0.0, 1, 1250, never) for _ in range(5)]
    assert arrivals[:3] == pytest.approx([one_s, 2 * one_s, 3 * one_s])
    assert arrivals[3:] == [None, None]  # these would wait for 30 ms
    assert (line.counts.packets, line.counts.size_bytes) == (3, 3750)
    assert line.counts.dropped_packets == 2
    assert line.send(0.03, 1, 1250, never) == pytest.approx(0.04)


def test_a_shorter_delay_lets_no_packet_overtake() -> None:
    line = Line(LineSettings(one_way_delay_ms=50))
    first = line.send(0.0, 1, 100, never)
    line.settings = LineSettings(one_way_delay_ms=1)
    assert line.send(0.001, 1, 100, never) == first


def test_a_lost_packet_was_sent_and_a_cut_one_was_not() -> None:
    line = Line(LineSettings(loss_share=0.25))
    dice = random.Random(1).random
    arrived = sum(line.send(0.0, 1, 100, dice) is not None for _ in range(4000))
    assert arrived == pytest.approx(3000, abs=150)
    assert line.counts.size_bytes == 400_000
    assert line.counts.lost_packets == 4000 - arrived
    line.settings = LineSettings(is_cut=True)
    assert line.send(0.0, 1, 100, dice) is None
    assert (line.counts.packets, line.counts.dropped_packets) == (4000, 1)


@pytest.mark.parametrize(
    "wrong", [{"loss_share": 1.1}, {"one_way_delay_ms": -1}, {"bandwidth_mbit_per_s": -5}]
)
def test_settings_that_no_line_can_have_are_refused_with_their_values(
    wrong: dict[str, float],
) -> None:
    with pytest.raises(LineSettingsError, match=str(next(iter(wrong.values())))):
        LineSettings(**wrong)  # type: ignore[arg-type]


def test_a_large_packet_counts_as_the_pieces_that_a_network_card_makes_of_it() -> None:
    headers, segment = 40, 1460
    packet = struct.pack("<BBHHHH", 1, 1, headers, segment, 20, 16) + bytes(headers + 3 * segment)
    assert pieces_on_the_wire(packet) == (3, 3 * (headers + segment))
    assert pieces_on_the_wire(packet + b"x") == (4, 3 * (headers + segment) + headers + 1)
    assert pieces_on_the_wire(bytes(10) + bytes(84)) == (1, 84)
