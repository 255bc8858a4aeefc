"""Policies that compute a content, union, merge and command, between engines in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from conflict.operations import Put
from conflict.policy import rule_from
from geosync.configuration.merge_program_rules import MergeProgram
from geosync.engine.settling import TURN_S
from tests.support.await_condition import await_condition
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, operations_of, settle
from tests.support.pair_of_sites import Pair, pair_of_sites, write_apart, write_at_once
from transport.memory_store import MemoryStore


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_of_sites(MemoryStore()) as made:
        yield made


def set_policy(pair: Pair, glob: str, policy: str) -> None:
    pair[0].engine.decisions.set_policy(rule_from(glob, policy))
    settle(*pair)


def assert_settled(pair: Pair, path: bytes, content: bytes) -> None:
    for site in pair:
        assert site.read(path) == content
        assert site.engine.conflicts() == []
    assert disk_tree(pair[0].root) == disk_tree(pair[1].root)


def reasons(site: LocalSite) -> list[str]:
    return [attempt.reason for attempt in site.journal.settlements.attempts()]


def test_a_log_that_both_wrote_to_has_the_lines_of_both(pair: Pair) -> None:
    set_policy(pair, "*.log", "union")
    write_at_once(pair, b"a.log", b"1\nof bari\n", b"1\nof cnaf\n", ancestor=b"1\n")
    assert_settled(pair, b"a.log", b"1\nof bari\nof cnaf\n")


def test_a_log_that_both_began_has_the_lines_of_both(pair: Pair) -> None:
    set_policy(pair, "*.log", "union")
    write_at_once(pair, b"a.log", b"# log\nof bari\n", b"# log\nof cnaf\n")
    assert_settled(pair, b"a.log", b"# log\nof bari\nof cnaf\n")


def test_lines_that_one_side_removed_stay_away(pair: Pair) -> None:
    set_policy(pair, "*.log", "union")
    write_at_once(pair, b"a.log", b"last\n", b"old\nlast\nof cnaf\n", ancestor=b"old\nlast\n")
    assert_settled(pair, b"a.log", b"last\nof cnaf\n")


def test_changes_of_different_lines_are_merged(pair: Pair) -> None:
    set_policy(pair, "*.txt", "merge")
    write_at_once(pair, b"a.txt", b"one\n2\n3\n", b"1\n2\nthree\n", ancestor=b"1\n2\n3\n")
    assert_settled(pair, b"a.txt", b"one\n2\nthree\n")


@pytest.mark.parametrize(
    ("ancestor", "contents", "reason"),
    [
        (b"1\n", (b"of bari\n", b"of cnaf\n"), "change the same lines"),
        (None, (b"of bari\n", b"of cnaf\n"), "come from no common one"),
        (b"1\n2\n3\n", (b"\0\n2\n3\n", b"1\n2\n4\n"), "no text"),
    ],
)
def test_what_is_not_merged_is_left_to_a_person_who_is_told_why(
    pair: Pair, ancestor: bytes | None, contents: tuple[bytes, bytes], reason: str
) -> None:
    set_policy(pair, "*.txt", "merge")
    write_at_once(pair, b"a.txt", *contents, ancestor=ancestor)
    for site in pair:
        assert len(site.engine.conflicts()) == 1
        (told,) = reasons(site)
        assert reason in told
    assert disk_tree(pair[0].root) == disk_tree(pair[1].root)
    pair[0].write(b"a.txt", b"by a person\n")  # saw the winner, and replaces that one only
    settle(*pair)
    assert len(pair[1].engine.conflicts()) == 1


def test_a_policy_that_is_set_later_settles_what_is_open(pair: Pair) -> None:
    write_at_once(pair, b"a.log", b"of bari\n", b"of cnaf\n", ancestor=b"")
    assert len(pair[0].engine.conflicts()) == 1
    set_policy(pair, "*", "union")
    assert_settled(pair, b"a.log", b"of bari\nof cnaf\n")


def test_only_one_site_works_and_the_other_one_where_it_is_away(pair: Pair) -> None:
    """Nothing is written twice; and nothing waits for a site that is gone."""
    bari, cnaf = pair
    set_policy(pair, "*", "union")
    bari.write(b"log", b"")
    settle(bari, cnaf)
    bari.write(b"log", b"of bari\n")
    bari.cycle_alone()
    cnaf.write(b"log", b"of cnaf\n")  # later: it has the name, and so the first turn
    for _ in range(3):
        cnaf.cycle()
    cnaf.close()
    for _ in range(3):
        bari.cycle()
    assert bari.read(b"log") == b"of cnaf\n"
    bari.time.advance(TURN_S)
    for _ in range(3):
        bari.cycle()
    assert bari.read(b"log") == b"of bari\nof cnaf\n"
    cnaf.open()
    settle(bari, cnaf)
    assert_settled(pair, b"log", b"of bari\nof cnaf\n")


@pytest.mark.parametrize("policy", ["union", "merge"])
def test_two_sites_that_settle_at_once_write_the_same(
    pair: Pair, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal contents with equal times: no conflict, not even of attributes."""
    monkeypatch.setattr("geosync.engine.settling.TURN_S", 0.0)
    set_policy(pair, "*", policy)
    write_at_once(pair, b"log", b"one\n2\n3\n", b"1\n2\nthree\n", ancestor=b"1\n2\n3\n")
    assert_settled(pair, b"log", b"one\n2\nthree\n")
    store = pair[0].store
    written = [
        each
        for site in pair
        for each in operations_of(site, store)
        if isinstance(each, Put) and len(each.context) == 2
    ]
    assert len(written) == 2
    assert written[0].content == written[1].content
    assert written[0].attributes == written[1].attributes


def test_what_was_settled_is_merged_again_with_what_came_late(pair: Pair) -> None:
    """What comes of a merge is what the next one begins with."""
    bari, cnaf = pair
    set_policy(pair, "*", "merge")
    bari.write(b"text", b"1\n2\n3\n4\n5\n")
    settle(bari, cnaf)
    cnaf.write(b"text", b"1\n2\n3\n4\nfive\n")
    cnaf.cycle_alone()
    bari.write(b"text", b"one\n2\n3\n4\n5\n")
    settle(bari, cnaf)
    assert_settled(pair, b"text", b"one\n2\n3\n4\nfive\n")
    bari.write(b"text", b"one\n2\nthree\n4\nfive\n")
    bari.cycle_alone()
    cnaf.write(b"text", b"one\n2\n3\n4\nfive\nsix\n")
    settle(bari, cnaf)
    assert_settled(pair, b"text", b"one\n2\nthree\n4\nfive\nsix\n")


# Programs

JOINING = (
    "import sys, pathlib; output, ancestor, *versions = map(pathlib.Path, sys.argv[1:]);"
    "output.write_bytes(ancestor.read_bytes() + b''.join(v.read_bytes() for v in versions))"
)


def use_program(pair: Pair, script: str, *, timeout_s: int = 60, names: str = "bari cnaf") -> None:
    for site in pair:
        if site.name in names:
            site.engine.site.merge_programs = {
                "joining": MergeProgram((sys.executable, "-c", script), timeout_s)
            }
    set_policy(pair, "*", "command:joining")


def await_settling(pair: Pair, is_over: Callable[[], object]) -> None:
    """The programs take real time."""

    def is_over_now() -> bool:
        for site in pair:
            site.cycle()
        return bool(is_over())

    await_condition(is_over_now, "a program")


def test_a_program_gets_what_the_versions_come_from_and_all_of_them(pair: Pair) -> None:
    use_program(pair, JOINING)
    write_apart(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    await_settling(pair, lambda: all(not site.engine.conflicts() for site in pair))
    settle(*pair)
    assert_settled(pair, b"file", b"0\n1\n2\n")


def test_a_site_without_the_program_leaves_it_to_one_that_has_it(pair: Pair) -> None:
    use_program(pair, JOINING, names="bari")
    write_apart(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    await_settling(pair, lambda: all(not site.engine.conflicts() for site in pair))
    settle(*pair)
    assert_settled(pair, b"file", b"0\n1\n2\n")


@pytest.mark.parametrize(
    ("script", "timeout_s", "reason"),
    [
        ("import sys; sys.exit('no idea')", 60, "ended with code 1; it said: no idea"),
        ("import time; time.sleep(1000)", 1, "took longer than 1 s and was ended"),
        ("print('done')", 60, "wrote no output"),
        ("import os, sys; os.symlink('/etc/passwd', sys.argv[1])", 60, "wrote no output"),
    ],
)
def test_a_program_that_fails_or_hangs_leaves_the_conflict(
    pair: Pair, script: str, timeout_s: int, reason: str
) -> None:
    use_program(pair, script, timeout_s=timeout_s, names="cnaf")
    write_apart(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    await_settling(pair, lambda: reasons(pair[1]))
    assert reason in reasons(pair[1])[0]
    settle(*pair)
    assert [len(site.engine.conflicts()) for site in pair] == [1, 1]


def test_a_program_sees_no_credentials(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ST_KEY", "secret")
    use_program(pair, "import os, sys; print(sorted(os.environ)); sys.exit(1)", names="cnaf")
    write_apart(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    await_settling(pair, lambda: reasons(pair[1]))
    (reason,) = reasons(pair[1])
    assert "GEOSYNC_PATH" in reason
    assert "ST_KEY" not in reason
