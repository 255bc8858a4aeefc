"""The table [hints] of a configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from geosync.configuration.table_reader import TableReader, shown, toml_string
from geosync.network_address import NetworkAddress, parse_address

_KEYS: Final = ("listen", "peers", "secret_file")
_PEERS_MAX: Final = 1000
_ADDRESS: Final = '"host:port" such as "0.0.0.0:8485" or "[::]:8485"'


@dataclass(frozen=True, slots=True)
class HintSettings:
    """How hints are sent and heard.

    Attributes:
        listen: where hints are heard; None: nowhere.
        peers: to whom they are sent.
        secret_file: absolute path of the file with what all sites know and nobody else; None when
            hints are neither heard nor sent.
    """

    listen: NetworkAddress | None = None
    peers: tuple[NetworkAddress, ...] = ()
    secret_file: bytes | None = None


def read_hints(reader: TableReader) -> HintSettings:
    """Reads the table; what is wrong is added to the reader's problems."""
    reader.refuse_unknown(_KEYS)
    expected = f'{_ADDRESS}, or "" to hear none'
    text = reader.text("listen", expected, "")
    listen = parse_address(text) if text else None
    if text and listen is None:
        reader.report("listen", shown(text), expected, "write the address and the port")
    peers = _peers(reader)
    if not text and not peers and "secret_file" not in reader.values:
        return HintSettings()
    return HintSettings(listen, peers, reader.path("secret_file", "the same secret on all sites"))


def _peers(reader: TableReader) -> tuple[NetworkAddress, ...]:
    value = reader.values.get("peers", [])
    if isinstance(value, list) and len(value) <= _PEERS_MAX:
        peers = [parse_address(each) if isinstance(each, str) else None for each in value]
        found = tuple(each for each in peers if each is not None and each.port)
        if len(found) == len(value):
            return found
    expected = 'an array of the other sites\' addresses, ["geneva.example.org:8485"]'
    reader.report("peers", shown(value), expected, "write each as host:port between quotes")
    return ()


def hint_lines(settings: HintSettings) -> str:
    """Writes the table's lines as `read_hints` reads them; without any, an example behind a #."""
    if settings == HintSettings():
        return (
            '# listen = "0.0.0.0:8485"\n'
            '# peers = ["geneva.example.org:8485"]\n'
            '# secret_file = "/etc/geosync/hints.secret"'
        )
    assert settings.secret_file is not None
    lines = [f"peers = [{', '.join(toml_string(str(peer)) for peer in settings.peers)}]"]
    if settings.listen is not None:
        lines.insert(0, f"listen = {toml_string(str(settings.listen))}")
    lines.append(f"secret_file = {toml_string(os.fsdecode(settings.secret_file))}")
    return "\n".join(lines)
