"""Swift credentials, from the configuration, the environment or clouds.yaml, as one value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import yaml  # noqa: TID251 - its home

from transport.errors import InvalidCredentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class LoginKind(Enum):
    """The ways to log in that geosync knows."""

    V1 = "v1 (user, key)"
    V3_PASSWORD = "Keystone v3 password (username, password)"  # noqa: S105 - no password
    V3_APPLICATION_CREDENTIAL = "Keystone v3 application credential (application_credential_*)"


@dataclass(frozen=True, slots=True)
class SwiftCredentials:
    """All that a login needs, complete and free of contradictions.

    Attributes:
        kind: which of the other fields count; "" is absent.
        auth_url: of the v1 or of the Keystone v3 service; the latter ends in /v3.
        user: of v1 (`account:user`) or of Keystone.
        secret: the key, the password or the secret of the application credential.
        interface: public, internal or admin; "" is public.
        cacert: file of certificates to trust; "" for those of the system.
    """

    kind: LoginKind
    auth_url: str
    secret: str = field(repr=False)
    user: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    application_credential_id: str = ""
    application_credential_name: str = ""
    region_name: str = ""
    interface: str = ""
    cacert: str = ""

    def describe(self) -> str:
        """Says who logs in where, without the secret, for messages."""
        at = f"at {self.auth_url}" + f", region {self.region_name}" * bool(self.region_name)
        if self.kind is LoginKind.V3_APPLICATION_CREDENTIAL:
            name = self.application_credential_id or self.application_credential_name
            return f"application credential {name!r} {at}"
        project = self.project_id or self.project_name
        return f"user {self.user!r}{f' of project {project!r}' * bool(project)} {at}"


_USER_DOMAIN: Final = ("user_domain_id", "user_domain_name")
_PROJECT: Final = ("project_id", "project_name", "project_domain_id", "project_domain_name")
_APPLICATION: Final = ("application_credential_id", "application_credential_name")
_APPLICATION_SECRET: Final = "application_credential_secret"  # noqa: S105 - the name of a key
_CATALOGUE: Final = ("region_name", "interface")

_KEYS_OF_KIND: Final[Mapping[LoginKind, frozenset[str]]] = {
    LoginKind.V1: frozenset({"auth_url", "cacert", "user", "key"}),
    LoginKind.V3_PASSWORD: frozenset(
        {"auth_url", "cacert", "username", "password", *_USER_DOMAIN, *_PROJECT, *_CATALOGUE}
    ),
    LoginKind.V3_APPLICATION_CREDENTIAL: frozenset(
        {"auth_url", "cacert", "username", *_APPLICATION, _APPLICATION_SECRET}
        | {*_USER_DOMAIN, *_CATALOGUE}
    ),
}
_KEYS: Final = frozenset({"cloud"}).union(*_KEYS_OF_KIND.values())

_TELLING: Final[Mapping[LoginKind, frozenset[str]]] = {
    LoginKind.V1: frozenset({"user", "key"}),
    LoginKind.V3_PASSWORD: frozenset({"password"}),
    LoginKind.V3_APPLICATION_CREDENTIAL: frozenset({*_APPLICATION, _APPLICATION_SECRET}),
}
"""Keys that say by themselves how to log in."""

_ALL_KINDS: Final = frozenset(LoginKind)
_V1_KINDS: Final = frozenset({LoginKind.V1})
_V3_KINDS: Final = _ALL_KINDS - _V1_KINDS

_SAME_THING: Final = (
    frozenset({"project_id", "project_name"}),
    frozenset({"project_domain_id", "project_domain_name"}),
    frozenset(_USER_DOMAIN),
    frozenset(_APPLICATION),
)
"""Two names of one thing: a source that gives either hides the other of later sources."""

_ST_VARIABLES: Final = {"ST_AUTH": "auth_url", "ST_USER": "user", "ST_KEY": "key"}
_OS_VARIABLES: Final = {
    "OS_TENANT_NAME": "project_name",
    "OS_TENANT_ID": "project_id",
    "OS_ENDPOINT_TYPE": "interface",
} | {f"OS_{key.upper()}": key for key in sorted(_KEYS - {"cloud", "user", "key"})}

_AUTH_TYPES: Final = frozenset({"", "password", "v3password", "v3applicationcredential"})


@dataclass(frozen=True, slots=True)
class _Source:
    """Keys that one place gives, and what to call that place in a message."""

    place: str
    values: Mapping[str, str]
    kinds: frozenset[LoginKind]

    def told_kinds(self) -> list[LoginKind]:
        return [
            kind for kind in LoginKind if kind in self.kinds and _TELLING[kind] & set(self.values)
        ]


def resolve_credentials(
    table: Mapping[str, str],
    environment: Mapping[str, str],
    directories: Sequence[str] | None = None,
) -> SwiftCredentials:
    """Finds out how to log in from the first source that says so; later ones complete it.

    The sources are, in this order: the `[swift]` table; `ST_AUTH`, `ST_USER`, `ST_KEY`; the `OS_*`
    variables; the cloud that `OS_CLOUD` names in clouds.yaml, or the only one there. A `cloud` in
    the table means that cloud and takes nothing from the environment. A later source adds only
    keys that belong to the login that an earlier one has begun.

    Args:
        table: the `[swift]` table of the configuration.
        environment: the environment variables; none is read from anywhere else.
        directories: where clouds.yaml is looked for, if not in the usual places.

    Raises:
        InvalidCredentials: with everything that is wrong; no secret is part of it.
    """
    problems = [f"[swift] has an unknown key {key!r}" for key in sorted(set(table) - _KEYS)]
    if directories is None:
        directories = clouds_directories(environment)
    sources = _sources(table, environment, directories, problems)
    kind = _kind(sources, problems)
    if kind is None:
        if not problems:
            problems.append(
                "nothing says how to log in: [swift] has neither user and key, nor username and "
                "password, nor application_credential_id and _secret, nor cloud; ST_* and OS_* "
                f"variables do not either, and no clouds.yaml in {', '.join(directories)} does"
            )
        raise InvalidCredentials(problems)
    values = _merge(kind, sources)
    foreign = sorted((set(table) & _KEYS) - _KEYS_OF_KIND[kind] - {"cloud"})
    if foreign:
        problems.append(f"{', '.join(foreign)} has no place in a login by {kind.value}")
    problems += _missing(kind, values)
    auth_url = _checked_auth_url(kind, values.get("auth_url", ""), problems)
    if values.get("interface", "public") not in {"public", "internal", "admin"}:
        problems.append(f"interface is {values['interface']!r}, not public, internal or admin")
    if problems:
        raise InvalidCredentials(problems)
    return _credentials(kind, auth_url, values)


def clouds_directories(environment: Mapping[str, str]) -> list[str]:
    """Returns where clouds.yaml is looked for, the places that OpenStack's own tools use."""
    home = environment.get("HOME")
    own = [os.path.join(home, ".config", "openstack")] if home else []
    return [".", *own, "/etc/openstack"]


def _sources(
    table: Mapping[str, str],
    environment: Mapping[str, str],
    directories: Sequence[str],
    problems: list[str],
) -> list[_Source]:
    first = _Source("[swift]", {key: value for key, value in table.items() if value}, _ALL_KINDS)
    cloud = table.get("cloud", "")
    if cloud:
        return [first, *_cloud_sources(cloud, environment, directories, problems)]
    v1 = _Source("ST_*", _from_environment(_ST_VARIABLES, environment), _V1_KINDS)
    v3 = _Source("OS_*", _from_environment(_OS_VARIABLES, environment), _V3_KINDS)
    sources = [first, v1, v3]
    told = next((source for source in sources if source.told_kinds()), None)
    if told is v3:
        _check_auth_type("OS_AUTH_TYPE", environment.get("OS_AUTH_TYPE", ""), problems)
    cloud = environment.get("OS_CLOUD", "")
    if told is None or cloud:
        sources += _cloud_sources(cloud, environment, directories, problems)
    return sources


def _from_environment(
    variables: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    return {key: environment[name] for name, key in variables.items() if environment.get(name)}


def _check_auth_type(place: str, auth_type: str, problems: list[str]) -> None:
    if auth_type not in _AUTH_TYPES:
        problems.append(
            f"{place} is {auth_type!r}, which is not supported; create an application credential "
            "(openstack application credential create)"
        )


def _cloud_sources(
    name: str,
    environment: Mapping[str, str],
    directories: Sequence[str],
    problems: list[str],
) -> list[_Source]:
    """Returns the named cloud of clouds.yaml, or the only one if no name is given; or nothing."""
    named_file = environment.get("OS_CLIENT_CONFIG_FILE")
    candidates = [named_file] if named_file else []
    candidates += [os.path.join(directory, "clouds.yaml") for directory in directories]
    path = next((path for path in candidates if os.path.isfile(path)), None)
    if path is None:
        if name:
            problems.append(
                f"there is no clouds.yaml with the cloud {name!r}: none of "
                f"{', '.join(candidates)} exists"
            )
        return []
    clouds = _read_clouds(path, problems)
    secure_path = os.path.join(os.path.dirname(path), "secure.yaml")
    secure = _read_clouds(secure_path, problems) if os.path.isfile(secure_path) else {}
    names = [name] if name else sorted(clouds)
    if len(names) != 1 or names[0] not in clouds:
        have = ", ".join(sorted(clouds)) or "none"
        problems.append(
            f"name a cloud of {path} (cloud or OS_CLOUD): found {name!r}, it has {have}"
        )
        return []
    values = clouds[names[0]] | secure.get(names[0], {})
    place = f"cloud {names[0]!r} of {path}"
    _check_auth_type(f"auth_type of {place}", values.pop("auth_type", ""), problems)
    return [_Source(place, {key: values[key] for key in values if key in _KEYS}, _V3_KINDS)]


def _read_clouds(path: str, problems: list[str]) -> dict[str, dict[str, str]]:
    """Returns the keys of each cloud, those under `auth` among the others."""
    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path} cannot be read: {type(error).__name__}")
        return {}
    except yaml.YAMLError as error:
        # The error's own text quotes the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        problems.append(f"{path} is not YAML{f', see line {mark.line + 1}' if mark else ''}")
        return {}
    clouds = document.get("clouds") if isinstance(document, dict) else None
    if not isinstance(clouds, dict):
        problems.append(f"{path} has no table named clouds")
        return {}
    return {str(name): _flatten(cloud) for name, cloud in clouds.items()}


def _flatten(cloud: object) -> dict[str, str]:
    if not isinstance(cloud, dict):
        return {}
    auth = cloud.get("auth")
    values = cloud | (auth if isinstance(auth, dict) else {})
    return {
        str(key): str(value)
        for key, value in values.items()
        if isinstance(value, str | int | float) and value != ""
    }


def _kind(sources: Iterable[_Source], problems: list[str]) -> LoginKind | None:
    """Returns the kind of login that the first source that tells one tells."""
    for source in sources:
        told = source.told_kinds()
        if len(told) > 1:
            both = " and ".join(kind.value for kind in told)
            problems.append(f"{source.place} says two ways to log in: {both}; keep one")
        if told:
            return told[0]
        # A user name alone is the beginning of a password login whose password comes later.
        if "username" in source.values and LoginKind.V3_PASSWORD in source.kinds:
            return LoginKind.V3_PASSWORD
    return None


def _merge(kind: LoginKind, sources: Iterable[_Source]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for source in sources:
        if kind not in source.kinds:
            continue
        hidden = {key for pair in _SAME_THING if pair & merged.keys() for key in pair}
        for key, value in source.values.items():
            if key in _KEYS_OF_KIND[kind] and key not in hidden:
                merged.setdefault(key, value)
    return merged


def _missing(kind: LoginKind, values: Mapping[str, str]) -> list[str]:
    needed: dict[LoginKind, list[tuple[str, ...]]] = {
        LoginKind.V1: [("auth_url",), ("user",), ("key",)],
        LoginKind.V3_PASSWORD: [
            ("auth_url",),
            ("username",),
            ("password",),
            ("project_id", "project_name"),
        ],
        LoginKind.V3_APPLICATION_CREDENTIAL: [
            ("auth_url",),
            _APPLICATION,
            (_APPLICATION_SECRET,),
        ],
    }
    problems = [
        f"{' or '.join(keys)} is missing for a login by {kind.value}"
        for keys in needed[kind]
        if not any(values.get(key) for key in keys)
    ]
    by_name = "application_credential_name" in values and "application_credential_id" not in values
    if by_name and "username" not in values:
        problems.append("username is missing: an application credential's name is its user's own")
    return problems


def _checked_auth_url(kind: LoginKind, auth_url: str, problems: list[str]) -> str:
    """Returns the URL as the login needs it. A URL with a password in it is never repeated."""
    if not auth_url:
        return ""
    try:
        parts = urlsplit(auth_url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        problems.append("auth_url is not an http or https URL")
        return ""
    if "@" in parts.netloc:
        problems.append("auth_url contains a user or a password; use the keys for them")
        return ""
    if kind is LoginKind.V1:
        return auth_url
    path = parts.path.rstrip("/")
    if path.endswith("/v2.0"):
        problems.append(f"auth_url {auth_url} is of Keystone v2; v3 is needed")
    if not path.endswith("/v3"):
        path += "/v3"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _credentials(kind: LoginKind, auth_url: str, values: Mapping[str, str]) -> SwiftCredentials:
    def either(id_key: str, name_key: str, default: str = "") -> dict[str, str]:
        """Keeps the id where both are given, as Keystone's own clients do."""
        if values.get(id_key):
            return {id_key: values[id_key]}
        if values.get(name_key):
            return {name_key: values[name_key]}
        return {id_key: default}

    common = {key: values.get(key, "") for key in ("region_name", "interface", "cacert")}
    if kind is LoginKind.V1:
        return SwiftCredentials(kind, auth_url, values["key"], values["user"], **common)
    domain = either(*_USER_DOMAIN, default="default")
    if kind is LoginKind.V3_APPLICATION_CREDENTIAL:
        application = either(*_APPLICATION)
        user = values["username"] if "application_credential_name" in application else ""
        return SwiftCredentials(
            kind,
            auth_url,
            values[_APPLICATION_SECRET],
            user,
            **application,
            **(domain if user else {}),
            **common,
        )
    return SwiftCredentials(
        kind,
        auth_url,
        values["password"],
        values["username"],
        **domain,
        **either("project_id", "project_name"),
        **either("project_domain_id", "project_domain_name", default="default"),
        **common,
    )
