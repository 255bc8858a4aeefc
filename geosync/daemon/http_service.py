"""The HTTP server beside the control thread: started if wanted, and never in its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import Handler
from geosync.daemon.daemon_state import DaemonState, HttpState
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.network_address import NetworkAddress

if TYPE_CHECKING:
    from geosync.http.server import HttpServer

_log = event_logger(__name__)


@contextmanager
def http_service(
    configuration: Configuration, state: DaemonState, handle: Handler, clock: Clock
) -> Iterator[None]:
    """Serves HTTP while the block runs, if the configuration wants it.

    What keeps it from serving is logged and becomes a problem in the status, and that is all.
    """
    listen = configuration.http_listen
    if listen is None:
        yield
        return
    try:
        server = _made(configuration, listen, state, handle, clock)
    except OperatorError as error:
        _log.warning("http_not_served", reason=str(error))
        state.http = HttpState(problem=str(error))
        yield
        return
    state.http = HttpState(address=str(server.address))
    _announce(server.address)
    server.start()
    try:
        yield
    finally:
        server.close()


def _made(
    configuration: Configuration,
    listen: NetworkAddress,
    state: DaemonState,
    handle: Handler,
    clock: Clock,
) -> HttpServer:
    # Imported here: who turns HTTP off pays nothing for it.
    from geosync.http.access import Gate, load_token, server_names  # noqa: PLC0415
    from geosync.http.application import make_application  # noqa: PLC0415
    from geosync.http.routes import ROUTES  # noqa: PLC0415
    from geosync.http.server import HttpServer  # noqa: PLC0415
    from geosync.http.site import Site  # noqa: PLC0415

    token = load_token(configuration.state_dir)
    site = Site(
        status=lambda: state.status,
        command=handle,
        clock=clock,
        state_dir=configuration.state_dir,
        version=version("geosync"),
        gate=Gate(token, server_names([listen.host, *configuration.http_names])),
    )
    return HttpServer(listen, make_application(site, ROUTES))


def _announce(address: NetworkAddress) -> None:
    from geosync.http.access import is_loopback  # noqa: PLC0415 - as above

    _log.info("http_served", address=str(address))
    if not is_loopback(address.host):
        _log.warning(
            "http_open_to_the_network",
            address=str(address),
            reason="whoever reaches this address may read names of files, and status, without a"
            " password or encryption; put a proxy with both before it, or listen on 127.0.0.1",
        )
