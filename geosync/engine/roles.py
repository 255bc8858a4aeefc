"""Roles: what this site does now, by its configuration and by what sites declared."""

from __future__ import annotations

from conflict.epochs import Stated, Succession, succession
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.configuration.volume_configuration import Mode
from geosync.engine.role import DEMOTING, MULTI_MASTER, PRIMARY, REPLICA, STANDBY, YIELDING, Role
from geosync.journal.journal import Journal
from transport.epoch_record import decode_epoch_statement

IS_DEMOTING = "is_demoting"  # a setting of the journal: 1 from the request until the release


def succession_of(journal: Journal) -> Succession:
    """Returns who was the primary when, as far as this site has received it."""
    return succession(
        Stated(each.operation.dot, each.received, decode_epoch_statement(each.operation.body))
        for each in journal.declarations.of_topic(Topic.EPOCH)
    )


def role_of(mode: Mode, journal: Journal, actor: ActorId) -> Role:
    """Returns the role of a site. The log decides who is the primary, not the configuration.

    Args:
        mode: as configured.
        journal: of the site.
        actor: whose journal it is.
    """
    if mode is Mode.MULTI_MASTER:
        return MULTI_MASTER
    if mode is Mode.REPLICA:
        return REPLICA
    known = succession_of(journal)
    own = known.own(actor)
    if own is None or own.barrier is not None:
        return STANDBY
    if known.current != own:
        return YIELDING
    return DEMOTING if journal.integer_setting(IS_DEMOTING) else PRIMARY
