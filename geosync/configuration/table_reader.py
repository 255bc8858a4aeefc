"""Takes checked values out of a TOML table, and gathers everything that is wrong with them."""

import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from geosync.errors import ConfigurationProblem
from geosync.terminal import escape_unprintable

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NAME_RULE = "1 to 63 of a-z, 0-9 and -, of which the first is no hyphen"
_Choice = TypeVar("_Choice", bound=StrEnum)


class TableReader:
    """Takes values out of one TOML table; gathers problems instead of stopping at the first.

    A value with a problem is replaced by its default or an empty one, which nobody sees, because
    the problem is reported instead of the configuration.

    Attributes:
        prefix: what names this table in front of a key, such as `[http] `.
        values: the table as TOML has it.
        problems: what was wrong so far, in all tables of the document.
    """

    def __init__(
        self,
        prefix: str,
        table: Mapping[str, object],
        problems: list[ConfigurationProblem],
        top_level_keys: Collection[str],
    ) -> None:
        self.prefix = prefix
        self.values = table
        self.problems = problems
        self._top_level_keys = top_level_keys

    def report(self, key: str, found: str, expected: str, remedy: str) -> None:
        """Adds a problem with a key of this table."""
        full_key = self.prefix + escape_unprintable(key)
        self.problems.append(ConfigurationProblem(full_key, found, expected, remedy))

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Reports every key that is not known, with the one that was probably meant."""
        for key in (each for each in self.values if each not in known):
            close = difflib.get_close_matches(key, known, n=1)
            if close:
                remedy = f'write "{close[0]}" if that is meant, or remove the key'
            elif self.prefix and key in self._top_level_keys:
                remedy = "move it above the first line that names a [table]"
            else:
                remedy = "remove the key"
            self.report(key, "an unknown key", "one of " + ", ".join(known), remedy)

    def table(self, key: str, *, within: str = "") -> "TableReader":
        """A reader of a table in this one, which adds to the same problems; empty if missing.

        Args:
            key: of the table.
            within: key of the table that this one is, unless that is the whole file.
        """
        shown_key = f"{within}.{key}" if within else key
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            remedy = f"write a line [{shown_key}] and the keys below it"
            self.report(key, shown(value), "a table", remedy)
            value = {}
        return TableReader(f"[{shown_key}] ", value, self.problems, self._top_level_keys)

    def tables(self, key: str, *, within: str = "") -> "list[TableReader]":
        """Readers of an array of tables, which add to the same problems; none if missing.

        Args:
            key: of the array.
            within: key of the table that it is in, unless that is the whole file.
        """
        shown_key = f"{within}.{key}" if within else key
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            remedy = f"write a line [[{shown_key}]] and the keys below it, for each table"
            self.report(key, shown(value), "an array of tables", remedy)
            return []
        return [
            TableReader(f"[[{shown_key}]] {number}: ", each, self.problems, self._top_level_keys)
            for number, each in enumerate(value, start=1)
        ]

    def globs(self, key: str) -> tuple[bytes, ...]:
        """Patterns of paths below the root; at least one."""
        value = self.values.get(key)
        expected = 'an array of patterns such as ["*.log", "cache/**"]'
        if not isinstance(value, list) or not value:
            found = "nothing" if value is None else shown(value) + " that is empty" * (value == [])
            self.report(key, found, expected, f'add a line: {key} = ["…"]')
            return ()
        for each in value:
            if not isinstance(each, str) or not each:
                self.report(key, shown(each), expected, "write each pattern between quotes")
            elif not _is_utf8(each) or not _is_below(each):
                remedy = 'write the pattern as below the root, without a leading "/", "." and ".."'
                self.report(key, shown(each), expected, remedy)
        return tuple(each.encode() for each in value if isinstance(each, str) and _is_utf8(each))

    def program(self, key: str) -> tuple[str, ...]:
        """A program and its arguments, which no shell ever sees; empty when there is a problem."""
        value = self.values.get(key)
        expected = 'an array that begins with the program\'s whole path, ["/usr/local/bin/notify"]'
        is_texts = isinstance(value, list) and value and all(_is_argument(each) for each in value)
        if not isinstance(value, list) or not is_texts:
            found = "nothing" if value is None else shown(value)
            self.report(key, found, expected, "write program and arguments each between quotes")
            return ()
        if not os.path.isabs(value[0]):
            remedy = "write its whole path; there is no shell that would look for it"
            self.report(key, shown(value[0]), expected, remedy)
        return tuple(value)

    def text(self, key: str, meaning: str, default: str | None = None) -> str | None:
        """A text, or None when there is a problem."""
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            self.report(key, "nothing", meaning, f'add a line: {key} = "…"')
            return None
        if not isinstance(value, str):
            self.report(key, shown(value), meaning, "write the value between quotes")
            return None
        return value

    def named_tables(self) -> "dict[str, TableReader]":
        """Readers of all tables in this one, by names that are the operator's to choose."""
        within = self.prefix.strip("[] ")
        for name in (name for name in self.values if not _NAME.fullmatch(name)):
            self.report(name, "this name", f"a name: {_NAME_RULE}", "choose another")
        names = [name for name in self.values if _NAME.fullmatch(name)]
        return {name: self.table(name, within=within) for name in names}

    def name(self, key: str, meaning: str) -> str:
        """The name of a volume or a site; empty when there is a problem."""
        expected = f"a name, {meaning}: {_NAME_RULE}"
        value = self.text(key, expected)
        if value is None or _NAME.fullmatch(value):
            return value or ""
        close = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:63]
        remedy = f'choose another, such as "{close}"' if close else "choose another name"
        self.report(key, shown(value), expected, remedy)
        return ""

    def path(self, key: str, meaning: str, default: str | None = None) -> bytes:
        """An absolute path without doubled slashes; empty when there is a problem."""
        expected = f"an absolute path ({meaning})"
        value = self.text(key, expected, default)
        if value is None:
            return b""
        if not value.startswith("/") or ".." in value.split("/"):
            remedy = 'write the whole path, from "/" on and without ".."'
            self.report(key, shown(value), expected, remedy)
            return b""
        if "\0" in value or not _is_utf8(value):
            # TOML is UTF-8 by definition (https://toml.io/en/v1.0.0).
            remedy = "name the directory through a symbolic link with a plain name"
            self.report(key, shown(value), expected + " in UTF-8 without NUL", remedy)
            return b""
        return os.path.normpath(os.fsencode(value)).replace(b"//", b"/")

    def choice(self, key: str, default: _Choice) -> _Choice:
        """One of the values of the enumeration that the default belongs to."""
        kind = type(default)
        choices = [each.value for each in kind]
        expected = "one of " + ", ".join(choices)
        value = self.text(key, expected, default.value)
        if value is None:
            return default
        if value in choices:
            return kind(value)
        close = difflib.get_close_matches(value, choices, n=1)
        remedy = f'write "{close[0]}" if that is meant' if close else "choose one of these"
        self.report(key, shown(value), expected, remedy)
        return default

    def number(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within bounds, which are included."""
        value = self.values.get(key, default)
        if type(value) is int and minimum <= value <= maximum:  # a bool is an int too
            return value
        expected = f"a whole number from {minimum} to {maximum}"
        remedy = f"correct it, or remove the line for the default of {default}"
        self.report(key, shown(value), expected, remedy)
        return default

    def truth(self, key: str, *, default: bool) -> bool:
        """Yes or no, which TOML writes as true and false."""
        value = self.values.get(key, default)
        if isinstance(value, bool):
            return value
        self.report(key, shown(value), "true or false", "write it without quotes")
        return default


def shown(value: object) -> str:
    """A value as TOML would write it, on one line, whatever is in it."""
    match value:
        case str():
            return escape_unprintable(toml_string(value))
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Mapping():
            return "a table"
        case list():
            return "an array"
        case _:
            return f"a {type(value).__name__}"


def shown_path(path: bytes) -> str:
    """A path as TOML would write it, on one line."""
    return shown(os.fsdecode(path))


def _is_argument(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_below(pattern: str) -> bool:
    return {"", ".", ".."}.isdisjoint(pattern.split("/"))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def toml_array(texts: Iterable[str]) -> str:
    """A TOML array of strings."""
    return "[" + ", ".join(toml_string(text) for text in texts) + "]"


def toml_string(text: str) -> str:
    """A TOML basic string, which is a JSON string but for DEL (https://toml.io/en/v1.0.0#string)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
