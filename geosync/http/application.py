"""The routes as an ASGI application: reads requests, keeps limits, and sends answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from starlette import applications, requests, responses, routing  # noqa: TID251 - its home
from starlette.exceptions import HTTPException  # noqa: TID251 - its home

from conflict.errors import GeosyncError
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.exit_codes import ExitCode
from geosync.http.access import SECURITY_HEADERS
from geosync.http.events import Events, encode_event, heartbeat
from geosync.http.exchange import Answer, Request, RequestRefused, error_answer
from geosync.http.routes import Kind, Route
from geosync.http.site import Site

BODY_BYTES_MAX: Final = 65536
COMMANDS_MAX: Final = 8
"""Requests that wait for the control thread at the same time; more are asked to come again."""
STREAMS_MAX: Final = 16
STREAM_S_MAX: Final = 600.0  # a browser opens the stream again by itself
LOOK_EVERY_S: Final = 0.5
HEARTBEAT_S: Final = 15.0

_STATUS_OF: Final = {
    ExitCode.BAD_USAGE: 400,
    ExitCode.TIMED_OUT: 503,
    ExitCode.DAEMON_NOT_RUNNING: 503,
}

_log = event_logger(__name__)
_Endpoint = Callable[[requests.Request], Awaitable[responses.Response]]


def make_application(site: Site, routes: tuple[Route, ...]) -> Any:
    """Returns the ASGI application of a site."""
    serving = _Serving(site)
    return applications.Starlette(
        routes=[
            routing.Route(route.path, serving.endpoint(route), methods=[route.method])
            for route in routes
        ],
        exception_handlers={HTTPException: _on_http_exception},
    )


class _Serving:
    """What all requests of one application share."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pool = ThreadPoolExecutor(COMMANDS_MAX, thread_name_prefix="http command")
        self._commands = 0
        self._streams = 0

    def endpoint(self, route: Route) -> _Endpoint:
        """Returns what Starlette calls for a route."""

        async def answer(raw: requests.Request) -> responses.Response:
            request = Request(
                raw.method,
                raw.url.path,
                dict(raw.query_params),
                {name.lower(): value for name, value in raw.headers.items()},
            )
            try:
                self._site.gate.check(request)
                if route.method == "POST":
                    request = Request(
                        request.method, request.path, request.query, request.headers,
                        await _body(raw),
                    )  # fmt: skip
                    self._site.gate.check(request)
                if route.kind is Kind.STREAM:
                    return self._stream()
                return _response(await self._answer(route, request))
            except RequestRefused as refusal:
                return _response(error_answer(request, refusal.status, refusal.text))

        return answer

    async def _answer(self, route: Route, request: Request) -> Answer:
        try:
            if route.kind is Kind.QUICK:
                return route.handler(self._site, request)
            return await self._in_a_thread(route, request)
        except OperatorError as error:
            status = _STATUS_OF.get(error.exit_code, 409)
            return error_answer(request, status, str(error))
        except GeosyncError as error:
            return error_answer(request, 409, str(error))
        except RequestRefused:
            raise
        except Exception:  # noqa: BLE001 - a defect in one answer must not end the others
            _log.exception("http_request_failed", path=request.path)
            return error_answer(request, 500, "the daemon failed at this request; its log says why")

    async def _in_a_thread(self, route: Route, request: Request) -> Answer:
        """The handler waits for the control thread; meanwhile other requests are answered."""
        if self._commands >= COMMANDS_MAX:
            raise RequestRefused(503, f"{COMMANDS_MAX} requests wait already; try again later")
        self._commands += 1
        try:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pool, route.handler, self._site, request)
            return await asyncio.shield(future)
        finally:
            self._commands -= 1

    def _stream(self) -> responses.Response:
        if self._streams >= STREAMS_MAX:
            raise RequestRefused(503, f"{STREAMS_MAX} readers listen already; try again later")
        return responses.StreamingResponse(
            self._events(), headers=dict(SECURITY_HEADERS), media_type="text/event-stream"
        )

    async def _events(self) -> AsyncIterator[bytes]:
        events = Events()
        ends_s = time.monotonic() + STREAM_S_MAX
        sent_s = time.monotonic()
        self._streams += 1
        try:
            yield heartbeat()
            while time.monotonic() < ends_s:
                for name, value in events.news(self._site.status(), self._site.now_ms()):
                    yield encode_event(name, value)
                    sent_s = time.monotonic()
                if time.monotonic() - sent_s >= HEARTBEAT_S:
                    yield heartbeat()
                    sent_s = time.monotonic()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._streams -= 1


async def _body(raw: requests.Request) -> bytes:
    body = b""
    async for part in raw.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise RequestRefused(413, f"the request is longer than {BODY_BYTES_MAX} bytes")
    return body


def _response(answer: Answer) -> responses.Response:
    headers = {**SECURITY_HEADERS, **answer.headers, "Content-Type": answer.content_type}
    return responses.Response(answer.body, status_code=answer.status, headers=headers)


async def _on_http_exception(raw: requests.Request, error: Exception) -> responses.Response:
    """Answers what Starlette refuses: paths and methods that are not there."""
    assert isinstance(error, HTTPException)
    request = Request(raw.method, raw.url.path, headers=dict(raw.headers.items()))
    text = {404: "there is nothing here; see /v1/openapi.json", 405: "this path is not asked so"}
    answer = error_answer(request, error.status_code, text.get(error.status_code, error.detail))
    headers = {**answer.headers, **(error.headers or {})}
    return _response(Answer(answer.body, answer.content_type, answer.status, headers))
