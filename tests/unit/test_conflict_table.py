"""The conflict table: what two or three concurrent changes become, row by row, as a literal tree.

docs/merge-rules.md tells the same to administrators. A tree is written as path -> text of the
file, `/` for a directory, followed by ` !text` for each version that is kept as a conflict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import pytest

from conflict.operations import EXTENDED_PREFIX, MODE, AttributeValue
from conflict.policy import ConflictPolicy, PolicyRule
from tests.support.history import Site, Tree, deliver, path_from, text_of

Change = Callable[[Site], object]
Shown = Mapping[str, str]
SECOND_MS = 1000


def steps(*changes: Change) -> Change:
    """Makes one change of several, each a transaction of its own."""

    def all_of_them(site: Site) -> None:
        for change in changes:
            change(site)

    return all_of_them


def create(path: str, text: str) -> Change:
    return lambda site: site.create(path, text)


def edit(path: str, text: str) -> Change:
    return lambda site: site.edit(path, text)


def mkdir(path: str) -> Change:
    return lambda site: site.mkdir(path)


def move(source: str, target: str) -> Change:
    return lambda site: site.move(source, target)


def delete(path: str) -> Change:
    return lambda site: site.delete(path)


def link(source: str, target: str) -> Change:
    return lambda site: site.link(source, target)


def chmod(path: str, mode: int) -> Change:
    return lambda site: site.chmod(path, mode)


def replace(source: str, target: str) -> Change:
    return lambda site: site.replace(source, target)


def exchange(first: str, second: str) -> Change:
    return lambda site: site.exchange(first, second)


def rewrite_name(path: str, text: str) -> Change:
    return lambda site: site.rewrite_name(path, text)


def wait(time_ms: int) -> Change:
    def pass_time(site: Site) -> None:
        site.now_ms += time_ms

    return pass_time


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        before: what all sites have.
        changes: what each site does then, concurrently; the last one has the latest stamp.
        shown: what all of them show afterwards.
        shown_if_first_is_last: the same if the first site's change had the latest stamp.
        prepare: what the sites do after that, before the changes.
        attributes: some attributes that an entry has afterwards.
        orphans: how many conflicts of files that are gone are left, by the path they had.
    """

    row: str
    before: Change
    changes: Sequence[Change]
    shown: Shown
    shown_if_first_is_last: Shown | None = None
    prepare: Callable[[list[Site]], None] = deliver
    attributes: Mapping[str, Mapping[bytes, AttributeValue]] = field(default_factory=dict)
    orphans: Mapping[str, int] = field(default_factory=dict)


F = create("f", "0")
A_AND_B = steps(create("a", "a"), create("b", "b"))
A_AND_C = steps(create("a", "a"), create("c", "c"))
F_AND_G = steps(F, link("f", "g"))
D = mkdir("d")
D_WITH_X_AND_Y = steps(D, create("d/x", "x"), create("d/y", "y"))
DIRECTORIES_A_AND_B = steps(mkdir("a"), mkdir("b"), create("a/x", "x"), create("b/y", "y"))
E_SHOWN = {"e": "/", "e/x": "x", "e/y": "y"}


def open_conflict(sites: list[Site]) -> None:
    """Leaves `f` with the content W and the conflict L, on all sites."""
    sites[0].edit("f", "L")
    sites[1].now_ms += 1
    sites[1].edit("f", "W")
    deliver(sites)


def open_conflict_in_directory(sites: list[Site]) -> None:
    open_conflict(sites)
    sites[0].move("f", "d/f")
    deliver(sites)


def open_conflict_beside(sites: list[Site]) -> None:
    sites[0].set_policy(PolicyRule(b"*", ConflictPolicy.BESIDE))
    open_conflict(sites)


def conflict_known_to_first_site(sites: list[Site]) -> None:
    """Leaves the first site with `W !L`, and the second one, which wrote L, without W."""
    sites[1].edit("f", "L")
    sites[0].now_ms += 1
    sites[0].edit("f", "W")
    for transaction in sites[1].log:
        sites[0].receive(transaction)
    sites[0].materialise()


def two_files_for_one_name(sites: list[Site]) -> None:
    """Leaves a file `n` with the content W that won its name over another file with L."""
    sites[0].create("n", "L")
    sites[1].now_ms += 1
    sites[1].create("n", "W")
    deliver(sites)


def settle(path: str, text: str) -> Change:
    return lambda site: site.settle(path, text)


def nothing(_site: Site) -> None:
    return None


CASES = [
    Case(
        "01-edit-edit",
        F,
        [edit("f", "A"), edit("f", "B")],
        {"f": "B !A"},
        {"f": "A !B"},
    ),
    Case(
        "01-edit-edit-edit",
        F,
        [edit("f", "A"), edit("f", "B"), edit("f", "C")],
        {"f": "C !A !B"},
        {"f": "A !B !C"},
    ),
    Case("02-same-edit-twice", F, [edit("f", "same"), edit("f", "same")], {"f": "same"}),
    Case(
        "03-edit-chmod",
        F,
        [edit("f", "A"), chmod("f", 0o600)],
        {"f": "A"},
        attributes={"f": {MODE: 0o600}},
    ),
    Case(
        "04-chmod-xattr",
        F,
        [chmod("f", 0o600), lambda site: site.set_extended("f", "user.k", b"v")],
        {"f": "0"},
        attributes={"f": {MODE: 0o600, EXTENDED_PREFIX + b"user.k": b"v"}},
    ),
    Case("05-edit-delete", F, [edit("f", "A"), delete("f")], {"f": "A"}),
    Case("06-chmod-delete", F, [chmod("f", 0o600), delete("f")], {}),
    Case("07-delete-delete", F, [delete("f"), delete("f")], {}),
    Case("08-delete-move", F, [delete("f"), move("f", "g")], {"g": "0"}),
    Case("09-edit-move", F, [edit("f", "A"), move("f", "g")], {"g": "A"}),
    Case(
        "09-edit-move-delete",
        F,
        [edit("f", "A"), move("f", "g"), delete("f")],
        {"g": "A"},
    ),
    Case("10-move-move", F, [move("f", "g"), move("f", "h")], {"h": "0"}, {"g": "0"}),
    Case(
        "11-move-onto-same-name",
        A_AND_B,
        [move("a", "c"), move("b", "c")],
        {"c": "b !a"},
        {"c": "a !b"},
    ),
    Case(
        "12-create-create",
        D,
        [create("d/f", "A"), create("d/f", "B")],
        {"d": "/", "d/f": "B !A"},
        {"d": "/", "d/f": "A !B"},
    ),
    Case(
        "12-create-and-edit-create",
        D,
        [steps(create("d/f", "A"), wait(10 * SECOND_MS), edit("d/f", "A2")), create("d/f", "B")],
        {"d": "/", "d/f": "B !A2"},
        {"d": "/", "d/f": "A2 !B"},
    ),
    Case(
        "13-same-create-twice",
        D,
        [create("d/f", "same"), create("d/f", "same")],
        {"d": "/", "d/f": "same"},
    ),
    Case(
        "14-mkdir-mkdir",
        F,
        [steps(mkdir("d"), create("d/x", "x")), steps(mkdir("d"), create("d/y", "y"))],
        {"f": "0", "d": "/", "d/x": "x", "d/y": "y"},
    ),
    Case(
        "14-mkdir-mkdir-same-file",
        F,
        [steps(mkdir("d"), create("d/x", "A")), steps(mkdir("d"), create("d/x", "B"))],
        {"f": "0", "d": "/", "d/x": "B !A"},
        {"f": "0", "d": "/", "d/x": "A !B"},
    ),
    Case("15-mkdir-create", F, [mkdir("d"), create("d", "B")], {"f": "0", "d": "/ !B"}),
    Case(
        "16-symlink-create",
        F,
        [create("l", "->f"), create("l", "B")],
        {"f": "0", "l": "B !->f"},
        {"f": "0", "l": "->f !B"},
    ),
    Case("17-rmdir-create-inside", D, [delete("d"), create("d/x", "B")], {"d": "/", "d/x": "B"}),
    Case("17-rmdir-mkdir-again", D, [delete("d"), steps(delete("d"), mkdir("d"))], {"d": "/"}),
    Case(
        "18-remove-tree-edit-inside",
        D_WITH_X_AND_Y,
        [delete("d"), edit("d/x", "B")],
        {"d": "/", "d/x": "B"},
    ),
    Case("19-remove-tree-move-tree", D_WITH_X_AND_Y, [delete("d"), move("d", "e")], {"e": "/"}),
    Case(
        "19-remove-tree-move-tree-and-edit",
        D_WITH_X_AND_Y,
        [delete("d"), steps(move("d", "e"), edit("e/x", "B"))],
        {"e": "/", "e/x": "B"},
    ),
    Case(
        "20-remove-tree-move-into",
        steps(D_WITH_X_AND_Y, F),
        [delete("d"), move("f", "d/f")],
        {"d": "/", "d/f": "0"},
    ),
    Case("20-remove-tree-move-out", D_WITH_X_AND_Y, [delete("d"), move("d/x", "x")], {"x": "x"}),
    Case(
        "21-move-tree-create-inside",
        D_WITH_X_AND_Y,
        [move("d", "e"), create("d/z", "z")],
        {**E_SHOWN, "e/z": "z"},
    ),
    Case(
        "21-move-tree-move-into",
        steps(D_WITH_X_AND_Y, F),
        [move("d", "e"), move("f", "d/f")],
        {**E_SHOWN, "e/f": "0"},
    ),
    Case(
        "22-move-tree-twice",
        D_WITH_X_AND_Y,
        [move("d", "g"), move("d", "e")],
        E_SHOWN,
        {"g": "/", "g/x": "x", "g/y": "y"},
    ),
    Case(
        "23-move-into-each-other",
        DIRECTORIES_A_AND_B,
        [move("a", "b/a"), move("b", "a/b")],
        {"b": "/", "b/a": "/", "b/a/x": "x", "b/y": "y"},
        {"a": "/", "a/b": "/", "a/b/y": "y", "a/x": "x"},
    ),
    Case(
        "23-move-into-each-other-in-a-ring",
        steps(mkdir("a"), mkdir("b"), mkdir("c"), create("a/x", "x")),
        [move("a", "b/a"), move("b", "c/b"), move("c", "a/c")],
        {"c": "/", "c/b": "/", "c/b/a": "/", "c/b/a/x": "x"},
        {"a": "/", "a/c": "/", "a/c/b": "/", "a/x": "x"},
    ),
    Case(
        "24-move-tree-into-removed-tree",
        steps(D_WITH_X_AND_Y, mkdir("e")),
        [move("d", "e/d"), delete("e")],
        {"e": "/", "e/d": "/", "e/d/x": "x", "e/d/y": "y"},
    ),
    Case(
        "25-move-tree-create-file",
        D_WITH_X_AND_Y,
        [move("d", "e"), create("e", "B")],
        {**E_SHOWN, "e": "/ !B"},
    ),
    Case(
        "26-move-tree-mkdir",
        D_WITH_X_AND_Y,
        [move("d", "e"), steps(mkdir("e"), create("e/z", "z"))],
        {**E_SHOWN, "e/z": "z"},
    ),
    Case(
        "27-atomic-save-edit",
        F,
        [steps(create("t", "A"), replace("t", "f")), edit("f", "B")],
        {"f": "B !A"},
        {"f": "A !B"},
    ),
    Case(
        "28-rename-over-edit-of-target",
        A_AND_C,
        [replace("a", "c"), edit("c", "B")],
        {"c": "B !a"},
        {"c": "a !B"},
    ),
    Case(
        "29-rename-over-edit-of-source",
        A_AND_C,
        [replace("a", "c"), edit("a", "B")],
        {"a": "B", "c": "a"},
    ),
    Case(
        "30-exchange-edit",
        A_AND_B,
        [exchange("a", "b"), edit("a", "B")],
        {"a": "B !b", "b": "a"},
        {"a": "b !B", "b": "a"},
    ),
    Case(
        "30-exchange-exchange",
        A_AND_B,
        [exchange("a", "b"), exchange("a", "b")],
        {"a": "b", "b": "a"},
    ),
    Case(
        "30-exchange-trees-create-inside",
        DIRECTORIES_A_AND_B,
        [exchange("a", "b"), create("a/z", "z")],
        {"a": "/", "a/y": "y", "b": "/", "b/x": "x", "b/z": "z"},
    ),
    Case("31-link-edit", F, [link("f", "g"), edit("f", "B")], {"f": "B", "g": "B"}),
    Case("32-link-unlink", F, [link("f", "g"), delete("f")], {"g": "0"}),
    Case("33-unlink-each-name", F_AND_G, [delete("f"), delete("g")], {}),
    Case(
        "33-unlink-each-name-edit",
        F_AND_G,
        [delete("f"), delete("g"), edit("f", "C")],
        {"f": "C"},
    ),
    Case("33-unlink-one-name-edit", F_AND_G, [delete("f"), edit("f", "B")], {"g": "B"}),
    Case(
        "33-delete-all-names-edit-and-unlink",
        F_AND_G,
        [lambda site: site.delete_all("f", "g"), steps(edit("f", "B"), delete("f"))],
        {"g": "B"},
    ),
    Case(
        "34-break-link-edit",
        F_AND_G,
        [rewrite_name("f", "A"), edit("g", "B")],
        {"f": "A", "g": "B"},
    ),
    Case(
        "35-append-append",
        create("log", "1"),
        [edit("log", "1A"), edit("log", "1B")],
        {"log": "1B !1A"},
        {"log": "1A !1B"},
    ),
    Case(
        "36-file-becomes-directory-edit",
        F,
        [lambda site: site.replace_with_directory("f"), edit("f", "B")],
        {"f": "/ !B"},
    ),
    Case(
        "37-edit-copy-edit",
        F,
        [lambda site: site.edit_copy("f", "L", "A"), edit("f", "B")],
        {"f": "B", "f.gs": "A"},
        prepare=open_conflict_beside,
    ),
    Case(
        "38-settle-edit-of-loser",
        F,
        [settle("f", "L"), edit("f", "B")],
        {"f": "B !W"},
        {"f": "B !W"},
        prepare=conflict_known_to_first_site,
    ),
    Case(
        "41-delete-with-open-conflict",
        F,
        [delete("f"), nothing],
        {},
        prepare=open_conflict,
        orphans={"f": 1},
    ),
    Case(
        "41-delete-with-open-conflict-edit",
        F,
        [delete("f"), edit("f", "B")],
        {"f": "B !L"},
        prepare=open_conflict,
    ),
    Case(
        "41-remove-tree-with-open-conflict-create-inside",
        steps(F, D),
        [delete("d"), create("d/z", "z")],
        {"d": "/", "d/z": "z"},
        prepare=open_conflict_in_directory,
        orphans={"d/f": 1},
    ),
    Case(
        "42-move-with-open-conflict-edit",
        F,
        [move("f", "g"), edit("f", "B")],
        {"g": "B !L"},
        prepare=open_conflict,
    ),
    Case(
        "42-move-away-from-other-file",
        D,
        [move("n", "m"), nothing],
        {"d": "/", "m": "W"},
        prepare=two_files_for_one_name,
        orphans={"n": 1},
    ),
    Case(
        "43-settle-edit",
        F,
        [settle("f", "L"), edit("f", "B")],
        {"f": "B"},
        prepare=open_conflict,
    ),
    Case(
        "43-settle-delete",
        F,
        [settle("f", "L"), delete("f")],
        {},
        prepare=open_conflict,
    ),
    Case(
        "43-settle-other-file-rename",
        D,
        [settle("n", "L"), move("n", "m")],
        {"d": "/", "m": "W"},
        prepare=two_files_for_one_name,
    ),
    Case(
        "44-choose-copy-edit",
        F,
        [lambda site: site.choose_copy("f", "L"), edit("f", "B")],
        {"f": "B !L"},
        {"f": "L !B"},
        prepare=open_conflict,
    ),
]
BY_ROW = {case.row: case for case in CASES}


def observers_of(sites: Sequence[Site]) -> list[Site]:
    """Returns sites that did nothing, one for each order in which the others may be heard."""
    observers: list[Site] = []
    for order in permutations(sites):
        observer = Site(100 + len(observers))
        while sum(observer.receive(heard) for site in order for heard in site.log):
            pass  # what was heard before what it needs is heard again
        observer.materialise()
        observers.append(observer)
    return observers


def shown(tree: Tree) -> dict[str, str]:
    """Writes a tree as the table does; the mark in the name of a copy becomes `.gs`."""
    lines = {}
    for path, entry in tree.items():
        losers = sorted(f" !{text_of(copy.version.content)}" for copy in entry.copies)
        name = re.sub(r"\.gs-[^./]*", ".gs", b"/".join(path).decode())
        lines[name] = text_of(entry.content) + "".join(losers)
    return lines


def after_row(case: Case, *, first_is_last: bool) -> list[Site]:
    """Plays a row, and returns its sites and observers when all have heard of everything."""
    sites = [Site(number + 1) for number in range(len(case.changes))]
    case.before(sites[0])
    deliver(sites)
    case.prepare(sites)
    for index, site in enumerate(sites):
        site.now_ms += SECOND_MS * (len(sites) + 1 if first_is_last and not index else index + 1)
    for site, change in zip(sites, case.changes, strict=True):
        change(site)
    deliver(sites)
    return [*sites, *observers_of(sites)]


@pytest.mark.parametrize("first_is_last", [False, True], ids=["in-order", "first-is-last"])
@pytest.mark.parametrize("row", list(BY_ROW))
def test_row(row: str, first_is_last: bool) -> None:
    """All sites show the tree of the row, whoever was later and in whatever order they hear."""
    case = BY_ROW[row]
    expected = dict(case.shown)
    if first_is_last and case.shown_if_first_is_last is not None:
        expected = dict(case.shown_if_first_is_last)
    for site in after_row(case, first_is_last=first_is_last):
        assert expected == shown(site.disk)
        found = {b"/".join(path).decode(): len(claims) for path, claims in site.orphans.items()}
        assert dict(case.orphans) == found
        for path, attributes in case.attributes.items():
            assert attributes.items() <= dict(site.disk[path_from(path)].attributes).items()


def test_rows_have_names_of_their_own() -> None:
    """No case hides another one."""
    assert len(CASES) == len(BY_ROW)


def test_administrators_read_the_same_table() -> None:
    """docs/merge-rules.md has each row of this table, and no other."""
    with open("docs/merge-rules.md", encoding="utf-8") as document:
        documented = re.findall(r"^\| `(\d\d-[a-z-]+)` \|", document.read(), re.MULTILINE)
    assert sorted(BY_ROW) == sorted(documented)
