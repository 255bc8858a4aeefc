"""The conflict policies of a volume: written as an operation, so that all sites have the same."""

from __future__ import annotations

from collections.abc import Iterable

from conflict.node import Location
from conflict.operations import ROOT, AttributeChanges
from conflict.policy import (
    PolicyRule,
    VolumePolicy,
    policy_of,
    replace_rules,
    set_rule,
    unset_rule,
)
from geosync.engine.authoring import author_of, save_written
from geosync.engine.site import Site
from geosync.errors import OperatorError
from geosync.journal.journal import Journal


def volume_policy(journal: Journal) -> VolumePolicy:
    """Returns the policies that this site knows of."""
    return policy_of(journal.nodes.node(ROOT))


def set_volume_rules(site: Site, rules: Iterable[PolicyRule]) -> set[Location]:
    """Writes that these rules hold and no others; they go to the other sites by and by.

    Returns:
        What they touch: the root, or nothing.
    """
    return _write(site, replace_rules(volume_policy(site.journal), rules))


def set_volume_rule(site: Site, rule: PolicyRule) -> set[Location]:
    """Writes one rule, in place of that for the same glob. Returns what it touches."""
    if rule in volume_policy(site.journal).rules:
        return set()
    return _write(site, set_rule(rule))


def unset_volume_rule(site: Site, glob: bytes) -> set[Location]:
    """Writes that a glob has no rule any more. Returns what it touches.

    Raises:
        OperatorError: it has none.
    """
    if all(rule.glob != glob for rule in volume_policy(site.journal).rules):
        raise OperatorError(
            f"there is no policy for {glob.decode(errors='replace')!r}: `geosync policy list` shows"
            " those there are. Write the pattern between quotes, as your shell may have replaced it"
            " by names of files. Nothing was changed."
        )
    return _write(site, unset_rule(glob))


def _write(site: Site, changes: AttributeChanges) -> set[Location]:
    if not changes:
        return set()
    with site.journal.transaction():
        author = author_of(site)
        author.set_root_attributes(changes)
        save_written(site, author)
    return author.touched
