"""The conflict policies of a volume: written as an operation, so that all sites have the same."""

from __future__ import annotations

from conflict.author import Author
from conflict.operations import POLICY, ROOT
from conflict.policy import PolicyRule, VolumePolicy, encode_rules, policy_of
from geosync.engine.capturing import save_transaction
from geosync.engine.site import Site
from geosync.journal.journal import Journal


def volume_policy(journal: Journal) -> VolumePolicy:
    """Returns the policies that this site knows of."""
    return policy_of(journal.nodes.node(ROOT))


def set_volume_rules(site: Site, rules: tuple[PolicyRule, ...]) -> None:
    """Writes the rules; they go to the other sites with the next publication."""
    journal = site.journal
    with journal.transaction():
        author = Author(journal.nodes, site.hybrid_clock(), journal.log.received(), site.now_ms())
        author.set_root_attributes(((POLICY, encode_rules(rules)),))
        transaction = author.transaction()
        assert transaction is not None
        save_transaction(site, transaction, author)
