"""`geosync verify`: compares disk, journal and store, and repairs what can be repaired."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import closing
from threading import Event
from typing import Any

from geosync.assembly.assembly import open_store, retrying
from geosync.clock import Clock, SystemClock
from geosync.commands.daemon_client import ask_daemon, configured, print_json
from geosync.commands.engine_alone import engine_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.daemon.mending_request import mending_requests, progress_json
from geosync.engine.engine import Engine
from geosync.engine.mending import Mending
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.verification.finding import Finding, Level
from geosync.verification.findings_text import checked_text, finding_text, verification_json
from geosync.verification.repairs import mending_for
from geosync.verification.verification import Verification

STORE_BUDGET_S = 10.0
ASK_AGAIN_S = 0.5
NO_PROGRESS_S_MAX = 120.0
PAUSE_S = 0.1

Progress = dict[str, Any]


def run(arguments: argparse.Namespace) -> ExitCode:
    """Verifies, and repairs when that is asked for. Raises GeosyncError."""
    configuration = configured(arguments)
    clock = SystemClock()
    findings: list[Finding] = []
    with closing(open_store(configuration, os.environ)) as store:
        asking = retrying(store, clock, STORE_BUDGET_S)
        verification = Verification(configuration, asking, clock, is_fast=arguments.fast)
        for finding in verification.findings(is_deep=arguments.deep):
            findings.append(finding)
            if not arguments.json:
                print(finding_text(finding), flush=True)
    if not arguments.json:
        print(checked_text(verification.checked))
    repaired = _repair(configuration, clock, findings) if arguments.repair else None
    if arguments.json:
        print_json(verification_json(findings, verification.checked, repaired))
    else:
        print(_outcome(findings, repaired))
    return _exit_code(findings, repaired)


def _exit_code(findings: Sequence[Finding], repaired: Progress | None) -> ExitCode:
    if any(finding.level is Level.UNKNOWN for finding in findings):
        return ExitCode.FAILED
    damaged = [finding for finding in findings if finding.level is Level.DAMAGE]
    is_mended = repaired is not None and not (repaired["failed"] or repaired["wanted_chunks"])
    if damaged and not (is_mended and all(finding.is_repairable for finding in damaged)):
        return ExitCode.NEEDS_PERSON
    return ExitCode.DONE


def _outcome(findings: Sequence[Finding], repaired: Progress | None) -> str:
    if repaired is None:
        if all(finding.level is Level.NOTE for finding in findings):
            return "all is as it should be"
        can = any(finding.is_repairable for finding in findings)
        return "repair what can be repaired with: geosync verify --repair" if can else ""
    done = f"{repaired['segments']} segments stored again, {repaired['files']} files put back"
    lines = [f"repaired: {repaired['supplied_chunks']} chunks supplied again, {done}"]
    if repaired["wanted_chunks"]:
        lines.append(
            f"asked the other sites for {repaired['wanted_chunks']} chunks that this one does not"
            " have; verify again once they have answered"
        )
    lines += [f"not repaired: {each['subject']}: {each['reason']}" for each in repaired["failed"]]
    return "\n".join(lines)


def _repair(configuration: Configuration, clock: Clock, findings: Sequence[Finding]) -> Progress:
    mending = mending_for(findings)
    try:
        return _repair_by_daemon(configuration, clock, mending)
    except DaemonNotRunning:
        return _repair_here(configuration, clock, mending)


def _repair_by_daemon(configuration: Configuration, clock: Clock, mending: Mending) -> Progress:
    progress: Progress = ask_daemon(configuration, "mending", {})
    for request in mending_requests(mending):
        progress = ask_daemon(configuration, "mend", request)
    changed_s = clock.monotonic_s()
    while progress["left"]:
        clock.wait(Event(), ASK_AGAIN_S)
        before, progress = progress, ask_daemon(configuration, "mending", {})
        now_s = clock.monotonic_s()
        changed_s = changed_s if progress == before else now_s
        if now_s - changed_s > NO_PROGRESS_S_MAX:
            raise OperatorError(
                f"the daemon has not got on with the repair for {NO_PROGRESS_S_MAX:.0f} s;"
                f" {progress['left']} pieces are left, which it goes on with. `geosync status`"
                " tells what hinders it.",
                ExitCode.TIMED_OUT,
            )
    return progress


def _repair_here(configuration: Configuration, clock: Clock, mending: Mending) -> Progress:
    """Repairs with an engine of our own, and publishes what came of it."""
    with engine_alone(configuration, STORE_BUDGET_S) as engine:
        engine.upkeep.mend(mending)
        return _run_until_mended(engine, clock)


def _run_until_mended(engine: Engine, clock: Clock) -> Progress:
    began_s = clock.monotonic_s()
    while True:
        cycle = engine.cycle({})
        error = cycle.disk_error or cycle.store_error
        if error is not None:
            raise OperatorError(f"not all is repaired: {error}")
        if engine.superseded is not None:
            raise OperatorError("nothing is repaired: this site is about to join anew; start it")
        is_over = clock.monotonic_s() - began_s > NO_PROGRESS_S_MAX
        if not engine.upkeep.mending().left and (not engine.has_to_publish() or is_over):
            return progress_json(engine.upkeep.mending())
        if not cycle.did_work:
            clock.wait(Event(), PAUSE_S)
