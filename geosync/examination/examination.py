"""The whole examination, in an order in which what comes first explains what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.disk.capabilities import DiskCapabilities
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.object_store import examine_store
from geosync.examination.process import find_worker
from geosync.examination.root_directory import examine_root
from geosync.examination.shell_commands import own_command, start_command
from geosync.examination.state_directory import examine_state_directory, remember
from geosync.examination.watching_limits import examine_watching

JsonObject = Mapping[str, object]


def examine(
    configuration: Configuration,
    environment: Mapping[str, str],
    clock: Clock,
    status: JsonObject | None,
) -> Iterator[Finding]:
    """Yields findings as they are made; some take a while.

    Args:
        configuration: of the site.
        environment: of the process.
        clock: of this machine.
        status: what a running daemon tells, as `geosync status --json` shows it; None without one.
    """
    daemon = status["daemon"] if status is not None else None
    told: JsonObject = daemon if isinstance(daemon, Mapping) else {}
    process = told.get("process_id")
    worker = find_worker(process if isinstance(process, int) else None)
    memory = remember(configuration)
    yield _daemon(configuration, status, told)
    roots = list(
        examine_root(
            configuration.root,
            configuration.volume,
            memory.root_marker,
            worker,
            _protocol_of(told),
        )
    )
    yield from roots
    yield _setuid(configuration)
    if roots[0].level is not Level.FAILURE:
        yield from examine_watching(configuration.root, configuration.volume, worker)
    yield from examine_state_directory(configuration, worker)
    yield from examine_store(configuration, environment, clock, memory.volume_key)


def _daemon(configuration: Configuration, status: JsonObject | None, told: JsonObject) -> Finding:
    if status is None:
        text = "no daemon runs; what follows holds for the user who asks"
        start = start_command(configuration)
        return Finding(Subject.DAEMON, Level.NOTE, text, "start it", commands=(start,))
    process, problems = told.get("process_id"), status.get("problem_count")
    facts = {
        "process_id": process if isinstance(process, int) else None,
        "problems": problems if isinstance(problems, int) else None,
    }
    text = f"process {process} runs: {status.get('summary')}"
    if problems:
        look = own_command(configuration, "status")
        return Finding(Subject.DAEMON, Level.WARNING, text, "look at them", facts, (look,))
    return Finding(Subject.DAEMON, Level.OK, text, facts=facts)


def _protocol_of(told: JsonObject) -> DiskCapabilities | None:
    protocol = told.get("protocol")
    if not isinstance(protocol, Mapping):
        return None
    names = {each.name for each in fields(DiskCapabilities)}
    return DiskCapabilities(**{key: protocol[key] for key in protocol.keys() & names})


def _setuid(configuration: Configuration) -> Finding:
    facts = {"is_allowed": configuration.allow_setuid}
    if configuration.allow_setuid:
        text = "whoever is root on another site may make programs that run as root here"
        remedy = f"unless that is meant, set allow_setuid = false in {configuration.source}"
        return Finding(Subject.SETUID, Level.NOTE, text, remedy, facts)
    text = "files get no setuid and setgid from other sites"
    return Finding(Subject.SETUID, Level.OK, text, facts=facts)
