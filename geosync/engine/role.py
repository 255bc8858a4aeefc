"""The role of a site: what it does with changes of its own. The mode is this value, nothing else.

A few places in the engine ask it before they act; there is no second engine for replicas or
standbys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from geosync.errors import OperatorError


@dataclass(frozen=True, slots=True)
class Role:
    """What a site may do.

    Attributes:
        name: for the operator.
        may_capture: whether what programs write here becomes part of the volume; if not, it is
            drift.
        may_publish: whether the site writes anything to the store.
        may_apply: whether what others wrote is brought to this disk.
        may_decide: whether an operator may settle conflicts, or set policies, here.
        takes_writes: whether this is the place for programs to write.
        keeps_order: whether what was written after a large file waits until that one is here.
    """

    name: str
    may_capture: bool = True
    may_publish: bool = True
    may_apply: bool = True
    may_decide: bool = True
    takes_writes: bool = True
    keeps_order: bool = False


MULTI_MASTER: Final = Role("multi-master")
REPLICA: Final = Role(
    "replica",
    may_capture=False,
    may_publish=False,
    may_decide=False,
    takes_writes=False,
    keeps_order=True,
)
PRIMARY: Final = Role("primary")
DEMOTING: Final = Role("primary, about to be a standby", takes_writes=False)
"""It still captures what was written before, and is no place for new writes any more."""
YIELDING: Final = Role("former primary", may_apply=False, may_decide=False, takes_writes=False)
"""Another site is the primary now; what was written here late is still captured and published."""
STANDBY: Final = Role("standby", may_capture=False, may_decide=False, takes_writes=False)


def require_deciding(role: Role) -> None:
    """Raises OperatorError at a site whose operator decides nothing for the volume."""
    if not role.may_decide:
        raise OperatorError(
            f"this site is a {role.name}, which writes nothing to the volume. Nothing was changed."
            " Decide it at a site that does: `geosync status` tells which."
        )
