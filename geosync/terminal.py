"""What a person sees on a terminal: progress, sizes, durations, safe names, plain tables."""

import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

_SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DURATION_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

PLAIN_EVERY_S = 5.0
"""Between two lines where no bar can be drawn; what takes less is not told at all."""

Show = Callable[[str, float | None], None]


@contextmanager
def progress(monotonic_s: Callable[[], float], *, stream: TextIO | None = None) -> Iterator[Show]:
    """Shows how far one stage after the other is: a bar on a terminal, plain lines elsewhere.

    Args:
        monotonic_s: tells the time.
        stream: where to draw; standard output when None. rich is not even imported unless it is a
            terminal. NO_COLOR is honoured (https://no-color.org).

    Yields:
        A function to call with what is under way, and which share of it is done, 0 to 1; None
        when that is not known.
    """
    target = sys.stdout if stream is None else stream
    if not target.isatty():
        yield _plain_lines(target, monotonic_s)
        return
    with _rich_progress(target) as show:
        yield show


def _plain_lines(target: TextIO, monotonic_s: Callable[[], float]) -> Show:
    due_s = monotonic_s() + PLAIN_EVERY_S

    def show(text: str, _share: float | None) -> None:
        nonlocal due_s
        now_s = monotonic_s()
        if now_s >= due_s:
            due_s = now_s + PLAIN_EVERY_S
            print(escape_unprintable(text), file=target, flush=True)

    return show


@contextmanager
def _rich_progress(target: TextIO) -> Iterator[Show]:
    # Imported here: rich costs more than most commands take as a whole.
    from rich import progress as bars  # noqa: PLC0415, TID251 - its home
    from rich.console import Console  # noqa: PLC0415, TID251 - its home

    with bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        console=Console(file=target),
        transient=True,
    ) as display:
        task = display.add_task("", total=None)

        def show(text: str, share: float | None) -> None:
            total = None if share is None else 1.0
            description = escape_unprintable(text)
            display.update(task, description=description, completed=share or 0.0, total=total)

        yield show


def human_size(size_bytes: int) -> str:
    """A size with a binary unit and one digit after the point: `999 B`, `1.2 MiB`."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    scaled, power = size_bytes / 1024, 0
    # 1023.95 would be printed as 1024.0 of the smaller unit.
    while abs(scaled) >= 1023.95 and power + 1 < len(_SIZE_UNITS):
        scaled, power = scaled / 1024, power + 1
    return f"{scaled:.1f} {_SIZE_UNITS[power]}"


def human_duration(duration_s: float) -> str:
    """A duration in its two largest units: `4 ms`, `2.5 s`, `3 min 4 s`, `2 d 1 h`."""
    if duration_s < 0:
        return "-" + human_duration(-duration_s)
    if duration_s < 0.9995:
        return f"{round(duration_s * 1000)} ms"
    if duration_s < 9.95:
        return f"{duration_s:.1f}".removesuffix(".0") + " s"
    left_s = round(duration_s)
    parts = []
    for unit, unit_s in _DURATION_UNITS:
        amount, left_s = divmod(left_s, unit_s)
        parts.append((amount, unit))
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def display_moment(time_ms: int, zone: str = "Z") -> str:
    """A time in milliseconds since 1970 as a person reads it, in UTC, which `zone` says.

    A clock that is millennia off gives times for which there is no date.
    """
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}{zone}"
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms after 1970"


def display_name(name: bytes) -> str:
    r"""A file name or path as one line of printable text that cannot deceive.

    Control characters, newlines, bytes that are not UTF-8, and invisible or direction-changing
    characters (https://www.unicode.org/reports/tr36/) become escapes. A backslash is doubled, so
    that different names never look the same: `\xff` is always a byte, `\u0085` a character.
    """
    return "".join(
        r"\\" if character == "\\" else _visible(character)
        for character in name.decode("utf-8", "surrogateescape")
    )


def escape_unprintable(text: str) -> str:
    """The text on one line, with each unprintable character as an escape; backslashes stay."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape's stand-in for an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return _SHORT_ESCAPES.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    right_aligned: Collection[str] = (),
) -> str:
    """Columns aligned with spaces, two between them, without lines or colours.

    Args:
        headers: one per column.
        rows: cells of text, as many as there are headers; unprintable characters are escaped.
        right_aligned: the headers of columns whose cells are numbers.

    Returns:
        The lines, without a newline at the end.
    """
    lines = [[escape_unprintable(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(_cell_width, column)) for column in zip(*lines, strict=True)]
    is_right = [header in right_aligned for header in headers]
    return "\n".join("  ".join(_padded(line, widths, is_right)).rstrip() for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> list[str]:
    cells = []
    for cell, width, right in zip(line, widths, is_right, strict=True):
        padding = " " * (width - _cell_width(cell))
        cells.append(padding + cell if right else cell + padding)
    return cells


def _cell_width(text: str) -> int:
    """How many columns a terminal needs: two for wide East Asian characters, none for accents."""
    return sum(
        0
        if unicodedata.combining(character)
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
