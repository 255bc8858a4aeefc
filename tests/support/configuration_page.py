"""Writes docs/configuration.md from the code: run it after a change of the configuration's keys.

Each key is given a value of a wrong type; what geosync then says that it expected is what the page
says. So the page can't tell of a key, a range or a default that is not so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from geosync.configuration.volume_configuration import (
    default_configuration_text,
    parse_configuration,
)
from geosync.daemon.reloading import WANTS_RESTART
from geosync.errors import ConfigurationError, ConfigurationProblem

PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"

_LEAST: Final[Mapping[str, object]] = {
    "volume": "redmine",
    "site": "bari",
    "root": "/var/lib/redmine/files",
    "swift": {"cloud": "infn"},
}
_UNKNOWN: Final = "no-such-key"
_WRONG: Final = 3.5  # is of no type that any key has

_HEAD: Final = """\
# Configuration

One TOML file for each volume, by default `/etc/geosync/VOLUME.toml`; `geosync init` writes it with
all that is said below. Unknown keys are errors, and all errors are told at once. Most of it may be
changed while the daemon runs: `geosync reload`. What asks for a restart instead is marked so.

This page is made from the code: `python -m tests.support.configuration_page`.
"""
_TABLES: Final = {
    "": "At the top of the file",
    "directory": "`[directory]`: where the store lies when it is a directory",
    "http": "`[http]`: health, metrics, the status page",
    "tuning": "`[tuning]`",
    "bandwidth": "`[bandwidth]`: how fast contents travel; 0 for no limit",
    "bandwidth.period": "`[[bandwidth.period]]`: the same at a time of day; the first one counts",
    "hints": "`[hints]`: one UDP packet instead of waiting for the next look at the store",
    "brakes": "`[brakes]`: what waits for a person",
    "owners": "`[owners]` and `[groups]`: name in the volume = name here",
    "merge_program": "`[merge_program.NAME]`: for the policy `command:NAME`",
    "capture": "`[[capture]]`: files that are open all the time",
    "file_group": "`[[file_group]]`: files that belong together",
    "hook": "`[[hook]]`: programs to run when something has happened",
    "swift.endpoint": "`[[swift.endpoint]]`: several ways to one Swift, the nearest first",
}
_SWIFT: Final = """\
## `[swift]`: how to log in

Every key is optional: what is missing is taken from `OS_*` or `ST_*` variables, or from
`clouds.yaml`, in which `cloud` names an entry. Values are texts. Version 1 (TempAuth): `auth_url`,
`user`, `key`. Keystone: `auth_url`, `username`, `password`, `project_name`, `user_domain_name`,
`project_domain_name`, or `application_credential_id` and `application_credential_secret`; and
`region_name`, `interface`, `cacert`. Keep the file secret if it holds a key.
"""
_FILE: Final = """\
## The whole file

As `geosync init` writes it; what is behind a `#` is the default, or an example.

```toml
{text}```
"""


def page_text() -> str:
    """Returns the page."""
    sections = [_section(table, title) for table, title in _TABLES.items()]
    text = default_configuration_text(parse_configuration(_LEAST, "the documentation"))
    return "\n".join([_HEAD, *sections, _SWIFT, _FILE.format(text=text)])


def _section(table: str, title: str) -> str:
    rows = ["| key | value | without it |", "|---|---|---|"]
    for key in _keys_of(table):
        found = _problem_with(table, key)
        restart = " *restart*" if _wants_restart(table, key) else ""
        default = _default(table, key, found)
        rows.append(f"| `{key}`{restart} | {_cell(found.expected)} | {default} |")
    if table == "owners":
        expected = _cell(_problem_with(table, _UNKNOWN).expected)
        rows.append(f"| any name | {expected} | the same name |")
    return f"## {title}\n\n" + "\n".join(rows) + "\n"


def _keys_of(table: str) -> list[str]:
    """Returns the keys of a table, as the error about one that is unknown names them."""
    if table == "owners":
        return []
    found = _problem_with(table, _UNKNOWN)
    return [
        key
        for key in found.expected.removeprefix("one of ").split(", ")
        if table or key not in {each.partition(".")[0] for each in (*_TABLES, "groups", "swift")}
    ]


def _problem_with(table: str, key: str) -> ConfigurationProblem:
    wrong: object = {key: _WRONG}
    if table in {"capture", "file_group", "hook", "swift.endpoint", "bandwidth.period"}:
        wrong = [wrong]
    if table == "merge_program":
        wrong = {"name": wrong}
    changed = {
        "": {key: _WRONG},
        "swift.endpoint": {"swift": {"endpoint": wrong}},
        "bandwidth.period": {"bandwidth": {"period": wrong}},
    }.get(table, {table: wrong})
    problems = _problems(dict(_LEAST) | changed)
    mine = [each for each in problems if each.key.rpartition(" ")[2] == key]
    assert mine, f"{table} {key}: a number is no value of a wrong type there"
    return mine[0] if key == _UNKNOWN else mine[-1]


def _problems(document: Mapping[str, object]) -> list[ConfigurationProblem]:
    try:
        parse_configuration(document, "the documentation")
    except ConfigurationError as error:
        return list(error.problems)
    return []


def _wants_restart(table: str, key: str) -> bool:
    names = {f"[{table}]", f"[{table}] {key}"} if table else {key}
    return bool(names & set(WANTS_RESTART.values()))


def _default(table: str, key: str, found: ConfigurationProblem) -> str:
    number = re.search(r"default of (\S+)$", found.remedy)
    if number is not None:
        return number[1]
    if table:
        return ""
    if key in {"volume", "site", "root"}:
        return "must be there"
    value = getattr(parse_configuration(_LEAST, "the documentation"), key)
    if isinstance(value, bool):
        return str(value).lower()
    shown = value.decode() if isinstance(value, bytes) else str(value)
    return f"`{shown.replace('redmine', 'VOLUME')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_text())
