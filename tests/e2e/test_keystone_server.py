"""A real Swift behind a real Keystone takes a password and an application credential."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.support.keystone_server import KeystoneSwift
from tests.support.swift_account import SwiftAccount

Identity = Callable[[KeystoneSwift], dict[str, object]]

pytestmark = pytest.mark.keystone


def password_identity(
    keystone_swift: KeystoneSwift, password: str | None = None
) -> dict[str, object]:
    user = {
        "name": keystone_swift.username,
        "password": password or keystone_swift.password,
        "domain": {"name": keystone_swift.user_domain_name},
    }
    scope = {
        "name": keystone_swift.project_name,
        "domain": {"name": keystone_swift.project_domain_name},
    }
    return {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": scope},
    }


def credential_identity(keystone_swift: KeystoneSwift) -> dict[str, object]:
    credential = {
        "id": keystone_swift.application_credential_id,
        "secret": keystone_swift.application_credential_secret,
    }
    methods = ["application_credential"]
    return {"identity": {"methods": methods, "application_credential": credential}}


def log_in(keystone_swift: KeystoneSwift, identity: dict[str, object]) -> SwiftAccount:
    request = urllib.request.Request(
        f"{keystone_swift.auth_url}/auth/tokens",
        json.dumps({"auth": identity}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        catalog = json.load(response)["token"]["catalog"]
        token = response.headers["X-Subject-Token"]
    (service,) = [each for each in catalog if each["type"] == "object-store"]
    return SwiftAccount(service["endpoints"][0]["url"], token)


@pytest.mark.parametrize("identity_of", [password_identity, credential_identity])
def test_a_login_gives_an_account_that_stores(
    keystone_swift: KeystoneSwift, fresh_swift_volume_name: str, identity_of: Identity
) -> None:
    account = log_in(keystone_swift, identity_of(keystone_swift))
    account.request("PUT", fresh_swift_volume_name)
    account.request("PUT", f"{fresh_swift_volume_name}/object", b"contents")
    assert account.request("GET", f"{fresh_swift_volume_name}/object") == b"contents"


def test_swift_refuses_a_token_that_keystone_does_not_know(keystone_swift: KeystoneSwift) -> None:
    account = log_in(keystone_swift, password_identity(keystone_swift))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        SwiftAccount(account.storage_url, "foreign").request("GET", "")


def test_keystone_refuses_a_wrong_password(keystone_swift: KeystoneSwift) -> None:
    identity = password_identity(keystone_swift, "wrong")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        log_in(keystone_swift, identity)
