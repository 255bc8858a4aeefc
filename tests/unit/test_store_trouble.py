"""A store in trouble stops only what needs it: a site that can't publish goes on receiving."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from geosync.assembly.assembly import open_swift_endpoints
from geosync.assembly.store_backoff import BackoffStore
from geosync.configuration.volume_configuration import parse_configuration
from tests.simulation.simulated_clock import SimulatedClock
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore, let_pass
from transport.errors import (
    InvalidCredentials,
    OperationUnderWay,
    StoreRefused,
    StoreUnavailable,
)
from transport.memory_store import MemoryStore

Refusal = Callable[[], Exception]


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    """Two sites; the first asks its store as a daemon does."""
    with local_sites(RecordingStore(MemoryStore()), "bari", "cnaf") as opened:
        bari, cnaf = opened
        clock = SimulatedClock(bari.time)
        bari.wrap_store = lambda store: BackoffStore(store, clock.monotonic_s)
        bari.reopen()
        settle(bari, cnaf)
        yield opened


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: StoreRefused("413: over the quota"),
        lambda: StoreRefused("403: read only"),
        lambda: StoreUnavailable("503: too few copies"),
        lambda: StoreUnavailable("429", retry_after_s=60.0),
        lambda: OperationUnderWay("a large upload is under way"),
    ],
)
def test_a_site_that_can_not_write_goes_on_receiving(
    sites: list[LocalSite], refusal: Refusal
) -> None:
    bari, cnaf = sites

    def refuse_to_write(method: str, name: str) -> None:
        if method == "put_once":
            raise refusal()

    bari.link.before = refuse_to_write
    bari.write(b"here", b"waits")
    run(bari, cnaf, rounds=3)
    cnaf.write(b"there", b"comes")
    run(bari, cnaf, rounds=6)
    assert bari.read(b"there") == b"comes"
    if not isinstance(refusal(), OperationUnderWay):
        assert str(refusal()) in bari.problems()["store"]
    bari.link.before = let_pass
    bari.time.advance(400)
    settle(bari, cnaf)
    assert cnaf.read(b"here") == b"waits"
    assert "store" not in bari.problems()


# Which endpoints a configuration means


def endpoints(swift: dict[str, object], environment: dict[str, str]) -> dict[str, object]:
    document = {"volume": "v", "site": "s", "root": "/srv/v", "swift": swift}
    opened = open_swift_endpoints(parse_configuration(document, "a test"), environment)
    for _, store in opened:
        store.close()
    return {name: store._user for name, store in opened}  # type: ignore[attr-defined]


PASSWORD = {
    "OS_AUTH_URL": "https://keystone/v3",
    "OS_USERNAME": "ann",
    "OS_PASSWORD": "secret",
    "OS_PROJECT_NAME": "volumes",
    "OS_REGION_NAME": "region-of-the-environment",
}


def test_an_endpoint_says_what_is_different_there_and_the_rest_is_as_ever() -> None:
    swift = {
        "endpoint": [
            {"name": "near", "region_name": "bari"},
            {"name": "far", "auth_url": "https://elsewhere/v3"},
        ]
    }
    assert endpoints(swift, PASSWORD) == {
        "near": "user 'ann' of project 'volumes' at https://keystone/v3, region bari",
        "far": "user 'ann' of project 'volumes' at https://elsewhere/v3,"
        " region region-of-the-environment",
    }


def test_without_tables_there_is_one_endpoint() -> None:
    (user,) = endpoints({}, PASSWORD).values()
    assert user == (
        "user 'ann' of project 'volumes' at https://keystone/v3, region region-of-the-environment"
    )


def test_an_endpoint_that_can_not_be_logged_in_to_is_told_at_once() -> None:
    v1 = {"auth_url": "https://swift/auth/v1.0", "user": "a:b", "key": "k"}
    with pytest.raises(InvalidCredentials, match="region_name"):
        endpoints(v1 | {"endpoint": [{"name": "near", "region_name": "bari"}]}, {})
