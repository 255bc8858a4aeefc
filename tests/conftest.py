"""Fixtures for every test: the real servers that the tests talk to, and names of their own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from tests.support.keystone_server import (
    DOMAIN_NAME,
    INTERPRETER,
    KeystoneServer,
    KeystoneSwift,
    User,
)


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A real Swift for the whole session. A test that stops or pauses one starts its own."""
    with SwiftServer(str(tmp_path_factory.mktemp("swift"))) as server:
        yield server


@pytest.fixture
def fresh_swift_volume_name() -> str:
    """A volume name, and so container names, that no other test of this Swift uses."""
    return f"volume-{secrets.token_hex(6)}"


@pytest.fixture
def wan_relay() -> Iterator[Callable[..., WanRelay]]:
    """Starts relays, with the arguments of WanRelay; they stop when the test ends."""
    with ExitStack() as stack:

        def start(upstream: tuple[str, int], **options: float) -> WanRelay:
            return stack.enter_context(WanRelay(upstream, **options))

        yield start


@pytest.fixture(scope="session")
def keystone_swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneSwift]:
    """A real Swift behind a real Keystone; GEOSYNC_REQUIRE_KEYSTONE=1 forbids to skip it."""
    if not os.path.exists(INTERPRETER):
        reason = f"{INTERPRETER} is missing: run `make keystone-environment`"
        if os.environ.get("GEOSYNC_REQUIRE_KEYSTONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    user = User("ann", "Ann's password", "volumes")
    with KeystoneServer(str(tmp_path_factory.mktemp("keystone"))) as keystone:
        options = keystone.authtoken_options_of_new_swift()
        directory = str(tmp_path_factory.mktemp("keystone-swift"))
        with SwiftServer(directory, keystone_options=options) as swift:
            keystone.add_object_store(swift.url_of(1))
            keystone.add_user(user, "member")
            credential_id, credential_secret = keystone.add_application_credential(user)
            yield KeystoneSwift(
                auth_url=keystone.auth_url,
                username=user.name,
                password=user.password,
                project_name=user.project_name,
                user_domain_name=DOMAIN_NAME,
                project_domain_name=DOMAIN_NAME,
                application_credential_id=credential_id,
                application_credential_secret=credential_secret,
            )
