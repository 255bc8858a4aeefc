"""What the kernel lets a process do, beside what its user may; see capabilities(7)."""

import re
from collections.abc import Mapping
from typing import Final

CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_FOWNER: Final = 3
CAP_FSETID: Final = 4
CAP_LEASE: Final = 28

CAPABILITY_NAMES: Final[Mapping[int, str]] = {
    CAP_CHOWN: "CAP_CHOWN",
    CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE",
    CAP_FOWNER: "CAP_FOWNER",
    CAP_FSETID: "CAP_FSETID",
    CAP_LEASE: "CAP_LEASE",
}
"""Those that geosync makes use of."""

_EFFECTIVE: Final = re.compile(rb"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)


def has_process_capability(number: int, process: int | None = None) -> bool:
    """Tells whether a process, by default this one, has a capability in effect.

    Where /proc does not tell, it is taken for missing.
    """
    try:
        with open(f"/proc/{process or 'self'}/status", "rb") as file:
            found = _EFFECTIVE.search(file.read())
    except OSError:
        return False
    return found is not None and bool(int(found[1], 16) >> number & 1)
