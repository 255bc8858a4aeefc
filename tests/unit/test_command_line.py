"""The command line itself: what it imports, and what it does with errors."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

SLOW = ("swiftclient", "keystoneauth1", "sqlite_utils", "rich", "watchdog", "requests", "blake3")


def test_help_imports_nothing_that_is_slow() -> None:
    program = (
        "import sys\nfrom geosync.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', [name for name in {SLOW!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded: []\n")
    assert "exit codes:" in done.stdout


def test_a_reader_that_has_enough_ends_a_command_without_a_traceback() -> None:
    program = f"{sys.executable} -m geosync --help | true"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_the_version_is_that_of_the_package() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "geosync", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"geosync {version('geosync')}\n"
