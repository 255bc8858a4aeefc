"""The history of a path: every file that had it, through renames of it and of what is above."""

from __future__ import annotations

from conflict.ancestry import common_ancestor
from conflict.operations import Operation, Put
from conflict.path_history import Event, What, history_of
from tests.support.small_site import SmallSite, World, exchange, path_from, quiesce


def operations(*sites: SmallSite) -> list[Operation]:
    return [operation for site in sites for transaction in site.log for operation in transaction]


def history(path: str, *sites: SmallSite) -> list[Event]:
    """The same whatever the order in which the operations are given."""
    known = operations(*sites)
    events = history_of(path_from(path), known)
    assert history_of(path_from(path), reversed(known)) == events
    return events


def kinds(events: list[Event]) -> list[What]:
    return [event.what for event in events]


def test_a_file_is_followed_from_its_creation_to_its_end() -> None:
    site = SmallSite(1, World())
    site.application.write(b"a", b"1")
    site.settle()
    site.application.write(b"a", b"22")
    site.settle()
    site.application.rename(b"a", b"b")
    site.settle()
    site.application.remove(b"b")
    site.settle()
    events = history("b", site)
    assert kinds(events) == [
        What.CREATED,
        What.WRITTEN,
        What.WRITTEN,
        What.RENAMED,
        What.DELETED,
    ]
    first, second = (event for event in events if event.what is What.WRITTEN)
    assert second.replaced == {first.dot}
    assert not second.concurrent
    assert [content.size_bytes for content in (first.content, second.content) if content] == [1, 2]
    assert (events[3].path_before, events[3].path) == ((b"a",), (b"b",))
    assert events[4].path == (b"b",)
    assert history("a", site) == events  # it had this name, too


def test_a_file_is_followed_through_renames_of_its_directories() -> None:
    site = SmallSite(1, World())
    site.application.make_directory(b"old")
    site.application.write(b"old/f", b"1")
    site.settle()
    site.application.rename(b"old", b"new")
    site.settle()
    events = history("old/f", site)
    assert history("new/f", site) == events
    assert kinds(events) == [What.CREATED, What.WRITTEN]
    assert {event.path for event in events} == {(b"new", b"f")}
    assert {What.CREATED, What.RENAMED} <= set(kinds(history("new", site)))


def test_two_files_that_had_one_name_after_each_other_are_both_told() -> None:
    site = SmallSite(1, World())
    site.application.write(b"f", b"1")
    site.settle()
    site.application.rename(b"f", b"g")
    site.settle()
    site.application.write(b"f", b"2")
    site.settle()
    events = history("f", site)
    assert len({event.node for event in events}) == 2
    assert kinds(events).count(What.CREATED) == 2


def test_versions_of_two_sites_that_did_not_know_of_each_other_are_told_as_such() -> None:
    world = World()
    here, there = SmallSite(1, world), SmallSite(2, world)
    here.application.write(b"f", b"1")
    quiesce(here, there)
    here.application.write(b"f", b"of here")
    there.application.write(b"f", b"of there")
    quiesce(here, there)
    first, *both = (e for e in history("f", here, there) if e.what is What.WRITTEN)
    assert [event.replaced for event in both] == [{first.dot}, {first.dot}]
    assert both[0].concurrent == {both[1].dot}
    assert both[1].concurrent == {both[0].dot}
    assert not first.concurrent
    puts = {each.dot: each for each in operations(here, there) if isinstance(each, Put)}
    assert common_ancestor((both[0].dot, both[1].dot), puts.get) == puts[first.dot]
    assert common_ancestor((first.dot, both[1].dot), puts.get) is None


def test_one_more_name_and_the_loss_of_one_are_told() -> None:
    site = SmallSite(1, World())
    site.application.write(b"f", b"1")
    site.settle()
    site.application.hard_link(b"f", b"g")
    site.settle()
    site.application.remove(b"f")
    site.settle()
    events = history("g", site)
    assert kinds(events) == [What.CREATED, What.WRITTEN, What.LINKED, What.DELETED]
    assert [event.path for event in events[2:]] == [(b"g",), (b"f",)]


def test_directories_that_were_put_into_each_other_have_no_path() -> None:
    world = World()
    here, there = SmallSite(1, world), SmallSite(2, world)
    for name in (b"a", b"b"):
        here.application.make_directory(name)
    quiesce(here, there)
    here.application.rename(b"a", b"b/a")
    there.application.rename(b"b", b"a/b")
    for site in (here, there):
        site.settle()
    exchange(here, there)
    moves = [e for e in history("a", here, there) if e.what is What.RENAMED]
    assert [event.path for event in moves] == [None]


def test_nothing_is_known_of_a_path_that_never_was() -> None:
    assert history("never", SmallSite(1, World())) == []
