"""Commands on the journal of a site of this process, which has no daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from geosync.cli import main
from tests.support.local_sites import LocalSite


class JournalCommands:
    """Runs commands as a user would, in this process.

    Attributes:
        configuration: the file.
    """

    def __init__(
        self,
        site: LocalSite,
        directory: Path,
        capsys: pytest.CaptureFixture[str],
        store: Path = Path("/nowhere"),
    ) -> None:
        """Writes a configuration.

        Args:
            site: whose journal, and root, they are about.
            directory: for the configuration.
            capsys: what they print is taken from it.
            store: where a directory store lies, for those that need one.
        """
        self._capsys = capsys
        self.configuration = directory / "geosync.toml"
        self.configuration.write_text(
            f'volume = "volume"\nsite = "{site.name}"\nroot = "{os.fsdecode(site.root)}"\n'
            f'state_dir = "{os.fsdecode(site.state_dir)}"\nstore = "directory"\n'
            f'[directory]\npath = "{store}"\n'
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Returns exit code and output, errors included, but nothing that was said before."""
        self._capsys.readouterr()
        code = main([*words, "--config", str(self.configuration)])
        captured = self._capsys.readouterr()
        return code, captured.out + captured.err

    def json(self, *words: str) -> Any:
        """Returns what a command prints with --json."""
        return json.loads(self.run(*words, "--json")[1])
