"""How an application reads on one site what it has written on another: two functions.

The site that wrote hands the token to the browser, for instance in a cookie; the site that reads
waits for it first. Standard library only; works over HTTP as well as over the daemon's socket.
"""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path


def token_of_what_was_written(address: str, secret: str) -> str:
    """Returns a token that names all that was written at this site.

    Args:
        address: of the daemon here, such as "127.0.0.1:8484".
        secret: what `geosync status --http` shows.
    """
    request = urllib.request.Request(
        f"http://{address}/v1/token",
        data=b"",
        headers={"Authorization": f"Bearer {secret}"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["token"])


def has_arrived(address: str, token: str, timeout_s: float = 5.0) -> bool:
    """Waits until this site has what a token names; False when it took too long.

    Args:
        address: of the daemon here.
        token: as the other site made it.
        timeout_s: how long to wait, at most 60.
    """
    query = urllib.parse.urlencode({"token": token, "timeout": timeout_s})
    try:
        with urllib.request.urlopen(f"http://{address}/v1/wait?{query}", timeout=timeout_s + 10):
            return True
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return False


def ask_socket(state_dir: str, command: str, arguments: dict[str, object]) -> dict[str, object]:
    """Asks a daemon through its socket, without HTTP; for the user of the daemon only.

    `sync` with `{"until": "captured"}` returns a `barrier`, which names what was written here;
    `wait` with that barrier waits for the other sites.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(Path(state_dir) / "control.sock"))
        request = json.dumps({"command": command, "arguments": arguments})
        connection.sendall(request.encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return dict(answer["result"])
