"""What a person sees on a terminal."""

import io
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosync.terminal import (
    display_moment,
    display_name,
    escape_unprintable,
    human_duration,
    human_size,
    plain_table,
    progress,
)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_258_291, "1.2 MiB"),
        (1024**2 - 1, "1.0 MiB"),
        (-2048, "-2.0 KiB"),
        (5 * 1024**6, "5.0 EiB"),
        (2048 * 1024**6, "2048.0 EiB"),
    ],
)
def test_sizes_have_binary_units(size_bytes, shown):
    assert human_size(size_bytes) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (0.9996, "1 s"),
        (2.5, "2.5 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (184, "3 min 4 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (90_000, "1 d 1 h"),
        (-184, "-3 min 4 s"),
    ],
)
def test_durations_have_their_two_largest_units(duration_s, shown):
    assert human_duration(duration_s) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"report 2.pdf", "report 2.pdf"),
        ("città/日本".encode(), "città/日本"),
        (b"a\nb\tc\rd\x1b[31m\x00", r"a\nb\tc\rd\x1b[31m\x00"),
        (b"caf\xe9", r"caf\xe9"),
        (rb"caf\xe9", r"caf\\xe9"),
        ("\u202egpj.exe".encode(), r"\u202egpj.exe"),
        ("\x85\u2028\u00a0\U000e0001".encode(), r"\u0085\u2028\u00a0\U000e0001"),
    ],
)
def test_a_name_is_shown_without_what_could_deceive(name, shown):
    assert display_name(name) == shown


@given(st.binary(), st.binary())
def test_names_that_differ_are_shown_differently_on_one_printable_line(name, other):
    assert display_name(name).isprintable()
    assert (display_name(name) == display_name(other)) == (name == other)


def test_escaping_keeps_printable_text_and_backslashes():
    assert escape_unprintable("a\\b é") == "a\\b é"
    assert escape_unprintable("a\\\n\udcff") == r"a\\n\xff"


def test_a_table_aligns_numbers_to_the_right_and_wide_characters_by_their_width():
    table = plain_table(
        ["site", "lag", "state"],
        [["bari", "7", "ok"], ["日本", "1200", ""], ["e\u0301\n", "12", "late"]],
        right_aligned=["lag"],
    )
    assert table.splitlines() == [
        "site   lag  state",
        "bari     7  ok",
        "日本  1200",
        "e\u0301\\n     12  late",
    ]


def test_a_table_without_rows_shows_its_headers():
    assert plain_table(["a", "b"], []) == "a  b"


def _no_time() -> float:
    return 0.0


def test_no_progress_of_what_is_quick_is_drawn_where_nobody_watches():
    stream = io.StringIO()
    with progress(_no_time, stream=stream) as show:
        show("bringing files", 0.5)
    assert stream.getvalue() == ""


def test_progress_of_what_takes_long_is_told_in_plain_lines_at_a_pace():
    stream, times_s = io.StringIO(), iter([0.0, 4.0, 6.0, 8.0, 12.0])
    with progress(lambda: next(times_s), stream=stream) as show:
        for number in range(4):
            show(f"{number} of 4\n", number / 4)
    assert stream.getvalue() == "1 of 4\\n\n3 of 4\\n\n"


def _drawn_on_a_terminal() -> str:
    leader, follower = pty.openpty()
    with ThreadPoolExecutor(1) as pool:
        # Read meanwhile: a terminal that nobody reads holds up who writes to it.
        reading = pool.submit(_read_to_the_end, leader)
        with os.fdopen(follower, "w") as stream, progress(_no_time, stream=stream) as show:
            show("bringing [red]x\n", None)
            show("bringing [red]x\n", 0.5)
        return reading.result()


def _read_to_the_end(terminal: int) -> str:
    drawn = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream, suppress(OSError):
        # EIO is how Linux says that the other side was closed.
        while part := stream.read(65536):
            drawn += part
    return drawn.decode()


def test_progress_is_drawn_on_a_terminal_with_its_text_as_it_is(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    drawn = _drawn_on_a_terminal()
    assert r"bringing [red]x\n" in drawn
    assert "━" in drawn


@pytest.mark.parametrize(("no_color", "has_colours"), [("", True), ("1", False)])
def test_no_color_is_honoured(monkeypatch, no_color, has_colours):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[3" in _drawn_on_a_terminal()) == has_colours


def test_rich_is_not_imported_before_it_draws():
    program = "import sys, geosync.terminal; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_moment_is_told_in_utc_and_one_without_a_date_as_a_number() -> None:
    assert display_moment(1_795_261_229_618) == "2026-11-21 11:40:29Z"
    assert display_moment(2**62) == f"{2**62} ms after 1970"  # a clock may be millennia off
