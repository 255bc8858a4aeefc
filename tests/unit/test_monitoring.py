"""recipes/monitoring/: rules and dashboard name what is exported, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geosync.http.metrics import MetricsInput, metrics_text
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status

DIRECTORY = Path(__file__).parents[2] / "recipes" / "monitoring"
RULES = (DIRECTORY / "alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((DIRECTORY / "dashboard.json").read_text())


def _exported() -> dict[str, set[str]]:
    """Returns each metric with its labels, as /metrics has them."""
    status = sample_status(daemon=replace(DAEMON), sites=(peer("rome"),))
    found: dict[str, set[str]] = {}
    for line in metrics_text(MetricsInput(status, TAKEN_AT_MS, 1, "1")).decode().splitlines():
        match = re.match(r"(\w+)(?:\{(.*)\})? ", line)
        if match is not None:
            found[match[1]] = set(re.findall(r'(\w+)="', match[2] or ""))
    return found


def _expressions() -> list[str]:
    of_panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    of_variables = [
        each["query"]["query"]
        for each in DASHBOARD["templating"]["list"]
        if each["type"] == "query"
    ]
    return [*re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE), *of_panels, *of_variables]


def test_every_metric_that_is_named_is_exported_and_every_exported_one_is_shown() -> None:
    named = set(re.findall(r"\b(?:geosync|process)_\w+", " ".join(_expressions())))
    exported = _exported()
    assert named <= exported.keys()
    ours = {name for name in exported if name.startswith("geosync_")}
    assert ours - named <= {
        "geosync_settled", "geosync_excluded_files", "geosync_watched_directories",
    }  # fmt: skip


def test_labels_are_those_that_are_exported() -> None:
    exported = _exported()
    assert {"site", "volume"} <= exported["geosync_info"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            known = {"instance", "site", "volume"}
            for name in re.findall(r"geosync_\w+", target["expr"]):
                known |= exported[name]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def _promtool(*arguments: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    _promtool("check", "rules", "--lint-fatal", str(DIRECTORY / "alerts.yml"))


def test_each_alarm_rings_when_it_is_to_and_never_else() -> None:
    _promtool("test", "rules", str(DIRECTORY / "alerts_test.yml"))


def test_prometheus_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$volume", "files")}
        for number, expression in enumerate(shown)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", str(path))
