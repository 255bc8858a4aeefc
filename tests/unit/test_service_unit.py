"""The files for systemd are such as systemd takes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from geosync.commands.command_parser import command_parser
from geosync.disk.process_capabilities import CAPABILITY_NAMES

SYSTEMD = Path(__file__).parents[2] / "systemd"


def _run(*command) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_unit_is_one_that_systemd_takes_without_a_warning(tmp_path):
    text = (SYSTEMD / "geosync@.service").read_text()
    assert "ExecStart=/usr/bin/geosync run " in text
    instance = tmp_path / "geosync@redmine.service"
    # The verifier wants the program to be there.
    instance.write_text(text.replace("/usr/bin/geosync", "/bin/true"))
    verified = _run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(instance))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_timer_and_what_it_starts_are_such_as_systemd_takes(tmp_path):
    for kind in ("service", "timer"):
        text = (SYSTEMD / f"geosync-verify@.{kind}").read_text()
        path = tmp_path / f"geosync-verify@redmine.{kind}"
        path.write_text(text.replace("/usr/bin/geosync", "/bin/true"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    verified = _run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_systemd_finds_the_service_well_sandboxed(tmp_path):
    instance = tmp_path / "geosync@redmine.service"
    instance.write_text((SYSTEMD / "geosync@.service").read_text())
    # 100 is the worst. What is left are the five capabilities and the network, above all.
    judged = _run("systemd-analyze", "security", "--offline=true", "--threshold=30", str(instance))
    assert judged.returncode == 0, judged.stdout


def test_the_service_has_the_capabilities_that_the_code_makes_use_of_and_no_others():
    text = (SYSTEMD / "geosync@.service").read_text()
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        (given,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
        assert set(given.split()) == set(CAPABILITY_NAMES.values())


def test_a_reload_is_a_command_that_there_is():
    text = (SYSTEMD / "geosync@.service").read_text()
    (reload,) = re.findall(r"^ExecReload=/usr/bin/geosync (.*)$", text, re.MULTILINE)
    assert command_parser().parse_args(reload.split()).command == "reload"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory to another user")
@pytest.mark.parametrize("kind", ["sysusers", "tmpfiles"])
def test_users_and_directories_are_declared_as_systemd_takes_them(tmp_path, kind):
    (tmp_path / "etc").mkdir()
    for name in ("sysusers", "tmpfiles")[: 1 + (kind == "tmpfiles")]:
        arguments = [f"--root={tmp_path}"] + (["--create"] if name == "tmpfiles" else [])
        made = _run(f"systemd-{name}", *arguments, str(SYSTEMD / f"geosync.{name}"))
        assert made.returncode == 0, made.stderr
    if kind == "sysusers":
        assert "geosync:" in (tmp_path / "etc" / "passwd").read_text()
    else:
        assert (tmp_path / "etc" / "geosync").stat().st_mode & 0o7777 == 0o2750
        assert (tmp_path / "var" / "lib" / "geosync").stat().st_mode & 0o7777 == 0o755
