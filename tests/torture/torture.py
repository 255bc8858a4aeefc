"""Torture: daemons, Swift, programs and faults together; then quiet, evidence and verdict."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from geosync.demo.swift_server import SwiftServer
from tests.torture.checker import Verdict, judge
from tests.torture.evidence import Evidence, SiteState, read_logs, save_json
from tests.torture.faults import Tormentor
from tests.torture.final_state import digests_below, see_conflict_files, see_tree
from tests.torture.rest import Quiet, problems_of
from tests.torture.stored_history import read_history
from tests.torture.tortured_site import TorturedSite
from transport.object_store import ObjectStore
from transport.swift_credentials import resolve_credentials
from transport.swift_store import open_swift_store

VOLUME = "torture"
STRESS_S = 5
STRESS_EVERY_S = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    seed: int
    writing_s: float
    site_names: tuple[str, ...] = ("bari", "geneva", "lyon")
    writers_per_site: int = 2
    families: int = 6
    pause_ms_mean: float = 120.0
    has_faults: bool = True
    has_stress: bool = True  # where stress-ng is installed
    rest_timeout_s: float = 240.0


@dataclass(slots=True)
class Result:
    """What became of it."""

    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    rest_after_s: float = 0.0


def torture(plan: Plan, directory: Path) -> Result:
    """Runs the plan and judges it; the evidence is in `evidence.json` in the directory."""
    with ExitStack() as stack:
        swift = stack.enter_context(SwiftServer(str(directory / "swift")))
        sites = [TorturedSite(directory / "sites", name, swift) for name in plan.site_names]
        for site in sites:
            stack.callback(site.close)
        for site in sites:
            site.start()
        credentials = resolve_credentials(
            {"auth_url": swift.auth_url, "user": swift.user, "key": swift.key}, {}
        )
        store = stack.enter_context(closing(open_swift_store(credentials, VOLUME)))
        return _Torture(plan, sites, store).run(directory / "evidence.json")


class _Torture:
    def __init__(self, plan: Plan, sites: Sequence[TorturedSite], store: ObjectStore) -> None:
        self._plan = plan
        self._sites = sites
        self._store = store
        self._incidents: list[str] = []
        self._faults: Counter[str] = Counter()

    def run(self, evidence_path: Path) -> Result:
        self._write()
        begun_s = time.monotonic()
        quiet = Quiet(self._sites, self._store)
        self._incidents += quiet.await_rest(self._plan.rest_timeout_s)
        rest_after_s = time.monotonic() - begun_s
        if not self._incidents:
            self._incidents += quiet.watch()
        evidence = self._evidence()
        save_json(evidence, str(evidence_path))
        return Result(judge(evidence), self._faults, rest_after_s)

    def _write(self) -> None:
        plan = self._plan
        tormentors = [Tormentor(site, plan.seed) for site in self._sites]
        for site in self._sites:
            for number in range(1, plan.writers_per_site + 1):
                site.start_writer(
                    plan.seed, str(number), plan.pause_ms_mean, families=plan.families
                )
        if plan.has_faults:
            for tormentor in tormentors:
                tormentor.start()
        self._pass_time()
        if plan.has_faults:
            for tormentor in tormentors:
                tormentor.stop()
                self._incidents += tormentor.incidents
                self._faults += tormentor.done
        for site in self._sites:
            self._incidents += site.stop_writers()

    def _pass_time(self) -> None:
        """Lets the programs write for the planned time, with bursts of stress-ng at one site."""
        ends_s = time.monotonic() + self._plan.writing_s
        has_stress = self._plan.has_stress and shutil.which("stress-ng") is not None
        while (left_s := ends_s - time.monotonic()) > 0:
            if has_stress:
                burst = self._sites[0].stress(STRESS_S)
                self._faults["burst of stress-ng"] += 1
                if burst.wait() not in (0, 3):  # 3: a stressor that this kernel does not have
                    self._incidents.append("stress-ng failed")
                left_s = ends_s - time.monotonic()
            time.sleep(max(0.0, min(left_s, STRESS_EVERY_S)))

    def _evidence(self) -> Evidence:
        logs = [site.log_of(writer) for site in self._sites for writer in site.writers]
        actions, models = read_logs(logs)
        return Evidence(
            actions=actions,
            models=models,
            sites=tuple(_state_of(site) for site in self._sites),
            history=read_history(self._store, VOLUME),
            incidents=tuple(self._incidents),
        )


def _state_of(site: TorturedSite) -> SiteState:
    root = os.fsencode(str(site.root))
    asked = site.run("status", "--json")
    if asked.returncode == 0:
        problems = problems_of(json.loads(asked.stdout))
    else:
        problems = [f"it does not answer: {asked.stderr}"]
    listed = site.run("conflicts", "list", "--json").stdout  # nothing when it does not answer
    return SiteState(
        name=site.name,
        tree=see_tree(root),
        conflict_files=see_conflict_files(root),
        conflicts=tuple(json.loads(listed or "[]")),
        problems=tuple(problems),
        removed=digests_below(os.fsencode(str(site.removed))),
    )
