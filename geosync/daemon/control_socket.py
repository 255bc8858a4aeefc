"""How commands talk to the running daemon: JSON lines over a unix socket.

A request is one line `{"command": "…", "arguments": {…}}`. Its answer is one line, either
`{"result": {…}}` or `{"error": "…", "exit_code": n}`. A connection may carry several requests,
one after the other. Who may open the socket (mode 0600) may give any command.
"""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

from conflict.errors import GeosyncError
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.exit_codes import ExitCode
from geosync.terminal import display_name

SOCKET_NAME = b"control.sock"
REQUEST_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 64 << 20
CLIENTS_MAX = 64
CLIENT_IDLE_TIMEOUT_S = 60.0
"""A client that neither sends a whole request nor takes its answer for so long is cut off."""
CLOSE_GRACE_S = 2.0
"""How long `ControlServer.close` waits for answers that are being made."""
ACCEPT_RETRY_S = 0.1

_ADDRESS_BYTES_MAX = 107  # sun_path of unix(7) without its NUL byte

JsonObject = dict[str, object]
Handler = Callable[[str, JsonObject], JsonObject]

log = event_logger(__name__)


class DaemonNotRunning(OperatorError):
    """Nobody listens on the control socket, or the daemon ended before it answered."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitCode.DAEMON_NOT_RUNNING)


class ControlServer:
    """Answers the requests of any number of clients, each in a thread of its own.

    A request that takes long delays only its own client. Requests that break the protocol get
    an error as their answer. The caller holds the lock of the state directory, so that a socket
    file found at the start is a leftover and is replaced.
    """

    def __init__(self, path: bytes, handler: Handler) -> None:
        """Prepares a server; `start`, or entering it as a context, makes it listen.

        Args:
            path: where the socket appears, of any length.
            handler: maps a command and its arguments to a result. It is called from several
                threads at a time. What it raises becomes the client's error, with the exit code
                of an `OperatorError`.
        """
        self._path = path
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._accepting = threading.Thread(target=self._accept, name="control", daemon=True)
        self._stopping = threading.Event()
        self._clients: set[socket.socket] = set()
        self._clients_changed = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listens from now on.

        Raises:
            OperatorError: the socket cannot be made.
        """
        with ExitStack() as undone_on_error:
            undone_on_error.callback(self._listener.close)
            try:
                self._listen()
            except OSError as error:
                raise OperatorError(
                    f"cannot listen on {display_name(self._path)}: {error.strerror or error}; "
                    "check that its directory is there and may be written to"
                ) from error
            undone_on_error.pop_all()
        self._accepting.start()

    def close(self) -> None:
        """Takes no more requests, waits a moment for answers under way, removes the socket."""
        if self._stopping.is_set() or not self._accepting.is_alive():
            self._listener.close()
            return
        self._stopping.set()
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._accepting.join()
        self._listener.close()
        with self._clients_changed:
            for client in self._clients:
                with suppress(OSError):  # the client may be gone already
                    client.shutdown(socket.SHUT_RD)
            self._clients_changed.wait_for(lambda: not self._clients, CLOSE_GRACE_S)

    def _listen(self) -> None:
        self._remove_leftover()
        # The socket's own mode becomes the file's: there is no moment at which others may
        # connect, and the umask of the process, which other threads use, is left alone.
        os.fchmod(self._listener.fileno(), 0o600)
        with _short_address(self._path) as address:
            self._listener.bind(address)
        self._listener.listen(CLIENTS_MAX)

    def _remove_leftover(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
                raise OperatorError(
                    f"cannot listen on {display_name(self._path)}: something else than a socket "
                    "is there; move it away"
                )
            os.unlink(self._path)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if not self._stopping.is_set():  # such as too many open files
                    log.warning("control_connection_failed", error=error)
                    self._stopping.wait(ACCEPT_RETRY_S)
                continue
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        client.settimeout(CLIENT_IDLE_TIMEOUT_S)
        with self._clients_changed:
            if len(self._clients) >= CLIENTS_MAX:
                with client, suppress(OSError):
                    client.sendall(_line(_error(f"{CLIENTS_MAX} commands wait already; try later")))
                return
            self._clients.add(client)
        try:
            threading.Thread(
                target=self._serve, args=(client,), name="control client", daemon=True
            ).start()
        except RuntimeError as error:  # the limit of threads is reached
            log.warning("control_connection_failed", error=error)
            client.close()
            self._forget(client)

    def _serve(self, client: socket.socket) -> None:
        try:
            # OSError: the client went away, or was silent for too long.
            with client, suppress(OSError), client.makefile("rb") as requests:
                while line := requests.readline(REQUEST_BYTES_MAX + 1):
                    client.sendall(self._answer(line))
                    if len(line) > REQUEST_BYTES_MAX:
                        break  # where the next request begins is not known
        finally:
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        with self._clients_changed:
            self._clients.discard(client)
            self._clients_changed.notify_all()

    def _answer(self, line: bytes) -> bytes:
        try:
            answer = _line({"result": self._handler(*_parse_request(line))})
        except OperatorError as error:
            return _line(_error(str(error), error.exit_code))
        except GeosyncError as error:
            return _line(_error(str(error)))
        except Exception:  # a defect in one command must not end the others
            log.exception("control_request_failed")
            return _line(_error("the daemon failed at this command; its log says why"))
        if len(answer) > ANSWER_BYTES_MAX:
            return _line(
                _error(f"the answer is longer than {ANSWER_BYTES_MAX} bytes; ask for less")
            )
        return answer


def control_request(
    path: bytes, command: str, arguments: JsonObject, timeout_s: float | None
) -> JsonObject:
    """Gives the daemon a command and waits for the result.

    Args:
        path: the daemon's socket.
        command: a name that the daemon knows.
        arguments: what JSON can hold.
        timeout_s: the longest silence of the daemon; None waits for ever.

    Raises:
        DaemonNotRunning: nobody listens, or the daemon ended before it answered.
        OperatorError: the daemon answered with an error (whose exit code it carries), was silent
            for too long (exit code 4), or may not be talked to.
    """
    request = _line({"command": command, "arguments": arguments})
    if len(request) > REQUEST_BYTES_MAX:
        raise OperatorError(f"the request is longer than {REQUEST_BYTES_MAX} bytes; ask for less")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with _short_address(path) as address:
                connection.connect(address)
            answer = _exchange(connection, request)
    except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
        raise _not_running(path) from error
    except (TimeoutError, BlockingIOError) as error:
        raise OperatorError(
            f"the daemon on {display_name(path)} did not answer {command} within {timeout_s} s; "
            "look at its log, or allow more time",
            ExitCode.TIMED_OUT,
        ) from error
    except OSError as error:
        raise OperatorError(
            f"cannot talk to the daemon on {display_name(path)}: {error.strerror}; "
            "run this as root or as the user that runs the daemon"
        ) from error
    if not answer.endswith(b"\n"):
        raise _not_running(path)
    return _result(answer)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    with suppress(BrokenPipeError):  # a server with too many clients answers without reading
        connection.sendall(request)
    with connection.makefile("rb") as answers:
        return answers.readline(ANSWER_BYTES_MAX + 1)


def _not_running(path: bytes) -> DaemonNotRunning:
    return DaemonNotRunning(
        f"no daemon answers on {display_name(path)}; start it with: geosync run, "
        "or systemctl start geosync@VOLUME; if it was running, its log says why it ended"
    )


def _parse_request(line: bytes) -> tuple[str, JsonObject]:
    if len(line) > REQUEST_BYTES_MAX:
        text = f"the request is longer than {REQUEST_BYTES_MAX} bytes; ask for less"
        raise OperatorError(text, ExitCode.BAD_USAGE)
    try:
        match json.loads(line):
            case {"command": str(command), "arguments": dict(arguments)}:
                return command, arguments
            case _:
                pass
    except (ValueError, RecursionError):
        pass
    text = 'malformed request; one line {"command": "…", "arguments": {…}} is expected'
    raise OperatorError(text, ExitCode.BAD_USAGE)


def _result(answer: bytes) -> JsonObject:
    with suppress(ValueError, RecursionError):
        match json.loads(answer):
            case {"result": dict(result)}:
                return result
            case {"error": str(text), "exit_code": int(exit_code)}:
                raise OperatorError(text, ExitCode(exit_code))
            case _:
                pass
    raise OperatorError("the daemon's answer is not one that this version knows; restart it")


def _error(text: str, exit_code: ExitCode = ExitCode.FAILED) -> JsonObject:
    return {"error": text, "exit_code": int(exit_code)}


def _line(content: JsonObject) -> bytes:
    return json.dumps(content).encode() + b"\n"


@contextmanager
def _short_address(path: bytes) -> Iterator[bytes]:
    """An address of a socket whose path may be longer than the 107 bytes of unix(7)."""
    if len(path) <= _ADDRESS_BYTES_MAX:
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield b"/proc/self/fd/%d/%s" % (descriptor, name)
    finally:
        os.close(descriptor)
