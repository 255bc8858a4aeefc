"""Settling: writes the versions that policies ask for, where a conflict needs no person.

Like a person's decision it is an ordinary version, written by one site, whose context covers all
that it was made of. What can't be settled so stays a conflict, and the journal says why.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from conflict.ancestry import common_ancestor
from conflict.content import Content, ContentKind, Zeros
from conflict.line_merge import merged, united
from conflict.node import Location
from conflict.operations import NodeId
from conflict.policy import ConflictPolicy
from conflict.settlement import Contention, ancestor_dots, contentions, contents_of
from geosync.configuration.merge_program_rules import MergeProgram
from geosync.engine.authoring import author_of, save_written
from geosync.engine.downloading import ContentUnavailable
from geosync.engine.fetching import Fetcher
from geosync.engine.intake import Intake
from geosync.engine.kept_versions import KeptVersions
from geosync.engine.merge_runs import MergeFailed, MergeInput, MergeRuns
from geosync.engine.retry_pace import RetryPace
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.engine.volume_policy import volume_policy
from geosync.event_log import event_logger
from geosync.journal.settlements import Attempt
from transport.wire_errors import WireFormatError

TURN_S: Final = 10.0  # so long a site waits for each one that is to try before it
TEXT_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
PROGRAM_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
_FETCH_ATTEMPTS_MAX: Final = 12
_FETCH_AGAIN_S: Final = 1.0
_FETCH_AGAIN_S_MAX: Final = 15.0
_log = event_logger(__name__)


@dataclass(slots=True)
class Settled:
    """What one round of settling wrote."""

    touched: set[Location] = field(default_factory=set)
    operations: int = 0


@dataclass(slots=True)
class _Pending:
    """A contention that this site is to settle, once it is its turn."""

    contention: Contention
    due_s: float
    pace: RetryPace
    failures: int = 0


class _Unsettled(Exception):
    """A contention is left to a person; the text says why."""


class Settler:
    """Remembers since when it knows of what is to be settled. Used by the control thread."""

    def __init__(self, site: Site, spool: Spool, fetcher: Fetcher) -> None:
        self._site = site
        self._spool = spool
        self._fetcher = fetcher
        self._runs = MergeRuns(os.path.join(site.state_dir, b"merging"))
        self._pending: dict[bytes, _Pending] = {}
        self._tried: set[bytes] = set()
        self._is_stale = True

    def note_change(self) -> None:
        """Says that conflicts, or policies, may be others than before."""
        self._is_stale = True

    def is_at_work(self) -> bool:
        """Tells whether this site is to settle something that it has not tried."""
        return self._may_settle() and (self._is_stale or bool(self._pending))

    def step(self, held: Container[NodeId]) -> Settled:
        """Settles what it is this site's turn to settle.

        Args:
            held: files that stay as they are, until a person decided about a brake.

        Raises:
            OSError: the spool can't be written; it is tried again.
        """
        result = Settled()
        if not self._may_settle():
            return result
        if self._is_stale:
            self._look(held)
        now_s = self._site.clock.monotonic_s()
        for identity, pending in list(self._pending.items()):
            if now_s >= pending.due_s and pending.pace.is_due(now_s):
                self._try(identity, pending, result)
        return result

    def _may_settle(self) -> bool:
        return self._site.role.may_decide and self._site.role.may_publish

    def _look(self, held: Container[NodeId]) -> None:
        found = {each.identity: each for each in contentions(self._site.journal.nodes, held)}
        self._runs.forget_all_but(set(found))
        self._pending = {key: each for key, each in self._pending.items() if key in found}
        for identity, pending in self._pending.items():
            pending.contention = found[identity]  # its file may have another name by now
        self._tried &= found.keys()
        policy, name = volume_policy(self._site.journal), self._site.name.encode()
        now_s = self._site.clock.monotonic_s()
        for identity, contention in found.items():
            if identity in self._pending or identity in self._tried or not self._can(contention):
                continue
            sites = contention.sites_in_turn(policy)
            turn = sites.index(name) if name in sites else len(sites)
            pace = RetryPace(first_s=_FETCH_AGAIN_S, longest_s=_FETCH_AGAIN_S_MAX)
            self._pending[identity] = _Pending(contention, now_s + turn * TURN_S, pace)
        self._forget_attempts(found)
        self._is_stale = False

    def _can(self, contention: Contention) -> bool:
        is_command = contention.rule.policy is ConflictPolicy.COMMAND
        return not is_command or self._program(contention) is not None

    def _program(self, contention: Contention) -> MergeProgram | None:
        return self._site.merge_programs.get(contention.rule.program.decode(errors="replace"))

    def _forget_attempts(self, found: Mapping[bytes, Contention]) -> None:
        """Forgets what is over, and at the first look all that an earlier run had tried."""
        journal = self._site.journal
        for attempt in journal.settlements.attempts():
            if attempt.contention not in found or attempt.contention not in self._tried:
                journal.settlements.forget_attempt(attempt.contention)

    def _try(self, identity: bytes, pending: _Pending, result: Settled) -> None:
        contention = pending.contention
        try:
            data = self._made_one(identity, pending)
        except (_Unsettled, MergeFailed) as error:
            self._leave(identity, contention, str(error))
            return
        except ContentUnavailable as error:
            pending.pace.note_failure(self._site.clock.monotonic_s())
            pending.failures += 1
            if pending.failures >= _FETCH_ATTEMPTS_MAX:
                self._leave(identity, contention, f"a version of it can't be read: {error}")
            return
        finally:
            self._fetcher.forget()
        if data is not None:
            self._write(contention, data, result)
            del self._pending[identity]

    def _leave(self, identity: bytes, contention: Contention, reason: str) -> None:
        del self._pending[identity]
        self._tried.add(identity)
        path = joined(contention.path)
        self._site.journal.settlements.save_attempt(
            Attempt(identity, path, reason, self._site.now_ms())
        )
        policy = contention.rule.text
        _log.info("conflict_left", path=path, policy=policy, reason=reason)

    def _made_one(self, identity: bytes, pending: _Pending) -> bytes | None:
        """Returns what the versions are together; None while a program works on it."""
        contention = pending.contention
        program = self._program(contention)
        if contention.rule.policy is not ConflictPolicy.COMMAND or program is None:
            return self._merged_text(pending)
        found = self._runs.take(identity)
        if found is None and self._runs.is_idle:
            versions = self._read(contents_of(contention), PROGRAM_SIZE_BYTES_MAX)
            ancestor = self._ancestor(contention, PROGRAM_SIZE_BYTES_MAX)
            given = MergeInput(joined(contention.path), ancestor, versions)
            self._runs.start(identity, program, given)
        return found

    def _merged_text(self, pending: _Pending) -> bytes:
        contention = pending.contention
        texts = self._read(contents_of(contention), TEXT_SIZE_BYTES_MAX)
        if any(b"\0" in text for text in texts):
            raise _Unsettled("a version of it is no text")
        if contention.rule.policy is ConflictPolicy.UNION:
            base = self._base_of_union(pending)
            return reduce(lambda one, other: united(base, one, other), texts)
        ancestor = self._ancestor(contention, TEXT_SIZE_BYTES_MAX)
        if ancestor is None:
            raise _Unsettled("the versions come from no common one, or it is not known any more")
        return reduce(lambda one, other: _strictly_merged(ancestor, one, other), texts)

    def _base_of_union(self, pending: _Pending) -> bytes:
        """Returns what the versions come from; nothing where that can't be had.

        Then lines that one side has deleted come back: nothing is lost by that.
        """
        try:
            return self._ancestor(pending.contention, TEXT_SIZE_BYTES_MAX) or b""
        except ContentUnavailable:
            if pending.failures + 1 < _FETCH_ATTEMPTS_MAX:
                raise
            return b""

    def _ancestor(self, contention: Contention, size_bytes_max: int) -> bytes | None:
        dots = ancestor_dots(contention)
        if dots is None:
            return None
        kept = KeptVersions(self._site.journal, self._site.volume, self._site.hasher)
        try:
            put = common_ancestor(dots, kept.put)
        except WireFormatError as error:
            raise _Unsettled(f"this site's journal is damaged: {error}") from error
        if put is None or put.content.kind is not ContentKind.REGULAR:
            return None
        return self._read((put.content,), size_bytes_max)[0]

    def _read(self, contents: Sequence[Content], size_bytes_max: int) -> list[bytes]:
        if any(content.size_bytes > size_bytes_max for content in contents):
            raise _Unsettled(f"a version of it is larger than {size_bytes_max >> 20} MiB")
        self._fetcher.prefetch(contents)
        return [self._bytes(content) for content in contents]

    def _bytes(self, content: Content) -> bytes:
        blocks = self._fetcher.blocks(content)
        data = b"".join(bytes(b.size_bytes) if isinstance(b, Zeros) else b for b in blocks)
        self._fetcher.finish_download(content)
        return data

    def _write(self, contention: Contention, data: bytes, result: Settled) -> None:
        """Writes the version that settles it. Its content is durable before it, as all are."""
        site = self._site
        intake = Intake(site, self._spool)
        content = intake.take_blocks((data,) if data else ())
        intake.finish_packs()
        with site.journal.transaction():
            author = author_of(site)
            author.write(contention.replaced, content, contention.attributes)
            author.settle(contention.other_files)
            transaction = save_written(site, author)
            intake.commit()
        assert transaction is not None
        result.touched |= author.touched
        result.operations += len(transaction.operations)
        _log.info(
            "conflict_settled",
            path=joined(contention.path),
            policy=contention.rule.text,
            versions=len(contention.versions),
        )


def _strictly_merged(ancestor: bytes, one: bytes, other: bytes) -> bytes:
    found = merged(ancestor, one, other)
    if found is None:
        raise _Unsettled("the versions change the same lines, and differently")
    return found
