"""Roles: what this site does now, by its configuration and by what sites declared."""

from __future__ import annotations

from geosync.configuration import Mode
from geosync.engine.role import MULTI_MASTER, REPLICA, Role
from geosync.engine.site import Site
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode


def role_of(site: Site) -> Role:
    """Returns the role of a site."""
    match site.mode:
        case Mode.MULTI_MASTER:
            return MULTI_MASTER
        case Mode.REPLICA:
            return REPLICA
        case _:
            raise OperatorError(f"mode = {site.mode.value!r} is not there yet", ExitCode.BAD_USAGE)
