"""Who may ask what: names of this server, other web sites, and the token for what acts."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from geosync.errors import OperatorError
from geosync.http.exchange import Request, RequestRefused
from geosync.terminal import display_name

TOKEN_NAME: Final = b"http-token"
TOKEN_BYTES: Final = 32
TOKEN_FILE_BYTES_MAX: Final = 1024

SECURITY_HEADERS: Final = {
    # Nothing is loaded or run but what this server serves as a file of its own.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def load_token(state_dir: bytes) -> str:
    """Returns the token of a site, and makes it where there is none, for its owner only.

    Raises:
        OperatorError: it can't be read or made, or somebody else may read it.
    """
    path = os.path.join(state_dir, TOKEN_NAME)
    try:
        return _read_token(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    temporary = path + b".new"
    try:
        _write_token(temporary)
        os.rename(temporary, path)
        return _read_token(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _write_token(path: bytes) -> None:
    # CRASH: a leftover is written anew.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)
        file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")


def _read_token(path: bytes) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode & 0o777
        token = file.read(TOKEN_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    if mode & 0o077:
        raise OperatorError(
            f"{display_name(path)} has the mode {mode:04o}, so others may have read it; remove it"
            " and start the daemon again, which makes a new one"
        )
    if len(token) < TOKEN_BYTES:
        raise OperatorError(
            f"{display_name(path)} holds no token; remove it and start the daemon again, which"
            " makes a new one"
        )
    return token


def _unusable(path: bytes, error: OSError) -> OperatorError:
    return OperatorError(
        f"cannot use the token of the HTTP server, {display_name(path)}: {error.strerror}; check"
        " the state directory"
    )


def server_names(configured: Collection[str]) -> frozenset[str]:
    """Returns the host names, in lower case, by which this server may be asked."""
    return frozenset(name.lower() for name in ("localhost", socket.gethostname(), *configured))


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Refuses what other web sites make a browser ask, and what acts without the token."""

    def __init__(self, token: str, names: frozenset[str]) -> None:
        self._token = token.encode()
        self._names = names

    def check(self, request: Request) -> None:
        """Raises RequestRefused: another name, or another web site, is behind the request."""
        self._check_host(request)
        self._check_origin(request)

    def require_token(self, request: Request, offered: str = "") -> None:
        """Raises RequestRefused unless the token comes in the header, or is `offered`."""
        kind, _, value = request.header("authorization").partition(" ")
        if kind.lower() == "bearer":
            offered = value.strip()
        if not offered:
            raise RequestRefused(
                401,
                "this changes something and needs the token: `geosync status --http` shows it;"
                " send it as: Authorization: Bearer TOKEN",
            )
        if not hmac.compare_digest(offered.encode(), self._token):
            raise RequestRefused(403, "that is not the token: `geosync status --http` shows it")

    def _check_host(self, request: Request) -> None:
        """A foreign name that leads here is how a web site gets at a server on loopback.

        Addresses are no names, so nobody else can make them lead here. No browser leaves the
        header out; health checks in HTTP/1.0 do.
        """
        if "host" not in request.headers:
            return
        host = _host_of(request.header("host"))
        if host.lower() in self._names or _is_address(host):
            return
        raise RequestRefused(
            421,
            f"this server is not called {host[:100]!r}: ask it by its address, or write the name"
            " into `names` of the table [http] of its configuration",
        )

    def _check_origin(self, request: Request) -> None:
        is_page = request.method == "GET" and request.header("sec-fetch-mode") == "navigate"
        if request.header("sec-fetch-site") in {"cross-site", "same-site"} and not is_page:
            raise RequestRefused(403, "another web site asked for this, which is not allowed")
        origin = request.header("origin")
        if origin and urlsplit(origin).netloc.lower() != request.header("host").lower():
            raise RequestRefused(403, "another web site asked for this, which is not allowed")


def _host_of(header: str) -> str:
    """Returns the host of a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
