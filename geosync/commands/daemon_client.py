"""How commands find the configuration, ask the running daemon, and print."""

from __future__ import annotations

import argparse
import json
import os
import sys

from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration, load_configuration
from geosync.daemon.control_socket import SOCKET_NAME, JsonObject, control_request
from geosync.event_log import configure_event_log

ANSWER_TIMEOUT_S = 70.0
"""The daemon itself gives up a little earlier, and says why."""

ANSWER_GRACE_S = 1.0


def configured(arguments: argparse.Namespace, *, is_talkative: bool = False) -> Configuration:
    """Sets up the event log and returns the configuration.

    Args:
        arguments: of the command line.
        is_talkative: outcomes are logged without --verbose.

    Raises:
        OperatorError: the configuration is missing or wrong.
    """
    configure_log(arguments, is_talkative=is_talkative)
    return load_configuration(arguments.config, os.environ)


def configure_log(arguments: argparse.Namespace, *, is_talkative: bool = False) -> None:
    """Sets up the event log as --verbose and --quiet say."""
    usual = 0 if is_talkative else -1
    verbosity = 1 if arguments.verbose else -1 if arguments.quiet else usual
    configure_event_log(verbosity, os.environ)


def ask_daemon(
    configuration: Configuration,
    command: str,
    arguments: JsonObject,
    timeout_s: float | None = ANSWER_TIMEOUT_S,
) -> JsonObject:
    """Returns the daemon's answer. Raises DaemonNotRunning and OperatorError."""
    path = os.path.join(configuration.state_dir, SOCKET_NAME)
    return control_request(path, command, arguments, timeout_s)


def print_json(value: JsonObject) -> None:
    """Prints one JSON document on one line."""
    print(json.dumps(value), flush=True)


def say(text: str) -> None:
    """Tells the person at the terminal something that is not the command's output."""
    print(f"geosync: {text}", file=sys.stderr)


class Deadline:
    """The moment that --timeout names."""

    def __init__(self, timeout_s: float | None, clock: Clock) -> None:
        self._clock = clock
        self._at_s = None if timeout_s is None else clock.monotonic_s() + timeout_s

    def left_s(self) -> float | None:
        """Returns the seconds that are left, not below zero; None: there is no limit."""
        return None if self._at_s is None else max(0.0, self._at_s - self._clock.monotonic_s())

    def is_over(self) -> bool:
        """Tells whether the time is over."""
        return self.left_s() == 0.0

    def answer_timeout_s(self) -> float | None:
        """Returns how long an answer may take: what is left, and a moment to say so."""
        left_s = self.left_s()
        return None if left_s is None else left_s + ANSWER_GRACE_S

    def slice_s(self, slice_s: float) -> float:
        """Returns the time that is left, at most `slice_s`."""
        left_s = self.left_s()
        return slice_s if left_s is None else min(left_s, slice_s)
