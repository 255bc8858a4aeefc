"""What a control loop needs beside its engine, with a store that the test gives to the site."""

from __future__ import annotations

from dataclasses import replace

from geosync.assembly.store_backoff import BackoffStore
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Tuning, parse_configuration
from geosync.daemon.control_loop import LoopParts
from geosync.daemon.daemon_state import DaemonState
from geosync.daemon.hint_service import HintService
from geosync.daemon.service_notification import ServiceNotifier
from geosync.hooks.hooks import Hooks
from tests.support.local_sites import VOLUME, LocalSite


def loop_parts(site: LocalSite, clock: Clock, tuning: Tuning | None = None) -> LoopParts:
    """Returns the parts of one site's loop, which sends and hears hints through nothing.

    Args:
        site: that is open.
        clock: of the loop.
        tuning: None: as configured without any.
    """
    configuration = parse_configuration(
        {
            "volume": VOLUME,
            "site": site.name,
            "root": site.root.decode(),
            "state_dir": site.state_dir.decode(),
            "store": "directory",
            "directory": {"path": "/nowhere"},
        },
        "test",
    )
    configuration = replace(configuration, tuning=tuning or configuration.tuning)
    return LoopParts(
        configuration=configuration,
        clock=clock,
        state=DaemonState(configuration.tuning),
        notifier=ServiceNotifier({}),
        backoff=BackoffStore(site.store, clock.monotonic_s),
        hooks=Hooks(configuration),
        hints=HintService(clock.monotonic_s),
    )
