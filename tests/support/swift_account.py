"""One user's account at a Swift, through plain HTTP: a witness that shares no code with ours."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class SwiftAccount:
    """What authentication gave. Methods raise urllib.error.HTTPError for 4xx and 5xx."""

    storage_url: str
    token: str

    @classmethod
    def authenticate(cls, auth_url: str, user: str, key: str) -> SwiftAccount:
        """Authenticates with the v1 protocol."""
        headers = {"X-Auth-User": user, "X-Auth-Key": key}
        request = urllib.request.Request(auth_url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return cls(response.headers["X-Storage-Url"], response.headers["X-Auth-Token"])

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Sends one request to `path` below the account and returns the body of the answer."""
        request = urllib.request.Request(
            f"{self.storage_url}/{path}", body, {"X-Auth-Token": self.token}, method=method
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: bytes = response.read()
            return answer
