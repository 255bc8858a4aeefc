"""Redmine's REST interface at one site, spoken as a client program would."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

LABORATORY = os.environ.get("GEOSYNC_LABORATORY", "/var/tmp/geosync-redmine")
ADDRESSES = {"bari": "10.77.0.1", "cnaf": "10.77.0.2", "roma": "10.77.0.3"}
PORT = 3000
TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.005
IDLE_S_MAX = 10.0  # Puma closes connections that were idle for 20 s


class RedmineError(Exception):
    """Redmine answered something else than success; has the status, 0 when nothing came."""

    def __init__(self, what: str, status: int, body: bytes = b"") -> None:
        super().__init__(f"{what}: {status} {body[:200]!r}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Upload:
    """An attachment as its author knows it."""

    number: int
    token: str
    name: str
    digest: str


class RedmineClient:
    """One client of one address. Not thread-safe: each thread has its own."""

    def __init__(self, host: str, port: int = PORT, timeout_s: float = TIMEOUT_S) -> None:
        """Connects to nothing yet; `host` is the name of a site or an address."""
        self.host = ADDRESSES.get(host, host)
        with open(os.path.join(LABORATORY, "api-key"), encoding="ascii") as file:
            self._key = file.read().strip()
        self._connection = http.client.HTTPConnection(self.host, port, timeout=timeout_s)
        self._used_at_s = 0.0

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Returns status and body of the answer; a lost connection is made anew at the next call.

        Raises:
            RedmineError: no answer came; whether it was obeyed is unknown.
        """
        if time.monotonic() > self._used_at_s + IDLE_S_MAX:
            self._connection.close()
        headers = {"X-Redmine-API-Key": self._key, "Content-Type": kind}
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RedmineError(f"{method} {path}: {error!r}", 0) from error
        finally:
            self._used_at_s = time.monotonic()

    def must(self, method: str, path: str, document: object = None) -> Any:
        """Sends a document; returns the answer's. Raises RedmineError unless it is a success."""
        body = None if document is None else json.dumps(document).encode()
        status, answer = self.ask(method, path, body)
        if status not in {200, 201, 204}:
            raise RedmineError(f"{method} {path}", status, answer)
        return json.loads(answer) if answer.strip() else None

    def create_project(self, identifier: str) -> int:
        """Makes a project with all trackers; returns its id."""
        trackers = [each["id"] for each in self.must("GET", "/trackers.json")["trackers"]]
        names = {"name": identifier, "identifier": identifier, "tracker_ids": trackers}
        return int(self.must("POST", "/projects.json", {"project": names})["project"]["id"])

    def upload(self, name: str, content: bytes) -> Upload:
        """Uploads a file that belongs to no issue yet."""
        path = f"/uploads.json?filename={quote(name)}"
        status, answer = self.ask("POST", path, content, "application/octet-stream")
        if status != 201:
            raise RedmineError(f"POST {path}", status, answer)
        upload = json.loads(answer)["upload"]
        return Upload(upload["id"], upload["token"], name, hashlib.sha256(content).hexdigest())

    def create_issue(self, project: int, subject: str, uploads: list[Upload]) -> int:
        """Makes an issue with attachments; returns its id."""
        issue = {
            "project_id": project,
            "subject": subject,
            "priority_id": self._priority(),
            "uploads": [{"token": each.token, "filename": each.name} for each in uploads],
        }
        return int(self.must("POST", "/issues.json", {"issue": issue})["issue"]["id"])

    def attachments_of(self, issue: int) -> list[dict[str, Any]]:
        """Returns what an issue tells of its attachments."""
        shown = self.must("GET", f"/issues/{issue}.json?include=attachments")
        attachments: list[dict[str, Any]] = shown["issue"]["attachments"]
        return attachments

    def download(self, upload: Upload) -> tuple[int, str]:
        """Returns the status, and the SHA-256 of what came."""
        status, body = self.ask(
            "GET", f"/attachments/download/{upload.number}/{quote(upload.name)}"
        )
        return status, hashlib.sha256(body).hexdigest()

    def await_download(self, upload: Upload, timeout_s: float = 60.0) -> list[int]:
        """Asks until the right content comes; returns all other statuses that came before.

        Raises:
            AssertionError: other content came, or nothing in time.
        """
        statuses: list[int] = []
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            status, digest = self.download(upload)
            if status == 200:
                assert digest == upload.digest, f"{upload.name} came with other content"
                return statuses
            statuses.append(status)
            time.sleep(LOOK_EVERY_S)
        raise AssertionError(f"{upload.name} was not at {self.host} after {timeout_s:g} s")

    def _priority(self) -> int:
        shown = self.must("GET", "/enumerations/issue_priorities.json")["issue_priorities"]
        return int(next(each["id"] for each in shown if each["is_default"]))
