"""The figures as docs/performance.md shows them: tables of Markdown, and a plot (SVG)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from benchmarks.measuring import Measurement

_BAR_HEIGHT, _GROUP_GAP, _LEFT, _WIDTH, _RIGHT = 14, 26, 330, 420, 110
_COLOURS = ("#0b6e4f", "#6fbf9f", "#9aa5b1", "#c2a878", "#8f7fb3", "#b36a5e", "#6d8fb3")


def markdown_table(rows: Iterable[Measurement]) -> str:
    """One row for each figure; what was not measured stays empty."""
    lines = [
        "| workload | tool | time | 99 % | bytes on the wire | CPU | memory | note |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.workload} {row.what} | {row.tool} | {_seconds(row.seconds)} |"
        f" {_seconds(row.seconds_99)} | {_bytes(row.wire_bytes)} | {_processor(row.processor_s)} |"
        f" {_bytes(row.memory_bytes)} | {row.note} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def svg_plot(rows: Sequence[Measurement]) -> str:
    """Bars of the times of all workloads, on a logarithmic scale from 10 ms to 1,000 s."""
    timed = [row for row in rows if row.seconds is not None]
    tools = list(dict.fromkeys(row.tool for row in timed))
    groups = list(dict.fromkeys((row.workload, row.what) for row in timed))
    parts: list[str] = []
    y = 20
    for group in groups:
        y += _GROUP_GAP
        title = escape(f"{group[0]} {group[1]}")
        parts.append(f'<text x="10" y="{y - 6}" font-weight="bold">{title}</text>')
        for row in (row for row in timed if (row.workload, row.what) == group):
            parts.append(_bar(row, y, _COLOURS[tools.index(row.tool) % len(_COLOURS)]))
            y += _BAR_HEIGHT + 2
    width = _LEFT + _WIDTH + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 20}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{y + 20}" fill="white"/>\n'
        '<text x="10" y="18">Time until both sites are equal (logarithmic; shorter is better)'
        "</text>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(row: Measurement, y: int, colour: str) -> str:
    assert row.seconds is not None
    share = (math.log10(min(max(row.seconds, 0.01), 1000.0)) + 2) / 5
    length = max(2, round(share * _WIDTH))
    text = y + _BAR_HEIGHT - 3
    return (
        f'<text x="{_LEFT - 8}" y="{text}" text-anchor="end">{escape(row.tool)}</text>'
        f'<rect x="{_LEFT}" y="{y}" width="{length}" height="{_BAR_HEIGHT}" fill="{colour}"/>'
        f'<text x="{_LEFT + length + 6}" y="{text}">{_seconds(row.seconds)}</text>'
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 2 else f"{value:.1f} s"


def _processor(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _bytes(value: int | None) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"
