"""What a request asks and what it is answered, as values: no library and no socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read as a whole.

    Attributes:
        method: such as GET.
        path: without the query, percent-decoded.
        query: the last value of each parameter.
        headers: by their names in lower case.
        body: of a bounded size.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Returns a header by its name in lower case, '' when it is not there."""
        return self.headers.get(name, "")

    def wants_json(self) -> bool:
        """Tells whether whoever asks is a program that prefers JSON to text."""
        return JSON in self.header("accept")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, as a whole."""

    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestRefused(Exception):
    """A request can't be answered as it is.

    Attributes:
        status: of HTTP.
        text: what was wrong and what to do, for whoever asks.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def text_answer(text: str, status: int = 200) -> Answer:
    """Returns one line of plain text."""
    return Answer(text.encode() + b"\n", TEXT, status)


def json_answer(value: object, status: int = 200) -> Answer:
    """Returns a JSON document."""
    return Answer(json.dumps(value).encode() + b"\n", JSON, status)


def error_answer(request: Request, status: int, text: str) -> Answer:
    """Returns an error as whoever asks reads it best."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if request.wants_json() or request.path.startswith("/v1/"):
        return replace(json_answer({"error": text}, status), headers=headers)
    return replace(text_answer(text, status), headers=headers)
