"""The JSON of conflicts, policies and settlements is what docs/commands.md says, key by key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from conflict.policy import rule_from
from tests.support.journal_commands import JournalCommands
from tests.support.local_sites import settle
from tests.support.pair_of_sites import pair_of_sites, store_in, write_at_once

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
TYPES = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def documented(section: str) -> dict[str, set[type]]:
    """Returns the keys in the table of a section, each with the types that it may have."""
    text = TEXT.split(f"### `geosync {section}`\n")[1].split("\n## ")[0].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", text, flags=re.MULTILINE)
    return {key: {TYPES[word] for word in types.split(" or ")} for key, types in rows}


def assert_as_documented(section: str, found: Mapping[str, object]) -> None:
    expected = documented(section)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert type(value) in expected[key], key


@pytest.fixture
def commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[JournalCommands]:
    """A site with a conflict, a policy and a settlement."""
    with pair_of_sites(store_in(tmp_path / "store")) as (bari, cnaf):
        bari.engine.decisions.set_policy(rule_from("*.txt", "merge"))
        settle(bari, cnaf)
        for name in (b"open.txt", b"settled"):
            write_at_once((bari, cnaf), name, b"by bari\n", b"by cnaf\n")
        commands = JournalCommands(cnaf, tmp_path, capsys, tmp_path / "store")
        cnaf.close()
        commands.run("conflicts", "resolve", "settled", "--take", "loser")
        yield commands


def test_json_has_the_documented_keys_and_types(commands: JournalCommands) -> None:
    (conflict,) = commands.json("conflicts", "list")
    assert commands.json("conflicts", "show", "open.txt") == conflict
    assert_as_documented("conflicts show", conflict)
    assert conflict["left_because"] is not None
    policies = commands.json("policy", "list")
    assert [each["glob"] for each in policies] == ["*.txt", "*"]
    for each in policies:
        assert_as_documented("policy list", each)
    (settlement,) = commands.json("conflicts", "undo", "--list")
    assert_as_documented("conflicts undo", settlement)
