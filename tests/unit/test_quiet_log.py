"""A site that does its work says nothing of each change in its log, unless it is asked to."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from geosync.event_log import configure_event_log
from tests.support.local_sites import local_sites, settle
from transport.memory_store import MemoryStore


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers
    own = {name: logging.getLogger(name).level for name in ("geosync", "transport", "conflict")}
    yield
    root.handlers = handlers
    for name, level in own.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("is_verbose", [False, True])
def test_changes_that_come_and_go_are_logged_only_when_that_is_wanted(is_verbose: bool) -> None:
    with local_sites(MemoryStore(), "bari", "rome") as [bari, rome]:
        bari.write(b"first", b"1")
        settle(bari, rome)
        log = io.StringIO()
        configure_event_log(int(is_verbose), {}, log)
        for number in range(5):
            bari.write(b"file %d" % number, b"1")
            rome.write(b"other", b"%d" % number)
            settle(bari, rome)
        assert ("event=captured" in log.getvalue()) is is_verbose
        assert (log.getvalue() != "") is is_verbose
