"""Messages to the service manager, received by a real datagram socket."""

import os
import socket
from contextlib import closing

import pytest

from geosync.daemon.service_notification import ServiceNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and what NOTIFY_SOCKET names it."""
    if request.param == "path":
        named, address = str(tmp_path / "notify"), str(tmp_path / "notify")
    else:
        named, address = f"@{tmp_path}", f"\0{tmp_path}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(address)
        receiver.settimeout(10)
        yield receiver, {"NOTIFY_SOCKET": named}


def test_each_state_change_is_one_datagram_of_the_protocol(manager):
    receiver, environment = manager
    notifier = ServiceNotifier(environment)
    assert notifier.ready()
    assert notifier.status("12 files wait")
    assert notifier.watchdog()
    assert notifier.stopping()
    received = [receiver.recv(65536) for _ in range(4)]
    assert received == [b"READY=1", b"STATUS=12 files wait", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_status_cannot_add_an_assignment_of_its_own(manager):
    receiver, environment = manager
    ServiceNotifier(environment).status("applied a\nMAINPID=1\udcff")
    assert receiver.recv(65536) == b"STATUS=applied a\\nMAINPID=1\\xff"


def test_a_status_never_exceeds_what_systemd_takes(manager):
    receiver, environment = manager
    for text in ("😀" * 10_000, "\0" * 10_000):
        ServiceNotifier(environment).status(text)
        assert 1000 <= len(receiver.recv(65536)) <= 4096


@pytest.mark.parametrize("named", [None, "", "vsock:2:1234"])
def test_without_a_usable_socket_nothing_is_sent(named):
    environment = {} if named is None else {"NOTIFY_SOCKET": named}
    assert not ServiceNotifier(environment).ready()


def test_a_manager_that_is_gone_does_not_stop_the_daemon(tmp_path):
    assert not ServiceNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).watchdog()


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_interval_is_half_of_what_this_process_is_given(environment, interval_s):
    assert ServiceNotifier(environment).watchdog_interval_s == interval_s
