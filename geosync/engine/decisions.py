"""Decisions: what people settle at a site: conflicts, policies, ignore patterns and brakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conflict.node import Location
from conflict.policy import PolicyRule
from conflict.report import Conflict
from geosync.disk.interface import DiskError
from geosync.engine.brake_verdicts import KnownBrake, decide, find_brake, own_brake
from geosync.engine.fetching import Fetcher
from geosync.engine.foreign_brakes import ForeignBrakes
from geosync.engine.ignoring import ignore, ignore_no_more
from geosync.engine.recovery import recover
from geosync.engine.resolving import Choice, find_conflict, resolve, resolve_with
from geosync.engine.role import require_deciding
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.engine.undoing import Undoing, chosen_settlement
from geosync.engine.volume_policy import (
    set_volume_rule,
    set_volume_rules,
    unset_volume_rule,
)
from geosync.errors import OperatorError
from geosync.journal.settlements import Settlement
from transport.brake_record import Verdict


class Decisions:
    """Takes a person's decisions; the next cycles show and publish them."""

    def __init__(
        self,
        site: Site,
        spool: Spool,
        fetcher: Fetcher,
        foreign: ForeignBrakes,
        *,
        note: Callable[[set[Location], int], None],
        heed_brakes: Callable[[], None],
    ) -> None:
        """Begins.

        Args:
            site: at which they are made.
            spool: for contents that a person gives.
            fetcher: for contents that are brought back.
            foreign: what brakes hold of the others' changes.
            note: is told which names operations touched, and how many operations they were.
            heed_brakes: does what follows from decisions about brakes.
        """
        self._site = site
        self._spool = spool
        self._fetcher = fetcher
        self._foreign = foreign
        self._note = note
        self._heed_brakes = heed_brakes

    def resolve(self, identity: str, choice: Choice) -> Conflict:
        """Settles a conflict; the next cycle shows and publishes it. Raises OperatorError."""
        self._prepare_decision()
        conflict = find_conflict(self._site, identity)
        self._note(resolve(self._site, conflict, choice), 1)
        return conflict

    def resolve_with(self, identity: str, blocks: Iterable[bytes], *, seen: str | None) -> Conflict:
        """Settles a conflict by a content of a person's own, as `resolve`.

        Args:
            identity: of the conflict, or its path.
            blocks: the content.
            seen: the version that had the name when the person looked; None if none had it.

        Raises:
            OperatorError: there is no such conflict, or another version has the name by now.
            OSError: the spool can't be written, or the content not be read; nothing was decided.
        """
        self._prepare_decision()
        conflict = find_conflict(self._site, identity)
        winner = conflict.winner_version
        if seen != (None if winner is None else winner.dot.label):
            raise OperatorError(
                f"{joined(conflict.path).decode(errors='replace')!r} was changed meanwhile: look"
                f" again with `geosync conflicts show {conflict.identity}`. Nothing was decided."
            )
        touched = resolve_with(self._site, self._spool, conflict, blocks)
        self._note(touched, 1)
        return conflict

    def undo(self, identity: str | None) -> Settlement:
        """Brings back the versions of a conflict that was settled here, or of the last one.

        Raises:
            OperatorError: there is no such settlement, or a directory is in the way.
            ContentUnavailable: a version is not at hand yet; it is worth asking again.
            OSError: the spool can't be written; nothing was changed.
        """
        self._prepare_decision()
        settlement = chosen_settlement(self._site.journal, identity)
        undoing = Undoing(self._site, self._spool, self._fetcher)
        self._note(undoing.undo(settlement), 1)
        return settlement

    def _prepare_decision(self) -> None:
        """Finishes what a crash interrupted: what is on the disk is part of a decision."""
        require_deciding(self._site.role)
        try:
            recover(self._site)
        except (OSError, DiskError) as error:
            raise OperatorError(
                f"the disk can't be looked at now: {error}. Nothing was decided; mend the disk,"
                " and try again."
            ) from error

    def set_policies(self, rules: tuple[PolicyRule, ...]) -> None:
        """Sets the volume's conflict policies; the next cycle shows and publishes them."""
        require_deciding(self._site.role)
        self._note_policies(set_volume_rules(self._site, rules))

    def set_policy(self, rule: PolicyRule) -> None:
        """Sets one conflict policy of the volume, as `set_policies`. Raises OperatorError."""
        require_deciding(self._site.role)
        self._note_policies(set_volume_rule(self._site, rule))

    def unset_policy(self, glob: bytes) -> None:
        """Takes one away, as `set_policies`. Raises OperatorError."""
        require_deciding(self._site.role)
        self._note_policies(unset_volume_rule(self._site, glob))

    def _note_policies(self, touched: set[Location]) -> None:
        self._note(touched, len(touched))

    def ignore(self, pattern: bytes) -> None:
        """Has one more pattern ignored, at all sites, from the next cycle on.

        Raises:
            OperatorError: it is none, or this is no site at which that is decided.
        """
        require_deciding(self._site.role)
        self._note(ignore(self._site, pattern), 1)

    def ignore_no_more(self, pattern: bytes) -> None:
        """Takes a pattern away, as `ignore`. Raises OperatorError."""
        require_deciding(self._site.role)
        self._note(ignore_no_more(self._site, pattern), 1)

    def decide_brake(self, name: str, verdict: Verdict) -> KnownBrake:
        """Approves or rejects what a brake holds, at any site; the next cycles do it.

        Raises:
            OperatorError: there is no such brake, it was decided before, or this is no site at
                which that can be decided.
        """
        role = self._site.role
        brake = find_brake(self._site.journal, self._site.name, name)
        held = own_brake(self._site.journal, brake.dot)
        if held is None or held.is_ours:
            if not role.may_publish:  # a standby tells of a decision, and changes nothing by it
                require_deciding(role)
            decide(self._site, brake, verdict)
            self._heed_brakes()
            return brake
        if verdict is Verdict.REJECTED:
            require_deciding(role)
        if role.may_publish:
            self._note(self._foreign.decide(held, verdict), 1)
        else:
            self._foreign.let_go_here(held)
        self._heed_brakes()
        return brake
