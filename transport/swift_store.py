"""An object store in OpenStack Swift."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar

from conflict.errors import GeosyncError, MalformedValueError
from transport import swift_requests
from transport.bandwidth import Bandwidths
from transport.errors import (
    CorruptObject,
    ObjectCollision,
    ObjectNotVisible,
    PartlyUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from transport.object_names import container_name
from transport.object_store import (
    AREAS,
    StoreCounters,
    StoreMeter,
    check_range,
    is_name,
    split_name,
    split_prefix,
)
from transport.swift_credentials import LoginKind
from transport.swift_requests import Line, Question, TokenRefused
from transport.swift_session import SwiftAccess, SwiftSession, login_keystone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transport.swift_credentials import SwiftCredentials

_T = TypeVar("_T")

_LOGIN_TIMEOUT_S: Final = 15.0
_IDLE_CONNECTIONS_MAX: Final = 16
_VOLUME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}")


def open_swift_store(
    credentials: SwiftCredentials,
    volume: str,
    *,
    timeout_s: float = 60.0,
    bandwidths: Bandwidths | None = None,
) -> SwiftStore:
    """Returns the store of a volume; nothing is asked of Swift before the first operation."""
    login = swift_requests.login_v1 if credentials.kind is LoginKind.V1 else login_keystone
    session = SwiftSession(lambda: login(credentials, min(timeout_s, _LOGIN_TIMEOUT_S)))
    store = SwiftStore(session, volume, user=credentials.describe(), timeout_s=timeout_s)
    store.bandwidths = bandwidths or Bandwidths()
    return store


class SwiftStore:
    """An `ObjectStore` with one container for each area, named `geosync-<volume>-<area>`.

    Asks once: retrying is `RetryingStore`'s part. Only an expired token is renewed here.

    Attributes:
        bandwidths: how fast contents may travel, on all connections together.
    """

    def __init__(
        self, session: SwiftSession, volume: str, *, user: str, timeout_s: float = 60.0
    ) -> None:
        """Takes a session, and who it logs in, for messages.

        Args:
            session: gives the storage URL and the token.
            volume: the name of the volume, which is part of the containers' names.
            user: who logs in where, without secrets.
            timeout_s: how long the server may be silent. Below 15 s a Swift that has to wait for
                a dead node of its own is taken for a dead Swift.

        Raises:
            MalformedValueError: the volume's name cannot be part of a container's.
        """
        if not _VOLUME.fullmatch(volume):
            raise MalformedValueError(
                f"{volume!r} cannot name a volume: expected 1 to 64 characters of 0-9A-Za-z_.- "
                "that begin with a letter or a digit"
            )
        self._session = session
        self._volume = volume
        self._user = user
        self._timeout_s = timeout_s
        self.bandwidths = Bandwidths()
        self._meter = StoreMeter()
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._is_closed = False

    def prepare(self) -> None:
        """Creates the containers where they are missing; see `ObjectStore.prepare`.

        With credentials that may only read it is enough that they are there.
        """
        for area in AREAS:
            self._prepare_container(Question("PUT", self._container(area)))

    def server_time_s(self) -> float | None:
        """Returns the time of the server in seconds since 1970, by its Date header; None: no date.

        Raises:
            StoreUnavailable, StoreRefused: see `ObjectStore`.
        """
        question = Question("HEAD", self._container(AREAS[0]))
        date = self._ask(question, lambda line: swift_requests.server_date(line, question))
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            return None

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        question = self._question("PUT", name)
        try:
            status = self._ask(
                question, lambda line: swift_requests.upload(line, question, body), len(body)
            )
        except StoreUnavailable as error:
            if swift_requests.is_cut(error):
                self._renew_refused_token(question.container)
            raise
        if status == 201:
            return
        # 412: the name is taken. 202: Swift kept what it has because that seems newer, and
        # threw our bytes away. In both cases only what is there now can tell.
        try:
            stored = self._get(name, len(body), {"X-Newest": "true"})
        except CorruptObject:
            stored = None
        except ObjectNotVisible as error:
            raise StoreUnavailable(
                f"{question}: answered {status} (not stored) though nothing is visible there; "
                "it may appear, or the name was used and deleted before"
            ) from error
        if stored != body:
            raise ObjectCollision(
                f"{question}: answered {status}, and the name holds other bytes; "
                "find out who else writes under this name"
            )

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes, checked with Swift's MD5; see `ObjectStore.get`."""
        return self._get(name, size_bytes_max, {})

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        check_range(name, offset, length)
        question = self._question("GET", name)
        body = self._ask_for_object(
            question, lambda line: swift_requests.download_range(line, question, offset, length)
        )
        self._meter.count(download_bytes=length)
        return body

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names; see `ObjectStore.list_names`."""
        area, rest = split_prefix(prefix)
        question = Question("GET", self._container(area))
        marker = ""
        while keys := self._list_page(question, rest, marker):
            yield from (name for key in keys if is_name(name := f"{area}/{key}"))
            marker = keys[-1]

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        question = self._question("DELETE", name)
        self._ask(question, lambda line: swift_requests.delete_object(line, question))

    def counters(self) -> StoreCounters:
        """Returns what was done so far; each request counts, repeated ones too."""
        return self._meter.read()

    def close(self) -> None:
        """Closes the connections; those in use close when their request ends."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.hang_up()

    def _container(self, area: str) -> str:
        return container_name(self._volume, area)

    def _question(self, verb: str, name: str) -> Question:
        area, rest = split_name(name)
        return Question(verb, self._container(area), rest)

    def _get(self, name: str, size_bytes_max: int, headers: dict[str, str]) -> bytes:
        question = self._question("GET", name)
        body = self._ask_for_object(
            question, lambda line: swift_requests.download(line, question, size_bytes_max, headers)
        )
        self._meter.count(download_bytes=len(body))
        return body

    def _ask_for_object(self, question: Question, request: Callable[[Line], bytes]) -> bytes:
        """Asks for an object, and for the listing where Swift answers neither yes nor no.

        While a region, or a disk, is down, Swift says 503 of what no server that is left has. It
        would do so until the region is back, or somebody takes it out of the rings; nobody could
        tell the end of a log. What the listing does not have either is not visible.
        """
        try:
            return self._ask(question, request)
        except PartlyUnavailable as error:
            listing = Question("GET", question.container)
            if question.key in self._list_page(listing, question.key, ""):
                raise
            raise ObjectNotVisible(f"{error}; and the listing does not have it") from error

    def _list_page(self, question: Question, prefix: str, marker: str) -> list[str]:
        return self._ask(
            question, lambda line: swift_requests.list_page(line, question, prefix, marker)
        )

    def _prepare_container(self, question: Question) -> None:
        try:
            self._ask(question, lambda line: swift_requests.create_container(line, question))
        except StoreRefused as error:
            look = Question("HEAD", question.container)
            if not self._ask(look, lambda line: swift_requests.has_container(line, look)):
                raise StoreRefused(
                    f"{error}; nor is the container there: let a site that may write create it, "
                    f"and grant {self._user} to read it"
                ) from error

    def _renew_refused_token(self, container: str) -> None:
        """Finds out whether the token has expired.

        What stands before Swift may hang up on an upload with such a token before the client gets
        to read the 401: so it would hang up on each repetition.
        """
        look = Question("HEAD", container)
        with suppress(GeosyncError):
            self._ask(look, lambda line: swift_requests.has_container(line, look))

    def _ask(self, question: Question, request: Callable[[Line], _T], upload_bytes: int = 0) -> _T:
        """Asks with the current token, and once more with a new one if that was refused."""
        access = self._session.access()
        try:
            return self._ask_once(access, question, request, upload_bytes)
        except TokenRefused:
            access = self._session.access(refused=access)
        try:
            return self._ask_once(access, question, request, upload_bytes)
        except TokenRefused as error:
            raise StoreRefused(
                f"{question} at {access.storage_url}: answered 401 to a new token of {self._user}; "
                "correct the credentials, or ask whether the store can reach its login service"
            ) from error

    def _ask_once(
        self,
        access: SwiftAccess,
        question: Question,
        request: Callable[[Line], _T],
        upload_bytes: int,
    ) -> _T:
        self._meter.count(requests=1, upload_bytes=upload_bytes)
        line = self._take_line(access)
        try:
            return swift_requests.perform(line, question, request)
        finally:
            self._return_line(line)

    def _take_line(self, access: SwiftAccess) -> Line:
        with self._lock:
            line = self._idle.pop() if self._idle else None
        if line is not None and line.storage_url == access.storage_url:
            return replace(line, token=access.token)
        if line is not None:
            line.hang_up()
        return swift_requests.connect(access, self._timeout_s, self.bandwidths)

    def _return_line(self, line: Line) -> None:
        with self._lock:
            is_kept = not self._is_closed and len(self._idle) < _IDLE_CONNECTIONS_MAX
            if is_kept:
                self._idle.append(line)
        if not is_kept:
            line.hang_up()
