"""The exit codes of every geosync command."""

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """What a geosync command tells the shell when it ends; scripts rely on these numbers."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    """The command line or the configuration is wrong; trying again unchanged cannot help."""
    NEEDS_PERSON = 3
    """Done, and something waits for somebody: conflicts, or what `geosync doctor` warns of."""
    TIMED_OUT = 4
    DAEMON_NOT_RUNNING = 5
