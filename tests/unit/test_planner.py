"""The planner: what is to be done to a disk so that it shows the merged tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from conflict.actions import (
    Action,
    Adopt,
    ApplyAttributes,
    LinkFile,
    Move,
    PlaceFile,
    RemoveDirectory,
    RemoveFile,
)
from conflict.observation import Attributes
from conflict.operations import NOTHING, LinkId, NodeId
from conflict.planner import plan
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.rendering import Claim
from conflict.synced import MemorySynced, SyncedEntry, SyncedStore
from geosync.disk.interface import Outcome
from tests.simulation.inode_file_system import RenameMode
from tests.support.small_applier import SmallApplier
from tests.support.small_history import check_converged, check_quiet
from tests.support.small_site import SmallSite, World, exchange, path_from, quiesce

BESIDE = PolicyRule(b"*", ConflictPolicy.BESIDE)


class Pair:
    """A site where programs act, and one where that is planned and done."""

    def __init__(self) -> None:
        world = World()
        self.source = SmallSite(1, world)
        self.target = SmallSite(2, world)

    def make(self, *paths: str) -> None:
        """Makes directories (`d/`) and files, each with its path for content, on both sites."""
        for path in paths:
            name = path.rstrip("/").encode()
            if path.endswith("/"):
                self.source.application.make_directory(name)
            else:
                self.source.application.write(name, name)
        quiesce(self.source, self.target)

    def act(self, *renames: tuple[str, str]) -> None:
        """Renames on the source, in this order."""
        for old, new in renames:
            self.source.application.rename(old.encode(), new.encode())

    def plan(self) -> tuple[Action, ...]:
        """Brings what was done on the source to the target, and plans it there."""
        self.source.settle()
        exchange(self.source, self.target)
        return self.target.plan()

    def done(self) -> list[str]:
        """Plans and does it; returns the kinds of the actions that change names or contents."""
        self.plan()
        self.source.apply()
        applier = self.target.apply()
        assert not applier.failures
        self.check()
        names = [type(action).__name__ for action in applier.done]
        return [name for name in names if name not in ("ApplyAttributes", "Adopt")]

    def check(self) -> None:
        sites = [self.source, self.target]
        check_converged(sites)
        check_quiet(sites)


@pytest.fixture
def pair() -> Pair:
    return Pair()


# Names


def test_new_directories_come_before_what_is_in_them(pair: Pair) -> None:
    pair.source.application.make_directory(b"d")
    pair.source.application.make_directory(b"d/e")
    pair.source.application.write(b"d/e/f", b"1")
    assert pair.done() == ["MakeDirectory", "MakeDirectory", "PlaceFile"]


def test_a_new_content_replaces_the_file_in_one_step(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.write(b"f", b"new")
    assert pair.done() == ["ReplaceFile"]


def test_a_renamed_file_is_moved(pair: Pair) -> None:
    pair.make("f", "d/")
    pair.act(("f", "d/g"))
    assert pair.done() == ["Move"]


def test_a_renamed_and_edited_file_is_moved_and_replaced(pair: Pair) -> None:
    pair.make("f")
    pair.act(("f", "g"))
    pair.source.application.write(b"g", b"new")
    assert pair.done() == ["Move", "ReplaceFile"]


def test_a_file_takes_the_name_of_another_one_that_is_moved_on(pair: Pair) -> None:
    pair.make("f", "g")
    pair.act(("g", "h"), ("f", "x"))
    pair.source.settle()
    pair.act(("x", "g"))
    done = pair.done()
    assert set(done) <= {"Move", "Park"}


def test_two_files_change_places(pair: Pair) -> None:
    """Seen at once they change contents; seen one by one they are moves, which make a cycle."""
    pair.make("f", "g")
    for old, new in (("f", "x"), ("g", "f"), ("x", "g")):
        pair.act((old, new))
        pair.source.settle()
    assert Counter(pair.done()) == {"Park": 1, "Move": 2}


def test_two_directories_change_places(pair: Pair) -> None:
    pair.make("d/", "e/", "d/f", "e/f")
    pair.source.file_system.rename(b"d", b"e", RenameMode.EXCHANGE)
    assert Counter(pair.done()) == {"Park": 1, "Move": 2}


def test_three_directories_go_round_in_a_circle(pair: Pair) -> None:
    pair.make("a/", "b/", "c/", "a/1", "b/2", "c/3")
    pair.act(("a", "x"), ("c", "a"), ("b", "c"), ("x", "b"))
    assert Counter(pair.done()) == {"Park": 2, "Move": 3}


def test_a_directory_changes_places_with_its_parent(pair: Pair) -> None:
    pair.make("p/", "p/c/", "p/f", "p/c/g")
    pair.act(("p/c", "x"), ("p", "x/c"), ("x", "p"))
    assert Counter(pair.done()) == {"Park": 1, "Move": 2}


def test_a_directory_goes_into_one_that_had_been_in_it(pair: Pair) -> None:
    pair.make("a/", "a/b/", "a/b/c/", "a/f")
    pair.act(("a/b/c", "c"), ("a", "c/a"))
    assert pair.done() == ["Move", "Move"]


def test_a_directory_is_replaced_by_a_file(pair: Pair) -> None:
    pair.make("x/", "x/f", "x/d/", "x/d/g")
    for path in (b"x/d/g", b"x/d", b"x/f", b"x"):
        pair.source.application.remove(path)
    pair.source.application.write(b"x", b"file")
    done = pair.done()
    assert done[:2] == ["Park", "PlaceFile"]
    assert Counter(done[2:]) == {"RemoveFile": 2, "RemoveDirectory": 2, "Move": 1}


def test_a_file_is_replaced_by_a_directory(pair: Pair) -> None:
    pair.make("x")
    pair.source.application.remove(b"x")
    pair.source.application.make_directory(b"x")
    pair.source.application.write(b"x/f", b"1")
    assert pair.done() == ["RemoveFile", "MakeDirectory", "PlaceFile"]


def test_a_file_moves_into_the_directory_that_takes_its_name(pair: Pair) -> None:
    pair.make("x")
    pair.source.application.make_directory(b"y")
    pair.act(("x", "y/x"), ("y", "x"))
    assert pair.done() == ["Park", "MakeDirectory", "Move"]


def test_what_was_moved_out_of_a_deleted_directory_is_kept(pair: Pair) -> None:
    pair.make("d/", "d/f", "d/g", "d/e/", "d/e/h")
    pair.act(("d/f", "f"), ("d/e", "e"))
    pair.source.application.remove(b"d/g")
    pair.source.application.remove(b"d")
    assert pair.done() == ["Move", "Move", "RemoveFile", "RemoveDirectory"]


def test_a_tree_is_removed_children_before_their_directories(pair: Pair) -> None:
    pair.make("d/", "d/e/", "d/e/f", "d/g")
    for path in (b"d/e/f", b"d/e", b"d/g", b"d"):
        pair.source.application.remove(path)
    removed = [a.expected.name for a in pair.plan() if isinstance(a, RemoveFile | RemoveDirectory)]
    assert removed.index(b"f") < removed.index(b"e") < removed.index(b"d")
    pair.done()


def test_a_directory_with_a_file_that_nobody_captured_is_not_lost(pair: Pair) -> None:
    """It is in the way of a file, and a program has just made something in it."""
    pair.make("x/", "x/f")
    pair.source.application.remove(b"x/f")
    pair.source.application.remove(b"x")
    pair.source.application.write(b"x", b"file")
    pair.plan()
    pair.target.application.write(b"x/new", b"precious")
    pair.target.apply()
    quiesce(pair.source, pair.target)
    assert pair.source.application.read(b"x/new") == b"precious"
    assert not any(path.startswith(b".gs-") for path in pair.target.application.list_tree())
    pair.check()


# Directories that are one


def merged_directories(pair: Pair) -> None:
    """Both sites make `d`, each with a file of its own and one of the same name."""
    for site, name in ((pair.source, b"a"), (pair.target, b"b")):
        site.application.make_directory(b"d")
        site.application.write(b"d/" + name, name)
    quiesce(pair.source, pair.target)


def test_two_directories_of_one_name_are_one(pair: Pair) -> None:
    merged_directories(pair)
    for site in (pair.source, pair.target):
        assert site.application.list_tree() == {b"d", b"d/a", b"d/b"}
    pair.check()


def test_one_directory_is_moved_into_the_name_of_another(pair: Pair) -> None:
    pair.make("d/", "d/a", "e/", "e/b")
    pair.act(("d", "x"))
    pair.target.application.rename(b"e", b"x")
    quiesce(pair.source, pair.target)
    for site in (pair.source, pair.target):
        assert site.application.list_tree() == {b"x", b"x/a", b"x/b"}
    pair.check()


def test_directories_that_were_one_are_renamed_and_deleted_as_one(pair: Pair) -> None:
    merged_directories(pair)
    pair.act(("d", "e"))
    assert pair.done() == ["Move"]
    for path in (b"e/a", b"e/b", b"e"):
        pair.source.application.remove(path)
    assert Counter(pair.done()) == {"RemoveFile": 2, "RemoveDirectory": 1}


def test_directories_that_were_one_part_with_what_belongs_to_each(pair: Pair) -> None:
    """One site renames its directory before it sees that another one has the same name."""
    pair.source.application.make_directory(b"d")
    pair.source.application.write(b"d/a", b"a")
    pair.target.application.make_directory(b"d")
    pair.target.application.write(b"d/b", b"b")
    pair.source.settle()
    pair.target.settle()
    pair.act(("d", "e"))
    pair.target.receive(pair.source.log[0])
    pair.target.apply()
    assert pair.target.application.list_tree() == {b"d", b"d/a", b"d/b"}
    quiesce(pair.source, pair.target)
    assert pair.target.application.list_tree() == {b"d", b"d/b", b"e", b"e/a"}
    pair.check()


# Hard links


def test_a_hard_link_is_placed_as_one(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.hard_link(b"f", b"g")
    assert pair.done() == ["LinkFile"]


def test_of_a_new_file_with_two_names_one_is_placed_and_the_other_linked(pair: Pair) -> None:
    pair.source.application.write(b"f", b"1")
    pair.source.application.hard_link(b"f", b"g")
    assert pair.done() == ["PlaceFile", "LinkFile"]


def test_a_new_content_of_two_names_is_placed_once(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.hard_link(b"f", b"g")
    quiesce(pair.source, pair.target)
    pair.source.application.write(b"f", b"new")
    assert pair.done() == ["ReplaceFile", "LinkFile"]


def test_one_of_two_names_is_removed(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.hard_link(b"f", b"g")
    quiesce(pair.source, pair.target)
    pair.source.application.remove(b"f")
    assert pair.done() == ["RemoveFile"]


def test_both_names_are_removed(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.hard_link(b"f", b"g")
    quiesce(pair.source, pair.target)
    pair.source.application.remove(b"f")
    pair.source.application.remove(b"g")
    assert pair.done() == ["RemoveFile", "RemoveFile"]


def test_a_name_leaves_its_hard_links(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.hard_link(b"f", b"g")
    quiesce(pair.source, pair.target)
    pair.source.application.save(b"f", b"new")
    assert pair.done() == ["ReplaceFile"]


def test_a_name_joins_another_file(pair: Pair) -> None:
    pair.make("f", "g")
    pair.source.application.remove(b"g")
    pair.source.application.hard_link(b"f", b"g")
    assert pair.done() == ["LinkFile"]


def test_a_file_that_is_equal_to_one_of_two_hard_links_is_not_linked_to_them(pair: Pair) -> None:
    """A name that stands for two equal files shows the first of them, and that one's links."""
    pair.source.application.write(b"a", b"same")
    pair.source.application.hard_link(b"a", b"b")
    pair.target.application.write(b"b", b"same")
    quiesce(pair.source, pair.target)
    pair.check()


# Conflict copies


def test_a_copy_beside_the_file_comes_and_goes(pair: Pair) -> None:
    pair.source.set_policy(BESIDE)
    pair.make("f")
    for site, content in ((pair.source, b"one"), (pair.target, b"two")):
        site.application.write(b"f", content)
    quiesce(pair.source, pair.target)
    (copy,) = pair.target.application.list_tree() - {b"f"}
    pair.check()
    pair.source.application.remove(copy)
    assert pair.done() == ["RemoveFile"]


def test_copies_come_and_go_with_the_policy(pair: Pair) -> None:
    pair.make("f")
    for site, content in ((pair.source, b"one"), (pair.target, b"two")):
        site.application.write(b"f", content)
    quiesce(pair.source, pair.target)
    assert pair.target.application.list_tree() == {b"f"}
    pair.source.set_policy(BESIDE)
    assert pair.done() == ["PlaceFile"]
    pair.source.set_policy(PolicyRule(b"*", ConflictPolicy.OUTSIDE))
    assert pair.done() == ["RemoveFile"]


def test_a_file_that_loses_its_name_to_a_directory_is_a_copy_beside_it(pair: Pair) -> None:
    pair.source.set_policy(BESIDE)
    pair.source.application.make_directory(b"x")
    pair.target.application.write(b"x", b"1")
    quiesce(pair.source, pair.target)
    (copy,) = pair.source.application.list_tree() - {b"x"}
    assert pair.source.application.read(copy) == b"1"
    pair.check()


def test_a_copy_gives_way_to_a_file_of_its_name(pair: Pair) -> None:
    pair.source.set_policy(BESIDE)
    pair.make("f")
    for site, content in ((pair.source, b"one"), (pair.target, b"two")):
        site.application.write(b"f", content)
    quiesce(pair.source, pair.target)
    (copy,) = pair.target.application.list_tree() - {b"f"}
    pair.source.application.write(copy, b"mine")  # settles that conflict, and is a file now
    quiesce(pair.source, pair.target)
    assert pair.target.application.read(copy) == b"mine"
    pair.check()


# Attributes


def test_the_times_of_directories_are_set_after_all_that_spoils_them(pair: Pair) -> None:
    pair.make("d/", "d/e/", "d/e/f", "g")
    pair.source.application.write(b"d/e/new", b"1")
    pair.source.application.remove(b"d/e/f")
    pair.act(("g", "d/g"))
    for path in (b"d/e", b"d"):
        pair.source.application.set_mtime(path, 1_234_567_890)
    actions = pair.plan()
    kinds = [isinstance(action, ApplyAttributes) for action in actions]
    assert kinds == sorted(kinds), "attributes of directories come last"
    pair.done()
    assert pair.target.file_system.lookup(b"d/e").attributes.mtime_ns == 1_234_567_890


def test_attributes_that_this_site_may_not_set_are_neither_tried_again_nor_taken_back(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk shows another mode than was wanted, as with an owner for an ordinary user."""
    disk = pair.target.disk
    as_wanted = disk._stage.apply_attributes

    def restricted(inode: object, attributes: Attributes) -> None:
        mode = attributes.mode & 0o777
        kept = Attributes(mode, attributes.owner, attributes.group, attributes.mtime_ns)
        as_wanted(inode, kept)  # type: ignore[arg-type]

    monkeypatch.setattr(disk._stage, "apply_attributes", restricted)
    pair.make("f")
    pair.source.application.chmod(b"f", 0o4755)
    quiesce(pair.source, pair.target)
    assert pair.target.file_system.lookup(b"f").attributes.mode == 0o755
    assert pair.source.file_system.lookup(b"f").attributes.mode == 0o4755
    check_quiet([pair.target])


# Interruptions


def each_prefix(
    history: Callable[[Pair], None],
) -> list[tuple[int, Pair]]:
    """Returns pairs with the same history, interrupted after each number of actions."""
    found: list[tuple[int, Pair]] = []
    while True:
        pair = Pair()
        history(pair)
        count = len(pair.plan())
        if len(found) > count:
            return found
        pair.target.apply(stop_after=len(found))
        found.append((len(found), pair))


def cycle(pair: Pair) -> None:
    pair.make("p/", "p/c/", "p/f", "p/c/g", "x/", "x/y")
    pair.act(("p/c", "t"), ("p", "t/c"), ("t", "p"), ("x/y", "y"))
    pair.source.application.remove(b"x")
    pair.source.application.write(b"x", b"file")
    pair.source.application.hard_link(b"x", b"p/x")


def test_a_plan_that_is_interrupted_anywhere_is_finished_by_the_next_one() -> None:
    interrupted = each_prefix(cycle)
    assert len(interrupted) > 10
    for count, pair in interrupted:
        pair.target.mark_everything()  # as after a crash
        applier = pair.target.apply()
        assert not applier.failures, f"after {count} actions"
        quiesce(pair.source, pair.target)
        pair.check()


def test_a_plan_that_is_interrupted_anywhere_is_no_change_of_a_program() -> None:
    """A capture in between takes nothing that is parked, or half done, for deleted or new."""
    for count, pair in each_prefix(cycle):
        written = pair.target.settle()
        kinds = {type(operation).__name__ for operation in written}
        assert kinds <= {"SetAttributes"}, f"after {count} actions"  # the time of a directory
        pair.target.mark_everything()
        quiesce(pair.source, pair.target)
        pair.check()


def test_what_an_interrupted_run_left_parked_goes_home_without_being_asked_for(pair: Pair) -> None:
    pair.make("d/", "e/", "d/f", "e/g")
    pair.source.file_system.rename(b"d", b"e", RenameMode.EXCHANGE)
    actions = pair.plan()
    parks = [type(action).__name__ for action in actions].index("Park")
    pair.target.apply(stop_after=parks + 1)
    assert pair.target.file_system.lookup(b".geosync/parked").names
    pair.target.dirty.clear()
    assert not pair.target.apply().failures
    pair.check()


def test_a_name_that_stayed_dirty_is_followed_when_its_directory_is_renamed(pair: Pair) -> None:
    pair.make("d/")
    pair.source.application.write(b"d/f", b"1")
    pair.plan()
    with pair.target.application.open_for_writing(b".geosync/marker"):
        pair.target.apply(stop_after=0)
    pair.act(("d", "e"))
    assert pair.done() == ["Move", "PlaceFile"]


def test_a_plan_for_any_one_name_can_be_done_and_stands_in_no_other_ones_way() -> None:
    """Whatever a name depends on is planned with it, as far up as need be."""
    reference = Pair()
    cycle(reference)
    reference.plan()
    for path in sorted(reference.target.dirty_paths()):
        pair = Pair()
        cycle(pair)
        pair.plan()
        site = pair.target
        applier = SmallApplier(site.disk, site.synced, site.world.contents)
        applier.run(plan(site.nodes, site.synced, [path]).actions)
        assert not applier.failures, path
        assert not site.apply().failures, path
        quiesce(pair.source, pair.target)
        pair.check()


# Races with programs


def test_what_a_program_changed_meanwhile_is_captured_before_it_is_replaced(pair: Pair) -> None:
    pair.make("f")
    pair.source.application.write(b"f", b"one")
    pair.plan()
    pair.target.application.write(b"f", b"two")
    applier = pair.target.apply()
    assert [type(action).__name__ for action, _ in applier.failures] == ["ReplaceFile"]
    quiesce(pair.source, pair.target)
    assert len(pair.target.synced.entry_at(0, b"f").losers) == 1  # type: ignore[union-attr,arg-type]
    pair.check()


def test_a_free_name_that_a_program_took_meanwhile_is_not_overwritten(pair: Pair) -> None:
    pair.source.application.write(b"f", b"one")
    pair.plan()
    pair.target.application.write(b"f", b"two")
    (failure,) = pair.target.apply().failures
    assert isinstance(failure[0], PlaceFile)
    assert pair.target.application.read(b"f") == b"two"
    quiesce(pair.source, pair.target)
    pair.check()


# Cost


class CountingSynced(MemorySynced):
    """Counts what is read."""

    def __init__(self, base: SyncedStore) -> None:
        super().__init__(base)
        self.reads = 0

    def __getattribute__(self, name: str) -> object:
        if name in ("entry", "entry_at", "entries_in", "entries_of_handle", "entries_of_node"):
            self.reads += 1
        return super().__getattribute__(name)


def test_a_directory_of_10_000_files_is_renamed_with_one_move_that_looks_at_no_child(
    pair: Pair,
) -> None:
    pair.make("d/")
    directory = pair.target.synced.entry_at(0, b"d")  # type: ignore[arg-type]
    assert directory is not None
    for number in range(10_000):
        name = b"%024d" % number
        claim = Claim(NodeId(name), LinkId(NodeId(name)), NOTHING)
        pair.target.synced.save_entry(
            SyncedEntry(
                entry=pair.target.synced.new_entry_id(),
                parent=directory.entry,
                name=name,
                kind=directory.kind,
                handle=name,
                fingerprint=directory.fingerprint,
                attributes=directory.attributes,
                intended=directory.intended,
                claims=(claim,),
            )
        )
    pair.act(("d", "e"))
    pair.plan()
    counting = CountingSynced(pair.target.synced)
    actions = plan(pair.target.nodes, counting, pair.target.dirty_paths()).actions
    assert [type(a) for a in actions if not isinstance(a, ApplyAttributes)] == [Move, Adopt]
    assert counting.reads < 200


def test_a_plan_is_the_same_whatever_the_order_of_the_names(pair: Pair) -> None:
    cycle(pair)
    pair.plan()
    dirty = sorted(pair.target.dirty_paths())
    first = plan(pair.target.nodes, pair.target.synced, dirty)
    assert plan(pair.target.nodes, pair.target.synced, reversed(dirty)) == first
    assert any(isinstance(action, LinkFile) for action in first.actions)


def test_names_that_are_right_need_nothing(pair: Pair) -> None:
    pair.make("d/", "d/f")
    paths = [path_from("d"), path_from("d/f"), path_from("nothing/here")]
    assert plan(pair.target.nodes, pair.target.synced, paths).actions == ()


def test_an_action_that_rests_on_one_that_failed_is_not_done(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.make("x")
    pair.act(("x", "y"))
    pair.source.settle()
    pair.source.application.write(b"x", b"new")
    pair.plan()
    pair.target.application.append(b"x", b"!")  # so that it can't be moved
    applier: SmallApplier = pair.target.apply()
    outcomes: list[Outcome | None] = [outcome for _, outcome in applier.failures]
    assert None in outcomes
    assert pair.target.application.read(b"x") == b"x!"
    quiesce(pair.source, pair.target)
    pair.check()
