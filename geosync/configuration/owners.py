"""The tables [owners] and [groups] of a configuration: who is called otherwise on this site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from geosync.configuration.table_reader import TableReader, shown, toml_string

_EXPECTED: Final = 'a name on this machine, or "#" and a number such as "#48"'
_NAME_SIZE_BYTES_MAX: Final = 255


def read_owner_map(reader: TableReader) -> dict[bytes, bytes]:
    """Reads one of the tables: the volume's name -> the name here; problems go to the reader."""
    found: dict[bytes, bytes] = {}
    for name, local in reader.values.items():
        if not isinstance(local, str) or not _is_name(local):
            reader.report(name, shown(local), _EXPECTED, "write a name between quotes")
        elif not _is_name(name):
            reader.report(name, "the key", "a name as the volume has it", "correct the key")
        elif local.encode() in found.values():
            other = next(n for n, taken in found.items() if taken == local.encode()).decode()
            expected = f"a name of its own, as {other} is {shown(local)} already"
            remedy = f"remove the line of {other}, or name somebody else here"
            reader.report(name, shown(local), expected, remedy)
        else:
            found[name.encode()] = local.encode()
    return found


def owner_lines(owners: Mapping[bytes, bytes], example: str) -> str:
    """Writes a table's lines as `read_owner_map` reads them; a comment when there are none."""
    if not owners:
        return f"# {example}"
    return "\n".join(
        f"{toml_string(name.decode())} = {toml_string(local.decode())}"
        for name, local in owners.items()
    )


def _is_name(text: str) -> bool:
    encoded = text.encode(errors="surrogatepass")
    if not text.isprintable() or ":" in text or not 1 <= len(encoded) <= _NAME_SIZE_BYTES_MAX:
        return False
    return not text.startswith("#") or (text[1:].isascii() and text[1:].isdecimal())
