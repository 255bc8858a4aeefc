"""Bare git repositories on two sites: `python -m recipes.applications.git_repositories`.

What the recipe says: name the repositories in a [[file_group]], switch git's own garbage collection
off, and let a hook in each repository refuse pushes at all sites but its home. So a repository is
read at every site and written at one; `git config geosync.home` gives it another home. Without the
hook nothing is torn, either, but of two pushes to one branch at one time one becomes a conflict.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from recipes.applications.two_sites import ApplicationSite, await_same, await_that, two_sites
from recipes.redmine.propositions import run_propositions

CONFIGURATION = """
[[file_group]]
paths = ["*.git"]
kind = "git"
"""
PUSHES = 8
RESULTS = "/var/tmp/geosync-git.json"
IDENTITY = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
}  # fmt: skip
ONLY_AT_HOME = """#!/bin/sh
# pre-receive: refuses what is pushed at another site than the repository's home.
home=$(git config geosync.home)
if [ -n "$home" ] && [ "$home" != "$GEOSYNC_SITE" ]; then
    echo "this repository is written at $home; here, at $GEOSYNC_SITE, it is read only" >&2
    exit 1
fi
"""


def pushed_at_both_sites() -> str:
    """Two repositories, each pushed at its own site while the other site reads it, stay whole."""
    with _world() as (bari, cnaf):
        for site in (bari, cnaf):
            _make_repository(site, f"of-{site.name}.git", home=site.name)
        with ThreadPoolExecutor(2) as threads:
            heads = list(threads.map(_push_often, (bari, cnaf)))
        await_same(bari, cnaf)
        for site in (bari, cnaf):
            for owner, head in zip((bari, cnaf), heads, strict=True):
                assert _head(site, f"of-{owner.name}.git") == head
                _check_whole(site, f"of-{owner.name}.git")
        assert not bari.conflicts()
    return f"{PUSHES} pushes at each site; git fsck finds nothing at either, no conflicts"


def refused_elsewhere() -> str:
    """A push at another site than the repository's home is refused, and says where to go."""
    with _world() as (bari, cnaf):
        _make_repository(bari, "shared.git", home="bari")
        _push_often(bari, "shared.git")
        await_same(bari, cnaf)
        clone = _clone(cnaf, "shared.git")
        _commit(cnaf, clone, "elsewhere")
        said = cnaf.run("git", "-C", clone, "push", is_checked=False, environment=IDENTITY)
        assert "is written at bari" in said, said
        assert _head(cnaf, "shared.git") == _head(bari, "shared.git")
    return "remote: this repository is written at bari; here, at cnaf, it is read only"


def one_branch_at_both_sites() -> str:
    """Without the hook, two pushes to one branch at one time: whole, and the loser is to be had."""
    with _world() as (bari, cnaf):
        _make_repository(bari, "shared.git", home="")
        _push_often(bari, "shared.git")
        await_same(bari, cnaf)
        with ThreadPoolExecutor(2) as threads:
            pushed = list(threads.map(lambda site: _push_once(site, "shared.git"), (bari, cnaf)))
        await_that("the conflict is known", lambda: bool(bari.conflicts() and cnaf.conflicts()))
        await_same(bari, cnaf)
        for site in (bari, cnaf):
            assert _head(site, "shared.git") in pushed
            _check_whole(site, "shared.git")
            for commit in pushed:  # the loser's objects came as well
                site.run(
                    "git",
                    "-C",
                    f"{site.root}/shared.git",
                    "cat-file",
                    "-e",
                    commit,
                    environment=IDENTITY,
                )
        loser = next(commit for commit in pushed if commit != _head(bari, "shared.git"))
        _in_repository(bari, "shared.git", "branch", "rescued", loser)
        await_same(bari, cnaf)
        _check_whole(cnaf, "shared.git")
    return "one branch has one of both commits at both sites; the other became the branch `rescued`"


def _world() -> AbstractContextManager[tuple[ApplicationSite, ApplicationSite]]:
    return two_sites("git", configuration=CONFIGURATION)


def _make_repository(site: ApplicationSite, name: str, *, home: str) -> None:
    path = f"{site.place}/{name}"
    site.run(
        "git", "init", "--quiet", "--bare", "--initial-branch=main", path, environment=IDENTITY
    )
    for key, value in (("gc.auto", "0"), ("receive.autogc", "false"), ("geosync.home", home)):
        site.run("git", "-C", path, "config", key, value, environment=IDENTITY)
    shutil.rmtree(f"{path}/hooks")
    os.mkdir(f"{path}/hooks")
    with open(f"{path}/hooks/pre-receive", "w", encoding="ascii") as file:
        file.write(ONLY_AT_HOME)
        os.fchmod(file.fileno(), 0o755)
    os.rename(path, f"{site.root}/{name}")


def _push_often(site: ApplicationSite, name: str = "") -> str:
    name = name or f"of-{site.name}.git"
    clone = _clone(site, name)
    for number in range(PUSHES):
        _commit(site, clone, str(number))
        site.run("git", "-C", clone, "push", "--quiet", "origin", "HEAD:main", environment=IDENTITY)
    return _head(site, name)


def _push_once(site: ApplicationSite, name: str) -> str:
    clone = _clone(site, name)
    _commit(site, clone, f"at {site.name}")
    site.run("git", "-C", clone, "push", "--quiet", "origin", "HEAD:main", environment=IDENTITY)
    return site.run("git", "-C", clone, "rev-parse", "HEAD", environment=IDENTITY).strip()


def _clone(site: ApplicationSite, name: str) -> str:
    clone = f"{site.place}/clone-{len(os.listdir(site.place))}"
    subprocess.run(
        ["git", "clone", "--quiet", f"{site.root}/{name}", clone], check=True,
        env={**os.environ, **IDENTITY}, capture_output=True,
    )  # fmt: skip
    return clone


def _commit(site: ApplicationSite, clone: str, text: str) -> None:
    with open(f"{clone}/{site.name}.txt", "a", encoding="utf-8") as file:
        file.write(f"{text}\n")
    site.run("git", "-C", clone, "add", ".", environment=IDENTITY)
    site.run("git", "-C", clone, "commit", "--quiet", "--message", text, environment=IDENTITY)


def _head(site: ApplicationSite, name: str) -> str:
    return _in_repository(site, name, "rev-parse", "main").strip()


def _check_whole(site: ApplicationSite, name: str) -> None:
    _in_repository(site, name, "fsck", "--full", "--strict")


def _in_repository(site: ApplicationSite, name: str, *arguments: str) -> str:
    return site.run("git", "-C", f"{site.root}/{name}", *arguments, environment=IDENTITY)


PROPOSITIONS = (pushed_at_both_sites, refused_elsewhere, one_branch_at_both_sites)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], RESULTS) > 0)
