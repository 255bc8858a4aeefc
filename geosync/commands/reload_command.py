"""`geosync reload`: the daemon takes in what its configuration says now."""

from __future__ import annotations

import argparse

from geosync.commands.daemon_client import ask_daemon, configured, print_json
from geosync.exit_codes import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Reloads. Raises OperatorError: no daemon runs, the file is wrong, or it wants a restart."""
    configuration = configured(arguments)  # says everything that is wrong with the file
    answer = ask_daemon(configuration, "reload", {})
    if arguments.json:
        print_json(answer)
        return ExitCode.DONE
    changed = answer["changed"]
    assert isinstance(changed, list)
    what = ", ".join(changed) if changed else "nothing in the file; credentials are asked for anew"
    print(f"the daemon goes on with the file as it is now; changed: {what}")
    return ExitCode.DONE
