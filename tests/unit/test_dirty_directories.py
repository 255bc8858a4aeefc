"""Dirty directories: when they are handed out, what covers what, and who is woken."""

import threading
import time

from geosync.watching.dirty_directories import (
    QUICK_S,
    DirtyDirectories,
    DirtyDirectory,
    SettlingMarks,
)


def settling(directories_max: int = 100) -> SettlingMarks:
    return SettlingMarks(settle_s=0.05, settle_s_max=1.0, directories_max=directories_max)


def marked(*directories: bytes, recursive: bool = False) -> SettlingMarks:
    marks = settling()
    for directory in directories:
        marks.mark(directory, recursive=recursive, now_s=0.0)
    return marks


def test_a_directory_is_ready_when_it_was_quiet_for_the_settle_time_and_not_before():
    marks = marked(b"a")
    assert marks.take(0.049) == ()
    assert (DirtyDirectory(b"a", recursive=False),) == marks.take(0.05)
    assert marks.take(9.0) == (), "taken once"


def test_each_further_mark_begins_the_quiet_time_anew():
    marks = marked(b"a")
    marks.mark(b"a", recursive=False, now_s=0.04)
    assert marks.take(0.08) == ()
    assert marks.ready_at_s() == 0.09


def test_a_directory_that_is_never_quiet_is_ready_one_second_after_its_first_mark():
    marks = marked(b"a")
    for tick in range(100):
        marks.mark(b"a", recursive=False, now_s=tick / 100)
    assert marks.take(0.999) == ()
    assert (DirtyDirectory(b"a", recursive=False),) == marks.take(1.0)


def test_a_restless_directory_does_not_hold_back_another():
    marks = marked(b"quiet", b"restless")
    marks.mark(b"restless", recursive=False, now_s=0.05)
    assert (DirtyDirectory(b"quiet", recursive=False),) == marks.take(0.05)


def test_a_recursive_mark_stays_recursive_whatever_is_marked_after_it():
    marks = marked(b"a", recursive=True)
    marks.mark(b"a", recursive=False, now_s=0.0)
    assert (DirtyDirectory(b"a", recursive=True),) == marks.take(1.0)


def test_a_plain_mark_becomes_recursive_when_a_recursive_one_follows():
    marks = marked(b"a")
    marks.mark(b"a", recursive=True, now_s=0.0)
    assert (DirtyDirectory(b"a", recursive=True),) == marks.take(1.0)


def test_directories_come_parents_first_and_with_any_bytes_in_their_names():
    marks = marked(b"b\xff\n/c", b"", b"b\xff\n")
    assert [found.directory for found in marks.take(1.0)] == [b"", b"b\xff\n", b"b\xff\n/c"]


def test_a_recursive_directory_covers_what_is_below_it_and_nothing_else():
    marks = marked(b"a/b", b"a/b/c", b"a-b", b"ab")
    marks.mark(b"a", recursive=True, now_s=0.0)
    assert {found.directory: found.recursive for found in marks.take(1.0)} == {
        b"a": True,
        b"a-b": False,
        b"ab": False,
    }


def test_a_recursive_root_covers_everything():
    marks = marked(b"a", b"a/b")
    marks.mark(b"", recursive=True, now_s=0.0)
    assert (DirtyDirectory(b"", recursive=True),) == marks.take(1.0)


def test_a_plain_parent_does_not_cover_its_child():
    assert len(marked(b"a", b"a/b").take(1.0)) == 2


def test_a_covered_directory_that_has_not_settled_is_kept():
    marks = marked(b"a", recursive=True)
    marks.mark(b"a/b", recursive=False, now_s=0.03)
    assert (DirtyDirectory(b"a", recursive=True),) == marks.take(0.05)
    assert (DirtyDirectory(b"a/b", recursive=False),) == marks.take(0.08)


def test_too_many_directories_become_one_recursive_root_as_old_as_the_oldest():
    marks = settling(directories_max=3)
    for number in range(4):
        marks.mark(b"%d" % number, recursive=False, now_s=number / 10)
    assert len(marks) == 1
    assert marks.take(0.34) == ()
    assert (DirtyDirectory(b"", recursive=True),) == marks.take(0.35)


def test_the_limit_itself_is_still_kept_apart():
    marks = settling(directories_max=3)
    for number in range(3):
        marks.mark(b"%d" % number, recursive=False, now_s=0.0)
    assert len(marks.take(1.0)) == 3


def test_the_number_of_marks_stays_bounded_whatever_comes():
    marks = settling(directories_max=10)
    for number in range(1000):
        marks.mark(b"%d" % number, recursive=False, now_s=0.0)
        assert len(marks) <= 10
    assert DirtyDirectory(b"", recursive=True) in marks.take(1.0)


def test_nothing_marked_is_never_ready():
    assert settling().ready_at_s() is None
    assert settling().take(1e9) == ()


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_wait_says_no_when_the_time_is_over():
    assert not DirtyDirectories().wait(0.0)


def test_wait_says_yes_at_once_when_a_directory_is_ready():
    clock = SteppedClock()
    dirty = DirtyDirectories(clock=clock)
    dirty.mark(b"a", recursive=False)
    assert not dirty.wait(0.0), "not settled yet"
    clock.now_s = 0.05
    assert dirty.wait(1000.0)
    assert (DirtyDirectory(b"a", recursive=False),) == dirty.take(clock.now_s)


def test_a_mark_by_another_thread_ends_the_wait():
    dirty = DirtyDirectories(settle_s=0.0)
    thread = threading.Thread(target=dirty.mark, args=(b"a",), kwargs={"recursive": True})
    thread.start()
    assert dirty.wait(60.0)
    thread.join()
    assert (DirtyDirectory(b"a", recursive=True),) == dirty.take(time.monotonic())


def test_wait_outlasts_the_settle_time_of_the_mark_that_woke_it():
    dirty = DirtyDirectories(settle_s=0.01)
    dirty.mark(b"a", recursive=False)
    assert dirty.wait(60.0)
    assert len(dirty.take(time.monotonic())) == 1


def test_wake_ends_one_wait_without_claiming_that_something_is_ready():
    dirty = DirtyDirectories()
    dirty.wake()
    assert not dirty.wait(60.0)
    assert not dirty.wait(0.0)


def test_concurrent_marks_and_takes_lose_no_directory():
    dirty = DirtyDirectories(settle_s=0.0)
    names = {b"%d/%d" % (writer, number) for writer in range(4) for number in range(500)}

    def mark_all_of(writer: int) -> None:
        for number in range(500):
            dirty.mark(b"%d/%d" % (writer, number), recursive=False)

    threads = [threading.Thread(target=mark_all_of, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    taken: list[bytes] = []
    while len(taken) < len(names) and dirty.wait(60.0):
        taken += [found.directory for found in dirty.take(time.monotonic())]
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(taken)


def test_where_nothing_has_left_a_change_is_ready_after_a_moment():
    marks = settling()
    marks.mark(b"a", recursive=False, now_s=0.0, has_left=False)
    assert marks.take(QUICK_S - 0.001) == ()
    (found,) = marks.take(QUICK_S)
    assert found == DirtyDirectory(b"a", recursive=False)
    assert found.quiet_s == 0.0, "nothing has left it"


def test_a_directory_that_a_name_has_left_waits_and_tells_for_how_long_it_was_quiet():
    marks = settling()
    marks.mark(b"a", recursive=False, now_s=0.0, has_left=True)
    marks.mark(b"a", recursive=False, now_s=0.01, has_left=False)
    assert marks.take(0.059) == ()
    (found,) = marks.take(0.08)
    assert found.quiet_s == 0.07
    marks.mark(b"a", recursive=True, now_s=1.0, has_left=True)
    assert marks.take(2.0)[0].quiet_s == 0.0, "nobody knows of all that is below"


def test_a_directory_that_stays_restless_waits_for_the_settle_time():
    marks = settling()
    for tick in range(7):
        marks.mark(b"a", recursive=False, now_s=tick / 100, has_left=False)
    assert marks.take(0.06 + QUICK_S) == ()
    assert marks.take(0.06 + 0.05) != ()


def test_a_mark_that_is_ready_sooner_wakes_who_waits():
    dirty = DirtyDirectories(settle_s=60.0, settle_s_max=60.0)
    dirty.mark(b"slow", recursive=False, has_left=True)
    threading.Timer(0.05, lambda: dirty.mark(b"quick", recursive=False, has_left=False)).start()
    assert dirty.wait(30.0)
