"""Serves a real Keystone on SQLite in this process, which has an environment of its own.

`tests.support.keystone_server` starts it as a child by path, with the interpreter of that
environment, where nothing of geosync is installed. Arguments: a directory, the URL, the admin's
password, how many seconds a token lives, and `name:descriptor` of a listening socket. It writes a
byte to its standard output when it is ready, and ends when its standard input ends.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import keystone.server
from keystone.cmd import bootstrap
from keystone.common.sql import upgrades
from keystone.server.flask import core

# Without a cache each login computes the password hash anew, and takes a second.
CONFIGURATION = """\
[DEFAULT]
default_log_levels = keystone=WARNING,sqlalchemy=WARNING,alembic=WARNING
[database]
connection = sqlite:///{directory}/keystone.db
sqlite_synchronous = false
[token]
expiration = {token_life_s}
[fernet_tokens]
key_repository = {directory}/keys
[fernet_receipts]
key_repository = {directory}/keys
[credential]
key_repository = {directory}/keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = oslo_cache.dict
"""


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Keystone's own log is enough."""


def main() -> None:
    directory, url, password, token_life_s, listener = sys.argv[1:]
    # What is left in sys.argv, Keystone would read as options of its own.
    del sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    configuration = write_configuration(directory, token_life_s)
    # Keystone configures itself once in a process: the setting up needs one of its own.
    run_in_fork(lambda: set_up(configuration, url, password))
    application = core.initialize_application("public", config_files=[configuration])
    server = Server(("127.0.0.1", 0), QuietHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(listener.split(":")[1]))
    server.server_name, server.server_port = server.socket.getsockname()
    server.setup_environ()
    server.set_app(application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write("!")
    sys.stdout.flush()
    sys.stdin.read()


def write_configuration(directory: str, token_life_s: str) -> str:
    """Writes keystone.conf and the keys below the directory, and returns the path of the file."""
    keys = os.path.join(directory, "keys")
    os.makedirs(keys, mode=0o700)
    for name in ("0", "1"):
        with open(os.path.join(keys, name), "wb") as key_file:
            key_file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)))
    path = os.path.join(directory, "keystone.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(directory=directory, token_life_s=token_life_s))
    return path


def set_up(configuration: str, url: str, password: str) -> None:
    """Makes the tables, the default domain, and the project, role and user `admin`."""
    keystone.server.configure(config_files=[configuration])
    upgrades.offline_sync_database_to_version()
    setup = bootstrap.Bootstrapper()
    setup.admin_username, setup.admin_password = "admin", password
    setup.project_name = setup.admin_role_name = "admin"
    setup.service_name, setup.region_id = "keystone", "loopback"
    setup.public_url = setup.internal_url = setup.admin_url = url
    setup.bootstrap()


def run_in_fork(work: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent must not go on in this process too
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("Keystone could not be set up")


if __name__ == "__main__":
    main()
