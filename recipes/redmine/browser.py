"""Redmine's pages at one site, used as a browser does: forms, cookies, CSRF tokens."""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from recipes.redmine.redmine_client import ADDRESSES, PORT, TIMEOUT_S, RedmineError

_TOKEN = re.compile(rb'name="csrf-token" content="([^"]*)"')
FORM = "application/x-www-form-urlencoded"


class Browser:
    """One person's browser, which can go to another site with its cookies. Not thread-safe."""

    def __init__(self, site: str) -> None:
        """Opens the first page at a site."""
        self.cookies: dict[str, str] = {}
        self._token = ""
        self.go_to(site)

    def go_to(self, site: str) -> None:
        """Goes to another site, as the name server or a load balancer would send it."""
        self._connection = http.client.HTTPConnection(ADDRESSES[site], PORT, timeout=TIMEOUT_S)

    def get(self, path: str) -> tuple[int, bytes]:
        """Opens a page; returns status and body."""
        status, _, body = self._ask("GET", path, None, {})
        found = _TOKEN.search(body)
        if found:
            self._token = found.group(1).decode()
        return status, body

    def submit(self, path: str, fields: Sequence[tuple[str, str]]) -> str:
        """Submits a form of the page opened last; returns where the answer leads.

        Raises:
            RedmineError: the answer was no redirection, so the form was not taken.
        """
        form = urlencode([*fields, ("authenticity_token", self._token)]).encode()
        status, headers, body = self._ask("POST", path, form, {"Content-Type": FORM})
        if status != 302:
            raise RedmineError(f"POST {path}", status, body)
        return re.sub(r"^https?://[^/]*", "", headers["Location"])

    def log_in(self, name: str, password: str) -> None:
        """Logs in through the form."""
        self.get("/login")
        self.submit("/login", [("username", name), ("password", password)])

    def drop_file(self, name: str, content: bytes) -> str:
        """Drops a file on the page, which uploads it at once; returns its token."""
        path = f"/uploads.js?attachment_id=1&filename={quote(name)}"
        headers = {
            "Content-Type": "application/octet-stream",
            "X-CSRF-Token": self._token,
            "X-Requested-With": "XMLHttpRequest",
        }
        status, _, body = self._ask("POST", path, content, headers)
        found = re.search(r"\.val\('(\d+\.[0-9a-f]+)'\)", body.decode())
        if status != 200 or found is None:
            raise RedmineError(f"POST {path}", status, body)
        return found.group(1)

    def create_project(self, identifier: str) -> None:
        """Makes a project through the form, as it is offered."""
        _, page = self.get("/projects/new")
        named = [("project[name]", identifier), ("project[identifier]", identifier)]
        self.submit("/projects", [*named, *_checked_boxes(page)])

    def create_issue(self, project: str, subject: str, files: Mapping[str, bytes]) -> str:
        """Makes an issue with attachments through the form; returns its path."""
        _, page = self.get(f"/projects/{project}/issues/new")
        fields = {"issue[subject]": subject, "issue[tracker_id]": _chosen(page, "issue_tracker_id"),
                  "issue[priority_id]": _chosen(page, "issue_priority_id")}  # fmt: skip
        for number, (name, content) in enumerate(files.items(), 1):
            fields[f"attachments[{number}][token]"] = self.drop_file(name, content)
            fields[f"attachments[{number}][filename]"] = name
        return self.submit(f"/projects/{project}/issues", list(fields.items()))

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self._connection.request(method, path, body, {**headers, "Cookie": cookies})
        response = self._connection.getresponse()
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
        return response.status, response.headers, response.read()


def links_to_attachments(page: bytes) -> list[str]:
    """Returns the paths of the downloads that a page offers."""
    found = re.findall(rb'href="(/attachments/download/[^"]+)"', page)
    return list(dict.fromkeys(path.decode() for path in found))


def new_name(prefix: str) -> str:
    """A name that nobody used before."""
    return f"{prefix}-{secrets.token_hex(4)}"


def _checked_boxes(page: bytes) -> list[tuple[str, str]]:
    boxes = re.findall(r'<input type="checkbox"[^>]*checked="checked"[^>]*>', page.decode())
    found = []
    for box in boxes:
        name, value = re.search(r'name="([^"]*)"', box), re.search(r'value="([^"]*)"', box)
        if name and value:
            found.append((name.group(1), value.group(1)))
    return found


def _chosen(page: bytes, field: str) -> str:
    text = page.decode(errors="replace")
    options = re.search(rf'id="{field}".*?</select>', text, re.DOTALL)
    assert options is not None, f"the page has no field {field}"
    chosen = re.search(r'<option selected="selected" value="(\d+)"', options.group(0))
    first = re.search(r'<option[^>]* value="(\d+)"', options.group(0))
    found = chosen or first
    assert found is not None, f"the field {field} offers nothing"
    return found.group(1)
