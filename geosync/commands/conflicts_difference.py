"""`geosync conflicts diff`: how the versions of a conflict differ, and from what they come."""

from __future__ import annotations

from geosync.commands.conflict_versions import ConflictVersions, conflict_versions
from geosync.configuration.volume_configuration import Configuration
from geosync.reporting.difference import NamedVersion, difference, is_comparable


def conflict_difference(
    configuration: Configuration, identity: str, before: str, after: str
) -> str:
    """Returns the difference between two versions of a conflict.

    Args:
        configuration: of the site.
        identity: of the conflict, or its path.
        before: ANCESTOR, WINNER or LOSER, see geosync.commands.conflict_versions.
        after: the same.

    Raises:
        OperatorError: there is no such conflict or version, or it can't be read now.
        StoreUnavailable, StoreRefused, InvalidCredentials: the store was needed.
    """
    with conflict_versions(configuration, identity) as versions:
        return difference(_named(versions, before), _named(versions, after))


def _named(versions: ConflictVersions, which: str) -> NamedVersion:
    name, content = versions.required(which)
    data = versions.data(content) if is_comparable(content) else None
    return NamedVersion(name, content, data)
