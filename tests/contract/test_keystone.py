"""Swift behind a real Keystone: each way to log in, wrong credentials, and an expired token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.support.keystone_server import KeystoneSwift
from transport.errors import StoreRefused, StoreUnavailable
from transport.swift_credentials import resolve_credentials
from transport.swift_session import SwiftAccess
from transport.swift_store import SwiftStore, open_swift_store

pytestmark = pytest.mark.keystone

KINDS = ["password", "application credential"]


def table_of(swift: KeystoneSwift, kind: str) -> dict[str, str]:
    if kind == "password":
        return {
            "auth_url": swift.auth_url,
            "username": swift.username,
            "password": swift.password,
            "project_name": swift.project_name,
            "user_domain_name": swift.user_domain_name,
            "project_domain_name": swift.project_domain_name,
        }
    return {
        "auth_url": swift.auth_url,
        "application_credential_id": swift.application_credential_id,
        "application_credential_secret": swift.application_credential_secret,
    }


def opened(table: Mapping[str, str], volume: str) -> SwiftStore:
    return open_swift_store(resolve_credentials(table, {}), volume)


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest, keystone_swift: KeystoneSwift) -> dict[str, str]:
    return table_of(keystone_swift, request.param)


@pytest.fixture
def store(table: dict[str, str], fresh_swift_volume_name: str) -> Iterator[SwiftStore]:
    store = opened(table, fresh_swift_volume_name)
    store.prepare()
    yield store
    store.close()


def test_each_login_opens_the_store(store: SwiftStore) -> None:
    store.put_once("log/a", b"body")
    assert store.get("log/a", size_bytes_max=4) == b"body"
    assert list(store.list_names("log/")) == ["log/a"]


def test_a_token_that_is_no_longer_good_is_renewed(store: SwiftStore) -> None:
    good = store._session.access()
    store._session._access = SwiftAccess(good.storage_url, "gAAAAexpired")
    store.put_once("log/a", b"body")
    assert store._session.access().token not in {"gAAAAexpired", ""}


def test_a_wrong_secret_is_refused_and_not_shown(table: dict[str, str]) -> None:
    (key,) = {"password", "application_credential_secret"} & set(table)
    store = opened(table | {key: "not-the-secret"}, "any")
    with pytest.raises(StoreRefused, match="401") as refusal:
        store.prepare()
    assert table["auth_url"] in str(refusal.value)
    assert "not-the-secret" not in str(refusal.value)


@pytest.mark.parametrize("change", [{"region_name": "nowhere"}, {"interface": "admin"}])
def test_a_catalogue_without_such_a_store_is_refused(
    table: dict[str, str], change: dict[str, str]
) -> None:
    with pytest.raises(StoreRefused, match="region_name, interface"):
        opened(table | change, "any").prepare()


@pytest.mark.parametrize("path", ["/elsewhere/v3", "/v3/projects/v3"])
def test_a_url_that_is_not_keystones_is_unavailable(table: dict[str, str], path: str) -> None:
    url = table["auth_url"].rstrip("/").removesuffix("/v3") + path
    with pytest.raises((StoreUnavailable, StoreRefused), match=r"auth_url|credentials"):
        opened(table | {"auth_url": url}, "any").prepare()
