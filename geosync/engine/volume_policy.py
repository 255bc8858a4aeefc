"""The conflict policies of a volume: written as an operation, so that all sites have the same."""

from __future__ import annotations

from conflict.node import Location
from conflict.operations import POLICY, ROOT
from conflict.policy import PolicyRule, VolumePolicy, encode_rules, policy_of
from geosync.engine.authoring import author_of, save_written
from geosync.engine.site import Site
from geosync.journal.journal import Journal


def volume_policy(journal: Journal) -> VolumePolicy:
    """Returns the policies that this site knows of."""
    return policy_of(journal.nodes.node(ROOT))


def set_volume_rules(site: Site, rules: tuple[PolicyRule, ...]) -> set[Location]:
    """Writes the rules; they go to the other sites with the next publication.

    Returns:
        What they touch: the root.
    """
    with site.journal.transaction():
        author = author_of(site)
        author.set_root_attributes(((POLICY, encode_rules(rules)),))
        save_written(site, author)
    return author.touched
