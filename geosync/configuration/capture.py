"""The tables [[capture]] and [[file_group]] of a configuration."""

from __future__ import annotations

from typing import Final

from geosync.configuration.capture_rules import (
    SNAPSHOT_EVERY_S,
    CaptureRule,
    CaptureRules,
    GroupKind,
    GroupRule,
    OpenFiles,
)
from geosync.configuration.table_reader import TableReader, toml_string

_CAPTURE_KEYS: Final = ("paths", "open_files", "snapshot_every_s")
_GROUP_KEYS: Final = ("paths", "kind", "open_files", "snapshot_every_s", "together")
_SNAPSHOT_EVERY_S_MAX: Final = 86_400


def read_capture_rules(reader: TableReader) -> CaptureRules:
    """Reads both arrays of tables; what is wrong is added to the reader's problems."""
    files = []
    for table in reader.tables("capture"):
        table.refuse_unknown(_CAPTURE_KEYS)
        files.append(_capture_rule(table))
    groups = []
    for table in reader.tables("file_group"):
        table.refuse_unknown(_GROUP_KEYS)
        if "kind" not in table.values:
            kinds = "one of " + ", ".join(GroupKind)
            table.report("kind", "nothing", kinds, 'add a line: kind = "…"')
        groups.append(
            GroupRule(
                kind=table.choice("kind", GroupKind.DIRECTORY),
                capture=_capture_rule(table),
                is_together=table.truth("together", default=True),
            )
        )
    return CaptureRules(tuple(files), tuple(groups))


def _capture_rule(table: TableReader) -> CaptureRule:
    open_files = table.choice("open_files", OpenFiles.WAIT)
    every_s = table.number("snapshot_every_s", SNAPSHOT_EVERY_S, 0, _SNAPSHOT_EVERY_S_MAX)
    if "snapshot_every_s" in table.values and open_files is not OpenFiles.SNAPSHOT:
        found, expected = f'open_files = "{open_files}"', 'open_files = "snapshot" beside it'
        table.report("snapshot_every_s", found, expected, "remove it, or change open_files")
    return CaptureRule(table.globs("paths"), open_files, every_s)


def capture_lines(rules: CaptureRules) -> str:
    """Writes both arrays of tables as `read_capture_rules` reads them."""
    tables = [f"\n[[capture]]\n{_rule_lines(rule)}" for rule in rules.files]
    for group in rules.groups:
        kind = f'kind = "{group.kind}"\ntogether = {str(group.is_together).lower()}\n'
        tables.append(f"\n[[file_group]]\n{kind}{_rule_lines(group.capture)}")
    return "".join(tables)


def _rule_lines(rule: CaptureRule) -> str:
    globs = ", ".join(toml_string(glob.decode()) for glob in rule.globs)
    lines = f'paths = [{globs}]\nopen_files = "{rule.open_files}"\n'
    if rule.open_files is OpenFiles.SNAPSHOT:
        lines += f"snapshot_every_s = {rule.snapshot_every_s}\n"
    return lines
