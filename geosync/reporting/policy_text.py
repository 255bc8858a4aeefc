"""A volume's conflict policies as people and programs read them, and as operators write them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from conflict.errors import MalformedValueError
from conflict.operations import POLICY_PREFIX, ROOT
from conflict.policy import DEFAULT_RULE, PolicyRule, policy_of, rule_from
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.terminal import display_moment, display_name, plain_table

JsonObject = dict[str, object]

_KNOWN: Final = (
    "outside, beside, newest, union, merge, site-priority:SITE,SITE (the first wins), command:NAME"
    " (a program that the configurations of sites name in [merge_program.NAME])"
)


def rule_of(glob: str, text: str) -> PolicyRule:
    """Reads a rule as an operator writes it. Raises OperatorError."""
    try:
        return rule_from(glob, text)
    except MalformedValueError as error:
        raise OperatorError(
            f"{text!r} for {glob!r} is no conflict policy: known are {_KNOWN}. Nothing was"
            " changed.",
            ExitCode.BAD_USAGE,
        ) from error


def policies_json(journal: Journal) -> list[JsonObject]:
    """Returns the policies in the order in which they are tried, the default at the end.

    docs/commands.md tells what the keys mean.
    """
    root = journal.nodes.node(ROOT)
    policy = policy_of(root)
    found: list[JsonObject] = []
    for rule in policy.rules:
        assert root is not None
        register = root.registers[POLICY_PREFIX + rule.glob]
        site = policy.sites.get(register.dot.actor, b"")
        found.append(_rule_json(rule, display_name(site), register.stamp.time_ms))
    if all(rule.glob != DEFAULT_RULE.glob for rule in policy.rules):
        found.append(_rule_json(DEFAULT_RULE, None, None))
    return found


def _rule_json(rule: PolicyRule, site: str | None, set_at_ms: int | None) -> JsonObject:
    return {
        "glob": os.fsdecode(rule.glob),
        "policy": rule.policy.value.decode(),
        "sites": [display_name(site) for site in rule.sites],
        "program": display_name(rule.program) or None,
        "text": rule.text,
        "set_by": site,
        "set_at_ms": set_at_ms,
    }


def policies_text(found: Iterable[Mapping[str, object]]) -> str:
    """Returns policies, as their JSON tells them, as a table."""
    rows = [(_glob(each), str(each["text"]), _origin(each)) for each in found]
    return plain_table(("paths", "policy", "set"), rows)


def _glob(rule: Mapping[str, object]) -> str:
    return display_name(os.fsencode(str(rule["glob"])))


def _origin(rule: Mapping[str, object]) -> str:
    match rule:
        case {"set_by": str(site), "set_at_ms": int(at_ms)}:
            return f"by {site or 'an unknown site'}, {display_moment(at_ms)}"
        case _:
            return "by nobody: the default"
