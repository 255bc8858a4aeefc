"""The event log: one line per outcome, an event with keys, on the standard logging module."""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from geosync.errors import OperatorError
from geosync.event_remedies import REMEDIES
from geosync.exit_codes import ExitCode
from geosync.terminal import escape_unprintable

FORMAT_VARIABLE = "GEOSYNC_LOG_FORMAT"
JOURNAL_VARIABLE = "JOURNAL_STREAM"
"""Set by systemd: device and inode of what it reads, `8:12345`; see systemd.exec(5)."""

_OWN_PACKAGES = ("geosync", "transport", "conflict")
_HANDLER_NAME = "geosync event log"
_KEYS_ATTRIBUTE = "event_keys"
_RESERVED_KEYS = frozenset({"time", "level", "event", "to_do", "logger", "traceback"})

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Of syslog(3)."""

Field = str | int | float | bool | list["Field"] | dict[str, "Field"] | None


class EventLog:
    """Logs events of one module; made by `event_logger`.

    Each method takes the event's name (what happened, in the past tense, `snake_case`) and its
    keys (units last). Values may be anything: bytes are decoded with backslashreplace, and text
    of any origin is safe, because the formats escape what could forge a line.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **keys: object) -> None:
        """Logs what only somebody who looks for a defect wants to see."""
        self._log(logging.DEBUG, event, keys)

    def info(self, event: str, /, **keys: object) -> None:
        """Logs an outcome that an operator may want to see."""
        self._log(logging.INFO, event, keys)

    def warning(self, event: str, /, **keys: object) -> None:
        """Logs what a person should look at."""
        self._log(logging.WARNING, event, keys)

    def error(self, event: str, /, **keys: object) -> None:
        """Logs what keeps the daemon from doing its work."""
        self._log(logging.ERROR, event, keys)

    def exception(self, event: str, /, **keys: object) -> None:
        """Logs an error with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, keys, with_traceback=True)

    def _log(
        self, level: int, event: str, keys: dict[str, object], *, with_traceback: bool = False
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        assert not _RESERVED_KEYS & keys.keys(), f"{event} uses a key of the log's own"
        self._logger.log(level, "%s", event, exc_info=with_traceback, extra={_KEYS_ATTRIBUTE: keys})


def event_logger(name: str) -> EventLog:
    """The event log of a module; `name` is its `__name__`."""
    return EventLog(logging.getLogger(name))


def configure_event_log(
    verbosity: int, environment: Mapping[str, str], stream: TextIO | None = None
) -> None:
    """Sends events to a stream; to be called once by each command (again replaces the first).

    Libraries' messages are let through from WARNING on whatever the verbosity, because some
    write credentials at lower levels.

    Args:
        verbosity: -1 for --quiet (warnings and errors), 0 (also outcomes), 1 for --verbose (all).
        environment: GEOSYNC_LOG_FORMAT in it chooses `text` (logfmt), `journal` (the same, led by
            the priority as sd-daemon(3) wants it, and without the time, which the journal has) or
            `json`. By default it is `journal` where systemd's journal reads the stream.
        stream: where to write; standard error when None.

    Raises:
        OperatorError: GEOSYNC_LOG_FORMAT names no format.
    """
    target = sys.stderr if stream is None else stream
    usual = "journal" if _is_read_by_journal(target, environment) else "text"
    formatter = _formatter(environment.get(FORMAT_VARIABLE) or usual)
    handler = logging.StreamHandler(target)
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if each.name != _HANDLER_NAME]
    root.addHandler(handler)
    level = logging.INFO if verbosity == 0 else logging.DEBUG if verbosity > 0 else logging.WARNING
    for package in _OWN_PACKAGES:
        logging.getLogger(package).setLevel(level)


def _is_read_by_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is no file, or closed
        return False
    return environment.get(JOURNAL_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


def _formatter(name: str) -> "EventFormatter":
    renderers: dict[str, Callable[[dict[str, Field]], str]] = {
        "text": _logfmt,
        "journal": _journal_line,
        "json": json.dumps,
    }
    if name not in renderers:
        raise OperatorError(
            f"cannot log: {FORMAT_VARIABLE} is {name!r}, which is no format; "
            "set it to text, journal or json, or unset it",
            ExitCode.BAD_USAGE,
        )
    return EventFormatter(renderers[name])


class EventFormatter(logging.Formatter):
    """Formats events, and the messages of libraries as events named `log_message`."""

    def __init__(self, render: Callable[[dict[str, Field]], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        """One line without a newline, whatever the record contains."""
        return self._render(_fields(record))


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    event, keys = record.getMessage(), getattr(record, _KEYS_ATTRIBUTE, None)
    if keys is None:
        event, keys = "log_message", {"message": event}
    moment = datetime.fromtimestamp(record.created, UTC)
    fields: dict[str, Field] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": _plain(event),
    }
    fields |= {key: _plain(value) for key, value in keys.items()}
    if record.levelno >= logging.WARNING and event in REMEDIES:
        fields["to_do"] = REMEDIES[event]
    fields["logger"] = record.name
    if record.exc_info and record.exc_info[0]:
        fields["traceback"] = _plain(logging.Formatter().formatException(record.exc_info))
    return fields


def _plain(value: object) -> Field:
    """A value as JSON knows it, with everything unknown as its text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case _:
            # A lone surrogate (a name that was not UTF-8) is text that no stream can encode.
            return str(value).encode("utf-8", "backslashreplace").decode()


def _journal_line(fields: dict[str, Field]) -> str:
    rest = {key: value for key, value in fields.items() if key not in {"time", "level"}}
    return f"<{_PRIORITIES.get(str(fields['level']), 3)}>{_logfmt(rest)}"


def _logfmt(fields: dict[str, Field]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in fields.items())


def _logfmt_value(value: Field) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.isprintable() and text and not set(text) & set(' "=\\'):
        return text
    return '"' + escape_unprintable(text.replace("\\", r"\\").replace('"', r"\"")) + '"'
