"""Capture: what programs did to a disk, and the operations that are inferred from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from conflict.operations import Delete, Drop, NodeId, Operation, Place, Put, SetAttributes
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.synced import SyncedEntry, entry_at_path
from geosync.disk.interface import EntryUnreadable
from tests.simulation.inode_file_system import RenameMode
from tests.support.history import orphans_of
from tests.support.small_history import check_converged, check_quiet
from tests.support.small_site import SmallSite, World, exchange, joined, path_from, quiesce

BESIDE = PolicyRule(b"*", ConflictPolicy.BESIDE)


@pytest.fixture
def site() -> SmallSite:
    return SmallSite(1, World())


@pytest.fixture
def pair() -> tuple[SmallSite, SmallSite]:
    world = World()
    return SmallSite(1, world), SmallSite(2, world)


def kinds(operations: list[Operation]) -> Counter[str]:
    """Counts operations by kind, but for attributes: each new name changes a directory's time."""
    return Counter(type(o).__name__ for o in operations if not isinstance(o, SetAttributes))


def entry(site: SmallSite, path: str) -> SyncedEntry:
    found = entry_at_path(site.synced, path_from(path))
    assert found is not None, f"nothing of the volume is at {path}"
    return found


def node(site: SmallSite, path: str) -> NodeId:
    return entry(site, path).claims[0].node


def write(site: SmallSite, **files: bytes) -> None:
    """Writes files into the root and captures them."""
    for name, content in files.items():
        site.application.write(name.encode(), content)
    site.settle()


def check(*sites: SmallSite) -> None:
    """The merged tree shows what the disk shows, and looking again writes nothing."""
    check_converged(list(sites))
    check_quiet(list(sites))


def at_look(site: SmallSite, number: int, act: Callable[[], None]) -> None:
    """Lets a program act right before the capture's look of this number, counted from 1."""
    looks = count(1)

    def meanwhile() -> None:
        if next(looks) == number:
            act()

    site.meanwhile = meanwhile


# Saving


def test_a_write_in_place_is_a_new_version_of_the_file(site: SmallSite) -> None:
    write(site, f=b"old")
    before = node(site, "f")
    site.application.write(b"f", b"new")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "f") == before
    check(site)


def test_a_temporary_file_that_is_renamed_over_is_a_new_version_of_the_file(
    site: SmallSite,
) -> None:
    write(site, f=b"old")
    before = node(site, "f")
    site.application.save(b"f", b"new")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "f") == before
    check(site)


def test_a_temporary_file_that_was_captured_is_deleted_when_it_is_renamed_over(
    site: SmallSite,
) -> None:
    write(site, f=b"old")
    site.application.write(b"f~", b"new")
    site.capture()
    before = node(site, "f")
    site.application.rename(b"f~", b"f")
    assert kinds(site.capture()) == {"Put": 1, "Delete": 1}
    assert node(site, "f") == before
    check(site)


def test_a_backup_takes_the_old_content_and_leaves_the_file_its_identity(site: SmallSite) -> None:
    write(site, f=b"old")
    before = node(site, "f")
    site.application.rename(b"f", b"f~")
    site.application.write(b"f", b"new")
    assert kinds(site.capture()) == {"Put": 2, "Place": 1}
    assert node(site, "f") == before
    check(site)


def test_a_file_that_is_deleted_and_made_again_is_a_new_version_of_it(site: SmallSite) -> None:
    write(site, f=b"old")
    before = node(site, "f")
    site.application.remove(b"f")
    site.application.write(b"f", b"new")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "f") == before
    check(site)


def test_a_rewrite_with_equal_content_and_time_is_nothing(site: SmallSite) -> None:
    write(site, f=b"same")
    mtime_ns = site.file_system.lookup(b"f").attributes.mtime_ns
    site.application.write(b"f", b"same")
    site.application.set_mtime(b"f", mtime_ns)
    assert site.capture() == []
    check(site)


def test_only_the_attributes_that_changed_are_written(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.chmod(b"f", 0o700)
    (operation,) = site.capture()
    assert isinstance(operation, SetAttributes)
    assert operation.attributes == ((b"mode", 0o700),)
    check(site)


# Moves of files


def test_a_file_that_is_renamed_is_moved(site: SmallSite) -> None:
    write(site, f=b"1")
    before = node(site, "f")
    site.application.rename(b"f", b"g")
    assert kinds(site.capture()) == {"Place": 1}
    assert node(site, "g") == before
    check(site)


def test_a_file_that_is_renamed_and_edited_keeps_its_identity(site: SmallSite) -> None:
    write(site, f=b"1")
    before = node(site, "f")
    site.application.rename(b"f", b"g")
    site.application.write(b"g", b"2")
    assert kinds(site.capture()) == {"Place": 1, "Put": 1}
    assert node(site, "g") == before
    check(site)


def test_a_file_that_is_moved_over_another_gives_it_its_content(site: SmallSite) -> None:
    write(site, f=b"1", g=b"2")
    before = node(site, "g")
    site.application.rename(b"f", b"g")
    assert kinds(site.capture()) == {"Put": 1, "Delete": 1}
    assert node(site, "g") == before
    check(site)


def test_two_files_that_change_places_change_contents(site: SmallSite) -> None:
    write(site, f=b"1", g=b"2")
    before = node(site, "f"), node(site, "g")
    site.file_system.rename(b"f", b"g", RenameMode.EXCHANGE)
    assert kinds(site.capture()) == {"Put": 2}
    assert (node(site, "f"), node(site, "g")) == before
    check(site)


def test_a_move_is_found_when_only_one_of_the_directories_is_looked_at(site: SmallSite) -> None:
    for directory in (b"d", b"e"):
        site.application.make_directory(directory)
    site.application.write(b"d/f", b"1")
    site.capture()
    before = node(site, "d/f")
    site.application.rename(b"d/f", b"e/f")
    assert kinds(site.capture("e")) == {"Place": 1}
    assert node(site, "e/f") == before
    check(site)


def test_a_move_whose_old_name_is_seen_first_waits_for_the_new_one(site: SmallSite) -> None:
    for directory in (b"d", b"e"):
        site.application.make_directory(directory)
    site.application.write(b"d/f", b"1")
    site.capture()
    before = node(site, "d/f")
    site.application.rename(b"d/f", b"e/f")
    assert kinds(site.capture("d")) == {}
    assert site.result.unconfirmed == {entry(site, "d/f").entry}
    assert kinds(site.capture("e")) == {"Place": 1}
    assert node(site, "e/f") == before
    check(site)


def test_a_file_that_moves_during_the_scan_is_never_deleted(site: SmallSite) -> None:
    """The new directory is listed before the move, the old one after it."""
    for directory in (b"d", b"e"):
        site.application.make_directory(directory)
    site.application.write(b"e/f", b"1")
    site.capture()
    at_look(site, 3, lambda: site.application.rename(b"e/f", b"d/f"))
    assert kinds(site.capture()) == {}
    assert kinds(site.capture()) == {"Place": 1}
    check(site)


# Directories


def test_a_directory_of_many_is_renamed_with_one_operation(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    for number in range(20):
        site.application.write(b"d/%d" % number, b"%d" % number)
    site.capture()
    site.application.rename(b"d", b"e")
    assert kinds(site.capture()) == {"Place": 1}
    check(site)


def test_a_directory_is_moved_into_another(site: SmallSite) -> None:
    for directory in (b"d", b"e"):
        site.application.make_directory(directory)
    site.application.write(b"d/f", b"1")
    site.capture()
    site.application.rename(b"d", b"e/d")
    assert kinds(site.capture()) == {"Place": 1}
    check(site)


def test_a_directory_made_under_the_name_of_a_renamed_one_is_a_new_one(site: SmallSite) -> None:
    site.application.make_directory(b"a")
    site.application.write(b"a/f", b"1")
    site.capture()
    before = node(site, "a")
    site.application.rename(b"a", b"b")
    site.application.make_directory(b"a")
    assert kinds(site.capture()) == {"Place": 2}
    assert node(site, "b") == before
    assert node(site, "a") != before
    check(site)


def test_a_directory_changes_places_with_its_parent(site: SmallSite) -> None:
    site.application.make_directory(b"p")
    site.application.make_directory(b"p/c")
    site.application.write(b"p/f", b"1")
    site.application.write(b"p/c/g", b"2")
    site.capture()
    parent, child = node(site, "p"), node(site, "p/c")
    site.application.rename(b"p/c", b"x")
    site.application.rename(b"p", b"x/c")
    site.application.rename(b"x", b"p")
    assert kinds(site.capture()) == {"Place": 2}
    assert (node(site, "p"), node(site, "p/c")) == (child, parent)
    check(site)


def test_parts_of_such_a_change_of_places_never_make_a_circle(site: SmallSite) -> None:
    """Only two of the three directories are looked at, one of them under its new name."""
    site.application.make_directory(b"p")
    for name in (b"p/c", b"p/c/d"):
        site.application.make_directory(name)
    site.capture()
    site.application.rename(b"p/c", b"x")
    site.application.rename(b"p", b"x/c")
    site.application.rename(b"x", b"p")
    site.capture("p", "p/d")
    site.settle()
    check(site)


def test_two_directories_change_places(site: SmallSite) -> None:
    for directory in (b"d", b"e"):
        site.application.make_directory(directory)
        site.application.write(directory + b"/f", directory)
    site.capture()
    site.file_system.rename(b"d", b"e", RenameMode.EXCHANGE)
    assert kinds(site.capture()) == {"Place": 2}
    check(site)


def test_directories_made_and_renamed_before_anybody_looked_are_new_at_their_last_names(
    site: SmallSite,
) -> None:
    site.application.make_directory(b"a")
    site.application.make_directory(b"a/b")
    site.application.write(b"a/b/f", b"1")
    site.application.rename(b"a/b", b"c")
    assert kinds(site.capture("")) == {"Place": 3, "Put": 1}
    check(site)


def test_a_directory_that_changed_is_told_by_its_own_listing(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    site.application.make_directory(b"d/e")
    site.capture()
    site.application.write(b"d/e/f", b"1")
    site.application.chmod(b"d/e", 0o700)
    written = site.capture("d/e")
    (operation,) = [o for o in written if isinstance(o, SetAttributes)]
    assert operation.node == node(site, "d/e")
    assert {key for key, _ in operation.attributes} == {b"mode", b"mtime_ns"}
    check(site)


def test_a_file_leaves_a_directory_that_is_removed(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    site.application.write(b"d/f", b"1")
    site.capture()
    before = node(site, "d/f")
    site.application.rename(b"d/f", b"f")
    site.application.remove(b"d")
    assert kinds(site.settle()) == {"Place": 1, "Delete": 1}
    assert node(site, "f") == before
    check(site)


def test_a_file_that_is_in_a_new_directory_of_the_old_name_is_the_same_file(
    site: SmallSite,
) -> None:
    """Not before the old directory is certainly gone can the new one take its name."""
    site.application.make_directory(b"d")
    site.application.write(b"d/f", b"1")
    site.settle()
    before = node(site, "d/f")
    site.application.make_directory(b"e")
    site.application.rename(b"d/f", b"e/f")
    site.application.remove(b"d")
    site.application.rename(b"e", b"d")
    written = site.settle()
    assert kinds(written)["Delete"] == 1  # of the directory
    assert node(site, "d/f") == before
    check(site)


def test_a_file_is_not_deleted_while_its_new_directory_waits_for_another_deletion(
    site: SmallSite,
) -> None:
    """It is missing for long enough; a neighbour of it, for which all wait, is not yet."""
    site.application.make_directory(b"d")
    for path in (b"d/f", b"d/g"):
        site.application.write(path, path)
    site.settle()
    before, neighbour = node(site, "d/f"), entry(site, "d/g").entry
    site.application.make_directory(b"e")
    site.application.rename(b"d/f", b"e/f")
    site.application.remove(b"d/g")
    site.application.remove(b"d")
    site.application.rename(b"e", b"d")
    site.capture()
    site.result.unconfirmed.remove(neighbour)
    assert kinds(site.capture())["Delete"] == 0
    site.settle()
    assert node(site, "d/f") == before
    check(site)


@pytest.mark.parametrize("is_also_another", [True, False])
def test_a_directory_is_moved_into_one_that_stands_for_the_same(
    site: SmallSite, is_also_another: bool
) -> None:
    """One of two is what is left of a directory that became one with the other."""
    site.application.make_directory(b"left")
    site.application.make_directory(b"whole")
    site.settle()
    left, whole = entry(site, "left"), entry(site, "whole")
    others = whole.claims if is_also_another else ()
    site.synced.save_entry(replace(whole, claims=(*left.claims, *others)))
    site.application.rename(b"whole", b"left/whole")
    site.settle()
    assert entry(site, "left").nodes == left.nodes
    assert entry(site, "left/whole").nodes.isdisjoint(left.nodes)
    site.mark_everything()
    site.apply()
    check(site)


def test_a_directory_takes_the_name_of_the_one_that_it_was_in(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    site.application.make_directory(b"d/e")
    site.application.write(b"d/e/f", b"1")
    site.capture()
    before = node(site, "d/e")
    site.application.rename(b"d/e", b"x")
    site.application.remove(b"d")
    site.application.rename(b"x", b"d")
    assert kinds(site.settle()) == {"Place": 1, "Delete": 1}
    assert node(site, "d") == before
    check(site)


# Hard links


def test_a_hard_link_is_one_more_name_of_the_file(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    assert kinds(site.capture()) == {"Place": 1}
    assert node(site, "g") == node(site, "f")
    check(site)


def test_two_new_names_of_one_inode_are_one_file(site: SmallSite) -> None:
    site.application.write(b"f", b"1")
    site.application.hard_link(b"f", b"g")
    assert kinds(site.capture()) == {"Place": 2, "Put": 1}
    assert node(site, "g") == node(site, "f")
    check(site)


def test_an_edit_through_one_name_is_one_version_for_all_names(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.write(b"g", b"2")
    assert kinds(site.capture()) == {"Put": 1}
    assert entry(site, "f").content == entry(site, "g").content
    check(site)


def test_a_file_that_is_edited_and_linked_at_once_is_one_file(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.write(b"f", b"2")
    site.application.hard_link(b"f", b"a")
    assert kinds(site.capture()) == {"Put": 1, "Place": 1}
    assert node(site, "a") == node(site, "f")
    check(site)


def test_one_of_two_names_is_removed(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.remove(b"f")
    (operation,) = [o for o in site.settle() if isinstance(o, Delete)]
    assert not operation.is_last_name
    check(site)


def test_both_names_are_removed_and_the_last_one_takes_the_content_along(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.remove(b"f")
    site.application.remove(b"g")
    deletes = [o for o in site.settle() if isinstance(o, Delete)]
    assert [o.is_last_name for o in deletes] == [False, True]
    check(site)


def test_a_name_that_is_saved_anew_waits_for_a_hard_link_that_is_on_the_move(
    site: SmallSite,
) -> None:
    """Where that one went, the file went with it: what is saved is another one."""
    write(site, a=b"1")
    site.application.hard_link(b"a", b"b")
    site.capture()
    before = node(site, "a")
    site.application.rename(b"b", b".geosync/away")
    site.application.save(b"a", b"2")
    assert kinds(site.capture()) == {}
    assert site.result.skipped == {(b"a",)}
    site.file_system.rename(b".geosync/away", b"c", RenameMode.NO_REPLACE)
    site.settle()
    assert node(site, "c") == before
    assert node(site, "a") != before
    check(site)


def test_a_name_that_is_saved_anew_is_the_file_once_its_hard_link_is_gone(
    site: SmallSite,
) -> None:
    write(site, a=b"1")
    site.application.hard_link(b"a", b"b")
    site.capture()
    before = node(site, "a")
    site.application.remove(b"b")
    site.application.save(b"a", b"2")
    assert kinds(site.settle()) == {"Delete": 1, "Put": 1}
    assert node(site, "a") == before
    check(site)


def test_a_name_that_is_saved_by_renaming_leaves_its_hard_links(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.save(b"f", b"2")
    assert kinds(site.capture()) == {"Delete": 1, "Place": 1, "Put": 1}
    assert node(site, "f") != node(site, "g")
    check(site)


def test_a_name_saved_by_renaming_leaves_its_hard_links_even_if_a_new_link_of_it_is_not_read(
    site: SmallSite,
) -> None:
    """Where the new inode belongs is not known before all its names were read."""
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.write(b"g", b"edited")
    site.application.save(b"f", b"2")
    site.application.hard_link(b"f", b"h")
    at_look(site, 4, lambda: site.application.save(b"h", b"3"))
    site.settle()
    assert node(site, "f") != node(site, "g")
    assert site.application.read(b"g") == b"edited"
    assert not entry(site, "f").losers
    assert not entry(site, "g").losers
    check(site)


def test_a_rotated_log_is_left_alone_while_the_new_log_can_not_be_read(site: SmallSite) -> None:
    """The program goes on writing into the rotated one: it must not be replaced under it."""
    write(site, log=b"1")
    site.application.rename(b"log", b"log.1")
    site.application.write(b"log", b"2")
    with site.application.open_for_writing(b"log"):
        site.capture()
        assert not site.plan()
    site.settle()
    assert node(site, "log") != node(site, "log.1")
    check(site)


def test_a_name_that_is_replaced_by_a_hard_link_joins_the_other_file(site: SmallSite) -> None:
    write(site, f=b"1", g=b"2")
    site.application.remove(b"g")
    site.application.hard_link(b"f", b"g")
    assert kinds(site.capture()) == {"Delete": 1, "Place": 1}
    assert node(site, "f") == node(site, "g")
    check(site)


def test_a_name_joins_a_file_that_is_edited_at_the_same_time(site: SmallSite) -> None:
    write(site, a=b"1", f=b"2")
    site.application.write(b"f", b"3")
    site.application.remove(b"a")
    site.application.hard_link(b"f", b"a")
    assert kinds(site.capture()) == {"Put": 1, "Delete": 1, "Place": 1}
    assert node(site, "a") == node(site, "f")
    check(site)


def test_of_two_names_that_are_saved_by_renaming_the_first_keeps_the_file(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    before = node(site, "f")
    for name in (b"f", b"g"):
        site.application.save(name, b"new " + name)
    site.settle()
    assert node(site, "f") == before
    assert node(site, "g") != before
    assert not entry(site, "f").losers
    check(site)


def test_two_names_that_get_one_new_inode_stay_one_file(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    site.application.save(b"f", b"2")
    site.application.remove(b"g")
    site.application.hard_link(b"f", b"g")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "f") == node(site, "g")
    check(site)


def test_one_of_two_names_is_moved(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.hard_link(b"f", b"g")
    site.capture()
    before = entry(site, "g").claims[0].link
    site.application.rename(b"g", b"h")
    assert kinds(site.capture()) == {"Place": 1}
    assert entry(site, "h").claims[0].link == before
    check(site)


# Deletions


def test_a_deletion_is_written_when_it_was_seen_twice(site: SmallSite) -> None:
    write(site, f=b"1")
    site.application.remove(b"f")
    assert kinds(site.capture()) == {}
    assert site.result.unconfirmed == {entry(site, "f").entry}
    assert kinds(site.capture()) == {"Delete": 1}
    check(site)


def test_a_file_that_comes_back_before_it_was_missed_twice_was_never_gone(site: SmallSite) -> None:
    write(site, f=b"1")
    before = node(site, "f")
    site.application.rename(b"f", b".geosync/away")
    site.capture()
    site.file_system.rename(b".geosync/away", b"f", RenameMode.NO_REPLACE)
    assert kinds(site.settle()) == {}
    assert node(site, "f") == before
    check(site)


def test_a_tree_is_removed_children_before_their_directories(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    site.application.make_directory(b"d/e")
    site.application.write(b"d/e/f", b"1")
    site.capture()
    wanted = [node(site, path) for path in ("d/e/f", "d/e", "d")]
    for path in (b"d/e/f", b"d/e", b"d"):
        site.application.remove(path)
    assert [o.node for o in site.settle() if isinstance(o, Delete)] == wanted
    check(site)


def test_a_directory_that_left_and_came_back_elsewhere_was_moved(site: SmallSite) -> None:
    """Missing for one scan with all that is in it, then seen under another name."""
    site.application.make_directory(b"d")
    site.application.write(b"d/f", b"1")
    site.capture()
    before = node(site, "d/f")
    site.application.rename(b"d", b".geosync/away")
    assert kinds(site.capture()) == {}
    site.file_system.rename(b".geosync/away", b"e", RenameMode.NO_REPLACE)
    assert kinds(site.capture()) == {"Place": 1}
    assert node(site, "e/f") == before
    check(site)


# What can't be read


def test_a_busy_file_is_left_for_later_and_its_last_version_stays(site: SmallSite) -> None:
    write(site, f=b"old")
    with site.application.open_for_writing(b"f") as file:
        file.rewrite(b"half")
        assert kinds(site.capture()) == {}
        assert site.result.skipped == {(b"f",)}
        file.rewrite(b"whole")
    (operation,) = [o for o in site.capture() if isinstance(o, Put)]
    assert site.world.contents[operation.content.digest] == b"whole"
    check(site)


def test_a_file_that_is_renamed_while_it_is_written_is_neither_deleted_nor_moved_yet(
    site: SmallSite,
) -> None:
    write(site, f=b"old")
    before = node(site, "f")
    with site.application.open_for_writing(b"f") as file:
        site.application.rename(b"f", b"g")
        file.rewrite(b"half")
        for _ in range(3):
            assert kinds(site.capture()) == {}
    assert kinds(site.capture()) == {"Place": 1, "Put": 1}
    assert node(site, "g") == before
    check(site)


def test_a_file_that_changes_between_listing_and_reading_is_captured_as_it_was_read(
    site: SmallSite,
) -> None:
    site.application.write(b"f", b"1")
    at_look(site, 2, lambda: site.application.write(b"f", b"2"))
    (operation,) = [o for o in site.capture() if isinstance(o, Put)]
    assert site.world.contents[operation.content.digest] == b"2"
    check(site)


def test_an_unreadable_directory_is_not_deleted_with_all_that_is_in_it(
    site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.application.make_directory(b"d")
    site.application.write(b"d/f", b"1")
    site.capture()

    def refuse(path: bytes) -> None:
        if path == b"d":
            raise EntryUnreadable("permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(site.disk.dice), "require_readable", lambda _dice, path: refuse(path))
        for _ in range(3):
            assert site.capture() == []
    check(site)


def test_an_entry_that_can_not_be_read_is_not_deleted(
    site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(site, f=b"1")
    whole = site.disk.list_directory(joined(()))
    blind = replace(whole, entries=(), unreadable=((b"f", "I/O error"),))
    with monkeypatch.context() as patch:
        patch.setattr(site.disk, "list_directory", lambda _path: blind)
        for _ in range(3):
            assert site.capture() == []
            assert not site.result.unconfirmed
    check(site)


# Kinds


def test_a_file_is_replaced_by_a_directory_and_the_other_way_round(site: SmallSite) -> None:
    write(site, x=b"1")
    site.application.remove(b"x")
    site.application.make_directory(b"x")
    site.application.write(b"x/f", b"2")
    assert kinds(site.settle()) == {"Delete": 1, "Place": 2, "Put": 1}
    site.application.remove(b"x/f")
    site.application.remove(b"x")
    site.application.write(b"x", b"3")
    assert kinds(site.settle()) == {"Delete": 2, "Place": 1, "Put": 1}
    check(site)


def test_a_directory_takes_the_name_of_a_file_that_moves_into_it(site: SmallSite) -> None:
    write(site, x=b"1")
    before = node(site, "x")
    site.application.make_directory(b"y")
    site.application.rename(b"x", b"y/x")
    site.application.rename(b"y", b"x")
    site.settle()
    assert node(site, "x/x") == before
    check(site)


def test_symlinks_and_fifos_are_files_with_their_own_content(site: SmallSite) -> None:
    site.application.symlink(b"/nowhere", b"s")
    site.application.make_fifo(b"p")
    assert kinds(site.capture()) == {"Place": 2, "Put": 2}
    before = node(site, "s")
    site.application.symlink(b"/else", b"t")
    site.application.rename(b"t", b"s")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "s") == before
    check(site)


def test_a_file_that_becomes_a_symlink_keeps_its_identity(site: SmallSite) -> None:
    write(site, f=b"1")
    before = node(site, "f")
    site.application.symlink(b"g", b"t")
    site.application.rename(b"t", b"f")
    assert kinds(site.capture()) == {"Put": 1}
    assert node(site, "f") == before
    check(site)


# Conflicts


def in_conflict(pair: tuple[SmallSite, SmallSite], *rules: PolicyRule) -> tuple[bytes, bytes]:
    """Brings both sites to show a file `f` in conflict; returns its and the copy's name."""
    one, other = pair
    if rules:
        one.set_policy(*rules)
    write(one, f=b"base")
    quiesce(one, other)
    one.application.write(b"f", b"one")
    other.application.write(b"f", b"two")
    quiesce(one, other)
    names = sorted(one.application.list_tree())
    return names[0], names[-1]


def test_a_deleted_copy_settles_the_conflict_everywhere(pair: tuple[SmallSite, SmallSite]) -> None:
    one, other = pair
    name, copy = in_conflict(pair, BESIDE)
    one.application.remove(copy)
    assert kinds(one.settle()) in ({"Drop": 1}, {"Delete": 1})
    quiesce(one, other)
    assert other.application.list_tree() == {name}
    check(one, other)


def test_a_file_is_saved_by_renaming_beside_its_copy(pair: tuple[SmallSite, SmallSite]) -> None:
    one, other = pair
    name, copy = in_conflict(pair, BESIDE)
    before = node(one, name.decode())
    one.application.save(name, b"three")
    assert kinds(one.settle()) == {"Put": 1}
    assert node(one, name.decode()) == before
    quiesce(one, other)
    assert other.application.list_tree() == {name, copy}
    check(one, other)


def test_an_edited_copy_is_a_file_of_its_own(pair: tuple[SmallSite, SmallSite]) -> None:
    one, other = pair
    name, copy = in_conflict(pair, BESIDE)
    one.application.write(copy, b"merged")
    assert kinds(one.settle()) == {"Drop": 1, "Place": 1, "Put": 1}
    quiesce(one, other)
    assert other.application.list_tree() == {name, copy}
    assert not entry(one, copy.decode()).copy_of
    check(one, other)


def test_a_copy_that_gets_another_hard_link_outside_is_still_a_copy(
    pair: tuple[SmallSite, SmallSite],
) -> None:
    one, other = pair
    _, copy = in_conflict(pair, BESIDE)
    one.application.hard_link(copy, b".geosync/backup")
    assert kinds(one.settle()) == {}
    assert entry(one, copy.decode()).copy_of
    check(one, other)


def test_a_moved_copy_is_a_file_of_its_own(pair: tuple[SmallSite, SmallSite]) -> None:
    one, other = pair
    name, copy = in_conflict(pair, BESIDE)
    one.application.rename(copy, b"g")
    one.settle()
    quiesce(one, other)
    assert other.application.list_tree() == {name, b"g"}
    check(one, other)


def test_a_copy_moved_over_the_file_wins_and_ends_the_conflict(
    pair: tuple[SmallSite, SmallSite],
) -> None:
    one, other = pair
    name, copy = in_conflict(pair, BESIDE)
    wanted = one.application.read(copy)
    one.application.rename(copy, name)
    one.settle()
    quiesce(one, other)
    assert other.application.list_tree() == {name}
    assert other.application.read(name) == wanted
    check(one, other)


@pytest.mark.parametrize("rules", [(), (BESIDE,)])
def test_a_deleted_file_does_not_come_back_as_its_conflict(
    pair: tuple[SmallSite, SmallSite], rules: tuple[PolicyRule, ...]
) -> None:
    one, other = pair
    name, _ = in_conflict(pair, *rules)
    one.application.remove(name)
    one.settle()
    quiesce(one, other)
    assert name not in other.application.list_tree()
    assert len(orphans_of(other.nodes)) == 1
    check(one, other)


@pytest.mark.parametrize("rules", [(), (BESIDE,)])
def test_a_moved_file_takes_its_own_conflicts_along(
    pair: tuple[SmallSite, SmallSite], rules: tuple[PolicyRule, ...]
) -> None:
    one, other = pair
    name, _ = in_conflict(pair, *rules)
    one.application.rename(name, b"z")
    one.settle()
    quiesce(one, other)
    assert name not in other.application.list_tree()
    assert len(entry(other, "z").losers) == 1
    check(one, other)


def test_a_moved_file_does_not_give_its_name_to_the_one_that_lost_it(
    pair: tuple[SmallSite, SmallSite],
) -> None:
    one, other = pair
    one.application.write(b"f", b"one")
    other.application.write(b"f", b"two")
    quiesce(one, other)
    one.application.rename(b"f", b"z")
    one.settle()
    quiesce(one, other)
    assert other.application.list_tree() == {b"z"}
    assert list(orphans_of(other.nodes)) == [(b"f",)]
    check(one, other)


# What was not on the disk


def test_a_version_that_only_arrived_is_never_replaced(pair: tuple[SmallSite, SmallSite]) -> None:
    one, other = pair
    write(one, f=b"base")
    quiesce(one, other)
    one.application.write(b"f", b"one")
    one.settle()
    exchange(one, other)  # arrives, but is not brought to the disk before the edit there
    other.application.write(b"f", b"two")
    (operation,) = [o for o in other.settle() if isinstance(o, Put)]
    assert operation.context.isdisjoint({o.dot for t in one.log[1:] for o in t})
    quiesce(one, other)
    assert len(entry(one, "f").losers) == 1
    check(one, other)


def test_a_file_that_was_edited_elsewhere_survives_its_deletion_here(
    pair: tuple[SmallSite, SmallSite],
) -> None:
    one, other = pair
    write(one, f=b"base")
    quiesce(one, other)
    one.application.write(b"f", b"one")
    one.settle()
    exchange(one, other)
    other.application.remove(b"f")
    other.settle()
    quiesce(one, other)
    assert other.application.read(b"f") == b"one"
    check(one, other)


def test_operations_of_one_capture_follow_each_other(site: SmallSite) -> None:
    site.application.make_directory(b"d")
    site.application.write(b"d/f", b"1")
    operations = site.capture()
    assert [o.dot.counter for o in operations] == list(range(1, len(operations) + 1))
    assert isinstance(operations[0], Place)
    assert not any(isinstance(o, Drop) for o in operations)
