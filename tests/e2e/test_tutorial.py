"""docs/tutorial.md: its commands do what it says, in this order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from geosync.demo.loopback_port import choose_ports

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
TIMEOUT_S = 150
MARK = "== end of a block =="


def _blocks() -> list[tuple[str, str]]:
    """Returns each block of commands with what they are said to print; '' for nothing."""
    found = re.findall(r"```(bash|text)\n(.*?)```\n", TEXT, re.DOTALL)
    blocks: list[tuple[str, str]] = []
    for kind, text in found:
        if kind == "bash":
            blocks.append((text, ""))
        else:
            blocks[-1] = (blocks[-1][0], text)
    return blocks


def _as_pattern(shown: str) -> str:
    """`…` stands for anything, over any number of lines."""
    return ".*".join(re.escape(part.strip("\n")) for part in shown.split("…"))


def test_every_command_of_the_tutorial_works_and_prints_what_it_says(tmp_path: Path) -> None:
    blocks = _blocks()
    assert len(blocks) == 7
    (port,) = choose_ports(1)
    script = f"echo '{MARK}'\n".join(commands for commands, _ in blocks)
    script = script.replace("127.0.0.1:8484", f"127.0.0.1:{port}")
    # As a person has it who types: each command by itself, jobs by their numbers.
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(TIMEOUT_S), "bash", "-mec", script],
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(MARK + "\n")
    for (commands, shown), output in zip(blocks, printed, strict=True):
        if shown:
            matches = re.search(_as_pattern(shown), output, re.DOTALL)
            assert matches is not None, f"{commands}\nprints\n{output}\nand not\n{shown}"
    assert not (tmp_path / "tutorial").exists()
