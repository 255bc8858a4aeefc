"""Events with keys, in lines that no file name can forge."""

import io
import json
import logging

import pytest

from geosync.errors import OperatorError
from geosync.event_log import configure_event_log, event_logger
from geosync.exit_codes import ExitCode


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    own = {name: logging.getLogger(name).level for name in ("geosync", "transport", "conflict")}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, own_level in own.items():
        logging.getLogger(name).setLevel(own_level)


def _configured(verbosity=0, **environment) -> io.StringIO:
    stream = io.StringIO()
    configure_event_log(verbosity, environment, stream)
    return stream


def _without_time(line: str) -> str:
    time, _, rest = line.partition(" ")
    assert time.startswith("time=20")
    assert time.endswith("Z")
    return rest


def test_an_event_is_one_line_of_keys_and_values():
    stream = _configured()
    event_logger("geosync.capture").info(
        "chunk_uploaded", path=b"a/b.txt", size_bytes=123, ratio=0.5, is_new=True, reason=None
    )
    assert _without_time(stream.getvalue()) == (
        "level=info event=chunk_uploaded path=a/b.txt size_bytes=123 ratio=0.5 is_new=true"
        " reason=null logger=geosync.capture\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"a b", '"a b"'),
        (b"x\nlevel=error event=forged", r'"x\nlevel=error event=forged"'),
        (b'say "hi"\\', r'"say \"hi\"\\"'),
        (b"\xff\x1b[2J", r'"\\xff\x1b[2J"'),
        ("caf\udce9", r'"caf\\udce9"'),
        ("\u202egpj", r'"\u202egpj"'),
        ("", '""'),
        ("città", "città"),
        ([b"a", 1], r'"[\"a\", 1]"'),
        (ValueError("two\nlines"), r'"two\nlines"'),
        (float("inf"), "inf"),
    ],
)
def test_hostile_values_stay_inside_their_quotes(value, shown):
    stream = _configured()
    event_logger("geosync.x").info("seen", value=value)
    assert f" value={shown} logger=" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_json_lines_hold_the_same_keys_as_values():
    stream = _configured(GEOSYNC_LOG_FORMAT="json")
    event_logger("geosync.capture").warning(
        "parked", path=b"a\n\xff", name="\udcff", sizes=(1, 2), by={"site": b"bari"}
    )
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {
        "level": "warning",
        "event": "parked",
        "path": "a\n\\xff",
        "name": "\\udcff",
        "sizes": [1, 2],
        "by": {"site": "bari"},
        "logger": "geosync.capture",
    }


@pytest.mark.parametrize(
    ("verbosity", "seen"),
    [
        (-1, ["warning", "error"]),
        (0, ["info", "warning", "error"]),
        (1, ["debug", "info", "warning", "error"]),
    ],
)
def test_verbosity_chooses_the_levels(verbosity, seen):
    stream = _configured(verbosity, GEOSYNC_LOG_FORMAT="json")
    log = event_logger("transport.x")
    for method in (log.debug, log.info, log.warning, log.error):
        method("happened")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == seen


def test_a_warning_says_what_to_do():
    stream = _configured()
    event_logger("geosync.x").warning("root_not_usable", reason="gone")
    event_logger("geosync.x").info("root_not_usable")
    warning, told = stream.getvalue().splitlines()
    assert ' to_do="mount or move back the root; nothing is taken for deleted meanwhile"' in warning
    assert "to_do" not in told


@pytest.mark.parametrize(
    ("method", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_the_journal_of_systemd_gets_priorities_and_no_second_time(tmp_path, method, priority):
    path = tmp_path / "stream"
    with path.open("w") as stream:
        status = path.stat()
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        configure_event_log(1, environment, stream)
        getattr(event_logger("geosync.x"), method)("happened", path=b"a\n<0>b")
    assert path.read_text() == (f'<{priority}>event=happened path="a\\n<0>b" logger=geosync.x\n')


def test_another_stream_than_the_journals_gets_the_time(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        configure_event_log(0, {"JOURNAL_STREAM": "1:2"}, stream)
        event_logger("geosync.x").info("happened")
    assert (tmp_path / "stream").read_text().startswith("time=20")


def test_libraries_are_heard_from_warning_on_even_when_verbose():
    """Some libraries write credentials at lower levels."""
    stream = _configured(1)
    logging.getLogger("library").info("token %s", "secret")
    logging.getLogger("library").warning("slow\nanswer %d", 7)
    assert _without_time(stream.getvalue()) == (
        'level=warning event=log_message message="slow\\nanswer 7" logger=library\n'
    )


def test_an_exception_carries_its_traceback_on_the_same_line():
    stream = _configured()
    try:
        raise ValueError("what\nhappened")
    except ValueError as error:
        event_logger("geosync.x").exception("failed", error=error)
    (line,) = stream.getvalue().splitlines()
    assert r"ValueError: what\nhappened" in line
    assert 'traceback="Traceback' in line


def test_configuring_again_replaces_the_first_stream():
    first, second = _configured(), _configured()
    event_logger("geosync.x").info("happened")
    assert (first.getvalue() == "", second.getvalue() == "") == (True, False)


def test_a_key_of_the_log_itself_is_refused():
    _configured()
    with pytest.raises(AssertionError):
        event_logger("geosync.x").info("happened", level=3)


def test_an_unknown_format_is_bad_usage():
    with pytest.raises(OperatorError, match="GEOSYNC_LOG_FORMAT is 'xml'") as caught:
        _configured(GEOSYNC_LOG_FORMAT="xml")
    assert caught.value.exit_code is ExitCode.BAD_USAGE
