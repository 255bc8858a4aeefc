"""Reading the configuration again while the daemon runs, so that a reload costs no interruption."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from conflict.errors import GeosyncError
from geosync.assembly.assembly import open_store
from geosync.configuration.volume_configuration import Configuration, load_configuration
from geosync.daemon.daemon_state import DaemonState
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.exit_codes import ExitCode

WANTS_RESTART: Final[Mapping[str, str]] = {
    "volume": "volume",
    "site": "site",
    "root": "root",
    "state_dir": "state_dir",
    "store": "store",
    "directory_path": "[directory] path",
    "http_listen": "[http] listen",
    "http_names": "[http] names",
    "hints": "[hints]",
}
"""What a running daemon is bound to: field of the configuration -> key in the file."""

_log = event_logger(__name__)


class Reloader:
    """Reads the configuration again, and hands it to the control thread. Any thread may call it."""

    def __init__(
        self, configuration: Configuration, environment: Mapping[str, str], state: DaemonState
    ) -> None:
        """Takes the configuration with which the daemon began."""
        self._in_force = configuration
        self._environment = environment
        self._state = state
        self._lock = threading.Lock()

    @property
    def configuration(self) -> Configuration:
        """The configuration that is in force."""
        return self._in_force

    def reload(self) -> list[str]:
        """Makes what the file says now count, from the next cycle on; returns what has changed.

        Raises:
            OperatorError, ConfigurationError, InvalidCredentials: the file is wrong, or says what
                can't change while the daemon runs. Nothing is changed then.
        """
        with self._lock:
            fresh = load_configuration(self._in_force.source, self._environment)
            changed = changed_fields(self._in_force, fresh)
            bound = [WANTS_RESTART[name] for name in changed if name in WANTS_RESTART]
            if bound:
                raise OperatorError(
                    f"{fresh.source}: {', '.join(bound)} can't change while the daemon runs."
                    " Nothing of the file was taken; restart the daemon for all of it.",
                    ExitCode.BAD_USAGE,
                )
            open_store(fresh, self._environment).close()  # refuses credentials that can't be
            self._in_force = fresh
            self._state.change_configuration(fresh)
            _log.info("configuration_reloaded", changed=changed)
            return changed


def changed_fields(before: Configuration, after: Configuration) -> list[str]:
    """Returns the names of the fields that differ; values may be secret."""
    names = (name for name in Configuration.__dataclass_fields__ if name != "source")
    return [name for name in names if getattr(before, name) != getattr(after, name)]


@contextmanager
def reloading_on_hangup(reload: Callable[[], object]) -> Iterator[None]:
    """Reloads whenever SIGHUP arrives, while the block runs. Called in the main thread.

    A handler must not wait for anything, so it only writes to a pipe that a thread reads.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)

    def handle(_number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # so many are waiting that one more changes nothing
            os.write(writing, b"!")

    def serve() -> None:
        while os.read(reading, 4096):
            try:
                reload()
            except GeosyncError as error:
                _log.error("reload_refused", reason=str(error))
        os.close(reading)

    thread = threading.Thread(target=serve, name="reload", daemon=True)
    thread.start()
    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(writing)
        thread.join()
