"""The inotify binding: what the kernel's buffer means, and how a wait ends."""

import errno
import os
import struct
from pathlib import Path

import pytest

from geosync.watching.inotify import IN_CREATE, IN_ISDIR, Inotify, Record, parse_records


def raw(watch: int, mask: int, name: bytes) -> bytes:
    return struct.pack("iIII", watch, mask, 0, len(name)) + name


def test_records_are_parsed_with_padded_names_of_any_bytes_and_without_a_name():
    buffer = (
        raw(1, 2, b"\xff\n\0\0\0\0\0\0") + raw(-1, 4, b"") + raw(3, 8, b"sixteen byte name"[:16])
    )
    assert list(parse_records(buffer)) == [
        Record(1, 2, b"\xff\n"),
        Record(-1, 4, b""),
        Record(3, 8, b"sixteen byte nam"),
    ]


def test_an_event_of_the_kernel_is_read_with_its_watch_and_name(tmp_path: Path):
    inotify = Inotify()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    watch = inotify.add_watch(descriptor, IN_CREATE)
    os.close(descriptor)
    (tmp_path / "new").mkdir()
    inotify.wait(60.0)
    assert list(inotify.read()) == [Record(watch, IN_CREATE | IN_ISDIR, b"new")]
    assert list(inotify.read()) == []
    inotify.close()


def test_a_watch_that_cannot_be_set_raises_the_error_of_the_kernel():
    inotify = Inotify()
    with pytest.raises(OSError, match="No such file") as caught:
        inotify.add_watch(-1, IN_CREATE)
    assert caught.value.errno == errno.ENOENT
    inotify.close()


def test_wake_ends_every_wait_from_then_on_and_is_harmless_after_close():
    inotify = Inotify()
    inotify.wake()
    inotify.wait(60.0)
    inotify.wait(60.0)
    inotify.close()
    inotify.close()
    inotify.wake()
