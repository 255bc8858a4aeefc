"""The unit under a real systemd, on a copy of this machine: `make service`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _missing() -> str | None:
    if "GEOSYNC_SERVICE" not in os.environ:
        return "starts a whole machine, which takes a minute: make service"
    if os.geteuid() != 0:
        return "only root may start a machine in a container"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is missing: apt-get install systemd-container"
    return None


@pytest.mark.root
@pytest.mark.timeout(500)
@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_the_unit_starts_works_reloads_is_watched_and_stops(tmp_path: Path) -> None:
    subprocess.run([HERE / "boot", HERE.parents[1], tmp_path], check=True)
    result = (tmp_path / "result").read_text()
    assert result.splitlines()[-1] == "all done", result
    told = dict(line.split(": ", 1) for line in result.splitlines() if ": " in line)
    assert told["started"].split()[-1] == "active"
    assert told["runs as"] == "geosync"
    # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_LEASE, and no other
    assert int(told["capabilities"], 16) == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 28
    assert told["elsewhere"] == "www-data:www-data 600 of the application"
    assert told["came back"] == "backup:www-data 640 from elsewhere"
    assert told["verified"] == "success, all is as it should be"
    assert told["timer"] == "active"
    assert told["reloaded"] == "1"
    assert "a wrong file was taken" not in result
    assert told["after a wrong file"] == "active"
    assert told["watched"] == "restarted 0 times while it worked"
    assert told["hung"] == "restarted 1 times"
    assert told["priorities"].endswith('"PRIORITY":"6"')
    assert told["stopped"] == "success 0"
    assert told["denied"] == "0"
