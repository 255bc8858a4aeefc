"""Metrics: what Prometheus' own parser, and promtool, make of them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families  # noqa: TID251

from geosync.http.metrics import MetricsInput, metrics_text
from geosync.reporting.status import StatusProblem
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status
from transport.object_store import StoreCounters

STATUS = sample_status(
    daemon=replace(DAEMON, store=StoreCounters(12, 300, 4000), store_failures=5),
    sites=(peer("rome", lacks=3, behind_since_ms=TAKEN_AT_MS - 1500), peer('o"s\\lo\n')),
    problems=(StatusProblem("disk", 0, "full"),),
    conflicts=2,
)


def _text(status):
    return metrics_text(MetricsInput(status, TAKEN_AT_MS + 500, 4096, "1.2.3"))


def _samples(status):
    families = list(text_string_to_metric_families(_text(status).decode()))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("geosync_")
    }


def test_the_status_is_told_in_base_units():
    found = _samples(STATUS)
    expected = {
        ("geosync_ready",): 1,
        ("geosync_lag_seconds",): 1.0,
        ("geosync_status_age_seconds",): 0.5,
        ("geosync_journal_bytes",): 4096,
        ("geosync_conflicts",): 2,
        ("geosync_problems",): 1,
        ("geosync_brakes",): 0,
        ("geosync_store_requests_total",): 12,
        ("geosync_store_sent_bytes_total",): 300,
        ("geosync_store_received_bytes_total",): 4000,
        ("geosync_store_failures_total",): 5,
        ("geosync_peer_lag_seconds", "rome"): 2.0,
        ("geosync_peer_lag_seconds", 'o"s\\lo\n'): 0,
        ("geosync_peer_unapplied_operations", "rome"): 3,
        ("geosync_info", "multi-master", "bari", "1.2.3", "files"): 1,
    }
    assert {key: found[key] for key in expected} == expected


def test_every_metric_has_a_type_and_a_help_of_its_own():
    families = [
        family
        for family in text_string_to_metric_families(_text(STATUS).decode())
        if family.name.startswith("geosync_")
    ]
    assert {family.type for family in families} == {"gauge", "counter"}
    texts = [family.documentation for family in families]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_nothing_is_told_of_a_status_that_is_not_there():
    assert _samples(None) == {("geosync_ready",): 0, ("geosync_journal_bytes",): 4096}


def test_promtool_finds_nothing_to_complain_about():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=_text(STATUS), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
