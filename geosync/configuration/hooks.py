"""The tables [[hook]] of a configuration."""

from __future__ import annotations

from typing import Final

from geosync.configuration.hook_rules import (
    ATTEMPTS,
    PATH_OCCASIONS,
    SILENT_AFTER_S,
    TIMEOUT_S,
    WAIT_S,
    HookInput,
    HookRule,
    Occasion,
)
from geosync.configuration.table_reader import TableReader, shown, toml_array

_KEYS: Final = (
    "on",
    "command",
    "paths",
    "input",
    "wait_s",
    "timeout_s",
    "attempts",
    "silent_after_s",
)
_DAY_S: Final = 86_400


def read_hooks(reader: TableReader) -> tuple[HookRule, ...]:
    """Reads all tables; what is wrong is added to the reader's problems."""
    return tuple(_hook(table) for table in reader.tables("hook"))


def _hook(table: TableReader) -> HookRule:
    table.refuse_unknown(_KEYS)
    occasions = _occasions(table)
    globs = table.globs("paths") if "paths" in table.values else ()
    if globs and occasions and PATH_OCCASIONS.isdisjoint(occasions):
        expected = "an occasion that has paths: " + ", ".join(sorted(PATH_OCCASIONS))
        table.report("paths", "none such in on", expected, "remove paths, or add an occasion")
    if "silent_after_s" in table.values and Occasion.SILENT not in occasions:
        expected = '"silent" among on'
        table.report("silent_after_s", "none such", expected, "remove it, or add the occasion")
    return HookRule(
        occasions=occasions,
        command=table.program("command"),
        globs=globs,
        input=table.choice("input", HookInput.PATHS),
        wait_s=table.number("wait_s", WAIT_S, 0, 3600),
        timeout_s=table.number("timeout_s", TIMEOUT_S, 1, _DAY_S),
        attempts=table.number("attempts", ATTEMPTS, 1, 100),
        silent_after_s=table.number("silent_after_s", SILENT_AFTER_S, 10, 365 * _DAY_S),
    )


def _occasions(table: TableReader) -> tuple[Occasion, ...]:
    value = table.values.get("on")
    choices = [occasion.value for occasion in Occasion]
    expected = "an array of occasions: " + ", ".join(choices)
    if not isinstance(value, list) or not value:
        found = "nothing" if value is None else shown(value)
        table.report("on", found, expected, 'add a line: on = ["arrived"]')
        return ()
    for each in value:
        if each not in choices:
            table.report("on", shown(each), expected, "choose among these")
    return tuple(Occasion(each) for each in value if each in choices)


def hook_lines(hooks: tuple[HookRule, ...]) -> str:
    """Writes the tables as `read_hooks` reads them."""
    return "".join(_lines(hook) for hook in hooks)


def _lines(hook: HookRule) -> str:
    lines = [
        "\n[[hook]]",
        f"on = {toml_array(hook.occasions)}",
        f"command = {toml_array(hook.command)}",
    ]
    if hook.globs:
        lines.append(f"paths = {toml_array(glob.decode() for glob in hook.globs)}")
    lines.append(f'input = "{hook.input}"')
    lines += [f"{key} = {getattr(hook, key)}" for key in ("wait_s", "timeout_s", "attempts")]
    if Occasion.SILENT in hook.occasions:
        lines.append(f"silent_after_s = {hook.silent_after_s}")
    return "\n".join(lines) + "\n"
