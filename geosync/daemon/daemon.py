"""The daemon: holds the locks, minds signals and clients, and runs the control loop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

from conflict.errors import GeosyncError
from geosync.assembly.assembly import assembled, open_store, retrying
from geosync.assembly.background_store import BackgroundStore
from geosync.assembly.journal_of_root import set_journal_aside
from geosync.assembly.store_backoff import BackoffStore
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_loop import ControlLoop, LoopParts
from geosync.daemon.control_socket import SOCKET_NAME, ControlServer
from geosync.daemon.daemon_commands import DaemonCommands
from geosync.daemon.daemon_state import DaemonState
from geosync.daemon.hint_service import HintService, hint_service
from geosync.daemon.http_service import http_service
from geosync.daemon.reloading import Reloader, reloading_on_hangup
from geosync.daemon.service_notification import ServiceNotifier
from geosync.daemon.single_instance import single_instance
from geosync.disk.interface import RootLost
from geosync.errors import OperatorError, StateUnusable
from geosync.event_log import event_logger
from geosync.hooks.hooks import Hooks
from geosync.journal.database import explaining
from geosync.object_cycles import look_for_cycles_seldom
from transport.object_store import ObjectStore

STORE_BUDGET_S: Final = 3.0
STORE_PATIENCE_S: Final = 1.0
"""How long the control thread waits for the store before it goes on with other things."""
ROOT_RETRY_S: Final = 1.0
STATE_RETRY_S: Final = 1.0
STATE_RETRY_S_MAX: Final = 30.0
WAIT_STEP_S: Final = 0.2  # a signal must not have to wait longer
_log = event_logger(__name__)


def run_daemon(configuration: Configuration, environment: Mapping[str, str], clock: Clock) -> None:
    """Keeps a site in sync until SIGTERM or SIGINT. Called in the main thread.

    Raises:
        OperatorError: another daemon is at work, a directory can't be used, and the like.
        InvalidCredentials, StoreUnavailable, StoreRefused: a new site can't join without a store.
        RootLost: the root is not the one that this site's journal knows.
    """
    open_store(configuration, environment).close()  # refuses credentials that can't be
    notifier = ServiceNotifier(environment)
    state = DaemonState(configuration.tuning)
    with ExitStack() as stack:
        stack.enter_context(single_instance(configuration, clock))
        reloader = Reloader(configuration, environment, state)
        commands = DaemonCommands(state, clock, reloader)
        socket_path = os.path.join(configuration.state_dir, SOCKET_NAME)
        stack.enter_context(ControlServer(socket_path, commands.handle))
        stack.enter_context(http_service(configuration, state, commands.handle, clock))
        stack.callback(state.queue.close)
        hints = stack.enter_context(hint_service(configuration, clock, state.dirty.wake))
        look_for_cycles_seldom()
        daemon = _Daemon(configuration, environment, clock, state, notifier, hints)
        stack.callback(daemon.close)
        stack.enter_context(_signals(daemon.stop))
        stack.enter_context(reloading_on_hangup(reloader.reload))
        stack.enter_context(_heartbeat(notifier, state))
        _log.info("daemon_started", volume=configuration.volume, site=configuration.site)
        try:
            daemon.run()
        except GeosyncError:
            raise
        except Exception as error:
            _log.exception("daemon_failed")
            raise OperatorError(
                f"the daemon failed ({type(error).__name__}: {error}); the log says where. Nothing"
                " that was captured is lost; start it again, and report the log."
            ) from error
        _log.info("daemon_stopped")


class _Daemon:
    """Runs one control loop after another: when a lost root is back, or after a reload."""

    def __init__(
        self,
        configuration: Configuration,
        environment: Mapping[str, str],
        clock: Clock,
        state: DaemonState,
        notifier: ServiceNotifier,
        hints: HintService,
    ) -> None:
        self._configuration = configuration
        self._environment = environment
        self._clock = clock
        self._state = state
        self._notifier = notifier
        self._hints = hints
        self._hooks = Hooks(configuration)
        self._open_stores()
        self._state_retry_s = STATE_RETRY_S
        self._cycles_before = 0
        self._waits_for = ""  # the event that was logged when the waiting began

    def _open_stores(self) -> None:
        self._raw_store = open_store(self._configuration, self._environment)
        persistent = retrying(self._raw_store, self._clock, STORE_BUDGET_S)
        self._backoff = BackoffStore(persistent, self._clock.monotonic_s)
        self._joining = self._in_background(persistent, None)
        self._store = self._in_background(self._backoff, STORE_PATIENCE_S)

    def _take_configuration(self) -> None:
        """Goes on with another configuration, if there is one; see `Reloader`."""
        fresh = self._state.take_configuration()
        if fresh is None:
            return
        self._notifier.reloading(self._clock.monotonic_s())
        if fresh.hooks != self._configuration.hooks:
            self._hooks.stop()
            self._hooks = Hooks(fresh)
        self._configuration = fresh
        before = self._raw_store, self._joining, self._store
        self._open_stores()
        for store in before[1:]:
            store.end()
        before[0].close()
        if self._state.is_stopping:  # a signal came meanwhile, and ended what was before
            self.stop()

    def close(self) -> None:
        """Releases what `run` used."""
        self._raw_store.close()

    def stop(self) -> None:
        """Makes `run` return soon. May be called from any thread and from a signal handler."""
        self._notifier.stopping()
        self._state.stop()
        self._hooks.stop()
        self._joining.end()
        self._store.end()

    def run(self) -> None:
        """Returns when the daemon is to end.

        What keeps a daemon from starting ends it, for its operator to see at once; what befalls
        one that works is waited for.
        """
        while not self._state.is_stopping:
            try:
                self._take_configuration()
                self._run_loop()
            except RootLost as error:  # it went away again at once
                self._wait_out(error, "root_not_usable", ROOT_RETRY_S)
            except (StateUnusable, OSError) as error:
                self._wait_out(error, "state_not_usable", self._state_retry_s)
                self._state_retry_s = min(self._state_retry_s * 2, STATE_RETRY_S_MAX)

    def _wait_out(self, error: Exception, event: str, pause_s: float) -> None:
        cycles = self._state.cycles()
        if not cycles:
            raise error
        if cycles != self._cycles_before:  # it has worked since the last time
            self._state_retry_s, self._cycles_before, self._waits_for = STATE_RETRY_S, cycles, ""
        if event != self._waits_for:
            self._waits_for = event
            _log.warning(event, reason=str(error))
        self._state.tell_trouble(str(error), self._clock.wall_ns() // 1_000_000)
        deadline_s = self._clock.monotonic_s() + pause_s
        while not self._state.is_stopping and self._clock.monotonic_s() < deadline_s:
            self._clock.wait(threading.Event(), WAIT_STEP_S)

    def _in_background(self, store: ObjectStore, patience_s: float | None) -> BackgroundStore:
        return BackgroundStore(
            store,
            patience_s=patience_s,
            monotonic=self._clock.monotonic_s,
            on_slow_end=self._state.hurry,
        )

    def _parts(self) -> LoopParts:
        return LoopParts(
            self._configuration,
            self._clock,
            self._state,
            self._notifier,
            self._backoff,
            self._hooks,
            self._hints,
        )

    def _run_loop(self) -> None:
        try:
            with (
                explaining(self._configuration.state_dir),
                assembled(self._configuration, self._clock, self._joining, self._store) as engine,
            ):
                ControlLoop(engine, self._parts()).run()
            if engine.superseded is not None:
                set_journal_aside(self._configuration.state_dir, engine.superseded)
        except GeosyncError:
            if not self._state.is_stopping:  # else the store's operation was cut short by us
                raise


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Lets SIGTERM and SIGINT end the daemon; a second one ends the process at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    # Somebody else may send it (it is what fcntl(2) sends by default): it would end the process.
    before[signal.SIGIO] = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _heartbeat(notifier: ServiceNotifier, state: DaemonState) -> Iterator[None]:
    """Tells the service manager, while the block runs, that the control thread works.

    The proof of work is the control thread's processor time: it also grows while one long scan
    or one large file is under way, and never in a thread that hangs.
    """
    interval_s = notifier.watchdog_interval_s
    if interval_s is None:
        yield
        return
    control_thread = time.pthread_getcpuclockid(threading.get_ident())
    ended = threading.Event()

    def beat() -> None:
        used_s = -1.0
        while not ended.wait(interval_s):
            state.dirty.wake()
            before_s, used_s = used_s, time.clock_gettime(control_thread)
            if used_s > before_s:
                notifier.watchdog()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
