"""What was declared of checkpoints, as this site has received it."""

from __future__ import annotations

from conflict.checkpointing import Checkpointing, CheckpointKnown, CheckpointStated
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.engine.site import Site
from geosync.engine.stability import live_actors
from transport.checkpoint_statement import decode_checkpoint_statement


def checkpointing(site: Site) -> Checkpointing:
    """Returns what follows from all declarations about checkpoints."""
    return Checkpointing(
        CheckpointStated(
            each.operation.dot,
            each.received,
            decode_checkpoint_statement(each.operation.body),
        )
        for each in site.journal.declarations.of_topic(Topic.CHECKPOINT)
    )


def confirmed_checkpoints(site: Site, known: Checkpointing) -> list[CheckpointKnown]:
    """Returns the checkpoints that count, oldest first."""
    sites = {log.actor: log.site for log in site.journal.log.actors()}

    def site_of(actor: ActorId) -> str:
        return sites.get(actor, "") or actor.hex()

    return known.confirmed(site_of, live_actors(site))
