"""What a run leaves for the checker: logs of the writers, final states, history. Plain values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a writer, as its log tells it."""

    site: str
    writer: str
    number: int
    kind: str
    area: str
    begun_ns: int
    ended_ns: int | None  # None: the log ends before
    announces: dict[str, str] = field(default_factory=dict)
    stands: tuple[str, ...] = ()
    displaced: tuple[str, ...] = ()
    is_unsure: bool = False
    failure: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be at one name of an area that has one writer only; None: anything."""

    kind: str
    digest: str = ""
    mode: int | None = None
    mtime_ns: int | None = None
    names: tuple[str, ...] = ()  # all names of a file with several


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at one name of a final tree."""

    kind: str
    digest: str = ""  # of a file or a symbolic link
    mode: int = 0
    owner: str = ""  # user and group
    mtime_ns: int = 0
    names: tuple[str, ...] = ()  # all names of a file with several
    is_ours: bool = False  # some part of the content was made by a writer
    described: str = ""


@dataclass(frozen=True, slots=True)
class SiteState:
    """One site when all is quiet."""

    name: str
    tree: dict[str, Seen]
    conflict_files: dict[str, Seen]  # below the private directory
    conflicts: tuple[dict[str, Any], ...]  # as `geosync conflicts list --json` tells
    problems: tuple[str, ...]
    removed: tuple[str, ...] = ()  # digests of what programs moved out of the tree


@dataclass(frozen=True, slots=True)
class CapturedVersion:
    """One version of the history that is in the store."""

    version: str  # actor and counter
    path: str  # where the file was last placed
    digest: str
    is_ours: bool
    described: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one run."""

    actions: tuple[Action, ...]
    models: dict[str, dict[str, Wanted]]  # area -> path in it -> what has to be there
    sites: tuple[SiteState, ...]
    history: tuple[CapturedVersion, ...]
    incidents: tuple[str, ...]  # deaths of daemons or writers, no rest, changes after the rest


def read_logs(paths: Iterable[str]) -> tuple[tuple[Action, ...], dict[str, dict[str, Wanted]]]:
    """Reads the logs `SITE.WRITER.jsonl`."""
    actions: list[Action] = []
    models: dict[str, dict[str, Wanted]] = {}
    for path in sorted(paths):
        site, writer, _ = os.path.basename(path).split(".", 2)
        begun: dict[int, dict[str, Any]] = {}
        ended: dict[int, dict[str, Any]] = {}
        with open(path, encoding="utf-8") as lines:
            for text in lines:
                line = json.loads(text)
                if "model" in line:
                    models[line["model"]] = {p: _wanted(e) for p, e in line["tree"].items()}
                elif "begins" in line:
                    begun[line["begins"]] = line
                else:
                    ended[line["ends"]] = line
        actions += [_action(site, writer, begun[n], ended.get(n)) for n in sorted(begun)]
    return tuple(actions), models


def _wanted(entry: dict[str, Any]) -> Wanted:
    return Wanted(**{**entry, "names": tuple(entry.get("names", ()))})


def _action(site: str, writer: str, begun: dict[str, Any], ended: dict[str, Any] | None) -> Action:
    after = ended or {}
    return Action(
        site=site,
        writer=writer,
        number=begun["begins"],
        kind=begun["kind"],
        area=begun["area"],
        begun_ns=begun["at_ns"],
        ended_ns=after.get("at_ns"),
        announces=begun["announces"],
        stands=tuple(after.get("stands", ())),
        displaced=tuple(after.get("displaced", ())),
        is_unsure=after.get("is_unsure", True),
        failure=after.get("failure", ""),
        names=tuple(begun.get("names", ())),
    )


def save_json(evidence: Evidence, path: str) -> None:
    """Writes all of it to one file, for those who look for a defect."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(asdict(evidence), file, indent=1)
