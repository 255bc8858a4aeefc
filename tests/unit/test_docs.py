"""The documentation names only commands, options, files and sections that are there."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.commands.command_parser import command_parser
from tests.support import configuration_page

PROJECT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    if "build" not in path.parts
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACES = re.compile(r"`((?:recipes|systemd|tests|docs|geosync|conflict|transport)/[\w./@-]+)`")


def _anchors(text: str) -> set[str]:
    """Returns the anchors of a page, as GitHub and MyST make them of headings."""
    headings = re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_within_the_documentation_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = page if not name else page.parent / name
        is_page = there.suffix == ".md"
        if not there.exists() or (anchor and is_page and anchor not in _anchors(there.read_text())):
            dead.append(target)
    assert dead == []


def test_files_of_the_project_that_are_named_are_there() -> None:
    named = {(page.name, place) for page in PAGES for place in PLACES.findall(page.read_text())}
    missing = [
        (page, place)
        for page, place in sorted(named)
        if not (PROJECT / place.partition("…")[0]).exists()
    ]
    assert missing == []


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _commands_in(text: str) -> Iterator[list[str]]:
    """Yields what is written as a command line, in code within lines and in blocks."""
    text = re.sub(r"```toml.*?```", "", text.replace("\\\n", " "), flags=re.DOTALL)
    in_lines = re.findall(
        r"`geosync ([a-z][^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    prompted = re.findall(r"^(?: {4,}|[\w-]*[$#] )+geosync ([a-z].*)$", text, re.MULTILINE)
    scripts = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    in_blocks = [*prompted, *re.findall(r"^geosync ([a-z].*)$", scripts, re.MULTILINE)]
    for line in [*in_lines, *in_blocks]:
        command = re.split(r"\s+(?:#|\||&&|\|\||2?>|&|;)|[;,]?\s+…|\s{3,}", line)[0]
        try:
            yield shlex.split(command)
        except ValueError:
            yield command.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    wrong = []
    for words in _commands_in(page.read_text()):
        parser, rest = command_parser(), list(words)
        while rest and (children := _children(parser)):
            if rest[0] not in children:
                wrong.append(words)
                break
            parser = children[rest.pop(0)]
        known = {option for action in parser._actions for option in action.option_strings}
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        if words[:1] != ["demo"] and not set(options) <= known:
            wrong.append(words)
    assert [words for words in wrong if words[:1] != ["geosync"]] == []


def test_the_page_of_the_configuration_is_what_the_code_says() -> None:
    assert configuration_page.PAGE.read_text() == configuration_page.page_text(), (
        "write it anew: python -m tests.support.configuration_page"
    )
