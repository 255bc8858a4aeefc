"""An engine for one command, where no daemon is running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from geosync.assembly.assembly import assembled, open_store, retrying
from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.single_instance import single_instance
from geosync.engine.engine import Engine

STORE_BUDGET_S: Final = 3.0


@contextmanager
def engine_alone(
    configuration: Configuration, store_budget_s: float = STORE_BUDGET_S
) -> Iterator[Engine]:
    """Builds the site's engine, for which no cycle was run yet.

    Args:
        configuration: of the site.
        store_budget_s: so long a request is tried again that the store does not answer.

    Raises:
        OperatorError, StoreUnavailable, StoreRefused: see `assembled`; a daemon is running.
    """
    clock = SystemClock()
    with closing(open_store(configuration, os.environ)) as store:
        asking = retrying(store, clock, store_budget_s)
        with (
            single_instance(configuration, clock),
            assembled(configuration, clock, asking, asking) as engine,
        ):
            yield engine


@contextmanager
def deciding_alone(configuration: Configuration) -> Iterator[Engine]:
    """Builds the site's engine; one cycle at the end shows and publishes what was decided.

    What was decided stays so when the store can't be reached: the daemon publishes it.

    Raises:
        OperatorError, StoreUnavailable, StoreRefused: see `engine_alone`.
    """
    with engine_alone(configuration) as engine:
        try:
            yield engine
        finally:
            engine.cycle({})
