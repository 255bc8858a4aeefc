"""Corners of the merge rules that once went wrong: each lost or resurrected something."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from conflict.author import Author
from conflict.errors import MalformedValueError
from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import MergedTree
from conflict.operations import MODE, MTIME_NS, ROOT, Drop, LinkId, Put
from conflict.policy import (
    ConflictPolicy,
    PolicyRule,
    policy_of,
    rule_from,
)
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot
from tests.support.history import Site, content_of, deliver, mtime_of, path_from, text_of

FAR_AHEAD_MS = 10**10
NEWEST = PolicyRule(b"*", ConflictPolicy.NEWEST)


def site_priority(*names: bytes) -> PolicyRule:
    return PolicyRule(b"*", ConflictPolicy.SITE_PRIORITY, names)


def new_sites(count: int, *rules: PolicyRule) -> list[Site]:
    """Returns empty sites, each a second ahead of the one before, under some policies."""
    sites = [Site(number + 1) for number in range(count)]
    for index, site in enumerate(sites):
        site.now_ms += 1000 * index
        site.announce()
    if rules:
        sites[0].set_policy(*rules)
    deliver(sites)
    return sites


def texts(site: Site) -> dict[str, list[str]]:
    """Returns what is at each path: the text that is there, then the conflicts."""
    return {
        b"/".join(path).decode(): [
            text_of(entry.content),
            *sorted(text_of(copy.version.content) for copy in entry.copies),
        ]
        for path, entry in site.disk.items()
    }


def send(source: Site, target: Site) -> None:
    """Brings what one site wrote to another one's disk."""
    for transaction in source.log:
        target.receive(transaction)
    target.materialise()


def with_concurrent_edits(sites: Sequence[Site]) -> None:
    """Leaves `f` with the contents A of the first site and B of the second, which is later."""
    sites[0].create("f", "0")
    deliver(sites)
    sites[0].edit("f", "A")
    sites[1].edit("f", "B")
    deliver(sites)


def test_deleted_file_takes_the_losers_of_newest_with_it() -> None:
    """Under `newest`, a losing version does not spring up when the file is deleted."""
    sites = new_sites(2, NEWEST)
    with_concurrent_edits(sites)
    assert texts(sites[0]) == {"f": ["B"]}
    sites[0].delete("f")
    deliver(sites)
    assert texts(sites[1]) == {}


def test_renamed_file_keeps_its_content_under_newest() -> None:
    """Under `newest`, a file that won its name over another one wins the next name too."""
    sites = new_sites(2, NEWEST)
    sites[0].create("f", "A")
    sites[1].create("f", "B")
    deliver(sites)
    sites[0].move("f", "g")
    deliver(sites)
    assert texts(sites[1]) == {"g": ["B"]}


def test_newest_hides_no_file_behind_a_directory() -> None:
    """A file that lost its name to a directory is not an older version of it: it stays a copy."""
    sites = new_sites(2, NEWEST)
    sites[0].create("f", "A")
    sites[1].mkdir("f")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["/", "A"]}


def test_file_outlives_conflicts_that_were_settled_crosswise() -> None:
    """Two sites settle a conflict, each in favour of the other's loser: nothing is lost."""
    sites = new_sites(2)
    with_concurrent_edits(sites)
    sites[0].settle("f", "A")
    sites[1].set_policy(site_priority(b"site1", b"site2"))
    sites[1].settle("f", "B")
    deliver(sites)
    assert texts(sites[0]) == texts(sites[1]) == {"f": ["A", "B"]}


def test_file_outlives_conflicts_that_were_settled_crosswise_on_a_stale_disk() -> None:
    """A copy is settled for the file that its user saw, even if that lost in the meantime."""
    sites = new_sites(2)
    with_concurrent_edits(sites)
    sites[1].set_policy(site_priority(b"site1", b"site2"))
    assert texts(sites[1]) == {"f": ["A", "B"]}
    sites[0].settle("f", "A")
    sites[1].receive(sites[0].log[-1])
    sites[1].settle("f", "B")
    deliver(sites)
    assert texts(sites[0]) == texts(sites[1]) == {"f": ["A", "B"]}


def test_settled_loser_leaves_no_modification_time() -> None:
    """The time that came with a settled version does not stay on the winner."""
    sites = new_sites(2, site_priority(b"site1", b"site2"))
    with_concurrent_edits(sites)
    sites[0].settle("f", "B")
    assert texts(sites[0]) == {"f": ["A"]}
    assert dict(sites[0].disk[(b"f",)].attributes)[MTIME_NS] == mtime_of("A")


def test_renames_of_directories_have_stamps_of_their_own() -> None:
    """Directories moved below one that a far too fast clock touched don't share a stamp."""
    sites = new_sites(2)
    for name in ("a", "b", "p"):
        sites[0].mkdir(name)
    deliver(sites)
    sites[1].now_ms += FAR_AHEAD_MS
    sites[1].chmod("p", 0o700)
    deliver(sites)
    sites[0].move("a", "p/a")
    sites[0].move("b", "p/b")
    stamps = [transaction.operations[0].stamp for transaction in sites[0].log[-2:]]
    assert len(set(stamps)) == 2
    deliver(sites)
    assert texts(sites[1]) == {"p": ["/"], "p/a": ["/"], "p/b": ["/"]}


def test_rename_takes_effect_after_one_by_a_fast_clock() -> None:
    """What made the rename possible counts before it, even from a clock far ahead of ours."""
    sites = new_sites(2)
    for name in ("y", "y/x", "y/x/q"):
        sites[0].mkdir(name)
    deliver(sites)
    sites[1].now_ms += FAR_AHEAD_MS
    sites[1].move("y/x", "x")
    deliver(sites)
    sites[0].move("y", "x/q/y")
    assert texts(sites[0]) == {"x": ["/"], "x/q": ["/"], "x/q/y": ["/"]}


def test_chmod_of_merged_directories_stays() -> None:
    """Of directories that are one, each may have the highest stamp: a chmod is after all."""
    sites = new_sites(2)
    sites[0].mkdir("d")
    sites[1].now_ms += FAR_AHEAD_MS
    sites[1].mkdir("d")
    sites[1].chmod("d", 0o755)
    deliver(sites)
    sites[0].chmod("d", 0o700)
    assert dict(sites[0].disk[(b"d",)].attributes)[MODE] == 0o700


def test_overwritten_name_of_equal_files_leaves_the_other_names_alone() -> None:
    """A file that was one with another by equal content keeps all versions at its other name."""
    sites = new_sites(3)
    sites[1].create("c", "0")
    sites[1].link("c", "y")
    send(sites[1], sites[2])
    sites[1].edit("c", "same")
    sites[2].edit("y", "3")
    sites[0].now_ms += 5000
    sites[0].create("c", "same")
    send(sites[1], sites[0])
    assert texts(sites[0]) == {"c": ["same"], "y": ["same"]}
    sites[0].edit("c", "new")
    deliver(sites)
    assert texts(sites[0]) == {"c": ["new"], "y": ["3", "same"]}


def test_set_aside_holds_for_a_file_that_an_edit_brought_back() -> None:
    """A deleted winner uncovers no file, not even one without a place of its own."""
    sites = new_sites(3)
    sites[0].create("n", "L")
    deliver(sites)
    sites[0].delete("n")
    sites[1].edit("n", "L2")
    sites[2].delete("n")
    sites[2].create("n", "W")
    deliver(sites)
    assert texts(sites[0]) == {"n": ["W", "L2"]}
    sites[0].delete("n")
    deliver(sites)
    assert texts(sites[1]) == {}
    assert list(sites[1].orphans) == [(b"n",)]


def test_edit_by_a_lesser_site_wins_over_conflicts_it_saw() -> None:
    """Under site-priority, who writes after a conflict was shown is not overruled by it."""
    sites = new_sites(3, site_priority(b"site1", b"site2"))
    with_concurrent_edits(sites)
    assert texts(sites[2]) == {"f": ["A", "B"]}
    sites[2].edit("f", "C")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["C", "B"]}


def test_hard_link_to_a_file_that_an_edit_brought_back_takes_no_name_away() -> None:
    """`ln f g` leaves `f` where it is, even if `f` was deleted elsewhere."""
    sites = new_sites(2)
    sites[0].create("f", "0")
    deliver(sites)
    sites[0].delete("f")
    sites[1].edit("f", "B")
    deliver(sites)
    sites[1].link("f", "g")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["B"], "g": ["B"]}
    sites[1].delete("f")
    deliver(sites)
    assert texts(sites[0]) == {"g": ["B"]}


def with_two_names_that_came_back() -> list[Site]:
    """Leaves `f` and `g`, deleted names of one file that was edited through each of them."""
    sites = new_sites(3)
    sites[0].create("f", "0")
    sites[0].link("f", "g")
    deliver(sites)
    sites[0].delete_all("f", "g")
    sites[1].edit("f", "F")
    sites[2].edit("g", "G")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["G", "F"], "g": ["G", "F"]}
    return sites


def test_rename_of_one_name_that_came_back_leaves_the_other_one() -> None:
    """Of two names that came back, one is renamed and the other one stays."""
    sites = with_two_names_that_came_back()
    sites[0].move("f", "h")
    deliver(sites)
    assert texts(sites[0]) == {"g": ["G", "F"], "h": ["G", "F"]}


def test_edit_through_one_name_that_came_back_leaves_the_other_one() -> None:
    """Of two names that came back, each for an edit through it, an edit replaces no name."""
    sites = with_two_names_that_came_back()
    sites[0].edit("f", "new")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["new", "F"], "g": ["new", "F"]}


def test_deletion_of_one_name_that_came_back_leaves_the_other_one() -> None:
    """Of two names that came back, the one that is not deleted stays."""
    for name, other in (("f", "g"), ("g", "f")):
        sites = with_two_names_that_came_back()
        sites[0].delete(name)
        deliver(sites)
        assert texts(sites[0]) == {other: ["G", "F"]}


def test_name_set_aside_leaves_the_other_one_that_came_back() -> None:
    """A file that lost one of its names keeps the other one when the winner moves away."""
    sites = new_sites(3)
    sites[0].create("f", "0")
    sites[0].link("f", "g")
    deliver(sites)
    sites[0].delete_all("f", "g")
    sites[0].create("f", "W")
    sites[1].edit("f", "F")
    sites[2].edit("g", "G")
    deliver(sites)
    assert texts(sites[0]) == {"f": ["W", "F", "G"], "g": ["G", "F"]}
    sites[0].move("f", "n")
    deliver(sites)
    assert texts(sites[0]) == {"g": ["G", "F"], "n": ["W"]}


def test_hard_link_to_a_file_that_was_deleted_elsewhere_restores_no_other_name() -> None:
    """A deletion that was received, but is not on the disk yet, stays one."""
    sites = new_sites(2)
    sites[0].create("f", "0")
    deliver(sites)
    sites[0].delete("f")
    sites[1].receive(sites[0].log[-1])
    sites[1].link("f", "g")
    deliver(sites)
    assert texts(sites[0]) == {"g": ["0"]}


def test_name_that_was_linked_and_deleted_in_one_change_is_gone() -> None:
    """What a transaction placed is on the disk, even if its caller has an older claim."""
    sites = new_sites(2)
    sites[0].create("f", "0")
    deliver(sites)
    sites[0].delete("f")
    sites[1].edit("f", "B")
    deliver(sites)
    claims = sites[1].disk[(b"f",)].claims

    def rename_by_linking(author: Author) -> None:
        author.add_name(claims[0], ROOT, b"g")
        author.delete(claims, (), is_last_name=False)

    sites[1].act(rename_by_linking)
    assert texts(sites[1]) == {"g": ["B"]}


def test_conflict_inside_merged_directories_is_shown() -> None:
    """Two directories of one name hold files of one name: the path is one, with a conflict."""
    sites = new_sites(2)
    for site, text in zip(sites, ("A", "B"), strict=True):
        site.mkdir("d")
        site.create("d/f", text)
    deliver(sites)
    assert texts(sites[0]) == {"d": ["/"], "d/f": ["B", "A"]}


def test_merged_directories_move_as_one_and_part_when_one_is_moved_elsewhere() -> None:
    """A site that knows only one of two merged directories moves that one alone."""
    sites = new_sites(3)
    for site in sites[:2]:
        site.mkdir("d")
        site.create("d/" + site.name.decode(), "x")
    send(sites[0], sites[2])
    for first, second in ((sites[0], sites[1]), (sites[1], sites[0])):
        send(first, second)
    sites[0].move("d", "e")
    sites[2].now_ms += 1000
    sites[2].move("d", "g")
    deliver(sites)
    assert texts(sites[1]) == {"e": ["/"], "e/site2": ["x"], "g": ["/"], "g/site1": ["x"]}


def test_merged_directories_are_deleted_as_one() -> None:
    """`rm -r` of a merged directory removes all that was in it, and nothing that was not."""
    sites = new_sites(3)
    for site in sites[:2]:
        site.mkdir("d")
        site.create("d/" + site.name.decode(), "x")
    deliver(sites)
    sites[0].delete("d")
    sites[2].create("d/new", "n")
    deliver(sites)
    assert texts(sites[1]) == {"d": ["/"], "d/new": ["n"]}


def test_rename_of_a_directory_can_change_the_policy_of_what_is_in_it() -> None:
    """A policy that names directories follows the path, and says that it does."""
    sites = new_sites(2, PolicyRule(b"d/**", ConflictPolicy.BESIDE))
    sites[0].mkdir("d")
    sites[0].create("d/f", "0")
    deliver(sites)
    sites[0].edit("d/f", "A")
    sites[1].edit("d/f", "B")
    deliver(sites)
    assert sites[0].disk[path_from("d/f")].shows_copies_beside
    sites[0].move("d", "e")
    assert not sites[0].disk[path_from("e/f")].shows_copies_beside


RULES = (
    PolicyRule(b"a/b\rc", ConflictPolicy.COMMAND, program=b"merge-json"),
    PolicyRule(b"*.log", ConflictPolicy.UNION),
    PolicyRule(b"caf\xe9", ConflictPolicy.NEWEST),
    site_priority(b"x", b"y"),
)


def test_rules_read_back_as_they_were_written() -> None:
    """Any name that a glob can have survives; the more particular rule goes before others."""
    sites = new_sites(1, *reversed(RULES))
    assert policy_of(sites[0].merged.node(ROOT)).rules == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_read_as_an_operator_writes_it(rule: PolicyRule) -> None:
    """What is shown of a rule can be given to set it."""
    assert rule_from(os.fsdecode(rule.glob), rule.text) == rule


@pytest.mark.parametrize(
    "text", ["", "none", "site-priority", "union:x", "command", "command:", "command:a,b"]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    """A policy has the words that it needs, and no others."""
    with pytest.raises(MalformedValueError):
        rule_from("*", text)


def test_rules_that_two_sites_add_at_once_are_both_kept() -> None:
    """Only of two changes of one rule does the later one replace the other."""
    sites = new_sites(2, NEWEST)
    deliver(sites)
    log, text = PolicyRule(b"*.log", ConflictPolicy.UNION), PolicyRule(b"*", ConflictPolicy.MERGE)
    sites[0].set_policy(NEWEST, log)
    sites[1].set_policy(text)
    deliver(sites)
    for site in sites:
        assert policy_of(site.merged.node(ROOT)).rules == (log, text)


def test_rules_are_replaced_by_others_or_by_none() -> None:
    """No policy at all is a policy, too."""
    sites = new_sites(1, *RULES)
    sites[0].set_policy(NEWEST)
    assert policy_of(sites[0].merged.node(ROOT)).rules == (NEWEST,)
    sites[0].set_policy()
    assert policy_of(sites[0].merged.node(ROOT)).rules == ()


@pytest.mark.parametrize("site", [b"", b"a\tb", b"a\nb"])
def test_rule_refuses_a_site_that_would_not_read_back(site: bytes) -> None:
    """A site's name can't break the format of the rules."""
    with pytest.raises(MalformedValueError):
        site_priority(site)


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown root", "known root"])
def test_root_takes_no_content(is_known: bool) -> None:
    """A version of the root is refused, whether or not the root was heard of before."""
    tree = MergedTree(MemoryNodes())
    if is_known:
        site = Site(1)
        site.announce()
        tree.apply(site.operations[0])
    actor = ActorId(b"2" * 16)
    dot, stamp, content = Dot(actor, 1), Stamp(0, 1, actor), content_of("x")
    with pytest.raises(MalformedValueError):
        tree.apply(Put(dot, stamp, ROOT, LinkId(ROOT), content))
    with pytest.raises(MalformedValueError):
        tree.apply(Drop(dot, stamp, ROOT, frozenset({Dot(actor, 2)})))
