"""What was declared of checkpoints, as this site has received it."""

from __future__ import annotations

from conflict.checkpointing import Checkpointing, CheckpointKnown, CheckpointStated
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.engine.site import Site
from geosync.engine.stability import live_actors, stable
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
    """Returns the checkpoints that count, oldest first.

    One from which a log can't be read on any more does not: it was begun before its writer had
    heard that the log would be cut.
    """
    begins = known.released(stable(site))
    sites = {log.actor: log.site for log in site.journal.log.actors()}

    def site_of(actor: ActorId) -> str:
        return sites.get(actor, "") or actor.hex()

    return [
        each
        for each in known.confirmed(site_of, live_actors(site))
        if all(each.written.covered.get(actor, 0) >= n for actor, n in begins.items())
    ]
