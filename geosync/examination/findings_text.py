"""Findings as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from geosync.examination.finding import Finding, Level
from geosync.terminal import escape_unprintable

FINDINGS_FORMAT: Final = 1
"""Of the JSON; keys are only ever added to one format."""

_MARKS: Final = {
    Level.OK: "ok      ",
    Level.NOTE: "note    ",
    Level.WARNING: "warning ",
    Level.FAILURE: "FAILURE ",
}

JsonObject = dict[str, object]


def worst_level(findings: Iterable[Finding]) -> Level:
    """Returns the level of the worst finding."""
    return max((finding.level for finding in findings), default=Level.OK)


def findings_json(findings: Sequence[Finding], *, volume: str, site: str) -> JsonObject:
    """Returns findings as JSON knows them; docs/commands.md tells what the keys mean."""
    return {
        "format": FINDINGS_FORMAT,
        "volume": volume,
        "site": site,
        "level": worst_level(findings).name.lower(),
        "findings": [_finding_json(finding) for finding in findings],
    }


def _finding_json(finding: Finding) -> JsonObject:
    level = finding.level.name.lower()
    return {**asdict(finding), "subject": str(finding.subject), "level": level}


def finding_text(finding: Finding) -> str:
    """Returns one finding: a line, below it what to do, and below that what to type."""
    subject = finding.subject.replace("_", " ")
    lines = [f"{_MARKS[finding.level]}{subject:<20}{escape_unprintable(finding.text)}"]
    if finding.remedy:
        lines.append(f"{'':<28}to do: {escape_unprintable(finding.remedy)}")
    lines += [f"{'':<28}    # {escape_unprintable(command)}" for command in finding.commands]
    return "\n".join(lines)


def summary_text(findings: Sequence[Finding]) -> str:
    """Returns the last line: how all that adds up."""
    failures = sum(finding.level is Level.FAILURE for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if failures:
        return f"{_counted(failures, 'failure')} and {_counted(warnings, 'warning')}"
    if warnings:
        return f"{_counted(warnings, 'warning')}; geosync works"
    return "all is well"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"
