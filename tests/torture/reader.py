"""A process that reads one path again and again: python -m tests.torture.reader SETTINGS

SETTINGS is JSON: the path; how often to look at least; how many contents to have seen at least;
the owner (user and group) and the mode that belong to each kind of content, which is the first part
of its identity. It prints, as JSON, what it saw that no reader may see.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import Counter

from tests.torture.signed_content import NOTHING, compose, identities_in

SIZE_BYTES = 20_000


def look(path: bytes, kinds: dict[str, list[int]]) -> tuple[str, str]:
    """Opens and reads a path once.

    Args:
        path: of a file that always has its name.
        kinds: user, group and mode that belong to each kind of content.

    Returns:
        Which content it was, and what is wrong with it: '' for nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return "", f"missing: {error.strerror}"
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        content = file.read()
    identities = identities_in(content)
    if len(identities) != 1 or content != compose(identities[0], NOTHING, SIZE_BYTES):
        return "", f"mixed: {len(content)} bytes of {identities}"
    [identity] = identities
    found = [status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)]
    wanted = kinds[identity.partition(".")[0]]
    return identity, "" if found == wanted else f"{found} with a content of {wanted}"


def main() -> None:
    """Looks until it has seen enough."""
    settings = json.loads(sys.argv[1])
    path = os.fsencode(settings["path"])
    faults: Counter[str] = Counter()
    seen: set[str] = set()
    looks = 0
    while looks < settings["looks"] or len(seen) < settings["contents"]:
        identity, fault = look(path, settings["kinds"])
        seen.add(identity)
        faults.update([fault] if fault else [])
        looks += 1
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
