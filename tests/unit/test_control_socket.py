"""Commands and the daemon talk over a real unix socket."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from conflict.errors import GeosyncError
from geosync.daemon import control_socket
from geosync.daemon.control_socket import (
    CLIENTS_MAX,
    REQUEST_BYTES_MAX,
    ControlServer,
    DaemonNotRunning,
    control_request,
)
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

TIMEOUT_S = 30


def _handler(command, arguments):
    match command:
        case "echo":
            return arguments
        case "conflicts":
            raise OperatorError("two conflicts wait", ExitCode.NEEDS_PERSON)
        case "broken":
            raise GeosyncError("broken store")
        case "long":
            return {"text": "x" * arguments["size_bytes"]}
        case "unspeakable":
            return {"value": object()}
        case _:
            raise KeyError(command)


@pytest.fixture
def path(tmp_path):
    return os.fsencode(tmp_path / "control.sock")


@pytest.fixture
def server(path):
    with ControlServer(path, _handler) as server:
        yield server


def _connection(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    connection.connect(path)
    return closing(connection)


def _answer(connection) -> dict[str, object]:
    with connection.makefile("rb") as answers:
        return json.loads(answers.readline())


def test_a_request_is_answered_with_the_handlers_result(server, path):
    arguments = {"names": ["a\n", "é", "\udcff"], "count": 3, "none": None}
    assert control_request(path, "echo", arguments, TIMEOUT_S) == arguments


@pytest.mark.parametrize(
    ("command", "text", "exit_code"),
    [
        ("conflicts", "two conflicts wait", ExitCode.NEEDS_PERSON),
        ("broken", "broken store", ExitCode.FAILED),
        ("defect", "its log says why", ExitCode.FAILED),
        ("unspeakable", "its log says why", ExitCode.FAILED),
    ],
)
def test_what_the_handler_raises_reaches_the_client(server, path, command, text, exit_code):
    with pytest.raises(OperatorError, match=text) as caught:
        control_request(path, command, {}, TIMEOUT_S)
    assert caught.value.exit_code is exit_code
    assert control_request(path, "echo", {"after": 1}, TIMEOUT_S) == {"after": 1}


def test_a_defect_in_a_command_is_logged_with_its_traceback(server, path, caplog):
    with pytest.raises(OperatorError):
        control_request(path, "defect", {}, TIMEOUT_S)
    (record,) = caplog.records
    assert record.getMessage() == "control_request_failed"
    assert record.exc_info[0] is KeyError


def test_one_connection_carries_several_requests(server, path):
    with _connection(path) as connection, connection.makefile("rb") as answers:
        for number in range(3):
            request = {"command": "echo", "arguments": {"number": number}}
            connection.sendall(json.dumps(request).encode() + b"\n")
            assert json.loads(answers.readline()) == {"result": {"number": number}}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\xff\n",
        b"not json\n",
        b"[]\n",
        b'{"command": 1, "arguments": {}}\n',
        b'{"command": "echo"}\n',
        b'{"command": "echo", "arguments": []}\n',
        b"[" * 500_000 + b"\n",
        b"1" * 5000 + b"\n",
    ],
)
def test_a_malformed_request_gets_an_error_and_hurts_nobody(server, path, line):
    with _connection(path) as connection:
        connection.sendall(line)
        answer = _answer(connection)
        assert answer["exit_code"] == ExitCode.BAD_USAGE
        assert "malformed" in answer["error"]
        connection.sendall(b'{"command": "echo", "arguments": {"same": "connection"}}\n')
        assert _answer(connection) == {"result": {"same": "connection"}}


def test_a_request_longer_than_the_bound_is_refused_and_its_connection_ended(server, path):
    with _connection(path) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"x" * (REQUEST_BYTES_MAX + 1))
        assert "longer than" in json.loads(answers.readline())["error"]
        assert answers.readline() == b""
    assert control_request(path, "echo", {}, TIMEOUT_S) == {}


def test_a_request_of_exactly_the_bound_is_served(server, path):
    frame = len(json.dumps({"command": "echo", "arguments": {"text": ""}})) + 1
    arguments = {"text": "x" * (REQUEST_BYTES_MAX - frame)}
    assert control_request(path, "echo", arguments, TIMEOUT_S) == arguments
    with pytest.raises(OperatorError, match="longer than"):
        control_request(path, "echo", {"text": arguments["text"] + "x"}, TIMEOUT_S)


def test_an_answer_may_be_longer_than_a_request_but_has_a_bound(server, path, monkeypatch):
    size_bytes = 2 * REQUEST_BYTES_MAX
    assert len(control_request(path, "long", {"size_bytes": size_bytes}, 60)["text"]) == size_bytes
    monkeypatch.setattr(control_socket, "ANSWER_BYTES_MAX", 1000)
    with pytest.raises(OperatorError, match="ask for less"):
        control_request(path, "long", {"size_bytes": 1000}, TIMEOUT_S)


def test_a_client_that_leaves_in_the_middle_hurts_nobody(server, path):
    for sent in (
        b"",
        b'{"command"',
        b'{"command": "long", "arguments": {"size_bytes": 9999999}}\n',
    ):
        with _connection(path) as connection:
            connection.sendall(sent)
    assert control_request(path, "echo", {}, TIMEOUT_S) == {}


def test_a_request_that_takes_long_does_not_block_others(path):
    entered, released = threading.Event(), threading.Event()

    def handler(command, arguments):
        if command == "wait":
            entered.set()
            assert released.wait(TIMEOUT_S)
        return {"command": command}

    with ControlServer(path, handler), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(control_request, path, "wait", {}, TIMEOUT_S)
        assert entered.wait(TIMEOUT_S)
        assert control_request(path, "status", {}, TIMEOUT_S) == {"command": "status"}
        assert not waiting.done()
        released.set()
        assert waiting.result() == {"command": "wait"}


def test_many_clients_are_served_and_too_many_are_told_so(path):
    entered, released = threading.Semaphore(0), threading.Event()

    def handler(command, arguments):
        entered.release()
        assert released.wait(TIMEOUT_S)
        return arguments

    with ControlServer(path, handler), ThreadPoolExecutor(CLIENTS_MAX) as pool:
        waiting = [
            pool.submit(control_request, path, "wait", {"n": n}, TIMEOUT_S)
            for n in range(CLIENTS_MAX)
        ]
        for _ in waiting:
            assert entered.acquire(timeout=TIMEOUT_S)
        with pytest.raises(OperatorError, match="try later"):
            control_request(path, "wait", {}, TIMEOUT_S)
        released.set()
        assert [each.result() for each in waiting] == [{"n": n} for n in range(CLIENTS_MAX)]


def test_a_daemon_that_is_silent_for_too_long_is_a_timeout(path):
    released = threading.Event()

    def handler(command, arguments):
        released.wait(TIMEOUT_S)
        return {}

    with ControlServer(path, handler):
        with pytest.raises(OperatorError, match=r"did not answer wait within 0\.05 s") as caught:
            control_request(path, "wait", {}, 0.05)
        released.set()
    assert caught.value.exit_code is ExitCode.TIMED_OUT


def test_nobody_listening_means_that_the_daemon_is_not_running(path, tmp_path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(os.fsencode(tmp_path / "dead.sock"))
    (tmp_path / "file").touch()
    for name in ("missing.sock", "no/such/control.sock", "dead.sock", "file/control.sock"):
        with pytest.raises(DaemonNotRunning, match="geosync run") as caught:
            control_request(os.fsencode(tmp_path / name), "status", {}, TIMEOUT_S)
        assert caught.value.exit_code is ExitCode.DAEMON_NOT_RUNNING


def test_a_daemon_that_dies_before_it_answers_is_not_running(path):
    program = (
        "import os, sys, threading\n"
        "from geosync.daemon.control_socket import ControlServer\n"
        "with ControlServer(os.fsencode(sys.argv[1]), lambda *request: os._exit(1)):\n"
        "    print('listening', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    command = [sys.executable, "-c", program, os.fsdecode(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout.readline() == b"listening\n"
        with pytest.raises(DaemonNotRunning):
            control_request(path, "status", {}, TIMEOUT_S)


def test_an_answer_of_another_version_is_an_error(path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        listener.bind(path)
        listener.listen()
        for answer in (b"{}\n", b"nonsense\n", b'{"error": "x", "exit_code": 99}\n'):
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(control_request, path, "status", {}, TIMEOUT_S)
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as requests:
                    requests.readline()
                    connection.sendall(answer)
                with pytest.raises(OperatorError, match="not one that this version knows"):
                    asking.result()


def test_the_socket_is_for_its_owner_alone_whatever_the_umask(path):
    previous = os.umask(0)
    try:
        with ControlServer(path, _handler):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(previous)


def test_a_socket_that_a_dead_daemon_left_is_replaced(path):
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(path)
    with ControlServer(path, _handler):
        assert control_request(path, "echo", {}, TIMEOUT_S) == {}
    assert not os.path.lexists(path)


def test_anything_else_in_the_sockets_place_is_left_alone(path):
    with open(path, "w") as file:
        file.write("precious")
    with pytest.raises(OperatorError, match="something else than a socket"):
        ControlServer(path, _handler).start()
    with open(path) as file:
        assert file.read() == "precious"


def test_a_socket_in_a_missing_directory_is_explained(tmp_path):
    path = os.fsencode(tmp_path / "missing" / "control.sock")
    with pytest.raises(OperatorError, match=r"cannot listen on .*No such file"):
        ControlServer(path, _handler).start()


@pytest.mark.parametrize("length", [107, 108, 250])
def test_paths_longer_than_a_socket_address_work(tmp_path, length):
    directory = os.fsencode(tmp_path)
    directory += b"/" + b"d" * (length - len(directory) - len(b"//control.sock"))
    os.mkdir(directory)
    path = directory + b"/control.sock"
    assert len(path) == length
    with ControlServer(path, _handler):
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        assert control_request(path, "echo", {"long": length}, TIMEOUT_S) == {"long": length}
    with pytest.raises(DaemonNotRunning):
        control_request(path, "echo", {}, TIMEOUT_S)


def test_closing_lets_an_answer_under_way_arrive_and_ends_idle_clients(path):
    entered, released = threading.Event(), threading.Event()

    def handler(command, arguments):
        entered.set()
        assert released.wait(TIMEOUT_S)
        return {"last": True}

    server = ControlServer(path, handler)
    server.start()
    with _connection(path) as idle, ThreadPoolExecutor(2) as pool:
        asking = pool.submit(control_request, path, "demote", {}, TIMEOUT_S)
        assert entered.wait(TIMEOUT_S)
        closing_server = pool.submit(server.close)
        assert idle.recv(1) == b""
        released.set()
        assert asking.result() == {"last": True}
        closing_server.result()
    assert not os.path.lexists(path)


def test_a_server_leaves_no_descriptor_and_no_thread(path):
    threads, descriptors = threading.active_count(), set(os.listdir("/proc/self/fd"))
    with ControlServer(path, _handler):
        control_request(path, "echo", {}, TIMEOUT_S)
    never_started = ControlServer(path, _handler)
    never_started.close()
    for thread in threading.enumerate():
        if thread.name == "control client":
            thread.join(TIMEOUT_S)
    assert threading.active_count() == threads
    assert set(os.listdir("/proc/self/fd")) == descriptors
