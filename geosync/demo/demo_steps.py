"""What happens in the demonstration, step by step. Each step ends with equal trees, or raises."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Final

from geosync.demo.demo_site import DemoSite
from geosync.demo.demo_world import DemonstrationFailed, DemoWorld
from geosync.demo.sample_tree import LIBRARY, NOTES, SHARED_NOTE, UNUSUAL, seed_tree
from geosync.demo.tree_comparison import read_tree, total_size_bytes
from geosync.exit_codes import ExitCode
from geosync.terminal import human_duration, human_size

LARGE_FILE: Final = b"large file"
LARGE_SIZE_BYTES: Final = 64 * 1024 * 1024
PARTITION_S: Final = 3.0
RENAMED_LIBRARY: Final = b"renamed library"


def first_copies(world: DemoWorld, source: str) -> None:
    """One site brings a tree, the others get it."""
    world.tell.step("Copies of one directory")
    seed_tree(world.first.root, source)
    tree = read_tree(world.first.root)
    world.tell.say(
        f"{world.first.name} brings {len(tree):,} files and directories,"
        f" {human_size(total_size_bytes(tree))}: a copy of {source}, and a few entries that are"
        f" out of the ordinary (in {UNUSUAL.decode()}/: hard links, a dangling symbolic link,"
        f" a name with a newline, one that is not UTF-8, a file from 1969)."
        f" {_names(world.others)} start{_plural_s(world.others)} empty."
    )
    with world.measured(f"first copy to {_names(world.others)}"):
        world.start_daemons()
        world.wait_until_equal()


def an_edit(world: DemoWorld) -> None:
    """A file changes on one site."""
    world.tell.step("A file is edited")
    note = NOTES + b"/note-1.txt"
    content = b"Note 1, edited.\n"
    with world.measured(f"edit on {world.first.name}, seen everywhere"):
        _write(world.first, note, content)
        start_s = time.monotonic()
        seen_after_s: dict[str, float] = {}

        def note_who_sees_it() -> bool:
            for site in world.others:
                if site.name not in seen_after_s and _holds(site, note, content):
                    seen_after_s[site.name] = time.monotonic() - start_s
            return len(seen_after_s) == len(world.others)

        world.wait_until(note_who_sees_it, f"the edit of {note.decode()} is seen everywhere")
    seen = (f"{name} after {human_duration(after_s)}" for name, after_s in seen_after_s.items())
    world.tell.say(f"{note.decode()} changed on {world.first.name}; seen on {', on '.join(seen)}.")
    world.wait_until_equal()


def a_rename(world: DemoWorld) -> None:
    """A directory with thousands of files gets another name."""
    world.tell.step("A large directory is renamed")
    below = [path for path in read_tree(world.first.root) if path.startswith(LIBRARY + b"/")]
    with world.measured(f"rename of a directory with {len(below):,} entries"):
        os.rename(world.first.path(LIBRARY), world.first.path(RENAMED_LIBRARY))
        world.wait_until(
            lambda: all(
                os.path.exists(site.path(RENAMED_LIBRARY))
                and not os.path.exists(site.path(LIBRARY))
                for site in world.sites
            ),
            "the new name is seen everywhere",
        )
    world.tell.say(
        "Only the new name travelled, not the files. Most of these bytes are the sites asking"
        " Swift for news."
    )
    world.wait_until_equal()


def a_partition(world: DemoWorld) -> None:
    """One site is cut off; both sides go on writing, also the same file."""
    cut_off = world.last
    world.tell.step(f"{cut_off.name} is cut off, and everybody goes on writing")
    cut_off.relay.partition()
    content = b"Written while the line was down.\n"
    _write(world.first, NOTES + b"/note-2.txt", content)
    os.unlink(cut_off.path(NOTES + b"/note-3.txt"))
    _write(cut_off, NOTES + b"/new note.txt", content)
    _write(world.first, SHARED_NOTE, _opinion(world.first))
    _write(cut_off, SHARED_NOTE, _opinion(cut_off))
    world.tell.say(
        f"{world.first.name} edits a note, {cut_off.name} deletes one and makes one, and both"
        f" write different texts into {SHARED_NOTE.decode()}. The line is down for"
        f" {human_duration(PARTITION_S)}."
    )
    time.sleep(PARTITION_S)
    with world.measured("the line is back, until all is everywhere"):
        cut_off.relay.heal()
        world.wait_until_equal()
    if not _holds(world.first, NOTES + b"/new note.txt", content):
        raise DemonstrationFailed(f"{world.first.name} lacks the note that {cut_off.name} made")
    if not _holds(cut_off, NOTES + b"/note-2.txt", content):
        raise DemonstrationFailed(f"{cut_off.name} lacks what {world.first.name} edited")
    if os.path.exists(world.first.path(NOTES + b"/note-3.txt")):
        raise DemonstrationFailed(f"{world.first.name} has the note that {cut_off.name} deleted")
    world.tell.say("Every edit, deletion and new file of both sides is on all sites.")


def a_kill(world: DemoWorld) -> None:
    """A daemon is killed in the middle of a large download."""
    receiver = world.others[0]
    world.tell.step(f"The daemon of {receiver.name} is killed in the middle of a large file")
    before_bytes = receiver.received_bytes
    with world.measured(f"a file of {human_size(LARGE_SIZE_BYTES)}, with a kill on the way"):
        _write(world.first, LARGE_FILE, os.urandom(LARGE_SIZE_BYTES))
        world.wait_until(
            lambda: receiver.received_bytes - before_bytes > LARGE_SIZE_BYTES * 5 // 8,
            f"{receiver.name} receives the large file",
        )
        receiver.kill()
        got_bytes = receiver.received_bytes - before_bytes
        is_visible = os.path.exists(receiver.path(LARGE_FILE))
        receiver.start()
        world.wait_until_equal()
    if is_visible:
        raise DemonstrationFailed(f"{receiver.name} showed the large file before it was complete")
    again_bytes = receiver.received_bytes - before_bytes - got_bytes
    world.tell.say(
        f"{receiver.name} had received {human_size(got_bytes)} when SIGKILL came, and no half of"
        f" the file was to be seen under its name. Started again, it went on where it had stopped"
        f" and received another {human_size(again_bytes)}."
    )


def a_conflict(world: DemoWorld) -> None:
    """The two texts of the partition are reported, and one is chosen."""
    world.tell.step("The conflict is looked at and settled")
    shown = _read(world.first, SHARED_NOTE)
    world.tell.say(
        f"Both texts of {SHARED_NOTE.decode()} are kept. The same one has the name on all sites,"
        " and any site tells where the other one is:"
    )
    world.wait_until(lambda: bool(_conflicts(world.last)), f"{world.last.name} reports a conflict")
    [conflict] = _conflicts(world.last)
    _quote(world, "conflicts", "list")
    _quote(world, "conflicts", "show", conflict)
    world.tell.say(f"The text that was kept aside is chosen on {world.last.name}:")
    chosen = next(text for text in map(_opinion, (world.first, world.last)) if text != shown)
    _quote(world, "conflicts", "resolve", conflict, "--take", "loser")
    with world.measured("the decision is seen everywhere"):
        world.wait_until(
            lambda: all(_holds(site, SHARED_NOTE, chosen) for site in world.sites),
            "the chosen text has its name everywhere",
        )
    world.wait_until(
        lambda: not any(map(_conflicts, world.sites)), "no site reports a conflict any more"
    )
    world.tell.say("No site reports a conflict any more.")
    world.wait_until_equal()


def the_verdict(world: DemoWorld) -> None:
    """All trees are compared once more, and with what must be in them."""
    world.tell.step("The trees are compared, without asking geosync")
    differences = world.differences()
    if differences:
        raise DemonstrationFailed("the trees are not the same: " + "; ".join(differences))
    tree = read_tree(world.first.root)
    links = tree[UNUSUAL + b"/one of three hard links"].hard_links
    if len(links) != 3 or tree[LARGE_FILE].size_bytes != LARGE_SIZE_BYTES:
        raise DemonstrationFailed("the trees are the same, but not what was written")
    world.tell.say(
        f"{_names(world.sites)} hold the same {len(tree):,} files and directories,"
        f" {human_size(total_size_bytes(tree))}: equal contents (SHA-256 of every file), modes,"
        " owners, modification times to the nanosecond, targets of symbolic links, hard links."
    )


def _conflicts(site: DemoSite) -> list[str]:
    answer = site.geosync("conflicts", "list", "--json")
    if answer.returncode not in (ExitCode.DONE, ExitCode.NEEDS_PERSON):
        raise DemonstrationFailed(f"`geosync conflicts list` on {site.name}: {answer.stderr}")
    return [str(conflict["id"]) for conflict in json.loads(answer.stdout)]


def _quote(world: DemoWorld, *arguments: str) -> None:
    """Shows a command on the last site, which must not fail."""
    answer = world.last.geosync(*arguments)
    world.tell.quote(" ".join(("geosync", *arguments)), answer.stdout + answer.stderr)
    if answer.returncode not in (ExitCode.DONE, ExitCode.NEEDS_PERSON):
        raise DemonstrationFailed(f"the command ended with exit code {answer.returncode}")


def _opinion(site: DemoSite) -> bytes:
    return f"{site.name} is right.\n".encode()


def _write(site: DemoSite, relative: bytes, content: bytes) -> None:
    with open(site.path(relative), "wb") as file:
        file.write(content)


def _read(site: DemoSite, relative: bytes) -> bytes:
    with open(site.path(relative), "rb") as file:
        return file.read()


def _holds(site: DemoSite, relative: bytes, content: bytes) -> bool:
    try:
        return _read(site, relative) == content
    except FileNotFoundError:
        return False


def _names(sites: Sequence[DemoSite]) -> str:
    *most, last = (site.name for site in sites)
    return f"{', '.join(most)} and {last}" if most else last


def _plural_s(sites: Sequence[DemoSite]) -> str:
    """The ending of the verb: one site starts, two start."""
    return "s" if len(sites) == 1 else ""
