"""The configuration of one volume on one site: read, checked as a whole, and written anew."""

import os
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NoReturn

from conflict.brakes import BrakeLimits
from geosync.configuration.bandwidth import BandwidthRules, bandwidth_lines, read_bandwidth
from geosync.configuration.brakes import brake_lines, read_brake_limits
from geosync.configuration.capture import capture_lines, read_capture_rules
from geosync.configuration.capture_rules import CaptureRules
from geosync.configuration.checkpoint_pace import HOURS, OPERATIONS, CheckpointPace
from geosync.configuration.collection_pace import (
    COLLECTION_HOURS,
    GRACE_HOURS,
    HISTORY_DAYS,
    CollectionPace,
    collection_pace,
)
from geosync.configuration.hints import HintSettings, hint_lines, read_hints
from geosync.configuration.hook_rules import HookRule
from geosync.configuration.hooks import hook_lines, read_hooks
from geosync.configuration.merge_program_rules import MergeProgram
from geosync.configuration.merge_programs import merge_program_lines, read_merge_programs
from geosync.configuration.owners import owner_lines, read_owner_map
from geosync.configuration.table_reader import TableReader, shown, shown_path, toml_string
from geosync.errors import ConfigurationError, ConfigurationProblem, OperatorError
from geosync.exit_codes import ExitCode
from geosync.network_address import NetworkAddress, parse_address

CONFIGURATION_DIRECTORY = "/etc/geosync"
CONFIGURATION_VARIABLE = "GEOSYNC_CONFIG"
STATE_DIRECTORY = "/var/lib/geosync"
DEFAULT_LISTEN = "127.0.0.1:8484"
CONFIGURATION_BYTES_MAX = 1 << 20

_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")
ENDPOINT_KEYS = ("name", "cloud", "auth_url", "region_name", "interface", "cacert")
"""Of a table [[swift.endpoint]]; all else is the same at all endpoints of one store."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOP_LEVEL_KEYS = (
    "volume", "site", "root", "state_dir", "mode", "drift", "allow_setuid", "store", "swift",
    "directory", "http", "tuning", "capture", "file_group", "hook", "fifos", "owners", "groups",
    "brakes", "merge_program", "hints", "bandwidth",
)  # fmt: skip


class Mode(StrEnum):
    """What a site does with changes, of its own and of others."""

    MULTI_MASTER = "multi-master"
    REPLICA = "replica"
    PRIMARY = "primary"
    STANDBY = "standby"


class DriftPolicy(StrEnum):
    """What becomes of changes on a disk from which nothing is captured."""

    KEEP = "keep"
    REVERT = "revert"


class StoreKind(StrEnum):
    """Where the sites meet."""

    SWIFT = "swift"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that most operators never change.

    Attributes:
        settle_ms: how long a restless directory must rest before it is looked at.
        poll_active_ms: time between two looks at the store while changes arrive.
        poll_idle_ms: the same when nothing has arrived for a while.
        rescan_s: time between two scans of the whole tree.
        transfer_workers: how many transfers run at the same time.
        transfer_memory_mib: about how much memory these may take.
        checkpoint_operations: a checkpoint is due after so many operations of all sites, and as
            many as a tenth of the names in the volume.
        checkpoint_hours: and after so many hours in which anything was written.
        collection_hours: time between two looks at what is needed of the store.
        history_days: for how long contents that were replaced or deleted are kept.
        grace_hours: for how long packs that nobody needs are kept once all know that they go.
    """

    settle_ms: int = 30
    poll_active_ms: int = 200
    poll_idle_ms: int = 2000
    rescan_s: int = 3600
    transfer_workers: int = 4
    transfer_memory_mib: int = 64
    checkpoint_operations: int = OPERATIONS
    checkpoint_hours: int = HOURS
    collection_hours: int = COLLECTION_HOURS
    history_days: int = HISTORY_DAYS
    grace_hours: int = GRACE_HOURS

    @property
    def checkpoint_pace(self) -> CheckpointPace:
        """When checkpoints are due."""
        return CheckpointPace(self.checkpoint_operations, self.checkpoint_hours)

    @property
    def collection_pace(self) -> CollectionPace:
        """When garbage is collected."""
        return collection_pace(self.collection_hours, self.history_days, self.grace_hours)


_TUNING_RULES: dict[str, tuple[int, int, str]] = {
    "settle_ms": (0, 600_000, "How long a restless directory must rest before it is looked at."),
    "poll_active_ms": (10, 3_600_000, "Time between two looks at the store while changes arrive."),
    "poll_idle_ms": (10, 3_600_000, "The same when nothing has arrived for a while."),
    "rescan_s": (1, 31_536_000, "Time between two scans of the whole tree."),
    "transfer_workers": (1, 64, "How many transfers run at the same time."),
    "transfer_memory_mib": (8, 65_536, "About how much memory these may take, in MiB."),
    "checkpoint_operations": (
        10,
        1_000_000_000,
        "A checkpoint is due after so many operations of all sites, and a tenth of the tree.",
    ),
    "checkpoint_hours": (
        1,
        87_600,
        "And after so many hours, if anything was written in them.",
    ),
    "collection_hours": (
        1,
        8760,
        "Time between two looks at what is needed of the store.",
    ),
    "history_days": (
        0,
        36500,
        "For how long contents that were replaced or deleted are kept.",
    ),
    "grace_hours": (
        1,
        8760,
        "For how long packs that nobody needs are kept once all know that they go.",
    ),
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that passed every check; made by the functions of this module only.

    Attributes:
        root: absolute path of the directory that is synced.
        state_dir: absolute path of the journal and the caches; outside of `root`.
        allow_setuid: whether files get setuid and setgid when another site wrote them.
        fifos: whether FIFOs that programs make here become part of the volume.
        owners: users whom the volume knows by another name than this machine: name in the volume
            -> name here, or b"#" and a number.
        groups: the same for groups.
        swift: the [swift] table as it stands, which the Swift store checks; it holds secrets.
        swift_endpoints: the tables [[swift.endpoint]], the nearest first: what is different there.
        directory_path: where the directory store lies; None unless configured.
        http_listen: None turns HTTP off.
        http_names: host names by which the HTTP server may be asked, besides its own.
        capture: the tables [[capture]] and [[file_group]].
        hooks: the tables [[hook]], in their order.
        brakes: how much may go at once without anybody being asked.
        merge_programs: the tables [merge_program.NAME], by name.
        hints: the table [hints].
        bandwidth: the table [bandwidth].
        source: the file (or other origin) it came from, for messages.
    """

    volume: str
    site: str
    root: bytes
    state_dir: bytes
    mode: Mode
    drift: DriftPolicy
    allow_setuid: bool
    fifos: bool
    owners: dict[bytes, bytes]
    groups: dict[bytes, bytes]
    store: StoreKind
    swift: dict[str, str] = field(repr=False)
    swift_endpoints: tuple[dict[str, str], ...] = field(repr=False)
    directory_path: bytes | None
    http_listen: NetworkAddress | None
    http_names: tuple[str, ...]
    tuning: Tuning
    capture: CaptureRules
    hooks: tuple[HookRule, ...]
    brakes: BrakeLimits
    merge_programs: dict[str, MergeProgram]
    hints: HintSettings
    bandwidth: BandwidthRules
    source: str = field(compare=False)


def default_configuration_path(volume: str) -> str:
    """Where the configuration of a volume is looked for when no file is named."""
    return f"{CONFIGURATION_DIRECTORY}/{volume}.toml"


def load_configuration(
    path: str | None,
    environment: Mapping[str, str],
    directory: str = CONFIGURATION_DIRECTORY,
) -> Configuration:
    """Reads and checks a configuration file.

    Args:
        path: the file; None takes the one in GEOSYNC_CONFIG, else the only one in `directory`.
        environment: the process environment.
        directory: where files are looked for when none is named.

    Raises:
        ConfigurationError: the file breaks rules; the error lists all of them.
        OperatorError: no file, several to choose from, or one that cannot be read (exit code 2).
    """
    chosen = path or environment.get(CONFIGURATION_VARIABLE) or _only_file_in(directory)
    return parse_configuration(_read_toml(chosen), chosen)


def parse_configuration(document: Mapping[str, object], source: str) -> Configuration:
    """Checks a parsed TOML document, or a like mapping that `geosync init` made of its options.

    Symbolic links on the disk are followed to see whether one directory lies inside another.

    Raises:
        ConfigurationError: the document breaks rules; the error lists all of them.
    """
    reader = TableReader("", document, [], _TOP_LEVEL_KEYS)
    reader.refuse_unknown(_TOP_LEVEL_KEYS)
    volume = reader.name("volume", "the same on every site")
    root = reader.path("root", "the directory that is synced")
    state_dir = b""
    if volume or "state_dir" in document:
        state_dir = reader.path("state_dir", "the journal's", f"{STATE_DIRECTORY}/{volume}")
    store = reader.choice("store", StoreKind.SWIFT)
    configuration = Configuration(
        volume=volume,
        site=reader.name("site", "different on every site"),
        root=root,
        state_dir=state_dir,
        mode=reader.choice("mode", Mode.MULTI_MASTER),
        drift=reader.choice("drift", DriftPolicy.KEEP),
        allow_setuid=reader.truth("allow_setuid", default=False),
        fifos=reader.truth("fifos", default=False),
        owners=read_owner_map(reader.table("owners")),
        groups=read_owner_map(reader.table("groups")),
        store=store,
        swift=_swift(reader.table("swift")),
        swift_endpoints=_swift_endpoints(reader.table("swift")),
        directory_path=_directory_path(reader.table("directory"), store),
        http_listen=_http_listen(http := reader.table("http")),
        http_names=_http_names(http),
        tuning=_tuning(reader.table("tuning")),
        capture=read_capture_rules(reader),
        hooks=read_hooks(reader),
        brakes=read_brake_limits(reader.table("brakes")),
        merge_programs=read_merge_programs(reader.table("merge_program")),
        hints=read_hints(reader.table("hints")),
        bandwidth=read_bandwidth(reader.table("bandwidth")),
        source=source,
    )
    _refuse_nesting(reader, configuration)
    if reader.problems:
        raise ConfigurationError(source, reader.problems)
    return configuration


def _swift(reader: TableReader) -> dict[str, str]:
    for key, value in reader.values.items():
        if not isinstance(value, str) and key != "endpoint":
            # The value is not shown: it may be a password that happens to be a number.
            found = f"a value of type {type(value).__name__}"
            reader.report(key, found, "a text", "write the value between quotes")
    return {key: value for key, value in reader.values.items() if isinstance(value, str)}


def _swift_endpoints(reader: TableReader) -> tuple[dict[str, str], ...]:
    readers = reader.tables("endpoint", within="swift")
    for each in readers:
        each.refuse_unknown(ENDPOINT_KEYS)
        if "name" not in each.values:
            each.report("name", "nothing", "a name of your own for it", "write name = …")
    endpoints = tuple(_swift(each) for each in readers)
    names = [endpoint.get("name", "") for endpoint in endpoints]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.report("endpoint", f"two called {shown(name)}", "different names", "rename one")
    return endpoints


def _directory_path(reader: TableReader, store: StoreKind) -> bytes | None:
    reader.refuse_unknown(["path"])
    if "path" not in reader.values and store != StoreKind.DIRECTORY:
        return None
    return reader.path("path", "where the directory store lies")


def _http_listen(reader: TableReader) -> NetworkAddress | None:
    reader.refuse_unknown(["listen", "names"])
    expected = f'"host:port" such as "{DEFAULT_LISTEN}" or "[::1]:8484", or "" for no HTTP'
    value = reader.text("listen", expected, DEFAULT_LISTEN)
    if not value:
        return None
    address = parse_address(value)
    if address is None:
        reader.report("listen", shown(value), expected, "write the address and the port")
    return address


def _http_names(reader: TableReader) -> tuple[str, ...]:
    value = reader.values.get("names", [])
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        names = tuple(name for name in value if _HOST_NAME.fullmatch(name))
        if len(names) == len(value):
            return names
    expected = 'host names without ports, such as ["files.example.org"]'
    reader.report("names", shown(value), expected, "write each name between quotes")
    return ()


def _tuning(reader: TableReader) -> Tuning:
    reader.refuse_unknown([each.name for each in fields(Tuning)])
    default = Tuning()
    tuning = Tuning(
        **{
            key: reader.number(key, getattr(default, key), minimum, maximum)
            for key, (minimum, maximum, _) in _TUNING_RULES.items()
        }
    )
    if tuning.poll_idle_ms < tuning.poll_active_ms:
        expected = f"at least poll_active_ms, which is {tuning.poll_active_ms}"
        reader.report("poll_idle_ms", str(tuning.poll_idle_ms), expected, "raise it")
    return tuning


def _refuse_nesting(reader: TableReader, configuration: Configuration) -> None:
    """A journal or store inside the volume would be synced itself, and feed on its own changes."""
    root = os.path.realpath(configuration.root)
    others = {
        "state_dir": configuration.state_dir,
        "[directory] path": configuration.directory_path,
    }
    for key, path in others.items():
        if not path or not configuration.root:
            continue
        other = os.path.realpath(path)
        outer = os.path.commonpath((root, other))
        if outer == root:
            found, expected = f"{shown_path(other)} inside root", "a directory outside of root"
        elif outer == other:
            found, expected = f"{shown_path(other)} around root", "a directory without root in it"
        else:
            continue
        problem = ConfigurationProblem(key, found, expected, f"move {key} or root elsewhere")
        reader.problems.append(problem)


def _only_file_in(directory: str) -> str:
    try:
        names = sorted(each for each in os.listdir(directory) if each.endswith(".toml"))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            _refuse_unreadable(directory, error)
        names = []
    if len(names) == 1:
        return f"{directory}/{names[0]}"
    naming = f"name the file with --config FILE or in {CONFIGURATION_VARIABLE}"
    if not names:
        text = f"no configuration: there is no *.toml in {directory}; {naming}, "
        raise OperatorError(text + "or make one with: geosync init", ExitCode.BAD_USAGE)
    listed = "\n".join(f"  {directory}/{name}" for name in names)
    text = f"{directory} holds {len(names)} configurations; {naming}. They are:\n{listed}"
    raise OperatorError(text, ExitCode.BAD_USAGE)


def _read_toml(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            content = file.read(CONFIGURATION_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        _refuse_unreadable(path, error)
    if len(content) > CONFIGURATION_BYTES_MAX:
        _refuse_toml(path, f"more than {CONFIGURATION_BYTES_MAX} bytes")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        _refuse_toml(path, f"byte 0x{content[error.start]:02x} at offset {error.start}")
    except (ValueError, RecursionError) as error:
        _refuse_toml(path, str(error))


def _refuse_unreadable(path: str, error: OSError | ValueError) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    advice = "check the path and who may read it"
    if isinstance(error, FileNotFoundError):
        advice = "check the path, or make the file with: geosync init"
    text = f"cannot read the configuration {path}: {reason}; {advice}"
    raise OperatorError(text, ExitCode.BAD_USAGE) from error


def _refuse_toml(path: str, found: str) -> NoReturn:
    problem = ConfigurationProblem(
        "the file as a whole", found, "a TOML file in UTF-8", "correct the place that is named"
    )
    raise ConfigurationError(path, [problem])


def default_configuration_text(configuration: Configuration) -> str:
    """A commented configuration file that reads back as the given configuration.

    Everything that has its default value is written too, commented out where it is tuning, so
    that the file explains every key.
    """
    listen = "" if configuration.http_listen is None else str(configuration.http_listen)
    return _TEMPLATE.format(
        volume=toml_string(configuration.volume),
        container=configuration.volume,
        site=toml_string(configuration.site),
        root=toml_string(os.fsdecode(configuration.root)),
        state_dir=toml_string(os.fsdecode(configuration.state_dir)),
        mode=toml_string(configuration.mode),
        drift=toml_string(configuration.drift),
        allow_setuid=str(configuration.allow_setuid).lower(),
        fifos=str(configuration.fifos).lower(),
        owners=owner_lines(configuration.owners, 'www-data = "apache"'),
        groups=owner_lines(configuration.groups, 'www-data = "#48"'),
        store=toml_string(configuration.store),
        swift=_swift_lines(configuration.swift),
        endpoints=_endpoint_lines(configuration.swift_endpoints),
        directory_path=_directory_line(configuration.directory_path),
        listen=toml_string(listen),
        http_names=_http_names_line(configuration.http_names),
        tuning=_tuning_lines(configuration.tuning),
        capture=capture_lines(configuration.capture) + hook_lines(configuration.hooks),
        brakes=brake_lines(configuration.brakes),
        merge_programs=merge_program_lines(configuration.merge_programs),
        hints=hint_lines(configuration.hints),
        bandwidth=bandwidth_lines(configuration.bandwidth),
    )


_TEMPLATE = """\
# geosync: one volume on one site. Unknown keys are errors.

# The name of the volume, the same on every site. Its Swift containers are named after it:
# geosync-{container}-… (1 to 63 of a-z, 0-9 and -, of which the first is no hyphen).
volume = {volume}

# The name of this site, different on every site (same rule as for the volume).
site = {site}

# The directory that is synced. It must exist: geosync never creates it, because an empty
# directory where a file system was not mounted looks like one whose files were all deleted.
root = {root}

# The journal and the caches, outside of root, on a local disk; created when missing.
state_dir = {state_dir}

# What this site does. "multi-master": it captures and applies changes, as all sites do. "replica":
# it only applies, and never writes to the store, so that credentials that may only read are enough.
# "primary" and "standby": one site captures, the others follow, and `geosync promote` and
# `geosync demote` change which; the word here only says who is the primary at the very beginning.
mode = {mode}

# What becomes of changes that programs make here while the site captures nothing (replica,
# standby). "keep": they are left alone and reported. "revert": the volume's state is put back, and
# what was there is kept in .geosync/drift.
drift = {drift}

# Whether files that another site wrote get setuid and setgid here. Whoever may make such a file
# there runs programs as its owner here: say yes only where root is the same person on all sites.
allow_setuid = {allow_setuid}

# Whether FIFOs (named pipes) that programs make here are made on the other sites, too. What is
# written into one never travels. Sockets and devices are left alone in any case.
fifos = {fifos}

# Where the sites meet: "swift" (OpenStack Swift), or "directory" (one that all sites can reach).
store = {store}

[swift]
# How to log in to Swift. What is not written here is taken from the environment (OS_* or ST_*
# variables); cloud names an entry of clouds.yaml. Keep this file secret if it holds a key.
{swift}

# Where one store is reached through several endpoints (regions of one cluster), the nearest first:
# the first that works is used, and the nearest again once it is back. What a table does not say is
# as in [swift]; it may say cloud, auth_url, region_name, interface and cacert.
{endpoints}

[directory]
# Where the store lies when store = "directory".
{directory_path}

[owners]
# Files keep their owners by name; who has no name goes by number. A user whom the volume knows by
# another name than this machine: name in the volume = name here, or "#" and a number.
{owners}

[groups]
# The same for groups.
{groups}

[http]
# Health, metrics and the status page: "host:port", or "" for none. Whoever reaches the address
# may read the status and names of files; what changes something needs the token that
# `geosync status --http` shows. Two volumes on one machine need two ports.
listen = {listen}
# Host names by which browsers and programs ask it, besides addresses, localhost and this machine's.
{http_names}

[tuning]
# Numbers that most operators never change; the ones behind a # are the defaults.
{tuning}

[hints]
# Sites that can reach each other may tell of a change with one UDP packet, so that the other site
# need not wait for its next look at the store. It carries no data, and nothing breaks when it is
# lost. listen: where hints are heard; peers: to whom they are sent; secret_file: the same secret
# on all sites (head -c 32 /dev/urandom | base64), in a file that not everybody may read.
{hints}

[bandwidth]
# How fast contents may go to the store and come from it, in KiB a second over all transfers; 0: as
# fast as they can. What is not larger than 64 KiB never waits. Tables [[bandwidth.period]] say
# otherwise for parts of the day, by this machine's local time; the first that fits counts.
{bandwidth}

[brakes]
# What would delete or replace much at once waits for you: `geosync brake list` shows it, on any
# site. Everything else goes on. Moves and renames count as nothing. The lines behind a # are the
# defaults.
{brakes}

# Programs that merge concurrent versions of a file, where the volume's policy is command:NAME (see
# geosync policy). No shell is involved. A site without a program leaves that to the others.
{merge_programs}

# Files that a program has open for writing all the time, by name or by path below the root. The
# first table that matches decides. open_files: "wait" (the default: captured once it is closed),
# "snapshot" (captured as it is at one moment, every snapshot_every_s), "exclude" (never captured).
# [[capture]]
# paths = ["*.log", "spool/**"]
# open_files = "snapshot"
# snapshot_every_s = 10

# Files that belong together and are captured together or not at all. kind: "sqlite" (a database
# with its -wal and -journal), "git" or "directory" (a directory with all below).
# [[file_group]]
# paths = ["data/wiki.sqlite3"]
# kind = "sqlite"
# open_files = "wait"

# Programs to run when something has happened; no shell is involved. on: "arrived" (changes of other
# sites are on this disk), "conflict", "settled" (a conflict appeared, or is over), "brake" (a mass
# change waits for a person), "silent", "heard" (a site does not answer, or does again). input:
# "paths" (below the root, each ended by a NUL, on standard input) or "json".
# [[hook]]
# on = ["arrived"]
# command = ["/usr/local/bin/flush-cache"]
# paths = ["public/**"]
# input = "paths"
# wait_s = 2
# timeout_s = 30
# attempts = 3
{capture}"""


_SWIFT_EXAMPLES = """\
# cloud = "…"
# auth_url = "https://…/auth/v1.0"
# user = "…"
# key = "…\""""


_ENDPOINT_EXAMPLES = """\
# [[swift.endpoint]]
# name = "near"
# region_name = "bari"
# [[swift.endpoint]]
# name = "far"
# auth_url = "https://…/v3"
# region_name = "cnaf\""""


def _swift_lines(swift: Mapping[str, str]) -> str:
    if not swift:
        return _SWIFT_EXAMPLES
    return "\n".join(
        f"{key if _BARE_KEY.fullmatch(key) else toml_string(key)} = {toml_string(value)}"
        for key, value in swift.items()
    )


def _endpoint_lines(endpoints: Sequence[Mapping[str, str]]) -> str:
    if not endpoints:
        return _ENDPOINT_EXAMPLES
    return "\n\n".join(f"[[swift.endpoint]]\n{_swift_lines(each)}" for each in endpoints)


def _directory_line(path: bytes | None) -> str:
    return (
        '# path = "/srv/geosync-store"'
        if path is None
        else f"path = {toml_string(os.fsdecode(path))}"
    )


def _http_names_line(names: tuple[str, ...]) -> str:
    if not names:
        return '# names = ["files.example.org"]'
    return f"names = [{', '.join(map(toml_string, names))}]"


def _tuning_lines(tuning: Tuning) -> str:
    default = Tuning()
    lines = []
    for key, (minimum, maximum, meaning) in _TUNING_RULES.items():
        value = getattr(tuning, key)
        lines.append(f"# {meaning} ({minimum} to {maximum})")
        lines.append(f"{'# ' if value == getattr(default, key) else ''}{key} = {value}")
    return "\n".join(lines)


def write_new_configuration(path: str, text: str) -> None:
    """Writes a configuration file where there is none; complete and on the disk, or not at all.

    Its mode is 0640, because it may hold a key. Missing directories are created.

    Raises:
        OperatorError: there is a file already (it is left alone), or it cannot be written.
    """
    directory = os.path.dirname(path) or "."
    temporary = f"{directory}/.geosync-{secrets.token_hex(8)}.new"
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        # CRASH: a file is left whose name does not end in .toml, so that nothing reads it.
        _write_durably(temporary, text.encode())
        try:
            _link_new(temporary, path)
        finally:
            os.unlink(temporary)
        _sync_directory(directory)
    except OSError as error:
        refusal = f"cannot write {path}: {error.strerror}; check who may write there and the disk"
        raise OperatorError(refusal) from error


def _link_new(temporary: str, path: str) -> None:
    try:
        # Unlike rename, link refuses to replace a file that is already there.
        os.link(temporary, path)
    except FileExistsError as error:
        refusal = f"did not write {path}: it is there already and was left as it is; "
        raise OperatorError(refusal + "edit it, or move it away first") from error


def _write_durably(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o640)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        os.unlink(path)
        raise


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
