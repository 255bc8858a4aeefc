"""A verification as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from geosync.terminal import escape_unprintable, human_size
from geosync.verification.finding import Checked, Finding, Level

VERIFICATION_FORMAT: Final = 1
"""Of the JSON; keys are only ever added to one format."""

JsonObject = dict[str, object]


def finding_text(finding: Finding) -> str:
    """Returns one finding: what, and below it what to do."""
    lines = [f"{finding.level:<8}{finding.subject}", f"{'':<8}{escape_unprintable(finding.text)}"]
    if finding.remedy:
        lines.append(f"{'':<8}to do: {escape_unprintable(finding.remedy)}")
    return "\n".join(lines)


def checked_text(checked: Checked) -> str:
    """Returns how much was looked at."""
    return (
        f"looked at {checked.files} files ({human_size(checked.file_size_bytes)}),"
        f" {checked.segments} segments of this site's log, and {checked.chunks} chunks in"
        f" {checked.packs} packs"
    )


def verification_json(
    findings: Sequence[Finding], checked: Checked, repair: JsonObject | None
) -> JsonObject:
    """Returns a verification as JSON knows it; docs/commands.md tells what the keys mean."""
    return {
        "format": VERIFICATION_FORMAT,
        "is_sound": all(finding.level is Level.NOTE for finding in findings),
        "checked": asdict(checked),
        "findings": [_finding_json(finding) for finding in findings],
        "repair": repair,
    }


def _finding_json(finding: Finding) -> JsonObject:
    return {
        "kind": str(finding.kind),
        "level": str(finding.level),
        "subject": finding.subject,
        "text": finding.text,
        "remedy": finding.remedy,
        "is_repairable": finding.is_repairable,
    }
