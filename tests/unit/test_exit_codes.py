"""The exit codes that scripts rely on."""

from geosync.exit_codes import ExitCode


def test_the_numbers_are_the_documented_ones():
    documented = {
        "DONE": 0,
        "FAILED": 1,
        "BAD_USAGE": 2,
        "NEEDS_PERSON": 3,
        "TIMED_OUT": 4,
        "DAEMON_NOT_RUNNING": 5,
    }
    assert {code.name: int(code) for code in ExitCode} == documented
