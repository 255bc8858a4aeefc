"""Generation: a token that the journal shares with the directory, and that every change replaces.

Where the two differ, one of them was restored from a backup, or both from backups of different
moments: then nothing may be inferred from the comparison.
"""

from __future__ import annotations

import secrets
from typing import Final

from geosync.disk.interface import DiskError
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.journal import Journal

_GENERATION: Final = "generation"  # the token in the directory
_NEXT_GENERATION: Final = "next_generation"  # the one that it is just being replaced by, perhaps
_log = event_logger(__name__)


def fresh_token() -> bytes:
    """Returns a token that nobody has."""
    return secrets.token_hex(16).encode()


def is_same_generation(journal: Journal, token: bytes | None) -> bool:
    """Tells whether a directory with this token is of the same moment as the journal."""
    known = (journal.setting(_GENERATION), journal.setting(_NEXT_GENERATION))
    return known[1] is None or token in known


def expect_generations(journal: Journal, token: bytes | None, following: bytes) -> None:
    """Notes what is in the directory and what will be; belongs into a transaction."""
    journal.set_setting(_GENERATION, token or b"")
    journal.set_setting(_NEXT_GENERATION, following)


def begin_generation(site: Site) -> None:
    """Leaves the next token in both; belongs into a transaction that changes the synced tree.

    The disk must be synced before that is committed.

    CRASH: the directory has the old token or the next one, and the journal knows both. That the
    one that follows is chosen only then makes a restored journal's another one.
    """
    token = site.journal.setting(_NEXT_GENERATION)
    if token is None:
        return
    try:
        site.disk.set_generation(token)
    except (OSError, DiskError) as error:
        # Nothing is wrong with the two; only what is restored to just this moment goes unnoticed.
        _log.debug("generation_not_left", reason=str(error))
        return
    expect_generations(site.journal, token, fresh_token())
