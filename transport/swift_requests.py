"""The requests to Swift: one function each, on a connection that one thread has to itself."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from requests.exceptions import ConnectionError as RequestsConnectionError
from swiftclient import client  # noqa: TID251 - its home
from swiftclient.exceptions import ClientException  # noqa: TID251 - its home
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from conflict.errors import GeosyncError
from transport.bandwidth import PASSES_SIZE_BYTES_MAX, Bandwidths, PacedReader
from transport.errors import (
    CorruptObject,
    ObjectNotVisible,
    PartlyUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from transport.swift_session import SwiftAccess

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.swift_credentials import SwiftCredentials

_T = TypeVar("_T")

_READ_BYTES: Final = 256 * 1024
_PAGE_NAMES: Final = 1000
_RETRY_AFTER_S_MAX: Final = 3600

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')

_TRANSPORT_ERRORS: Final = (HTTPError, OSError, ValueError)
"""What swiftclient lets through of urllib3, of requests and sockets, and of unreadable answers."""

_TRANSIENT_STATUSES: Final = frozenset({408, 409, 422, 425, 429, 498, 499})
"""Below 500, what may be answered otherwise a moment later; 422 is damage on the way there."""

_SOCKET_OPTIONS: Final = [
    *HTTPConnection.default_socket_options,
    (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2),
]
"""The kernel gives up connecting after two more SYNs, 3 to 7 seconds (tcp(7)).

A connect timeout of requests cannot say so: urllib3 leaves it on the socket of a new connection
while the request is sent, and an upload that takes longer fails, as often as it is repeated.
"""


class TokenRefused(Exception):
    """The answer was 401: the token has expired, or nobody could check it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which container and object, for messages and for reading the answer."""

    verb: str
    container: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.container}/{self.key}"


@dataclass(frozen=True, slots=True)
class Line:
    """What a request needs: where to, as whom, and a connection that no other thread uses now.

    A connection of swiftclient that threads share gives one thread the answer of another.
    """

    storage_url: str
    token: str = field(repr=False)
    connection: Any
    bandwidths: Bandwidths = field(default_factory=Bandwidths)

    def hang_up(self) -> None:
        """Closes the connection; it connects again when it is used again."""
        self.connection[1].close()


def perform(line: Line, question: Question, request: Callable[[Line], _T]) -> _T:
    """Makes a request, and puts all that can go wrong into our own words.

    Afterwards the connection can be used again, whatever happened.

    Raises:
        TokenRefused: the answer was 401.
        GeosyncError: what the request raised, or what a failure means.
    """
    try:
        return request(line)
    except ClientException as error:
        if not error.http_status:
            line.hang_up()
            raise StoreUnavailable(f"{question} at {line.storage_url}: {error}") from error
        if error.http_status == 401:
            raise TokenRefused from error
        raise _failure(line, question, error) from error
    except BaseException as error:
        # What is left on the connection belongs to this request: nobody else may read it.
        line.hang_up()
        if isinstance(error, GeosyncError) or not isinstance(error, _TRANSPORT_ERRORS):
            raise
        raise StoreUnavailable(
            f"{question} at {line.storage_url}: no usable answer: {type(error).__name__}: {error}"
        ) from error


def is_cut(error: StoreUnavailable) -> bool:
    """Tells whether a request failed because the other end hung up, without any answer."""
    return isinstance(error.__cause__, (RequestsConnectionError, ConnectionError))


def connect(access: SwiftAccess, timeout_s: float, bandwidths: Bandwidths) -> Line:
    """Returns a connection, which is made when it is used, and which follows no redirect.

    Args:
        access: where to, and with which token.
        timeout_s: how long the server may be silent, and each block sent may take.
        bandwidths: how fast contents may go there and come from there.
    """
    parsed, connection = client.http_connection(
        access.storage_url, timeout=timeout_s, cacert=access.cacert or None
    )
    session = connection.request_session
    session.max_redirects = 0  # a redirect would carry the token to another server
    adapter = session.get_adapter(access.storage_url)
    adapter.init_poolmanager(1, 1, socket_options=_SOCKET_OPTIONS, blocksize=_READ_BYTES)
    return Line(access.storage_url, access.token, (parsed, connection), bandwidths)


def create_container(line: Line, question: Question) -> None:
    """Creates the container, or finds it there."""
    answer: dict[str, Any] = {}
    client.put_container(
        line.storage_url,
        line.token,
        question.container,
        http_conn=line.connection,
        response_dict=answer,
    )
    _require_status(question, answer, {201, 202})


def has_container(line: Line, question: Question) -> bool:
    """Asks whether the container is there."""
    try:
        client.head_container(
            line.storage_url, line.token, question.container, http_conn=line.connection
        )
    except ClientException as error:
        if error.http_status != 404:
            raise
        return False
    return True


def server_date(line: Line, question: Question) -> str:
    """Returns the Date header of an answer, whatever else the answer says; "" without one."""
    try:
        headers = client.head_container(
            line.storage_url, line.token, question.container, http_conn=line.connection
        )
    except ClientException as error:
        if not error.http_status or error.http_status == 401:
            raise
        headers = error.http_response_headers or {}
    found = {str(key).lower(): value for key, value in headers.items()}
    return str(found.get("date", ""))


def upload(line: Line, question: Question, body: bytes) -> int:
    """Sends the bytes once; returns 201 for stored, 202 or 412 for not stored."""
    answer: dict[str, Any] = {}
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    try:
        etag = client.put_object(
            line.storage_url,
            line.token,
            question.container,
            question.key,
            # A file, so that each block sent may take the whole timeout, not all of them together.
            contents=PacedReader(body, line.bandwidths.outgoing),
            content_length=len(body),
            etag=md5,
            content_type="application/octet-stream",
            headers={"If-None-Match": "*"},
            http_conn=line.connection,
            response_dict=answer,
        )
    except ClientException as error:
        if error.http_status == 412:
            return 412
        raise
    _require_status(question, answer, {201, 202})
    if answer["status"] == 201 and etag != md5:
        raise StoreUnavailable(
            f"{question} at {line.storage_url}: answered 201 with the ETag {etag!r} where the MD5 "
            f"{md5} was due; what answers there is not Swift"
        )
    return int(answer["status"])


def download(line: Line, question: Question, size_bytes_max: int, headers: dict[str, str]) -> bytes:
    """Returns a whole object whose length and MD5 are right."""
    answer, reader = _open_object(line, question, headers)
    _require_status(question, answer, {200})
    expected = _MD5.fullmatch(answer["headers"].get("etag", ""))
    size_bytes = _content_length(question, answer)
    if expected is None:
        raise StoreUnavailable(
            f"{question} at {line.storage_url}: the answer has no MD5 as its ETag; "
            "what answers there is not Swift, or the object is not one of ours"
        )
    if size_bytes > size_bytes_max:
        raise CorruptObject(
            f"{question} at {line.storage_url}: it has {size_bytes} bytes, at most "
            f"{size_bytes_max} were expected; nothing of ours is that long"
        )
    body = _read(line, question, reader, size_bytes)
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if md5 != expected[1]:
        raise CorruptObject(
            f"{question} at {line.storage_url}: its MD5 is {md5}, its ETag {expected[1]}; "
            "damaged on the way or in the store, another replica may be sound"
        )
    return body


def download_range(line: Line, question: Question, offset: int, length: int) -> bytes:
    """Returns exactly the bytes asked for; nothing vouches for them but TCP."""
    last = offset + length - 1
    answer, reader = _open_object(line, question, {"Range": f"bytes={offset}-{last}"})
    _require_status(question, answer, {206})
    content_range = answer["headers"].get("content-range", "")
    if not content_range.startswith(f"bytes {offset}-{last}/"):
        raise CorruptObject(
            f"{question} at {line.storage_url}: bytes {offset} to {last} were asked for, "
            f"{content_range!r} came; it was cut short, or the reference to it is wrong"
        )
    return _read(line, question, reader, length)


def _open_object(
    line: Line, question: Question, headers: dict[str, str]
) -> tuple[dict[str, Any], Any]:
    answer: dict[str, Any] = {}
    _, reader = client.get_object(
        line.storage_url,
        line.token,
        question.container,
        question.key,
        http_conn=line.connection,
        resp_chunk_size=_READ_BYTES,
        response_dict=answer,
        headers=headers,
    )
    return answer, reader


def _read(line: Line, question: Question, reader: Any, size_bytes: int) -> bytes:
    """Reads to the end, which must come after exactly so many bytes."""
    parts = []
    rest = size_bytes
    while part := reader.read(_READ_BYTES):
        rest -= len(part)
        if rest < 0:
            break
        may_wait = size_bytes > PASSES_SIZE_BYTES_MAX
        line.bandwidths.incoming.take(len(part), may_wait=may_wait)
        parts.append(part)
    if rest:
        raise StoreUnavailable(
            f"{question}: {size_bytes} bytes were announced, {size_bytes - rest} came"
        )
    return b"".join(parts)


def list_page(line: Line, question: Question, prefix: str, marker: str) -> list[str]:
    """Returns the keys after the marker, in order; none at the end of the listing."""
    _, rows = client.get_container(
        line.storage_url,
        line.token,
        question.container,
        marker=marker,
        limit=_PAGE_NAMES,
        prefix=prefix,
        http_conn=line.connection,
    )
    is_listing = isinstance(rows, list) and all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows
    )
    keys = [row["name"] for row in rows] if is_listing else []
    if not is_listing or any(later <= key for key, later in pairwise([marker, *keys])):
        raise StoreUnavailable(
            f"{question} at {line.storage_url}: the answer is no listing in order after "
            f"{marker!r}; what answers there is not Swift"
        )
    return keys


def delete_object(line: Line, question: Question) -> None:
    """Removes the object, or finds it absent."""
    answer: dict[str, Any] = {}
    try:
        client.delete_object(
            line.storage_url,
            line.token,
            question.container,
            question.key,
            http_conn=line.connection,
            response_dict=answer,
        )
    except ClientException as error:
        if error.http_status != 404:
            raise
    else:
        _require_status(question, answer, {204})


def _require_status(question: Question, answer: dict[str, Any], statuses: set[int]) -> None:
    if answer["status"] not in statuses:
        expected = " or ".join(str(status) for status in sorted(statuses))
        raise StoreUnavailable(
            f"{question}: answered {answer['status']} where Swift answers {expected}; "
            "what answers there is not Swift, or a proxy in between answers for it"
        )


def _content_length(question: Question, answer: dict[str, Any]) -> int:
    text = answer["headers"].get("content-length", "")
    if not text.isdecimal():
        raise StoreUnavailable(
            f"{question}: the answer does not say its length; what answers there is not Swift"
        )
    return int(text)


def _failure(line: Line, question: Question, error: ClientException) -> GeosyncError:
    """Says what an answer that is no success means for the caller; 401 is not among them."""
    status = error.http_status
    found = f"{question} at {line.storage_url}: answered {status} {error.http_reason}"
    if error.transaction_id:
        found += f" (transaction {error.transaction_id})"
    if status == 404 and question.verb == "GET" and question.key:
        return ObjectNotVisible(f"{found}; ask again later, or ask its writer")
    if status == 404:
        return StoreUnavailable(
            f"{found}; there is no such container, or it was made a minute ago: wait, or let "
            "`geosync init` create it"
        )
    if status == 416:
        return CorruptObject(f"{found}; it was cut short, or the reference to it is wrong")
    if status >= 500 or status < 400 or status in _TRANSIENT_STATUSES:
        kind = PartlyUnavailable if status == 503 and question.verb == "GET" else StoreUnavailable
        return kind(
            f"{found}; the store cannot tell or cannot do it now",
            retry_after_s=_retry_after_s(error),
        )
    if status == 413:
        return StoreRefused(
            f"{found}; the container or the account is over its quota, or the object is larger"
            " than this store takes: raise the quota, or make room"
        )
    return StoreRefused(f"{found}; check what this user may do, and the store's limits")


def _retry_after_s(error: ClientException) -> float | None:
    """Returns the seconds that the answer asks for, also where it names a date (RFC 9110)."""
    headers = error.http_response_headers or {}
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(min(int(text), _RETRY_AFTER_S_MAX))
    try:  # by the server's own clock
        until, now = map(parsedate_to_datetime, (text, headers.get("Date", "")))
        asked_s = (until - now).total_seconds()
    except (ValueError, TypeError):  # no date, or one of them without a time zone
        return None
    return min(max(0.0, asked_s), _RETRY_AFTER_S_MAX)


def login_v1(credentials: SwiftCredentials, timeout_s: float) -> SwiftAccess:
    """Logs in with the v1 protocol.

    Raises:
        StoreRefused: the login service refused user and key.
        StoreUnavailable: it could not be reached, or what answered is no login service.
    """
    attempt = f"log in as {credentials.describe()}"
    try:
        storage_url, token = client.get_auth(
            credentials.auth_url,
            credentials.user,
            credentials.secret,
            auth_version="1",
            cacert=credentials.cacert or None,
            timeout=timeout_s,
        )
    except ClientException as error:
        if error.http_status in {400, 401, 403}:
            raise StoreRefused(
                f"{attempt}: refused ({error.http_status}); correct the user and the key"
            ) from error
        raise StoreUnavailable(
            f"{attempt}: answered {error.http_status or error}; if it stays so, check auth_url",
            retry_after_s=_retry_after_s(error),
        ) from error
    except _TRANSPORT_ERRORS as error:
        raise StoreUnavailable(
            f"{attempt}: {type(error).__name__}: {error}; if it stays so, check auth_url"
        ) from error
    if not token or not (storage_url or "").startswith(("http://", "https://")):
        raise StoreUnavailable(
            f"{attempt}: the answer has no storage URL and token; check that auth_url is the "
            "login service of a Swift"
        )
    return SwiftAccess(storage_url.rstrip("/"), token, credentials.cacert)
