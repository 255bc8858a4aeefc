"""Fixtures for every test: the real servers that the tests talk to, and names of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from geosync.demo.swift_server import SwiftServer


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A real Swift for the whole session. A test that stops or pauses one starts its own."""
    with SwiftServer(str(tmp_path_factory.mktemp("swift"))) as server:
        yield server


@pytest.fixture
def fresh_swift_volume_name() -> str:
    """A volume name, and so container names, that no other test of this Swift uses."""
    return f"volume-{secrets.token_hex(6)}"
