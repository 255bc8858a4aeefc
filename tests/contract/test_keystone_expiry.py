"""Swift behind a real Keystone whose tokens live for seconds: expiry in mid-run, and revocation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.test_keystone import table_of
from tests.support.keystone_server import (
    KeystoneServer,
    KeystoneSwift,
    User,
    keystone_swift_in,
    require_keystone,
)
from transport.errors import StoreRefused, StoreUnavailable
from transport.swift_credentials import resolve_credentials
from transport.swift_store import SwiftStore, open_swift_store

pytestmark = pytest.mark.keystone

TOKEN_LIFE_S = 3
TOKENS = 3
PATIENCE_S = 60.0
LARGE = os.urandom(4_000_000)


@pytest.fixture(scope="module")
def keystone(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[KeystoneSwift, KeystoneServer]]:
    require_keystone()
    directories = (str(tmp_path_factory.mktemp(name)) for name in ("keystone", "swift"))
    with keystone_swift_in(*directories, token_life_s=TOKEN_LIFE_S) as running:
        yield running


def opened(table: dict[str, str], volume: str) -> SwiftStore:
    store = open_swift_store(resolve_credentials(table, {}), volume)
    store.prepare()
    return store


def read_until_it_fails(store: SwiftStore) -> None:
    give_up_at_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at_s:
        list(store.list_names("log/"))


@pytest.mark.parametrize("kind", ["password", "application credential"])
def test_tokens_that_expire_in_mid_run_are_renewed_and_no_operation_fails(
    keystone: tuple[KeystoneSwift, KeystoneServer], fresh_swift_volume_name: str, kind: str
) -> None:
    store = opened(table_of(keystone[0], kind), fresh_swift_volume_name)
    tokens: set[str] = set()
    give_up_at_s = time.monotonic() + PATIENCE_S

    def work(worker: int) -> int:
        number = 0
        while len(tokens) < TOKENS and time.monotonic() < give_up_at_s:
            name = f"packs/{worker}/{number}"
            store.put_once(name, LARGE)
            assert store.get(name, size_bytes_max=len(LARGE)) == LARGE
            tokens.add(store._session.access().token)
            number += 1
        return number

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(work, range(3)))
    assert len(tokens) >= TOKENS, f"{done} operations in {PATIENCE_S} s with {len(tokens)} tokens"
    assert len(list(store.list_names("packs/"))) == sum(done)
    store.close()


def test_a_credential_that_is_revoked_is_refused_and_named(
    keystone: tuple[KeystoneSwift, KeystoneServer], fresh_swift_volume_name: str
) -> None:
    swift, server = keystone
    user = User(swift.username, swift.password, swift.project_name)
    credential_id, secret = server.add_application_credential(user, "to be revoked")
    table = {
        "auth_url": swift.auth_url,
        "application_credential_id": credential_id,
        "application_credential_secret": secret,
    }
    store = opened(table, fresh_swift_volume_name)
    server.remove_application_credential(user, credential_id)
    with pytest.raises(StoreRefused) as refusal:
        read_until_it_fails(store)  # Swift may trust the token until it expires
    assert credential_id in str(refusal.value)
    assert "correct the credentials" in str(refusal.value)
    assert secret not in str(refusal.value)
    store.close()


def test_a_keystone_that_does_not_answer_is_no_wrong_credential(
    keystone: tuple[KeystoneSwift, KeystoneServer], fresh_swift_volume_name: str
) -> None:
    swift, server = keystone
    store = opened(table_of(swift, "password"), fresh_swift_volume_name)
    store.put_once("log/a", b"body")
    server.pause()
    try:
        with pytest.raises(StoreUnavailable, match="check auth_url"):
            read_until_it_fails(store)
    finally:
        server.resume()
    assert store.get("log/a", size_bytes_max=10) == b"body"
    store.close()
