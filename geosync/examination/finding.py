"""A finding: what was looked at, what was found, how bad that is, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum, unique

Fact = str | int | float | bool | None


@unique
class Level(IntEnum):
    """How bad it is; the worst finding decides the exit code."""

    OK = 0
    NOTE = 1
    """Worth knowing; nothing needs to be done."""
    WARNING = 2
    """geosync works, but worse than it could, or not for long."""
    FAILURE = 3
    """geosync can't work, or not with all files."""


@unique
class Subject(StrEnum):
    """What is looked at; the values are keys of the JSON, and never change."""

    DAEMON = "daemon"
    ROOT = "root"
    FILE_SYSTEM = "file_system"
    MARKER = "marker"
    EXCHANGE = "exchange"
    LEASES = "leases"
    HANDLES = "handles"
    REFLINK = "reflink"
    OPENAT2 = "openat2"
    TIMESTAMPS = "timestamps"
    EXTENDED_ATTRIBUTES = "extended_attributes"
    ACCESS_LISTS = "access_lists"
    OWNERS = "owners"
    CAPABILITIES = "capabilities"
    SETUID = "setuid"
    WATCHES = "watches"
    INSTANCES = "instances"
    EVENT_QUEUE = "event_queue"
    DESCRIPTORS = "descriptors"
    ROOT_SPACE = "root_space"
    STATE_DIRECTORY = "state_directory"
    JOURNAL = "journal"
    STATE_SPACE = "state_space"
    ENDPOINT = "endpoint"
    STORE = "store"
    VOLUME = "volume"
    STORE_RIGHTS = "store_rights"
    CONSISTENCY = "consistency"
    TRANSFER = "transfer"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what.
        level: how bad it is.
        text: what was found, in words.
        remedy: what to do; empty when nothing is to be done.
        facts: the same as numbers, for programs; keys have their units last.
        commands: what to type, line by line, for a shell of root; empty when no command mends it.
    """

    subject: Subject
    level: Level
    text: str
    remedy: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
