"""Random users at both sites, random faults, and a check of everything at the end.

    recipes/redmine/as-client .venv/bin/python -m recipes.redmine.soak [--minutes N] [--seed N]

Users come by DNS, by HAProxy, and straight to each site; they upload, look and delete. One fault
at a time happens to one site or to the WAN, is made good, and then both sites become ready again.
Where a brake of geosync asks whether so many deletions are meant, they are, and an operator says
so. In the end what the users were told is compared with both sites: rows, files, and every byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from recipes.redmine.aftermath import rows
from recipes.redmine.browser import new_name
from recipes.redmine.laboratory_control import (
    at,
    await_same_files,
    await_that,
    conflicts,
    findings,
    geosync,
    run,
    wan,
)
from recipes.redmine.redmine_client import (
    ADDRESSES,
    LABORATORY,
    RedmineClient,
    RedmineError,
    Upload,
)
from recipes.redmine.users import Way, by_balancer, by_name

SITES = ("bari", "cnaf")
SIZES_BYTES = (300, 5000, 80_000, 2_000_000)
PAUSE_S_MAX = 1.0
PATIENCE_S = 10.0
FAULT_S = (3.0, 20.0)
QUIET_S = (3.0, 10.0)
READY_TIMEOUT_S = 180.0


@dataclass
class User:
    """One user, with what he was told. `doubtful`: a deletion of it was not answered."""

    name: str
    way: Way
    dice: random.Random
    kept: dict[int, Upload] = field(default_factory=dict)
    deleted: dict[int, Upload] = field(default_factory=dict)
    doubtful: dict[int, Upload] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        """Does one thing; what was not answered with success is counted."""
        host, port = self.way()
        client = RedmineClient(host, port, timeout_s=PATIENCE_S)
        deed = self.dice.choices((self._upload, self._look, self._delete), (6, 4, 1))[0]
        try:
            deed(client)
        except RedmineError as error:
            self.counts[f"failed {error.status}"] += 1

    def _upload(self, client: RedmineClient) -> None:
        content = self.dice.randbytes(self.dice.choice(SIZES_BYTES))
        if self.dice.random() < 0.1:
            content = b"the same for everybody" * 100
        name = f"{new_name('report')}.bin" if self.dice.random() < 0.7 else "report.pdf"
        upload = client.upload(name, content)
        self.kept[upload.number] = upload
        self.counts["uploaded"] += 1

    def _look(self, client: RedmineClient) -> None:
        if self.kept:
            upload = self.dice.choice(list(self.kept.values()))
            status, digest = client.download(upload)
            assert status != 200 or digest == upload.digest, f"{upload.name} had other content"
            self.counts[f"looked {status}"] += 1

    def _delete(self, client: RedmineClient) -> None:
        if self.kept:
            upload = self.kept.pop(self.dice.choice(list(self.kept)))
            self.doubtful[upload.number] = upload
            client.must("DELETE", f"/attachments/{upload.number}.json")
            self.deleted[upload.number] = self.doubtful.pop(upload.number)
            self.counts["deleted"] += 1


Deed = Callable[[], object]


def faults(site: str) -> dict[str, tuple[Deed, Deed]]:
    """Returns what may happen to a site, and how it is made good."""
    other = SITES[site == SITES[0]]
    killed = {
        f"{name} of {site} is killed": (
            lambda name=name: run("service", site, name, "kill"),
            lambda name=name: run("service", site, name, "start"),
        )
        for name in ("redmine", "geosync", "mariadb", "swift")
    }
    return {
        **killed,
        f"{site} is cut off": (lambda: wan("cut", site), lambda: wan("heal", site)),
        "the sites can't hear each other": (
            lambda: wan("cut", site, other),
            lambda: wan("heal", site, other),
        ),
        f"{site} has 5 Mbit/s": (
            lambda: wan("limit", site, "5"),
            lambda: wan("limit", site, "0"),
        ),
        f"{site} is 150 ms away": (
            lambda: wan("delay", site, "75"),
            lambda: wan("delay", site, "10"),
        ),
        f"all of {site} is killed": (
            lambda: run("stop", "--kill", site),
            lambda: run("start", site),
        ),
    }


def soak(minutes: float, seed: int) -> list[str]:
    """Lets users and faults run; returns what is wrong in the end, and prints what was seen."""
    dice = random.Random(seed)
    before = {each["id"] for each in conflicts("bari")}
    ways: dict[str, Way] = {"dns": by_name("balanced"), "haproxy": by_balancer(8001)}
    ways |= {site: _straight_to(site) for site in SITES}
    users = [User(name, way, random.Random(f"{seed}-{name}")) for name, way in ways.items()]
    is_over = threading.Event()
    problems: list[str] = []
    threads = [threading.Thread(target=_work, args=(u, is_over, problems)) for u in users]
    for thread in threads:
        thread.start()
    try:
        happened = _let_things_happen(time.monotonic() + minutes * 60, dice)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    counts: Counter[str] = sum((user.counts for user in users), Counter())
    print("faults:", json.dumps(happened), "\nusers: ", json.dumps(counts), flush=True)
    return [*problems, *_check(users, before)]


def _straight_to(site: str) -> Way:
    return lambda: (ADDRESSES[site], 3000)


def _work(user: User, is_over: threading.Event, problems: list[str]) -> None:
    while not is_over.wait(user.dice.uniform(0, PAUSE_S_MAX)):
        try:
            user.act()
        except AssertionError as error:
            problems.append(str(error))
        except OSError:
            user.counts["no answer of the name server"] += 1


def _let_things_happen(end_s: float, dice: random.Random) -> Counter[str]:
    happened: Counter[str] = Counter()
    while time.monotonic() < end_s:
        time.sleep(dice.uniform(*QUIET_S))
        name, (harm, mend) = dice.choice(list(faults(dice.choice(SITES)).items()))
        print(time.strftime("%H:%M:%S"), name, flush=True)
        harm()
        time.sleep(dice.uniform(*FAULT_S))
        mend()
        await_that("both sites are ready", lambda: _are_ready(happened), READY_TIMEOUT_S)
        happened[name] += 1
    return happened


def _are_ready(happened: Counter[str]) -> bool:
    health = {site: _health(site) for site in SITES}
    for site in SITES:
        if "geosync brake list" in health[site]:
            happened["brakes approved"] += _approve_brakes(site)
    return all(each == "ready\n" for each in health.values())


def _approve_brakes(site: str) -> int:
    """Says of all that a site's brakes hold that it is meant; returns how many there were."""
    brakes = json.loads(geosync(site, "brake", "list", "--json", is_checked=False))
    waiting = [each for each in brakes if each["verdict"] is None]
    for brake in waiting:
        print(time.strftime("%H:%M:%S"), f"brake at {brake['site']}: {brake['reason']}", flush=True)
        geosync(site, "brake", "approve", brake["id"])
    return len(waiting)


def _health(site: str) -> str:
    return at(site, "curl", "--silent", "http://127.0.0.1:3090/ready", is_checked=False)


def _check(users: list[User], conflicts_before: set[str]) -> list[str]:
    print(f"the same after {await_same_files():.1f} s", flush=True)
    problems = [] if rows("bari") == rows("cnaf") else ["the tables of attachments differ"]
    for site in SITES:
        client = RedmineClient(site)
        for user in users:
            problems += _problems_of(client, site, user)
        said = geosync(site, "verify", is_checked=False).strip().splitlines()
        print(f"{site}: geosync verify: {said[-1] if said else 'says nothing'}")
    new = [each["path"] for each in conflicts("bari") if each["id"] not in conflicts_before]
    orphans = [each for each in findings("bari") if each["kind"] == "orphan"]
    print(f"{len(new)} conflicts {new}, {len(orphans)} files without a row")
    return problems


def _problems_of(client: RedmineClient, site: str, user: User) -> list[str]:
    problems = []
    for upload in user.kept.values():
        status, digest = client.download(upload)
        if (status, digest) != (200, upload.digest):
            problems.append(f"{upload.name} of {user.name} at {site}: {status}")
    return problems + [
        f"{upload.name} of {user.name} was deleted and is there, at {site}"
        for upload in user.deleted.values()
        if client.download(upload)[0] != 404
    ]


def main() -> int:
    """Soaks; returns 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    problems = soak(options.minutes, options.seed)
    for problem in problems:
        print("WRONG:", problem)
    print("all is well" if not problems else f"{len(problems)} problems")
    with open(os.path.join(LABORATORY, "soak.json"), "w", encoding="utf-8") as file:
        json.dump({"seed": options.seed, "problems": problems}, file)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
