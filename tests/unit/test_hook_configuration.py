"""What the tables [[hook]] say, and what is wrong with them."""

from __future__ import annotations

import tomllib

import pytest

from geosync.configuration.hook_rules import HookInput, HookRule, Occasion
from geosync.configuration.volume_configuration import (
    Configuration,
    default_configuration_text,
    parse_configuration,
)
from geosync.errors import ConfigurationError

MINIMAL = 'volume = "wiki"\nsite = "bari"\nroot = "/srv/wiki"\n'
COMPLETE = """
[[hook]]
on = ["arrived"]
command = ["/usr/local/bin/flush", "--now"]
paths = ["public/**"]
wait_s = 5
[[hook]]
on = ["conflict", "silent"]
command = ["/usr/local/bin/tell"]
input = "json"
timeout_s = 90
attempts = 7
silent_after_s = 900
"""


def parsed(tables: str) -> Configuration:
    return parse_configuration(tomllib.loads(MINIMAL + tables), "file.toml")


def problems(tables: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parsed(tables)
    return {problem.key: problem.expected for problem in caught.value.problems}


def test_every_key_is_read() -> None:
    assert parsed(COMPLETE).hooks == (
        HookRule(
            (Occasion.ARRIVED,),
            ("/usr/local/bin/flush", "--now"),
            globs=(b"public/**",),
            wait_s=5,
        ),
        HookRule(
            (Occasion.CONFLICT, Occasion.SILENT),
            ("/usr/local/bin/tell",),
            input=HookInput.JSON,
            timeout_s=90,
            attempts=7,
            silent_after_s=900,
        ),
    )


def test_what_is_written_reads_back_the_same() -> None:
    configuration = parsed(COMPLETE)
    text = default_configuration_text(configuration)
    assert parse_configuration(tomllib.loads(text), "other.toml") == configuration


def test_what_a_hook_must_have_is_asked_for() -> None:
    found = problems("[[hook]]\n")
    assert "arrived, conflict, settled" in found["[[hook]] 1: on"]
    assert "whole path" in found["[[hook]] 1: command"]


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ('[[hook]]\non = ["never"]\ncommand = ["/bin/true"]\n', "on"),
        ('[[hook]]\non = "arrived"\ncommand = ["/bin/true"]\n', "on"),
        ('[[hook]]\non = ["arrived"]\ncommand = "/bin/true"\n', "command"),
        ('[[hook]]\non = ["arrived"]\ncommand = ["true"]\n', "command"),
        ('[[hook]]\non = ["arrived"]\ncommand = ["/bin/true", 1]\n', "command"),
        ('[[hook]]\non = ["arrived"]\ncommand = ["/bin/a\\u0000b"]\n', "command"),
        ('[[hook]]\non = ["silent"]\ncommand = ["/bin/true"]\npaths = ["a"]\n', "paths"),
        (
            '[[hook]]\non = ["arrived"]\ncommand = ["/bin/true"]\nsilent_after_s = 60\n',
            "silent_after_s",
        ),
        ('[[hook]]\non = ["arrived"]\ncommand = ["/bin/true"]\ntimeout_s = 0\n', "timeout_s"),
        ('[[hook]]\non = ["arrived"]\ncommand = ["/bin/true"]\nshell = true\n', "shell"),
    ],
)
def test_what_makes_no_sense_is_named(tables: str, key: str) -> None:
    assert list(problems(tables)) == [f"[[hook]] 1: {key}"]
