"""What the smaller recipes give to other programs: a list of images, and a hook of git."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from recipes.applications.git_repositories import ONLY_AT_HOME

RECIPES = Path(__file__).parents[2] / "recipes" / "applications"


def test_the_list_of_images_has_the_digest_of_each_and_nothing_else(tmp_path: Path) -> None:
    root, place = tmp_path / "root", tmp_path / "images.txt"
    (root / "debian").mkdir(parents=True)
    (root / ".geosync").mkdir()
    (root / "debian" / "twelve.img").write_bytes(b"twelve")
    (root / "notes.txt").write_bytes(b"no image")
    (root / ".geosync" / "staged.img").write_bytes(b"half")
    environment = {**os.environ, "GEOSYNC_ROOT": str(root)}
    command = [str(RECIPES / "publish-image-list"), str(place)]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)
    digest = hashlib.sha256(b"twelve").hexdigest()
    assert place.read_text() == f"{digest}  ./debian/twelve.img\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(("home", "is_taken"), [("bari", True), ("cnaf", False), ("", True)])
def test_a_push_is_taken_at_the_home_of_a_repository_only(
    tmp_path: Path, home: str, *, is_taken: bool
) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "geosync.home", home], check=True)
    hook = tmp_path / "hook"
    hook.write_text(ONLY_AT_HOME)
    done = subprocess.run(
        ["sh", str(hook)],
        cwd=tmp_path,
        env={**os.environ, "GEOSYNC_SITE": "bari", "GIT_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == is_taken
    assert ("is written at cnaf" in done.stderr) == (not is_taken)
