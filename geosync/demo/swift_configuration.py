"""The configuration files of a whole OpenStack Swift that lives in one directory."""

from __future__ import annotations

import base64
import json
import os
import pwd
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass

SERVER_KINDS = ("object", "container", "account", "proxy")
DEVICE_NAME = "disk"

Options = Mapping[str, str]
Sections = Mapping[str, Options]  # section name -> its options, in the order of the file


@dataclass(frozen=True, slots=True)
class SwiftLayout:
    """What has to stay the same when Swift is started again on its directory.

    Attributes:
        region_count: every region has one device, its three storage servers, and one proxy.
        hash_salt: makes object placement and the names on disk this cluster's own.
        fernet_key: tokens are encrypted with it, so they outlive a restart and need no memcached.
        ports: TCP port of each server on 127.0.0.1, by server name.
    """

    region_count: int
    hash_salt: str
    fernet_key: str
    ports: dict[str, int]

    @classmethod
    def new(cls, region_count: int, ports: dict[str, int]) -> SwiftLayout:
        """Makes the layout of a new cluster, with secrets of its own."""
        fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        return cls(region_count, secrets.token_hex(8), fernet_key, ports)

    @classmethod
    def load(cls, directory: str) -> SwiftLayout:
        """Reads what `save` wrote. Raises FileNotFoundError in a new directory."""
        with open(_layout_path(directory), encoding="ascii") as file:
            return cls(**json.load(file))

    def save(self, directory: str) -> None:
        """Writes the layout for the next start and for the server processes."""
        with open(_layout_path(directory), "w", encoding="ascii") as file:
            json.dump(asdict(self), file, indent=1)


def server_names(region_count: int) -> list[str]:
    """All servers, storage before proxies: `object-1`, ... `proxy-2`."""
    return [f"{kind}-{region}" for kind in SERVER_KINDS for region in range(1, region_count + 1)]


def configuration_directory(directory: str) -> str:
    """Swift's `swift_dir`: what /etc/swift is for an installed Swift."""
    return os.path.join(directory, "etc")


def configuration_path(directory: str, server: str) -> str:
    """The paste file of one server."""
    return os.path.join(configuration_directory(directory), f"{server}.conf")


def reader_of(user: str) -> str:
    """Returns the user of the same account who has no rights but those that containers give."""
    return f"{user.split(':', maxsplit=1)[0]}:reader"


def operator_of(user: str) -> str:
    """Returns the user of the same account who may set the quotas of accounts."""
    return f"{user.split(':', maxsplit=1)[0]}:operator"


def tempauth_filters(user: str, key: str, fernet_key: str) -> Sections:
    """Swift's own authentication, with one user who may do everything in its account.

    Two others, `reader_of` and `operator_of` it, have the same key.

    Args:
        user: `account:user`.
        key: its password; no white space, because Swift splits the value there.
        fernet_key: encrypts the tokens.
    """
    return {
        "tempauth": {
            "use": "egg:swift#tempauth",
            "active_fernet_key_id": "1",
            "fernet_key_1": fernet_key,
            _tempauth_user(user): f"{key} .admin",
            _tempauth_user(reader_of(user)): key,
            _tempauth_user(operator_of(user)): f"{key} .admin .reseller_admin",
        }
    }


def _tempauth_user(user: str) -> str:
    encoded = [base64.b64encode(part.encode()).decode().rstrip("=") for part in user.split(":")]
    return f"user64_{'_'.join(encoded)}"


def keystone_filters(authtoken_options: Options) -> Sections:
    """Authentication by a Keystone: `authtoken_options` say where it is and who Swift is to it."""
    return {
        "authtoken": {
            "paste.filter_factory": "keystonemiddleware.auth_token:filter_factory",
            "delay_auth_decision": "true",
            "include_service_catalog": "true",
            "service_type": "object-store",
            "cache": "swift.cache",
            **authtoken_options,
        },
        "keystoneauth": {"use": "egg:swift#keystoneauth", "operator_roles": "admin, member"},
    }


# Of the proxies where there are several regions: without it each request that touches a region
# which hangs takes ten seconds, as nothing is put aside after errors here.
_PATIENCE: Options = {
    "node_timeout": "2",
    "recoverable_node_timeout": "1",
    "concurrent_gets": "true",
    "concurrency_timeout": "0.3",
}


def rate_limit_filters(options: Options) -> Sections:
    """Swift's ratelimit filter, to stand before those of authentication.

    Args:
        options: of the filter; none: there is no limit.
    """
    return {"ratelimit": {"use": "egg:swift#ratelimit", **options}} if options else {}


def write_configuration(directory: str, layout: SwiftLayout, auth_filters: Sections) -> None:
    """Writes swift.conf and one paste file per server; replaces what was there."""
    os.makedirs(configuration_directory(directory), exist_ok=True)
    salt = {"swift_hash_path_prefix": layout.hash_salt, "swift_hash_path_suffix": layout.hash_salt}
    policy = {"name": "standard", "default": "yes"}
    _write(directory, "swift", {"swift-hash": salt, "storage-policy:0": policy})
    for server in server_names(layout.region_count):
        kind, region = server.split("-")
        if kind == "proxy":
            patience = _PATIENCE if layout.region_count > 1 else {}
            _write(directory, server, _proxy_sections(directory, auth_filters, patience))
        else:
            _write(directory, server, _storage_sections(directory, kind, region))


def _layout_path(directory: str) -> str:
    return os.path.join(directory, "layout.json")


def _proxy_sections(directory: str, auth_filters: Sections, patience: Options) -> Sections:
    before = ["catch_errors", "gatekeeper", "healthcheck", "cache", "listing_formats", "bulk"]
    after = ["copy", "container_quotas", "account_quotas", "slo"]
    filters: Sections = {
        **{name: {"use": f"egg:swift#{name}"} for name in before + after},
        **auth_filters,
        "cache": {"paste.filter_factory": "geosync.demo.swift_cache:filter_factory"},
    }
    return {
        "DEFAULT": _common_options(directory),
        "pipeline:main": {"pipeline": " ".join([*before, *auth_filters, *after, "proxy-server"])},
        "app:proxy-server": {
            "use": "egg:swift#proxy",
            "account_autocreate": "true",
            # A storage server that was stopped and started again is asked again at once.
            "error_suppression_interval": "0",
            **patience,
        },
    } | {f"filter:{name}": options for name, options in filters.items()}


def _storage_sections(directory: str, kind: str, region: str) -> Sections:
    devices = os.path.join(directory, f"region-{region}")
    os.makedirs(os.path.join(devices, DEVICE_NAME), exist_ok=True)
    return {
        "DEFAULT": {**_common_options(directory), "devices": devices},
        "pipeline:main": {"pipeline": f"healthcheck {kind}-server"},
        f"app:{kind}-server": {"use": f"egg:swift#{kind}"},
        "filter:healthcheck": {"use": "egg:swift#healthcheck"},
    }


def _common_options(directory: str) -> dict[str, str]:
    return {
        "swift_dir": configuration_directory(directory),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "log_level": "WARNING",
        "mount_check": "false",
        "disable_fallocate": "true",
    }


def _write(directory: str, name: str, sections: Sections) -> None:
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{option} = {_escaped(value)}" for option, value in options.items()]
    with open(configuration_path(directory, name), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _escaped(value: str) -> str:
    """Swift replaces `%%` and `%(name)s`, but only in a value that has the latter somewhere."""
    return value.replace("%", "%%") if "%(" in value else value
