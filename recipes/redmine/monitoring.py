"""A monitoring that runs a hook, once, when a site has not been ready for a while.

    python -m recipes.redmine.monitoring SITE HOOK [ARGUMENT...]

Stands in for Nagios, Icinga and the like, whose event handlers do the same. It asks the site's
health agent once a second; after five answers that are no 200 it runs the hook, and ends.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time

from recipes.redmine.redmine_client import ADDRESSES

FAILURES = 5
ASK_EVERY_S = 1.0
TIMEOUT_S = 2.0


def watch(site: str, hook: list[str]) -> int:
    """Returns the exit code of the hook."""
    failures = 0
    while failures < FAILURES:
        is_ready = _is_ready(site)
        failures = 0 if is_ready else failures + 1
        if not is_ready:
            print(time.strftime("%H:%M:%S"), site, "is not ready:", failures, flush=True)
        time.sleep(ASK_EVERY_S)
    return subprocess.run(hook, check=False).returncode


def _is_ready(site: str) -> bool:
    connection = http.client.HTTPConnection(ADDRESSES[site], 3090, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(watch(sys.argv[1], sys.argv[2:]))
