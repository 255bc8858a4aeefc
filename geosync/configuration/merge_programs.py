"""The tables [merge_program.NAME] of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from geosync.configuration.merge_program_rules import TIMEOUT_S, MergeProgram
from geosync.configuration.table_reader import TableReader, toml_array

TIMEOUT_S_MAX: Final = 3600
_EXAMPLE: Final = """\
# [merge_program.json]
# command = ["/usr/local/bin/merge-json"]
# timeout_s = 60"""


def read_merge_programs(reader: TableReader) -> dict[str, MergeProgram]:
    """Reads all tables; what is wrong is added to the reader's problems."""
    return {name: _program(table) for name, table in reader.named_tables().items()}


def _program(table: TableReader) -> MergeProgram:
    table.refuse_unknown(("command", "timeout_s"))
    return MergeProgram(
        command=table.program("command"),
        timeout_s=table.number("timeout_s", TIMEOUT_S, 1, TIMEOUT_S_MAX),
    )


def merge_program_lines(programs: Mapping[str, MergeProgram]) -> str:
    """Writes the tables as `read_merge_programs` reads them; an example where there are none."""
    return "\n".join(_lines(*item) for item in sorted(programs.items())) or _EXAMPLE


def _lines(name: str, program: MergeProgram) -> str:
    return (
        f"[merge_program.{name}]\n"
        f"command = {toml_array(program.command)}\n"
        f"timeout_s = {program.timeout_s}\n"
    )
