"""The status page as HTML, and the files that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: TID251 - its home

from geosync.http.page_view import MAP_HEIGHT, MAP_WIDTH, PageView
from geosync.terminal import escape_unprintable

STATIC_TYPES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def page_html(view: PageView) -> str:
    """Returns the page."""
    template = _environment().get_template("page.html")
    return template.render(view=view, map_width=MAP_WIDTH, map_height=MAP_HEIGHT)


def message_html(title: str, text: str) -> str:
    """Returns a page that says one thing, and leads back."""
    return _environment().get_template("message.html").render(title=title, text=text)


def difference_html(identity: str, lines: Sequence[str], left_out: int) -> str:
    """Returns a page with a unified diff.

    Args:
        identity: of the conflict.
        lines: of the diff.
        left_out: how many more there are.
    """
    template = _environment().get_template("difference.html")
    shown = [(_kind_of(line), line.expandtabs()) for line in lines]
    return template.render(identity=identity, lines=shown, left_out=left_out)


def _kind_of(line: str) -> str:
    if line.startswith(("---", "+++", "@@")):
        return "about"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")


@cache
def static_file(name: str) -> bytes:
    """Returns the stylesheet or the script. Raises KeyError: there is no such file."""
    if name not in STATIC_TYPES:
        raise KeyError(name)
    return resources.files("geosync.http").joinpath("static", name).read_bytes()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("geosync.http"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )


def _visible(value: object) -> object:
    """What could turn text around, or hide, is shown as an escape; HTML is escaped after this."""
    return escape_unprintable(value) if type(value) is str else value
