"""`geosync init`: writes the configuration, checks the store, creates or joins the volume."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Final

from conflict.policy import PolicyRule
from geosync.assembly.assembly import assembled, open_store, retrying
from geosync.clock import Clock, SystemClock
from geosync.commands.command_parser import SWIFT_OPTIONS
from geosync.commands.daemon_client import configure_log
from geosync.configuration.volume_configuration import (
    CONFIGURATION_VARIABLE,
    Configuration,
    default_configuration_path,
    default_configuration_text,
    load_configuration,
    parse_configuration,
    write_new_configuration,
)
from geosync.daemon.single_instance import single_instance
from geosync.engine.volume_policy import set_volume_rules, volume_policy
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.policy_text import rule_of
from geosync.terminal import display_name
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import VOLUME_RECORD
from transport.object_store import ObjectStore
from transport.volume_record import (
    VOLUME_RECORD_SIZE_BYTES_MAX,
    VolumeRecord,
    decode_volume_record,
)

STORE_BUDGET_S: Final = 10.0
_OPTIONS: Final = ("volume", "site", "root", "state_dir", "mode", "store")


def run(arguments: argparse.Namespace) -> ExitCode:
    """Sets the site up; nothing is changed before the store has answered. Raises GeosyncError."""
    configure_log(arguments)
    rules = _rules(arguments.conflict_policy)
    configuration, new_path = _configuration(arguments)
    _require_root(configuration)
    clock = SystemClock()
    with closing(open_store(configuration, os.environ)) as raw_store:
        store = retrying(raw_store, clock, STORE_BUDGET_S)
        record = _volume_record(store, configuration.volume)
        if rules and record is not None and not _has_rules(configuration, rules):
            raise OperatorError(
                f"the volume {configuration.volume} is there already, and its conflict policy is"
                " the same on all sites: leave out --conflict-policy. Nothing was changed.",
                ExitCode.BAD_USAGE,
            )
        if new_path is not None:
            write_new_configuration(new_path, default_configuration_text(configuration))
        is_member = _join(configuration, clock, store, rules if record is None else ())
    _tell(configuration, new_path, record, is_member=is_member)
    return ExitCode.DONE


def _configuration(arguments: argparse.Namespace) -> tuple[Configuration, str | None]:
    """Returns the configuration, and the path of its file if that has yet to be written."""
    document = _document(arguments)
    path = arguments.config or os.environ.get(CONFIGURATION_VARIABLE)
    if path is None and arguments.volume is not None:
        path = default_configuration_path(arguments.volume)
    if path is None and not document:
        return load_configuration(None, os.environ), None
    if path is None or not os.path.exists(path):
        return parse_configuration(document, "the options of geosync init"), path
    there = load_configuration(path, os.environ)
    if document:
        _require_same(there, document)
    return there, None


def _document(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the options as a configuration file would have them."""
    document: dict[str, object] = {
        key: value for key in _OPTIONS if (value := getattr(arguments, key)) is not None
    }
    swift = {key: value for key in SWIFT_OPTIONS if (value := getattr(arguments, key)) is not None}
    if swift:
        document["swift"] = swift
    if arguments.directory_path is not None:
        document["directory"] = {"path": arguments.directory_path}
    if arguments.listen is not None:
        document["http"] = {"listen": arguments.listen}
    return document


def _require_same(there: Configuration, document: Mapping[str, object]) -> None:
    """Lets the same command be given twice, and refuses options that would have no effect."""
    wanted = parse_configuration(document, "the options of geosync init")
    if replace(wanted, tuning=there.tuning) != there:
        raise OperatorError(
            f"{there.source} is there already and says something else than the options: edit it,"
            " or leave the options out to use it as it is. Nothing was changed.",
            ExitCode.BAD_USAGE,
        )


def _rules(text: str | None) -> tuple[PolicyRule, ...]:
    return () if text is None else (rule_of("*", text),)


def _require_root(configuration: Configuration) -> None:
    if not os.path.isdir(configuration.root):
        raise OperatorError(
            f"the root {display_name(configuration.root)} is not a directory that is there: create"
            " it, or mount what belongs there, or correct the path. Nothing was changed."
        )


def _volume_record(store: ObjectStore, volume: str) -> VolumeRecord | None:
    """Returns the volume's record, None when there is no such volume yet."""
    store.prepare()
    try:
        stored = store.get(VOLUME_RECORD, size_bytes_max=VOLUME_RECORD_SIZE_BYTES_MAX)
        return decode_volume_record(stored, volume)
    except ObjectNotVisible:
        return None
    except CorruptObject as error:
        raise OperatorError(
            f"cannot join the volume {volume!r}: {error}. Nothing was changed here."
        ) from error


def _has_rules(configuration: Configuration, rules: tuple[PolicyRule, ...]) -> bool:
    with (
        suppress(OperatorError),
        closing(Journal(configuration.state_dir, is_read_only=True)) as journal,
    ):
        return volume_policy(journal).rules == rules
    return False


def _join(
    configuration: Configuration, clock: Clock, store: ObjectStore, rules: tuple[PolicyRule, ...]
) -> bool:
    """Makes this site one of the volume's; returns whether it was one already."""
    with (
        suppress(OperatorError),
        closing(Journal(configuration.state_dir, is_read_only=True)) as journal,
    ):
        if journal.setting("actor") is not None:
            return True
    with (
        single_instance(configuration, clock),
        assembled(configuration, clock, store, store) as engine,
    ):
        if rules:
            set_volume_rules(engine.site, rules)
    return False


def _tell(
    configuration: Configuration,
    new_path: str | None,
    record: VolumeRecord | None,
    *,
    is_member: bool,
) -> None:
    volume, site = configuration.volume, configuration.site
    source = new_path or configuration.source
    print(f"{'used' if new_path is None else 'wrote'} the configuration {source}")
    if record is None:
        print(f"created the volume {volume}, with {site} as its first site")
    elif is_member:
        print(f"{site} is a site of the volume {volume} already")
    else:
        print(f"joined the volume {volume}, which {record.created_by} created")
    if source == default_configuration_path(volume):
        print(f"next: systemctl enable --now geosync@{volume}")
    else:
        print(f"next: geosync run --config {source}")
