"""The conflict report as a document: what is open, where it gathers, and when it came about."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from geosync.reporting.conflict_text import JsonObject, conflict_text, who_wrote
from geosync.terminal import display_moment, plain_table

DIRECTORIES_SHOWN_MAX: Final = 20
_DAY_MS: Final = 86_400_000


class ReportFormat(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class ConflictReport:
    """All conflicts of one moment.

    Attributes:
        volume: whose they are.
        site: who tells of them.
        made_at_ms: since 1970.
        conflicts: as their JSON tells them, sorted by path.
    """

    volume: str
    site: str
    made_at_ms: int
    conflicts: Sequence[Mapping[str, object]]

    @property
    def by_directory(self) -> list[tuple[str, int]]:
        """How many conflicts each directory has, the most first."""
        counts = Counter(str(each["path"]).rpartition("/")[0] or "." for each in self.conflicts)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def by_day(self) -> list[tuple[str, int]]:
        """How many of the versions that were kept aside were written on each day, in UTC."""
        days = Counter(_day(each) for each in self.conflicts)
        return sorted(days.items())

    @property
    def by_kind(self) -> list[tuple[str, int]]:
        """How many conflicts there are of each kind."""
        return sorted(Counter(str(each["kind"]) for each in self.conflicts).items())


def written(report: ConflictReport, how: ReportFormat) -> str:
    """Returns the report as text, as JSON, or as one HTML file that needs no other."""
    match how:
        case ReportFormat.JSON:
            return json.dumps(report_json(report))
        case ReportFormat.HTML:
            return _html(report)
        case ReportFormat.TEXT:
            return _text(report)


def report_json(report: ConflictReport) -> JsonObject:
    """Returns the report as JSON; docs/commands.md tells what the keys mean."""
    return {
        "volume": report.volume,
        "site": report.site,
        "made_at_ms": report.made_at_ms,
        "count": len(report.conflicts),
        "by_kind": dict(report.by_kind),
        "by_directory": dict(report.by_directory),
        "by_day": dict(report.by_day),
        "conflicts": list(report.conflicts),
    }


def _text(report: ConflictReport) -> str:
    head = (
        f"{len(report.conflicts)} conflicts in the volume {report.volume}, as {report.site} knows"
        f" them at {display_moment(report.made_at_ms)}"
    )
    if not report.conflicts:
        return head
    shown = report.by_directory[:DIRECTORIES_SHOWN_MAX]
    tables = [
        plain_table(("kind", "conflicts"), [(kind, str(n)) for kind, n in report.by_kind]),
        plain_table(("directory", "conflicts"), [(name, str(n)) for name, n in shown]),
        plain_table(("day", "conflicts"), [(day, str(n)) for day, n in report.by_day]),
    ]
    details = [conflict_text(each) for each in report.conflicts]
    return "\n\n".join([head, *tables, *details])


def _html(report: ConflictReport) -> str:
    """Everything that comes from names or versions is escaped; there is no script in it."""
    title = f"Conflicts of {html.escape(report.volume)}"
    most = max((count for _, count in report.by_day), default=1)
    days = "".join(
        f"<tr><th scope=row>{day}<td class=bar><span style='width:{100 * count // most}%'></span>"
        f"<td>{count}"
        for day, count in report.by_day
    )
    directories = "".join(
        f"<tr><td>{html.escape(name)}<td>{count}" for name, count in report.by_directory
    )
    rows = "".join(_row(each) for each in report.conflicts)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<style>{_STYLE}</style><main><h1>{title}</h1>"
        f"<p>{len(report.conflicts)} are open, as {html.escape(report.site)} knows them at"
        f" {display_moment(report.made_at_ms)}."
        "<h2>When the versions were written that were kept aside</h2>"
        f"<table><tbody>{days}</table>"
        "<h2>Where</h2><table><thead><tr><th scope=col>directory<th scope=col>conflicts<tbody>"
        f"{directories}</table>"
        "<h2>All</h2><table><thead><tr><th scope=col>conflict<th scope=col>path"
        "<th scope=col>has the name<th scope=col>was kept aside<th scope=col>decided by"
        f"<th scope=col>where<tbody>{rows}</table></main></html>\n"
    )


def _row(conflict: Mapping[str, object]) -> str:
    cells = (
        conflict["id"],
        conflict["path"],
        who_wrote(conflict["winner"], "{} bytes".format),
        who_wrote(conflict["loser"], "{} bytes".format),
        conflict["decided_by"],
        conflict["kept_at"] or "in the history only",
    )
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)


def _day(conflict: Mapping[str, object]) -> str:
    match conflict["loser"]:
        case {"written_at_ms": int(written_at_ms)}:
            return display_moment(written_at_ms - written_at_ms % _DAY_MS)[:10]
        case _:
            return "unknown"


_STYLE: Final = """\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:75rem;margin:auto;padding:1rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;overflow-wrap:anywhere}
.bar{width:60%}.bar span{display:block;height:1rem;background:#0a7d70;border-radius:.2rem}"""
