"""Images of virtual machines, published one way: `python -m recipes.applications.vm_images`.

What the recipe says: the sites that only read have `mode = "replica"`, `drift = "revert"` and
credentials that may only read. A hook runs there when images have arrived, and writes the list of
images that an image service offers; an image is in the list only when all of it is there.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from recipes.applications.two_sites import REPOSITORY, ApplicationSite, await_that, two_sites
from recipes.redmine.propositions import run_propositions

RESULTS = "/var/tmp/geosync-images.json"
IMAGE_MIB = 64
HOLE_MIB = 1024
HOOK = f"""
[[hook]]
on = ["arrived"]
command = ["{REPOSITORY}/recipes/applications/publish-image-list", "$PLACE/images.txt"]
paths = ["*.img"]
wait_s = 0
"""


def images_are_listed_when_whole() -> str:
    """An image of 64 MiB with a hole of 1 GiB is published: it is listed elsewhere when whole."""
    with _world() as (bari, cnaf):
        digest = _publish(bari, "debian.img")
        took_s = await_that("the list has the image", lambda: digest in _list(cnaf), 120)
        assert _digest(f"{cnaf.root}/debian.img") == digest
        seen = os.stat(f"{cnaf.root}/debian.img")
        used_mib = seen.st_blocks * 512 >> 20
        assert used_mib < 2 * IMAGE_MIB, used_mib
    return f"listed after {took_s:.1f} s; {seen.st_size >> 20} MiB long, {used_mib} MiB on the disk"


def a_new_version_replaces_it_at_once() -> str:
    """Whoever reads an image while its new version arrives reads the old one or the new one."""
    with _world() as (bari, cnaf):
        digests = {_publish(bari, "debian.img")}
        await_that("the list has the image", lambda: digests <= set(_list(cnaf)), 120)
        newest = _publish(bari, "debian.img")
        looks = 0
        while newest not in _list(cnaf):
            assert _digest(f"{cnaf.root}/debian.img") in {*digests, newest}
            looks += 1
        assert len(_list(cnaf)) == 1
    return f"{looks} readings meanwhile, each of a whole version"


def what_is_changed_at_a_replica_is_put_back() -> str:
    """What somebody changes at the replica is put back and kept aside, and goes nowhere."""
    with _world() as (bari, cnaf):
        digest = _publish(bari, "debian.img")
        await_that("the list has the image", lambda: digest in _list(cnaf), 120)
        with open(f"{cnaf.root}/debian.img", "r+b") as file:
            file.write(b"changed by somebody")
        await_that("it is put back", lambda: _digest(f"{cnaf.root}/debian.img") == digest)
        assert _digest(f"{bari.root}/debian.img") == digest
        kept = subprocess.run(
            ["find", f"{cnaf.root}/.geosync/drift", "-type", "f"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert len(kept) == 1, kept
    return f"put back; what was there is in {os.path.relpath(kept[0], cnaf.root)}"


@contextmanager
def _world() -> Iterator[tuple[ApplicationSite, ApplicationSite]]:
    with two_sites("images", configuration=HOOK, second_mode="replica") as sites:
        yield sites


def _publish(site: ApplicationSite, name: str) -> str:
    """Writes an image beside the directory, and moves it there when it is whole."""
    path = f"{site.place}/{name}"
    with open(path, "wb") as file:
        file.write(os.urandom(IMAGE_MIB << 20))
        file.truncate(HOLE_MIB + IMAGE_MIB << 20)
    digest = _digest(path)
    os.rename(path, f"{site.root}/{name}")
    return digest


def _list(site: ApplicationSite) -> list[str]:
    try:
        with open(f"{site.place}/images.txt", encoding="utf-8") as file:
            return [line.split()[0] for line in file]
    except FileNotFoundError:
        return []


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PROPOSITIONS = (
    images_are_listed_when_whole,
    a_new_version_replaces_it_at_once,
    what_is_changed_at_a_replica_is_put_back,
)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], RESULTS) > 0)
