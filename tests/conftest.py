"""Fixtures for every test: the real servers that the tests talk to, and names of their own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from tests.support.keystone_server import KeystoneSwift, keystone_swift_in, require_keystone

# Hundreds of processes are started here: where none may write it down, each compiles the program.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


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
    require_keystone()
    directories = (str(tmp_path_factory.mktemp(name)) for name in ("keystone", "keystone-swift"))
    with keystone_swift_in(*directories) as (swift, _):
        yield swift
