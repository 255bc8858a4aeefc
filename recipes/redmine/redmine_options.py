"""Starts Redmine at both sites with other options than the recipe's, for a demonstration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from recipes.redmine.laboratory_control import run
from recipes.redmine.redmine_client import LABORATORY

_FILE = os.path.join(LABORATORY, "redmine-options")
WITHOUT_WAITING = "export GEOSYNC_WAIT_S=0"
WITHOUT_SITE_NAMES = "export GEOSYNC_SITE="


@contextmanager
def redmine_with(*lines: str) -> Iterator[None]:
    """Restarts Redmine with these lines in its environment, and again without them at the end."""
    with open(_FILE, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    try:
        _restart()
        yield
    finally:
        os.remove(_FILE)
        _restart()


def _restart() -> None:
    for action in ("stop", "start"):
        for site in ("bari", "cnaf"):
            run("service", site, "redmine", action)
