"""Credentials: where they come from, what is refused, and that secrets stay secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from transport.errors import InvalidCredentials
from transport.swift_credentials import LoginKind, SwiftCredentials, resolve_credentials

V1 = {"auth_url": "http://swift/auth/v1.0", "user": "acme:ann", "key": "s3cret"}
PASSWORD = {
    "auth_url": "https://keystone:5000/v3",
    "username": "ann",
    "password": "s3cret",
    "project_name": "web",
}
APPLICATION = {
    "auth_url": "https://keystone:5000/v3",
    "application_credential_id": "abc",
    "application_credential_secret": "s3cret",
}
ST = {"ST_AUTH": V1["auth_url"], "ST_USER": V1["user"], "ST_KEY": V1["key"]}


def openrc(keys: Mapping[str, str]) -> dict[str, str]:
    return {f"OS_{key.upper()}": value for key, value in keys.items()}


def resolve(
    table: Mapping[str, str], environment: Mapping[str, str], directory: Path | None = None
) -> SwiftCredentials:
    return resolve_credentials(table, environment, [str(directory)] if directory else [])


def problems(
    table: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    with pytest.raises(InvalidCredentials) as error:
        resolve(table, environment or {}, directory)
    assert "s3cret" not in str(error.value)
    assert error.value.__context__ is None
    return "\n".join(error.value.problems)


@pytest.mark.parametrize(
    ("table", "environment", "expected"),
    [
        (V1, {}, LoginKind.V1),
        ({}, ST, LoginKind.V1),
        (PASSWORD, {}, LoginKind.V3_PASSWORD),
        ({}, openrc(PASSWORD), LoginKind.V3_PASSWORD),
        (APPLICATION, {}, LoginKind.V3_APPLICATION_CREDENTIAL),
        ({}, openrc(APPLICATION), LoginKind.V3_APPLICATION_CREDENTIAL),
    ],
)
def test_each_login_can_be_configured_in_the_file_and_in_the_environment(
    table: Mapping[str, str], environment: Mapping[str, str], expected: LoginKind
) -> None:
    credentials = resolve(table, environment)
    assert credentials.kind is expected
    assert credentials.secret == "s3cret"


def test_the_fields_of_a_password_login() -> None:
    table = PASSWORD | {"region_name": "bari", "interface": "internal", "user_domain_name": "x"}
    assert resolve(table, {}) == SwiftCredentials(
        LoginKind.V3_PASSWORD,
        "https://keystone:5000/v3",
        "s3cret",
        "ann",
        user_domain_name="x",
        project_name="web",
        project_domain_id="default",
        region_name="bari",
        interface="internal",
    )


def test_an_openrc_file_with_id_and_name_of_the_project_means_the_id() -> None:
    credentials = resolve({}, openrc(PASSWORD) | {"OS_PROJECT_ID": "p1"})
    assert (credentials.project_id, credentials.project_name) == ("p1", "")


def test_older_variables_name_the_project_too() -> None:
    environment = openrc(PASSWORD) | {"OS_TENANT_NAME": "old", "OS_ENDPOINT_TYPE": "admin"}
    del environment["OS_PROJECT_NAME"]
    credentials = resolve({}, environment)
    assert (credentials.project_name, credentials.interface) == ("old", "admin")


def test_the_table_comes_before_the_environment_and_that_before_clouds_yaml(
    tmp_path: Path,
) -> None:
    write_clouds(tmp_path, {"web": {"auth": {"auth_url": "http://cloud", "project_name": "3rd"}}})
    environment = openrc(PASSWORD | {"username": "second", "project_name": "second"})
    environment |= {"OS_CLOUD": "web"}
    del environment["OS_AUTH_URL"]
    credentials = resolve({"username": "first"}, environment, tmp_path)
    assert credentials.user == "first"
    assert credentials.project_name == "second"
    assert credentials.auth_url == "http://cloud/v3"


def test_a_secret_may_come_from_the_environment_alone() -> None:
    table = {key: value for key, value in V1.items() if key != "key"}
    assert resolve(table, {"ST_KEY": "s3cret"}).secret == "s3cret"
    table = {key: value for key, value in PASSWORD.items() if key != "password"}
    assert resolve(table, {"OS_PASSWORD": "s3cret"}).secret == "s3cret"


def test_a_leftover_environment_of_another_login_adds_nothing() -> None:
    assert resolve(V1, openrc(PASSWORD)) == resolve(V1, {})
    assert resolve(PASSWORD, ST | openrc(APPLICATION)) == resolve(PASSWORD, {})
    assert resolve(APPLICATION, openrc(PASSWORD)) == resolve(APPLICATION, {})


def test_a_project_named_in_the_table_is_not_replaced_by_an_id_from_the_environment() -> None:
    assert resolve(PASSWORD, {"OS_PROJECT_ID": "other"}).project_id == ""


def write_clouds(directory: Path, clouds: object, name: str = "clouds.yaml") -> None:
    """JSON is YAML."""
    (directory / name).write_text(json.dumps({"clouds": clouds}))


WEB = {
    "auth": {"auth_url": "https://k/v3", "username": "ann", "project_name": 1234},
    "region_name": "r1",
}
APP = {
    "auth_type": "v3applicationcredential",
    "auth": APPLICATION | {"auth_url": "https://k"},
    "compute_api_version": 2,
}
ODD = {"auth_type": "v3oidcpassword", "auth": PASSWORD}
CLOUDS = {"web": WEB, "app": APP, "odd": ODD}


def test_a_cloud_named_in_the_table_needs_nothing_else(tmp_path: Path) -> None:
    write_clouds(tmp_path, CLOUDS)
    credentials = resolve({"cloud": "app"}, ST | openrc(PASSWORD), tmp_path)
    assert credentials.kind is LoginKind.V3_APPLICATION_CREDENTIAL
    assert credentials.auth_url == "https://k/v3"


def test_secrets_may_lie_beside_clouds_yaml(tmp_path: Path) -> None:
    write_clouds(tmp_path, CLOUDS)
    write_clouds(tmp_path, {"web": {"auth": {"password": "s3cret"}}}, "secure.yaml")
    credentials = resolve({}, {"OS_CLOUD": "web"}, tmp_path)
    assert (credentials.secret, credentials.project_name) == ("s3cret", "1234")
    assert credentials.region_name == "r1"


def test_the_only_cloud_needs_no_name_but_one_of_several_does(tmp_path: Path) -> None:
    write_clouds(tmp_path, {"app": APP})
    assert resolve({}, {}, tmp_path).application_credential_id == "abc"
    write_clouds(tmp_path, CLOUDS)
    assert "it has app, odd, web" in problems({}, {}, tmp_path)


def test_clouds_yaml_is_looked_for_in_the_usual_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, place in enumerate([".config/openstack", ".", "named"]):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        cloud = {"auth": APPLICATION | {"auth_url": f"http://k{number}"}}
        write_clouds(tmp_path / place, {"web": cloud})
        environment = {"HOME": str(tmp_path), "OS_CLOUD": "web"}
        if place == "named":
            environment["OS_CLIENT_CONFIG_FILE"] = str(tmp_path / "named/clouds.yaml")
        found = resolve_credentials({}, environment)
        assert found.auth_url == f"http://k{number}/v3"


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("clouds: [", "is not YAML, see line 1"),
        ("a: 1\npassword: *s3cret\n", "is not YAML, see line 2"),
        ("- s3cret", "no table named clouds"),
        ("clouds: s3cret", "no table named clouds"),
        ("clouds: {web: s3cret}", "nothing says|is missing"),
        ("clouds: {other: {}}", "found 'web', it has other"),
    ],
)
def test_a_clouds_yaml_that_cannot_be_used_is_explained_without_its_contents(
    tmp_path: Path, contents: str, expected: str
) -> None:
    (tmp_path / "clouds.yaml").write_text(contents)
    assert re.search(expected, problems({}, {"OS_CLOUD": "web"}, tmp_path))


def test_a_clouds_yaml_that_is_not_text_or_missing_is_explained(tmp_path: Path) -> None:
    assert "none of" in problems({"cloud": "web"}, {}, tmp_path)
    (tmp_path / "clouds.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in problems({"cloud": "web"}, {}, tmp_path)


def test_all_problems_are_told_at_once() -> None:
    told = problems({"usr": "ann", "pasword": "s3cret", "key": "s3cret", "region_name": "bari"})
    for expected in ("'usr'", "'pasword'", "auth_url is missing", "user is missing", "region_name"):
        assert expected in told


@pytest.mark.parametrize(
    ("table", "environment", "expected"),
    [
        ({}, {}, "nothing says how to log in"),
        ({"auth_url": "http://k"}, {}, "nothing says how to log in"),
        (V1 | {"password": "s3cret"}, {}, "two ways to log in"),
        ({}, openrc(PASSWORD | APPLICATION), "OS_* says two ways to log in"),
        (APPLICATION | {"project_name": "web"}, {}, "project_name has no place"),
        (V1 | {"region_name": "bari"}, {}, "region_name has no place"),
        ({"username": "ann"}, {}, "password is missing"),
        (PASSWORD | {"project_name": ""}, {}, "project_id or project_name is missing"),
        (PASSWORD | {"auth_url": "keystone:5000"}, {}, "not an http or https URL"),
        (PASSWORD | {"auth_url": "http://[::1"}, {}, "not an http or https URL"),
        (PASSWORD | {"auth_url": "http://ann:s3cret@k/v3"}, {}, "contains a user"),
        (PASSWORD | {"auth_url": "http://k/v2.0/"}, {}, "Keystone v2"),
        (PASSWORD | {"interface": "pubic"}, {}, "'pubic'"),
        ({}, openrc(PASSWORD) | {"OS_AUTH_TYPE": "v3oidcpassword"}, "not supported"),
        ({"cloud": "odd"}, {}, "none of"),
        (
            {
                "auth_url": "http://k",
                "application_credential_name": "n",
                "application_credential_secret": "s3cret",
            },
            {},
            "username is missing",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    table: Mapping[str, str], environment: Mapping[str, str], expected: str
) -> None:
    assert expected in problems(table, environment)


def test_an_unsupported_login_of_a_cloud_is_refused(tmp_path: Path) -> None:
    write_clouds(tmp_path, CLOUDS)
    assert "v3oidcpassword" in problems({"cloud": "odd"}, {}, tmp_path)


def test_an_application_credential_is_named_within_its_user() -> None:
    table = {
        "auth_url": "http://k/v3/",
        "application_credential_name": "n",
        "application_credential_secret": "s3cret",
        "username": "ann",
    }
    credentials = resolve(table, {})
    assert (credentials.user, credentials.user_domain_id) == ("ann", "default")
    assert credentials.auth_url == "http://k/v3"


@pytest.mark.parametrize("table", [V1, PASSWORD, APPLICATION])
def test_a_secret_is_never_shown(table: Mapping[str, str]) -> None:
    credentials = resolve(table, {})
    assert "s3cret" not in repr(credentials)
    assert "s3cret" not in credentials.describe()
    assert credentials.auth_url in credentials.describe()
