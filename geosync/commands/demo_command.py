"""`geosync demo`: two or three sites on this machine."""

from __future__ import annotations

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Runs the demonstration with its own options."""
    from geosync.demo import demonstration  # noqa: PLC0415 - not every installation has it

    return demonstration.main(arguments.rest)
