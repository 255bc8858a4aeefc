"""The verdict on a run: what was lost, made up, mixed, or different. Knows nothing of the engine.

The rule for losses is exact. A content that a program left on its disk must be seen in the end, in
the tree or as a conflict, unless some program did away with it having it before it: overwrote it in
place, renamed over it, removed it, or moved it out of the tree. Programs look at what they displace
through a descriptor of it, so they know. Where the daemon changed the name in the same instant they
say that they are not sure; only then is a content of that area, begun before, let off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.torture.evidence import Action, Evidence, Seen, SiteState, Wanted

FREE_AREAS = ("tools/", "load/")  # programs that we did not write make contents of their own there
UNWITNESSED_AREAS = ("tools/",)  # whole programs do not tell what they displace
EXCLUSIVE_AREAS = ("owned/", "tools/")
DIFFERENCES_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold."""

    rule: str
    text: str


@dataclass(slots=True)
class Verdict:
    """What was found, and how much was judged."""

    findings: list[Finding]
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether all holds."""
        return not self.findings


def judge(evidence: Evidence) -> Verdict:
    """Checks everything."""
    counts: Counter[str] = Counter()
    findings = [
        *(Finding("incident", text) for text in evidence.incidents),
        *_unfinished(evidence),
        *_problems(evidence),
        *_differences(evidence),
        *_lost(evidence, counts),
        *_made_up(evidence, counts),
        *_owned(evidence, counts),
    ]
    _count(evidence, counts)
    return Verdict(findings, counts)


def _unfinished(evidence: Evidence) -> Iterator[Finding]:
    for action in evidence.actions:
        if action.ended_ns is None:
            yield Finding("unfinished", f"{_who(action)} never ended: its writer died")


def _problems(evidence: Evidence) -> Iterator[Finding]:
    for site in evidence.sites:
        for text in site.problems:
            yield Finding("problem", f"{site.name} reports: {text}")


# All sites the same


def _differences(evidence: Evidence) -> Iterator[Finding]:
    first, *others = evidence.sites
    for other in others:
        yield from _limited("tree", _compared(first, other, first.tree, other.tree))
        kept, kept_there = first.conflict_files, other.conflict_files
        yield from _limited("conflict files", _compared(first, other, kept, kept_there))
        ids, ids_there = _conflict_ids(first), _conflict_ids(other)
        if ids != ids_there:
            text = f"{first.name} alone lists {sorted(ids - ids_there)}, {other.name} alone"
            yield Finding("conflict lists", f"{text} {sorted(ids_there - ids)}")


def _compared(
    first: SiteState, other: SiteState, here: dict[str, Seen], there: dict[str, Seen]
) -> Iterator[str]:
    for path in sorted(here.keys() | there.keys()):
        if here.get(path) != there.get(path):
            found, found_there = _shown(here.get(path)), _shown(there.get(path))
            yield f"{path!r}: {found} on {first.name}, {found_there} on {other.name}"


def _limited(rule: str, texts: Iterable[str]) -> Iterator[Finding]:
    found = list(texts)
    yield from (Finding(rule, text) for text in found[:DIFFERENCES_SHOWN_MAX])
    if len(found) > DIFFERENCES_SHOWN_MAX:
        yield Finding(rule, f"and {len(found) - DIFFERENCES_SHOWN_MAX} more")


def _conflict_ids(site: SiteState) -> set[str]:
    return {str(conflict["id"]) for conflict in site.conflicts}


def _shown(seen: Seen | None) -> str:
    if seen is None:
        return "missing"
    named = f", names {list(seen.names)}" if seen.names else ""
    what = f"{seen.kind} {seen.mode:04o} {seen.owner} mtime {seen.mtime_ns}"
    return f"{what} [{seen.described}]{named}"


# Nothing lost


def _lost(evidence: Evidence, counts: Counter[str]) -> Iterator[Finding]:
    made_by = _makers(evidence.actions)
    captured = {version.digest for version in evidence.history}
    displaced = {digest for action in evidence.actions for digest in action.displaced}
    displaced.update(digest for site in evidence.sites for digest in site.removed)
    stood = {digest for action in evidence.actions for digest in action.stands}
    unsure = _unsure_until(evidence.actions)
    for site in evidence.sites:
        visible = _visible(site)
        for digest in sorted((stood | captured & made_by.keys()) - displaced):
            action = made_by[digest]
            if action.area.startswith(UNWITNESSED_AREAS):
                continue
            if digest in visible:
                counts["writes that must be there, and are"] += 1
            elif action.begun_ns < unsure.get(action.area, 0):
                counts["writes that could not be judged"] += 1
            else:
                how = "captured" if digest in captured else "never captured"
                what = f"{action.announces[digest]} ({how}), of {_who(action)}"
                yield Finding("lost", f"{site.name} does not show {what}")


def _makers(actions: Iterable[Action]) -> dict[str, Action]:
    """Returns the first action that announced each content."""
    made_by: dict[str, Action] = {}
    for action in sorted(actions, key=lambda each: each.begun_ns):
        for digest in action.announces:
            made_by.setdefault(digest, action)
    return made_by


def _unsure_until(actions: Iterable[Action]) -> dict[str, int]:
    """Returns, by area, until when something may have been displaced that nobody saw."""
    until: dict[str, int] = {}
    for action in actions:
        if action.is_unsure:
            ended_ns = action.ended_ns if action.ended_ns is not None else 2**63
            until[action.area] = max(until.get(action.area, 0), ended_ns)
    return until


def _visible(site: SiteState) -> set[str]:
    return {seen.digest for seen in (*site.tree.values(), *site.conflict_files.values())}


def _who(action: Action) -> str:
    at_s = action.begun_ns / 1e9
    name = f"{action.site}.{action.writer} action {action.number}"
    about = ", ".join(repr(each.partition(action.area)[2]) for each in action.names)
    return f"{name} at {at_s:.3f} ({action.kind} in {action.area} {about})"


# Nothing made up


def _made_up(evidence: Evidence, counts: Counter[str]) -> Iterator[Finding]:
    announced = {digest for action in evidence.actions for digest in action.announces}
    for site in evidence.sites:
        for path, seen in (*site.tree.items(), *site.conflict_files.items()):
            if seen.digest and seen.digest not in announced and not _is_free(path, seen.is_ours):
                yield Finding(
                    "made up", f"{site.name} shows at {path!r} what nobody wrote: {seen.described}"
                )
    for version in evidence.history:
        if version.digest in announced:
            counts["versions captured"] += 1
        elif _is_free(version.path, version.is_ours):
            counts["versions captured of programs that are not ours"] += 1
        else:
            found = f"{version.version} at {version.path!r}"
            yield Finding("made up", f"captured as {found}, and nobody wrote: {version.described}")


def _is_free(path: str, is_ours: bool) -> bool:
    return path.startswith(FREE_AREAS) and not is_ours


# What only one program writes to is exactly as that program left it


def _owned(evidence: Evidence, counts: Counter[str]) -> Iterator[Finding]:
    for action in evidence.actions:
        if action.failure and action.area.startswith(EXCLUSIVE_AREAS):
            text = f"{_who(action)} failed, and nobody else writes there: {action.failure}"
            yield Finding("owned", text)
    for site in evidence.sites:
        for area, model in evidence.models.items():
            found = _below(site.tree, area)
            for path in sorted(found.keys() | model.keys()):
                counts["names checked exactly"] += 1
                for text in _unlike(area, model.get(path), found.get(path)):
                    yield Finding("owned", f"{site.name} {area}/{path!r}: {text}")
            for path in _below(site.conflict_files, area):
                yield Finding("owned", f"{site.name} has a conflict in {area}: {path!r}")


def _below(tree: dict[str, Seen], area: str) -> dict[str, Seen]:
    prefix = area + "/"
    return {path.removeprefix(prefix): s for path, s in tree.items() if path.startswith(prefix)}


def _unlike(area: str, wanted: Wanted | None, seen: Seen | None) -> Iterator[str]:
    if wanted is None or seen is None:
        yield f"wanted {wanted or 'nothing'}, found {_shown(seen)}"
        return
    if (wanted.kind, wanted.digest) != (seen.kind, seen.digest):
        yield f"wanted {wanted.kind} {wanted.digest[:12]}, found {_shown(seen)}"
    if wanted.mode not in (None, seen.mode):
        yield f"wanted mode {wanted.mode:04o}, found {seen.mode:04o}"
    if wanted.mtime_ns not in (None, seen.mtime_ns):
        yield f"wanted mtime {wanted.mtime_ns}, found {seen.mtime_ns}"
    names = {f"{area}/{name}" for name in wanted.names}
    if names != set(seen.names):
        yield f"wanted the names {sorted(names)}, found {list(seen.names)}"


def _count(evidence: Evidence, counts: Counter[str]) -> None:
    counts["actions"] = len(evidence.actions)
    counts["actions that could not be done"] = sum(bool(a.failure) for a in evidence.actions)
    counts["actions unsure of what they displaced"] = sum(a.is_unsure for a in evidence.actions)
    displaced = {digest for action in evidence.actions for digest in action.displaced}
    last = evidence.sites[0]
    kept = {seen.digest for seen in last.conflict_files.values()}
    counts["conflicts"] = len(last.conflicts)
    counts["conflicts kept although a program had displaced them"] = len(kept & displaced)
    counts["names in the tree"] = len(last.tree)
