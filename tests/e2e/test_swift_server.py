"""The helper starts a real Swift, stops it without a trace, and says why when it cannot."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from geosync.demo.loopback_port import PortTakenError
from geosync.demo.server_process import ServerStartError
from geosync.demo.swift_server import SwiftServer
from tests.support.swift_account import SwiftAccount

REPOSITORY = Path(__file__).parents[2]


def account_of(server: SwiftServer) -> SwiftAccount:
    return SwiftAccount.authenticate(server.auth_url, server.user, server.key)


def watch(process_ids: list[int]) -> list[int]:
    """Descriptors of the processes: each becomes readable when its process has ended."""
    return [os.pidfd_open(process_id) for process_id in process_ids]


def await_end(descriptors: list[int], timeout_s: float = 20.0) -> None:
    """Fails unless each process ends in time."""
    for descriptor in descriptors:
        readable, _, _ = select.select([descriptor], [], [], timeout_s)
        os.close(descriptor)
        assert readable, "a server process is left"


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) != 0


def test_what_was_put_is_what_is_got(
    swift_server: SwiftServer, fresh_swift_volume_name: str
) -> None:
    account = account_of(swift_server)
    assert account.storage_url == swift_server.storage_url
    account.request("PUT", fresh_swift_volume_name)
    account.request("PUT", f"{fresh_swift_volume_name}/object", b"contents")
    assert account.request("GET", f"{fresh_swift_volume_name}/object") == b"contents"
    assert account.request("GET", fresh_swift_volume_name) == b"object\n"


def test_a_wrong_key_is_refused(swift_server: SwiftServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        SwiftAccount.authenticate(swift_server.auth_url, swift_server.user, "wrong")


def test_the_process_that_starts_swift_does_not_import_it(swift_server: SwiftServer) -> None:
    assert not {"swift", "eventlet"} & set(sys.modules)


@pytest.mark.parametrize("processes", ["one", "each"])
def test_stop_leaves_no_process_and_no_listener(tmp_path: Path, processes: str) -> None:
    server = SwiftServer(str(tmp_path), processes=processes)  # type: ignore[arg-type]
    server.start()
    address, ended = server.proxy_address(), watch(list(server.process_ids.values()))
    server.stop()
    await_end(ended)
    assert server.process_ids == {}
    assert is_refused(address)


def test_an_error_inside_the_context_stops_swift(tmp_path: Path) -> None:
    server = SwiftServer(str(tmp_path))
    ended: list[int] = []

    def fail_while_it_runs() -> None:
        with server:
            ended.extend(watch(list(server.process_ids.values())))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_it_runs()
    await_end(ended)


def test_proxy_account_container_and_object_servers_are_four_processes(tmp_path: Path) -> None:
    with SwiftServer(str(tmp_path), processes="each") as server:
        assert set(server.process_ids) == {"object-1", "container-1", "account-1", "proxy-1"}
        assert len(set(server.process_ids.values())) == 4
        assert server.process_ids["proxy-1"] != os.getpid()
        account = account_of(server)
        account.request("PUT", "container")
        account.request("PUT", "container/object", b"contents")
        server.kill("object-1")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            account.request("GET", "container/object")
        server.start()
        assert account.request("GET", "container/object") == b"contents"


@pytest.mark.parametrize("end", [SwiftServer.stop, SwiftServer.kill])
def test_a_restart_keeps_contents_port_and_tokens(
    tmp_path: Path, end: Callable[[SwiftServer], None]
) -> None:
    first = SwiftServer(str(tmp_path))
    first.start()
    account = account_of(first)
    account.request("PUT", "container")
    account.request("PUT", "container/object", b"contents")
    end(first)
    with SwiftServer(str(tmp_path)) as second:
        assert second.auth_url == first.auth_url
        assert account.request("GET", "container/object") == b"contents"


def test_a_paused_swift_answers_after_resume_and_can_be_stopped_while_paused(
    tmp_path: Path,
) -> None:
    with SwiftServer(str(tmp_path)) as server:
        server.pause()
        state = Path(f"/proc/{server.process_ids['swift']}/stat").read_text().split()[2]
        assert state == "T"
        server.resume()
        account_of(server)
        server.pause()
        ended = watch(list(server.process_ids.values()))
    await_end(ended)


def test_two_regions_have_two_proxies_that_show_the_same_objects(tmp_path: Path) -> None:
    with SwiftServer(str(tmp_path), region_count=2) as server:
        here = account_of(server)
        there = SwiftAccount.authenticate(server.auth_url_of(2), server.user, server.key)
        assert here.storage_url != there.storage_url
        here.request("PUT", "container")
        here.request("PUT", "container/object", b"contents")
        assert there.request("GET", "container/object") == b"contents"


@pytest.mark.parametrize("is_paused", [False, True])
def test_swift_ends_with_a_parent_that_was_killed(tmp_path: Path, is_paused: bool) -> None:
    """A paused Swift cannot see the end of its parent by itself: the kernel has to end it."""
    program = f"""
import sys, time
from geosync.demo.loopback_port import PortTakenError
from geosync.demo.swift_server import SwiftServer
server = SwiftServer({str(tmp_path)!r}, processes="each")
server.start()
if {is_paused}:
    server.pause()
print(*server.process_ids.values(), flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as parent:
        assert parent.stdout is not None
        ended = watch([int(word) for word in parent.stdout.readline().split()])
        assert len(ended) == 4
        parent.send_signal(signal.SIGKILL)
    await_end(ended)


def test_a_failed_start_quotes_the_log_and_leaves_no_process(tmp_path: Path) -> None:
    with SwiftServer(str(tmp_path), processes="each") as server:
        pass
    (tmp_path / "etc" / "object.ring.gz").write_bytes(b"no ring")
    with pytest.raises(ServerStartError, match=r"(?s)it ended.*zlib.error") as raised:
        server.start()
    assert server.log_path("proxy-1") in str(raised.value)
    assert server.process_ids == {}


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with SwiftServer(str(tmp_path)) as server:
        account = account_of(server)
        with pytest.raises(PortTakenError, match=r"port \d+: .*in use"):
            SwiftServer(str(tmp_path)).start()
        account.request("PUT", "container")


def test_a_missing_swift_package_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ServerStartError, match=r"pip install 'geosync\[demo\]'"):
        SwiftServer(str(tmp_path)).start()
