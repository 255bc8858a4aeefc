"""Errors for the operator."""

from conflict.errors import GeosyncError
from geosync.errors import ConfigurationError, ConfigurationProblem, OperatorError
from geosync.exit_codes import ExitCode


def test_an_operator_error_is_a_failure_unless_it_says_otherwise():
    assert OperatorError("text").exit_code is ExitCode.FAILED
    assert OperatorError("text", ExitCode.TIMED_OUT).exit_code is ExitCode.TIMED_OUT
    assert issubclass(OperatorError, GeosyncError)


def test_a_configuration_error_lists_every_problem_with_its_four_parts():
    problems = [
        ConfigurationProblem("mode", '"multi"', "one of a, b", 'write "a"'),
        ConfigurationProblem("[http] listen", "7", "host:port", "write both"),
    ]
    error = ConfigurationError("/etc/geosync/v.toml", problems)
    assert error.exit_code is ExitCode.BAD_USAGE
    assert error.problems == tuple(problems)
    assert str(error) == (
        "/etc/geosync/v.toml: 2 problems in the configuration\n"
        "  1. mode\n"
        '     found:    "multi"\n'
        "     expected: one of a, b\n"
        '     to do:    write "a"\n'
        "  2. [http] listen\n"
        "     found:    7\n"
        "     expected: host:port\n"
        "     to do:    write both"
    )


def test_one_problem_is_counted_in_the_singular():
    error = ConfigurationError("f", [ConfigurationProblem("a", "b", "c", "d")])
    assert str(error).startswith("f: 1 problem in the configuration\n")
