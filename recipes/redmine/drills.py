"""Failover and failback of Redmine on two sites, with users at work, and what is there afterwards.

    recipes/redmine/as-client .venv/bin/python -m recipes.redmine.drills [DRILL...]

In each drill a user comes by DNS (the name `failover`), and another one by HAProxy, both with bari
as their first choice; something happens to bari, and later it is made good. Then both sites have
to hold the same rows and files, and everything that any user was told to be uploaded.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable

from recipes.redmine.aftermath import check_aftermath, give_up_lost_rows, told_of_users
from recipes.redmine.dns_client import addresses_of
from recipes.redmine.laboratory_control import (
    await_same_files,
    await_that,
    conflicts,
    run,
    wan,
)
from recipes.redmine.propositions import run_propositions
from recipes.redmine.redmine_client import ADDRESSES, LABORATORY
from recipes.redmine.users import Users, by_balancer, by_name

QUIET_S = 6.0
AWAY_S = 20.0
LOSES_S_MAX = 3.0
Deed = Callable[[], None]


def the_application_is_killed() -> str:
    """Bari's Redmine is killed, and started again."""
    return _drill(
        lambda: run("service", "bari", "redmine", "kill"),
        lambda: run("service", "bari", "redmine", "start"),
    )


def the_database_is_killed() -> str:
    """Bari's database server is killed, and started again."""
    return _drill(
        lambda: run("service", "bari", "mariadb", "kill"),
        lambda: run("service", "bari", "mariadb", "start"),
    )


def the_network_is_cut() -> str:
    """Bari is cut off from everybody, and comes back."""
    return _drill(lambda: wan("cut", "bari"), lambda: wan("heal", "bari"))


def the_line_between_the_sites_is_cut() -> str:
    """Bari and cnaf cannot hear each other; both hear the arbitrator."""
    return _drill(
        lambda: wan("cut", "bari", "cnaf"), lambda: wan("heal", "bari", "cnaf"), moves=False
    )


def everything_is_killed() -> str:
    """All processes of bari are killed at once, while users upload, and started again."""
    return _drill(lambda: run("stop", "--kill", "bari"), lambda: run("start", "bari"))


def the_disk_is_lost() -> str:
    """All of bari is killed, and its database, files and journal are gone; it starts anew.

    What was answered in the last moments before is lost with the disk: geosync does not make users
    wait for another site. The audit names these rows, and they are deleted as somebody would.
    """
    return _drill(_lose_disk, lambda: run("start", "bari"), loses_s=LOSES_S_MAX)


def it_stays_away_until_told() -> str:
    """In the mode `told` users stay at cnaf after bari is back, until `failback bari`."""
    for site in ("bari", "cnaf"):
        run("failback", site)
    _await_name("told", "bari")
    run("service", "bari", "redmine", "kill")
    out_s = _await_name("told", "cnaf")
    run("service", "bari", "redmine", "start")
    _await_name("failover", "bari")
    time.sleep(QUIET_S)
    assert _name("told") == [ADDRESSES["cnaf"]], _name("told")
    run("failback", "bari")
    back_s = _await_name("told", "bari")
    return f"moved after {out_s:.1f} s; stayed; back {back_s:.1f} s after it was told"


def _drill(
    harm: Callable[[], object],
    mend: Callable[[], object],
    *,
    moves: bool = True,
    loses_s: float = 0.0,
) -> str:
    """Harms and mends while users work; returns what was seen.

    Args:
        harm: what happens to bari.
        mend: makes it good.
        moves: whether users go to the other site.
        loses_s: uploads that were answered so shortly before may be lost.
    """
    await_same_files()
    _await_name("failover", "bari")
    before = {each["id"] for each in conflicts("cnaf")}
    ways = {"dns": by_name("failover"), "haproxy": by_balancer(8002)}
    with Users(ways) as users:
        time.sleep(QUIET_S)
        start_s = harmed_s = time.monotonic()
        harm()
        if moves:
            _await_name("failover", "cnaf")
        seen = [f"DNS moved {time.monotonic() - start_s:.1f} s after" if moves else "DNS stayed"]
        time.sleep(AWAY_S)
        start_s = time.monotonic()
        mend()
        _await_name("failover", "bari")
        seen.append(f"back {time.monotonic() - start_s:.1f} s after mending began")
        time.sleep(QUIET_S)
    if loses_s:
        seen.append(give_up_lost_rows(users, harmed_s - loses_s))
    seen += [told_of_users(users), check_aftermath(users, before)]
    return "; ".join(seen)


def _lose_disk() -> None:
    run("stop", "--kill", "bari")
    root = f"{LABORATORY}/bari/root/var/lib"
    for place in ("mysql", "geosync/redmine", "redmine/default/files"):
        for name in os.listdir(f"{root}/{place}"):
            path = f"{root}/{place}/{name}"
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.remove(path)


def _name(name: str) -> list[str]:
    return addresses_of(f"{name}.lab.example", ADDRESSES["roma"])


def _await_name(name: str, site: str) -> float:
    return await_that(f"{name} is {site}", lambda: _name(name) == [ADDRESSES[site]])


DRILLS = (
    the_application_is_killed,
    the_database_is_killed,
    the_network_is_cut,
    the_line_between_the_sites_is_cut,
    everything_is_killed,
    the_disk_is_lost,
    it_stays_away_until_told,
)

if __name__ == "__main__":
    sys.exit(run_propositions(DRILLS, sys.argv[1:], f"{LABORATORY}/drills.json") > 0)
