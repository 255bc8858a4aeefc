"""Answers load balancers whether this site may take traffic: application, database and files.

Runs at each site as an ordinary user. It asks all three once a second, and answers from what it
found last, so a balancer never waits for a site that hangs:

- `/ready`: 200 when Redmine answers, its database is in the majority, and geosync is ready;
- `/ready/told`: the same, but once it was 503 it stays so until `POST /failback` from this machine.

Both say the reasons in their body. A file named on the command line, while it exists, takes the
site out of traffic; another one keeps the memory of `/ready/told` over restarts.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHECK_EVERY_S = 1.0
TIMEOUT_S = 2.0
STALE_AFTER_S = 6.0


@dataclass
class Health:
    """What was found last. `reasons` is None before the first look."""

    drain_file: str
    memory_file: str
    max_lag_s: float
    reasons: list[str] | None = None
    looked_at: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Asks application, database and geosync, and remembers a failure for `/ready/told`."""
        reasons = [
            *_application(),
            *_database(),
            *_files(self.max_lag_s),
            *(["taken out of traffic by hand"] if os.path.exists(self.drain_file) else []),
        ]
        if reasons:
            with open(self.memory_file, "w", encoding="utf-8") as file:
                file.write("\n".join(reasons))
        self.reasons = reasons
        self.looked_at = time.monotonic()

    def reasons_now(self, *, is_told: bool) -> list[str]:
        """Returns why the site may not take traffic; nothing when it may."""
        if self.reasons is None:
            return ["nothing was looked at yet"]
        if time.monotonic() - self.looked_at > STALE_AFTER_S:
            return ["the checks hang"]
        if is_told and not self.reasons and os.path.exists(self.memory_file):
            return ["it has failed, and nobody has told it to come back"]
        return self.reasons

    def forget(self) -> None:
        """Lets `/ready/told` be as `/ready` again."""
        if os.path.exists(self.memory_file):
            os.remove(self.memory_file)


def _application() -> list[str]:
    return _asked("Redmine", 3000, "/login")


def _files(max_lag_s: float) -> list[str]:
    return _asked("geosync", 8484, f"/ready?max_lag={max_lag_s:g}")


def _asked(name: str, port: int, path: str) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(300).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return [f"{name} does not answer: {error}"]
    finally:
        connection.close()
    return [] if response.status == 200 else [f"{name} answers {response.status}: {body}"]


def _database() -> list[str]:
    names = "'wsrep_cluster_status', 'wsrep_ready'"
    command = ["mariadb", "--user=health", "--password=laboratory", "--protocol=tcp", "--batch",
               "--host=127.0.0.1", "--connect-timeout=2", "--skip-column-names",
               f"--execute=SHOW STATUS WHERE Variable_name IN ({names})"]  # fmt: skip
    try:
        shown = subprocess.run(
            command, capture_output=True, timeout=TIMEOUT_S, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ["the database does not answer"]
    values = dict(line.split("\t") for line in shown.splitlines())
    if values == {"wsrep_cluster_status": "Primary", "wsrep_ready": "ON"}:
        return []
    return [f"the database is not in the majority: {values}"]


class _Handler(BaseHTTPRequestHandler):
    health: Health

    def do_GET(self) -> None:
        """Answers a load balancer."""
        if self.path not in {"/ready", "/ready/told"}:
            self._answer(404, "ask for /ready or /ready/told")
            return
        reasons = self.health.reasons_now(is_told=self.path == "/ready/told")
        self._answer(503 if reasons else 200, "\n".join(reasons) or "ready")

    def do_POST(self) -> None:
        """Lets a person at this machine tell the site to come back."""
        if self.path != "/failback" or self.client_address[0] != "127.0.0.1":
            self._answer(403, "only POST /failback from this machine")
            return
        self.health.forget()
        self._answer(200, "told")

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (its name there)
        """Logs nothing: balancers ask every second."""


def _keep_looking(health: Health) -> None:
    before: list[str] | None = None
    while True:
        health.look()
        if health.reasons != before:
            print(time.strftime("%H:%M:%S"), health.reasons or "ready", flush=True)
        before = health.reasons
        time.sleep(CHECK_EVERY_S)


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen-port", type=int, default=3090)
    parser.add_argument("--drain-file", required=True)
    parser.add_argument("--memory-file", required=True)
    parser.add_argument("--max-lag-s", type=float, default=15.0)
    options = parser.parse_args()
    _Handler.health = Health(options.drain_file, options.memory_file, options.max_lag_s)
    threading.Thread(target=_keep_looking, args=(_Handler.health,), daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", options.listen_port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
