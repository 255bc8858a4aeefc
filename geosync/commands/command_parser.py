"""The parser of the command line: every command and option, and nothing that is slow to import."""

from __future__ import annotations

import argparse
import math
from typing import Final

SWIFT_OPTIONS: Final = (
    "cloud",
    "auth_url",
    "user",
    "key",
    "username",
    "password",
    "project_name",
    "user_domain_name",
    "project_domain_name",
    "application_credential_id",
    "application_credential_secret",
    "region_name",
    "interface",
    "cacert",
)
"""Keys of the table [swift] that `init` takes as options."""

_EPILOG: Final = """\
exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 something waits for a person,
4 timed out, 5 the daemon is not running
"""


class _ShowVersion(argparse.Action):
    """Prints the version and ends; what finds it out is imported only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_parsed: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

        print(f"geosync {version('geosync')}")
        parser.exit()


def command_parser() -> argparse.ArgumentParser:
    """Returns the parser; the chosen command is in `command`."""
    parser = argparse.ArgumentParser(
        prog="geosync",
        description="Keeps one directory the same on several sites, through OpenStack Swift.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common_options()
    _add_init(commands, common)
    commands.add_parser(
        "run",
        parents=[common],
        help="keep the site in sync: the daemon, in the foreground",
        description="Keeps the site in sync until SIGTERM. Creates or joins the volume if need be.",
    )
    reloading = commands.add_parser(
        "reload",
        parents=[common],
        help="let the daemon read its configuration again",
        description="Checks the configuration, and lets the running daemon go on with it. What is"
        " wrong, or can't change while it runs, changes nothing.",
    )
    _add_json(reloading)
    _add_sync(commands, common)
    _add_status(commands, common)
    _add_wait(commands, common)
    _add_token(commands, common)
    _add_conflicts(commands, common)
    _add_policy(commands, common)
    _add_ignore(commands, common)
    _add_path_commands(commands, common)
    _add_brake(commands, common)
    _add_site(commands, common)
    _add_gc(commands, common)
    _add_verify(commands, common)
    _add_check(commands, common)
    _add_doctor(commands, common)
    _add_failover(commands, common)
    commands.add_parser(
        "demo",
        add_help=False,
        help="show what happens between sites on this machine (see: geosync demo --help)",
    )
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration; else GEOSYNC_CONFIG, else the only *.toml in /etc/geosync",
    )
    amount = common.add_mutually_exclusive_group()
    amount.add_argument("--verbose", action="store_true", help="log everything")
    amount.add_argument("--quiet", action="store_true", help="log only what needs attention")
    return common


def _add_init(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "init",
        parents=[common],
        help="write a configuration where there is none, and create or join the volume",
        description="Writes a commented configuration file where there is none, checks that the"
        " store can be reached, and creates or joins the volume. Does nothing twice.",
    )
    parser.add_argument("--volume", metavar="NAME", help="the same on every site")
    parser.add_argument("--site", metavar="NAME", help="different on every site")
    parser.add_argument("--root", metavar="DIRECTORY", help="the directory that is synced")
    parser.add_argument(
        "--state-dir", metavar="DIRECTORY", help="the journal's (/var/lib/geosync/VOLUME)"
    )
    parser.add_argument("--mode", help="multi-master (the default), replica, primary or standby")
    parser.add_argument("--store", help="where the sites meet: swift (the default) or directory")
    parser.add_argument(
        "--directory-path", metavar="DIRECTORY", help="of the store, with --store directory"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help='of the HTTP server; "" for none')
    parser.add_argument(
        "--conflict-policy",
        metavar="POLICY",
        help="for a new volume: outside (the default), or another; see: geosync policy",
    )
    swift = parser.add_argument_group(
        "how to log in to Swift",
        "What is given here is written to the configuration. Other users of this machine may see"
        " a command's options: keys and passwords are better off in the environment (ST_*, OS_*).",
    )
    for key in SWIFT_OPTIONS:
        swift.add_argument(f"--{key.replace('_', '-')}", metavar="TEXT")


def _add_sync(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "sync",
        parents=[common],
        help="bring the site in sync once, with or without a daemon",
        description="Captures, publishes, receives and applies until the site is in sync with what"
        " it can see. Asks the daemon when one is running.",
    )
    _add_timeout(parser)


def _add_status(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "status",
        parents=[common],
        help="show the site, the other sites, what waits, and problems",
        description="Shows how the site is doing; without a daemon, what its journal knows.",
    )
    _add_json(parser)
    parser.add_argument("--watch", action="store_true", help="show it again every two seconds")
    parser.add_argument(
        "--http", action="store_true", help="show the address of the status page, and its token"
    )


def _add_token(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "token",
        parents=[common],
        help="name what was written here, for other sites to wait for",
        description="Captures everything that was written here before the call, and prints a token"
        " that names it, for: geosync wait --token TOKEN at another site.",
    )
    _add_timeout(parser)
    _add_json(parser)


def _add_wait(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "wait",
        parents=[common],
        help="wait until everything written here is applied at the other sites",
        description="Returns when everything that was written here before the call is applied at"
        " all other sites, or at the ones named.",
    )
    parser.add_argument(
        "--site", metavar="NAME", action="append", help="wait for this site only; may be repeated"
    )
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="wait at this site for what a token names that another site gave",
    )
    _add_timeout(parser)
    _add_json(parser)


def _add_conflicts(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "conflicts",
        help="show and settle conflicts",
        description="Shows and settles versions that were written at the same time.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", parents=[common], help="all open conflicts; exit code 3 when there are any"
    )
    _add_filter(listing)
    _add_json(listing)
    showing = actions.add_parser("show", parents=[common], help="one conflict in full")
    _add_identity(showing)
    _add_json(showing)
    comparing = actions.add_parser("diff", parents=[common], help="how two versions differ")
    _add_identity(comparing)
    for option, default in (("--from", "winner"), ("--to", "loser")):
        comparing.add_argument(
            option,
            dest=option.strip("-") + "_version",
            choices=("ancestor", "winner", "loser"),
            default=default,
            help=f"which version, by default the {default}; ancestor: what both come from",
        )
    _add_resolve(actions, common)
    undoing = actions.add_parser(
        "undo", parents=[common], help="bring back both versions of what was settled here"
    )
    _add_identity(undoing, nargs="?")
    undoing.add_argument("--list", action="store_true", help="show what was settled here")
    _add_json(undoing)
    reporting = actions.add_parser("report", parents=[common], help="all conflicts as a document")
    _add_filter(reporting)
    reporting.add_argument("--format", choices=("text", "json", "html"), default="text")
    reporting.add_argument(
        "--output", metavar="FILE", help="write it there, in place of what is there"
    )
    watching = actions.add_parser(
        "watch", parents=[common], help="tell of conflicts as they come and go, until interrupted"
    )
    _add_filter(watching)
    _add_json(watching)


def _add_resolve(
    actions: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = actions.add_parser("resolve", parents=[common], help="settle conflicts")
    _add_identity(parser, nargs="?")
    parser.add_argument(
        "--matching", metavar="GLOB", help="settle all conflicts whose paths match, not just one"
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--take",
        choices=("winner", "loser", "both"),
        help="which version keeps the name; both: the loser becomes a file of its own",
    )
    choice.add_argument(
        "--take-site", metavar="SITE", help="the version that this site wrote keeps the name"
    )
    choice.add_argument("--file", metavar="FILE", help="the content of this file takes the name")
    choice.add_argument(
        "--merge", action="store_true", help="merge both, unless they changed the same lines"
    )
    choice.add_argument(
        "--edit", action="store_true", help="edit what could be merged, with $VISUAL or $EDITOR"
    )
    choice.add_argument(
        "--interactive", action="store_true", help="ask about one after the other, or about all"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be settled")


def _add_policy(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "policy",
        help="show and set what becomes of conflicts, by path",
        description="Shows and sets what becomes of versions that were written at the same time."
        " The policies are the volume's: they are the same on all sites.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_json(
        actions.add_parser("list", parents=[common], help="all policies, those tried first on top")
    )
    setting = actions.add_parser("set", parents=[common], help="set the policy of some paths")
    unsetting = actions.add_parser("unset", parents=[common], help="take such a policy away")
    for each in (setting, unsetting):
        each.add_argument(
            "glob",
            metavar="GLOB",
            help="with a slash compared with the path below the root, else with the last name",
        )
    setting.add_argument(
        "policy",
        metavar="POLICY",
        help="outside, beside, newest, site-priority:SITE,SITE, union, merge, or command:NAME",
    )


def _add_ignore(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "ignore",
        help="show and set what the volume leaves alone",
        description="Shows and sets patterns, as in a .gitignore file, of files that are neither"
        " captured nor brought to any disk. They are the volume's: the same on all sites.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_json(actions.add_parser("list", parents=[common], help="all patterns, in their order"))
    for action, meaning in (
        ("add", "ignore one more pattern; what is there stays on each disk as it is"),
        ("remove", "ignore a pattern no more; nothing is deleted"),
    ):
        deciding = actions.add_parser(action, parents=[common], help=meaning)
        deciding.add_argument("pattern", metavar="PATTERN", help="such as '*.tmp' or '/cache/'")
    checking = actions.add_parser(
        "check", parents=[common], help="tell whether a path is ignored, and by which pattern"
    )
    checking.add_argument("path", metavar="PATH", help="below the root")


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", metavar="GLOB", help="only these: as in a conflict policy")
    parser.add_argument("--site", metavar="NAME", help="only those with a version of this site")
    parser.add_argument(
        "--kind", choices=("content", "name", "directory", "deleted", "drift"), help="only these"
    )
    for option in ("--older-than", "--newer-than"):
        parser.add_argument(
            option, metavar="SECONDS", type=_seconds, help="by when the loser was written"
        )


def _add_path_commands(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    history = commands.add_parser(
        "log",
        parents=[common],
        help="the history of a path: who, where, when, in place of what",
        description="Shows what happened to every file and directory that ever had the path, on all"
        " sites, through renames, as far as this site's journal goes back.",
    )
    reasons = commands.add_parser(
        "why",
        parents=[common],
        help="why a path is as it is",
        description="Shows what is on this disk, what the volume has there, what waits and why, and"
        " which rule decided each conflict.",
    )
    for parser in (history, reasons):
        parser.add_argument(
            "path", metavar="PATH", help="below the root, or with the root before it"
        )
        _add_json(parser)


def _add_verify(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="compare disk, journal and store, and repair what can be repaired",
        description="Reads every file, the journal, and what the store should hold of them, with or"
        " without a daemon, and says what is damaged or missing. Exit code 3 when something is, 1"
        " when something could not be checked.",
    )
    _add_json(parser)
    parser.add_argument(
        "--deep", action="store_true", help="read every chunk in the store, not only ask for it"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="supply again what the store lacks, and put damaged files back",
    )
    parser.add_argument(
        "--fast", action="store_true", help="do not rest as long as it works, as it does otherwise"
    )


def _add_brake(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "brake",
        help="show what would delete or replace much at once, and decide about it",
        description="Shows what waits since it would delete or replace much at once, at any site,"
        " and decides about it.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", parents=[common], help="all brakes that hold; exit code 3 when one waits for you"
    )
    listing.add_argument("--plan", action="store_true", help="show all paths, not just a few")
    _add_json(listing)
    for action, meaning in (
        ("approve", "what the brake holds shall be done, on all sites"),
        ("reject", "the files shall be as they were, on all sites"),
    ):
        deciding = actions.add_parser(action, parents=[common], help=meaning)
        deciding.add_argument("identity", metavar="ID", help="as shown by: geosync brake list")


def _add_gc(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "gc",
        parents=[common],
        help="remove from the store what nobody needs any more",
        description="Takes the next step of collecting garbage now, and tells how far that is. The"
        " daemon does so by itself every few hours.",
    )
    parser.add_argument("--explain", action="store_true", help="only tell, change nothing")
    _add_json(parser)


def _add_site(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "site",
        help="show the sites of the volume, and retire one that is lost",
        description="Shows who takes part in the volume, and takes out who is lost for good.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_json(
        actions.add_parser("list", parents=[common], help="all sites, and what waits for them")
    )
    retiring = actions.add_parser(
        "retire", parents=[common], help="take a lost site out of the volume; it may come back"
    )
    retiring.add_argument("name", metavar="NAME", help="of the site, or an actor in full")
    retiring.add_argument("--yes", action="store_true", help="do not ask")


def _add_check(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "check",
        parents=[common],
        help="tell a monitoring system how the site is doing, as its plugins do",
        description="Prints one line with performance data, and ends with 0 for OK, 1 for WARNING,"
        " 2 for CRITICAL, 3 for UNKNOWN.",
    )
    for letter, name, default in (
        ("w", "warning", "lag=60,conflicts=0,brakes=0,problems=0"),
        ("c", "critical", "lag=300"),
    ):
        parser.add_argument(
            f"-{letter}",
            f"--{name}",
            metavar="NAME=NUMBER,…",
            action="append",
            help=f"{name.upper()} above these ({default}); names: lag, peer-lag (seconds),"
            " conflicts, brakes, problems, waiting (paths), unpublished (changes)",
        )
    parser.add_argument(
        "-t",
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="CRITICAL when the daemon does not answer within so long (10)",
    )


def _add_doctor(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="look at this machine and the store, and say what to do",
        description="Looks at file systems, limits of the kernel, the state directory, the clock"
        " and the store, with or without a daemon. Exit code 1 for a failure, 3 for a warning.",
    )
    _add_json(parser)


def _add_failover(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    promoting = commands.add_parser(
        "promote",
        parents=[common],
        help="make this site the primary",
        description="Makes this site the primary once the one before was demoted and all that was"
        " written there is on this disk.",
    )
    promoting.add_argument(
        "--force",
        action="store_true",
        help="at once, whatever is missing here; tells what that is",
    )
    promoting.add_argument(
        "--report",
        action="store_true",
        help="change nothing; show who is the primary, and what former ones wrote late",
    )
    _add_timeout(promoting)
    _add_json(promoting)
    demoting = commands.add_parser(
        "demote",
        parents=[common],
        help="make this site a standby once all is stored that was written here",
        description="Captures and publishes everything that was written here, then captures"
        " nothing any more, so that another site can be promoted without losing anything.",
    )
    _add_timeout(demoting)
    _add_json(demoting)


def _add_identity(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument(
        "identity", metavar="ID|PATH", nargs=nargs, help="as shown by: geosync conflicts list"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="give up after so long, with exit code 4",
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


_seconds.__name__ = "number of seconds"
