"""Failover and failback with one site that writes at a time, driven by the monitoring's hook.

    recipes/redmine/as-client .venv/bin/python -m recipes.redmine.standby [DRILL...]

Makes a new volume with bari as its primary first, and one with two masters of it at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from recipes.redmine.aftermath import check_aftermath, told_of_users
from recipes.redmine.dns_client import addresses_of
from recipes.redmine.laboratory_control import (
    PYTHON,
    RECIPE,
    await_same_files,
    await_that,
    conflicts,
    geosync,
    run,
    wan,
)
from recipes.redmine.propositions import run_propositions
from recipes.redmine.redmine_client import ADDRESSES, LABORATORY
from recipes.redmine.users import Users, by_balancer, by_name

QUIET_S = 6.0
AWAY_S = 15.0


def a_planned_switch_and_back() -> str:
    """The primary is switched to cnaf and back, with users at work."""
    with _users() as users:
        time.sleep(QUIET_S)
        seen = [_switch("cnaf"), _switch("bari")]
        time.sleep(QUIET_S)
    return "; ".join([*seen, told_of_users(users), check_aftermath(users, _known())])


def the_primary_is_killed() -> str:
    """All of bari is killed; the monitoring promotes cnaf; bari comes back as a standby."""
    return _lost(lambda: run("stop", "--kill", "bari"), lambda: run("start", "bari"))


def the_primary_is_cut_off() -> str:
    """Bari is cut off from all; the monitoring promotes cnaf; bari comes back as a standby."""
    return _lost(lambda: wan("cut", "bari"), lambda: wan("heal", "bari"))


def _lost(harm: Callable[[], object], mend: Callable[[], object]) -> str:
    _await_name("bari")
    before = _known()
    hook = [os.path.join(RECIPE, "promote-hook"), "bari"]
    monitoring = subprocess.Popen(
        [PYTHON, "-m", "recipes.redmine.monitoring", "bari", *hook], stdout=subprocess.DEVNULL
    )
    with _users() as users:
        time.sleep(QUIET_S)
        start_s = time.monotonic()
        harm()
        _await_name("cnaf")
        seen = [f"cnaf has the users {time.monotonic() - start_s:.1f} s after"]
        assert monitoring.wait(30) == 0
        time.sleep(AWAY_S)
        mend()
        await_that("bari is a standby", lambda: _mode("bari") == "standby")
        late = geosync("cnaf", "promote", "--report").splitlines()[1:]
        seen.append(f"late writes: {len(late)}")
        seen.append(_switch("bari"))
        time.sleep(QUIET_S)
    return "; ".join([*seen, told_of_users(users), check_aftermath(users, before)])


def _switch(site: str) -> str:
    start_s = time.monotonic()
    run("switch-to", site)
    _await_name(site)
    return f"switch to {site}: users are there after {time.monotonic() - start_s:.1f} s"


def _users() -> Users:
    return Users({"dns": by_name("failover"), "haproxy": by_balancer(8002)})


def _known() -> set[str]:
    await_same_files()
    return {each["id"] for each in conflicts("cnaf")}


def _mode(site: str) -> str:
    shown = geosync(site, "status", is_checked=False)
    return "standby" if f"standby of {'cnaf' if site == 'bari' else 'bari'}" in shown else ""


def _await_name(site: str) -> float:
    def is_there() -> bool:
        return addresses_of("failover.lab.example", ADDRESSES["roma"]) == [ADDRESSES[site]]

    return await_that(f"failover is {site}", is_there)


DRILLS = (a_planned_switch_and_back, the_primary_is_killed, the_primary_is_cut_off)

if __name__ == "__main__":
    run("set-mode", "standby")
    try:
        failed = run_propositions(DRILLS, sys.argv[1:], f"{LABORATORY}/standby.json")
    finally:
        run("set-mode", "multi-master")
    sys.exit(failed > 0)
