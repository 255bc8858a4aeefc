"""The checker of the torture finds what it is there to find: runs that are forged to be wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture.action_log import ActionLog
from tests.torture.checker import judge
from tests.torture.evidence import (
    Action,
    CapturedVersion,
    Evidence,
    Seen,
    SiteState,
    Wanted,
    read_logs,
)
from tests.torture.signed_content import (
    NOTHING,
    compose,
    described,
    digest_of,
    identities_in,
    is_ours,
)

FAMILY = "shared/family-0"
OWNED = "owned/bari-1"
FIRST = compose("bari.1.000001", NOTHING, 9000)
SECOND = compose("geneva.1.000001", "bari.1.000001", 9000)
THIRD = compose("bari.1.000002", "geneva.1.000001", 500)


def action(number: int, content: bytes | None, *displaced: bytes, **changes: object) -> Action:
    """An action that was done, and wrote a content, and did away with others."""
    stands = () if content is None else (digest_of(content),)
    done = Action(
        site="bari",
        writer="1",
        number=number,
        kind="save",
        area=FAMILY,
        begun_ns=number * 1000,
        ended_ns=number * 1000 + 500,
        announces={digest: described(content or b"") for digest in stands},
        stands=stands,
        displaced=tuple(map(digest_of, displaced)),
    )
    return replace(done, **changes)  # type: ignore[arg-type]


def seen(content: bytes, **changes: object) -> Seen:
    """A file with this content."""
    file = Seen(
        kind="file",
        digest=digest_of(content),
        mode=0o644,
        owner="0:0",
        mtime_ns=5,
        is_ours=is_ours(content),
        described=described(content),
    )
    return replace(file, **changes)  # type: ignore[arg-type]


def site(name: str, tree: dict[str, bytes], kept: tuple[bytes, ...] = ()) -> SiteState:
    """A site with these files, and these as conflicts."""
    return SiteState(
        name=name,
        tree={path: seen(content) for path, content in tree.items()},
        conflict_files={f"{FAMILY}/kept-{n}": seen(content) for n, content in enumerate(kept)},
        conflicts=tuple({"id": str(number)} for number in range(len(kept))),
        problems=(),
    )


def captured(content: bytes, path: str = f"{FAMILY}/a") -> CapturedVersion:
    """One version of the history."""
    return CapturedVersion("abc-1", path, digest_of(content), is_ours(content), described(content))


@pytest.fixture
def clean() -> Evidence:
    """Two sites wrote one file at the same time; one version has the name, one is a conflict."""
    tree = {f"{FAMILY}/a": SECOND}
    return Evidence(
        actions=(action(1, FIRST), action(2, SECOND, site="geneva")),
        models={},
        sites=(site("bari", tree, (FIRST,)), site("geneva", tree, (FIRST,))),
        history=(captured(FIRST), captured(SECOND)),
        incidents=(),
    )


def rules_of(evidence: Evidence) -> set[str]:
    return {finding.rule for finding in judge(evidence).findings}


def with_sites(evidence: Evidence, **changes: object) -> Evidence:
    """The same with all sites changed alike."""
    return replace(evidence, sites=tuple(replace(s, **changes) for s in evidence.sites))  # type: ignore[arg-type]


def test_a_run_in_which_all_holds_is_clean(clean: Evidence) -> None:
    verdict = judge(clean)
    assert verdict.is_clean, verdict.findings
    assert verdict.counts["writes that must be there, and are"] == 4


def test_a_version_that_nobody_displaced_and_no_site_shows_is_lost(clean: Evidence) -> None:
    assert rules_of(with_sites(clean, conflict_files={}, conflicts=())) == {"lost"}


def test_a_version_that_only_one_site_lost_is_lost_there(clean: Evidence) -> None:
    first, second = clean.sites
    forged = replace(clean, sites=(first, replace(second, conflict_files={}, conflicts=())))
    assert rules_of(forged) == {"lost", "conflict files", "conflict lists"}


def test_a_version_that_was_captured_is_missed_even_if_its_writer_was_not_done(clean) -> None:
    """The action ended with an error after the file had stood there for a while."""
    first, second = clean.actions
    failed = replace(first, stands=(), failure="OSError")
    forged = replace(clean, actions=(failed, second))
    assert judge(forged).is_clean
    assert rules_of(with_sites(forged, conflict_files={}, conflicts=())) == {"lost"}


def test_what_a_program_displaced_having_it_before_it_may_go(clean: Evidence) -> None:
    first, second = clean.actions
    replaced = replace(second, displaced=(digest_of(FIRST),))
    forged = replace(clean, actions=(first, replaced))
    assert judge(with_sites(forged, conflict_files={}, conflicts=())).is_clean


def test_what_a_program_moved_out_of_the_tree_may_go(clean: Evidence) -> None:
    gone = with_sites(clean, conflict_files={}, conflicts=(), removed=(digest_of(FIRST),))
    assert judge(gone).is_clean


def test_an_unsure_program_lets_off_only_what_was_written_before_in_the_same_area(clean) -> None:
    gone = with_sites(clean, conflict_files={}, conflicts=())
    unsure = action(3, None, is_unsure=True)
    let_off = judge(replace(gone, actions=(*clean.actions, unsure)))
    assert let_off.is_clean
    assert let_off.counts["writes that could not be judged"] == 2
    elsewhere = replace(unsure, area="shared/family-1")
    assert rules_of(replace(gone, actions=(*clean.actions, elsewhere))) == {"lost"}
    earlier = replace(unsure, begun_ns=0, ended_ns=1)
    assert rules_of(replace(gone, actions=(*clean.actions, earlier))) == {"lost"}


@pytest.mark.parametrize(
    "content",
    [
        SECOND[:4096] + FIRST[4096:],
        FIRST[:5000],
        FIRST[:4096] + bytes(4096),
        b"",
        b"from nowhere",
    ],
    ids=["mixed", "cut", "zeroes", "empty", "foreign"],
)
def test_a_content_that_nobody_wrote_is_made_up(clean: Evidence, content: bytes) -> None:
    shown = [replace(s, tree={**s.tree, f"{FAMILY}/b": seen(content)}) for s in clean.sites]
    assert rules_of(replace(clean, sites=tuple(shown))) == {"made up"}
    kept = [
        replace(s, conflict_files={**s.conflict_files, "x": seen(content)}) for s in clean.sites
    ]
    assert rules_of(replace(clean, sites=tuple(kept))) == {"made up"}
    assert rules_of(replace(clean, history=(*clean.history, captured(content)))) == {"made up"}


def test_a_mix_tells_what_it_is_made_of() -> None:
    mixed = SECOND[:4096] + FIRST[4096:]
    assert identities_in(mixed) == ["geneva.1.000001", "bari.1.000001"]
    assert "geneva.1.000001 then bari.1.000001" in described(mixed)


def test_programs_that_are_not_ours_make_contents_of_their_own_but_do_not_mix_ours(clean) -> None:
    foreign, mixed = captured(b"object", "tools/x/.git/o"), captured(FIRST[:5000], "tools/x/y")
    assert judge(replace(clean, history=(*clean.history, foreign))).is_clean
    assert rules_of(replace(clean, history=(*clean.history, mixed))) == {"made up"}


@pytest.mark.parametrize(
    "change",
    [{"mode": 0o600}, {"mtime_ns": 6}, {"owner": "1:1"}, {"names": ("x", "y")}],
    ids=lambda change: next(iter(change)),
)
def test_sites_that_differ_in_anything_are_told(clean: Evidence, change: dict[str, object]) -> None:
    first, second = clean.sites
    path, file = next(iter(second.tree.items()))
    other = replace(second, tree={path: replace(file, **change)})  # type: ignore[arg-type]
    assert rules_of(replace(clean, sites=(first, other))) == {"tree"}


def test_a_conflict_that_one_site_does_not_list_is_told(clean: Evidence) -> None:
    first, second = clean.sites
    forged = replace(clean, sites=(first, replace(second, conflicts=())))
    assert rules_of(forged) == {"conflict lists"}


def test_problems_deaths_and_unrest_are_told(clean: Evidence) -> None:
    assert rules_of(replace(clean, incidents=("the daemon died",))) == {"incident"}
    assert rules_of(with_sites(clean, problems=("the disk is full",))) == {"problem"}
    first, second = clean.actions
    assert "unfinished" in rules_of(replace(clean, actions=(first, replace(second, ended_ns=None))))


class TestExclusive:
    """A directory with one writer is exactly as that writer left it."""

    @pytest.fixture
    def owned(self) -> Evidence:
        tree = {f"{OWNED}/f": THIRD}
        return Evidence(
            actions=(action(1, FIRST, area=OWNED), action(2, THIRD, FIRST, area=OWNED)),
            models={OWNED: {"f": Wanted("file", digest_of(THIRD), mode=0o644, mtime_ns=5)}},
            sites=(site("bari", tree), site("geneva", tree)),
            history=(),
            incidents=(),
        )

    def test_as_it_was_left(self, owned: Evidence) -> None:
        assert judge(owned).is_clean, judge(owned).findings

    @pytest.mark.parametrize(
        "tree",
        [
            {},
            {f"{OWNED}/f": seen(FIRST)},
            {f"{OWNED}/f": seen(THIRD, mode=0o600)},
            {f"{OWNED}/f": seen(THIRD, mtime_ns=6)},
            {f"{OWNED}/f": seen(THIRD), f"{OWNED}/g": seen(THIRD)},
            {f"{OWNED}/f": seen(THIRD, names=(f"{OWNED}/f", f"{OWNED}/g"))},
        ],
        ids=["missing", "old", "mode", "mtime", "a name more", "a link more"],
    )
    def test_anything_else_is_told(self, owned: Evidence, tree: dict[str, Seen]) -> None:
        assert "owned" in rules_of(with_sites(owned, tree=tree))

    def test_a_conflict_there_is_told(self, owned: Evidence) -> None:
        assert rules_of(with_sites(owned, conflict_files={f"{OWNED}/f": seen(FIRST)})) == {"owned"}

    def test_an_action_that_could_not_be_done_is_told(self, owned: Evidence) -> None:
        first, second = owned.actions
        failed = replace(second, failure="FileNotFoundError: gone")
        assert rules_of(replace(owned, actions=(first, failed))) == {"owned"}


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "bari.1.jsonl")
    with ActionLog(path) as log:
        with log.action("save", FAMILY, {"d1": "words"}, b"\xff") as outcome:
            outcome.stands.append("d1")
            outcome.displaced.append("d0")
        with pytest.raises(OSError, match="gone"), log.action("rename", FAMILY, {}) as outcome:
            raise OSError("gone")
        log.model(OWNED, {"f": {"kind": "file", "digest": "d1", "names": ["f", "g"]}})
    actions, models = read_logs([path])
    saved, failed = actions
    assert (saved.stands, saved.displaced, saved.failure) == (("d1",), ("d0",), "")
    assert (saved.site, saved.writer, saved.names) == ("bari", "1", (os.fsdecode(b"\xff"),))
    assert failed.failure == "OSError: gone"
    assert models == {OWNED: {"f": Wanted("file", "d1", names=("f", "g"))}}


def test_an_action_that_never_ended_is_unsure_and_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "bari.1.jsonl"
    begun = {"at_ns": 1, "begins": 1, "kind": "save", "area": FAMILY, "announces": {}}
    path.write_text(json.dumps(begun) + "\n")
    [action_found], _ = read_logs([str(path)])
    assert action_found.ended_ns is None
    assert action_found.is_unsure
