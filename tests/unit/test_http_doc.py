"""docs/http.md names every path and every metric that is served, and no others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from geosync.http.metrics import MetricsInput, metrics_text
from geosync.http.openapi import openapi
from geosync.http.page import STATIC_TYPES
from geosync.http.routes import ROUTES, Kind
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


def test_every_metric_is_in_the_table() -> None:
    status = sample_status(daemon=replace(DAEMON), sites=(peer("rome"),))
    text = metrics_text(MetricsInput(status, TAKEN_AT_MS, 1, "1")).decode()
    served = set(re.findall(r"^# TYPE (geosync_\w+) ", text, re.MULTILINE))
    served = {name.removesuffix("_total") for name in served}
    rows = [line.split(" | ")[0] for line in TEXT.splitlines() if line.startswith("| `geosync_")]
    documented = re.findall(r"`(geosync_\w+)[`{]", " ".join(rows))
    assert {name.removesuffix("_total") for name in documented} == served
    assert len(documented) == len(served)


def test_every_path_for_programs_is_documented() -> None:
    documented = set(re.findall(r"`(GET|POST) (/v1/[a-z/]+)", TEXT))
    served = {(route.method, route.path) for route in ROUTES if route.path.startswith("/v1/")}
    assert documented == served - {("GET", "/v1/openapi.json")}
    assert [path for path in ("`/`", "`/live`", "`/ready`", "`/metrics`") if path not in TEXT] == []


def test_what_is_served_is_described_or_belongs_to_the_page() -> None:
    described = openapi("1")["paths"]
    assert isinstance(described, dict)
    of_the_page = {"/", "/act", *(f"/static/{name}" for name in STATIC_TYPES)}
    assert {route.path for route in ROUTES} == described.keys() | of_the_page


def test_what_acts_is_answered_by_the_control_thread() -> None:
    assert all(route.kind is Kind.COMMAND for route in ROUTES if route.method == "POST")
