"""A short torture in every test run; `make torture` is the long one."""

from __future__ import annotations

import dataclasses
import glob
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.torture.checker import judge
from tests.torture.evidence import Evidence, SiteState, read_logs
from tests.torture.final_state import digests_below, see_tree
from tests.torture.torture import Plan, torture
from tests.torture.writer import Settings, write_until

SEED = 1
ACTIONS = 300
WRITING_S = 10.0


def test_what_the_programs_do_without_a_daemon_is_judged_clean(tmp_path: Path) -> None:
    """The logs and the checker agree with plain POSIX, for two programs that share files."""
    for directory in ("root", "locks", "removed", "outside"):
        (tmp_path / directory).mkdir()
    plain = Settings(
        seed=str(SEED),
        site="bari",
        writer="1",
        root=str(tmp_path / "root"),
        locks=str(tmp_path / "locks"),
        removed=str(tmp_path / "removed"),
        outside=str(tmp_path / "outside"),
        log=str(tmp_path / "bari.1.jsonl"),
        families=2,
        pause_ms_mean=0.1,
        has_tools=True,
    )
    other = dataclasses.replace(
        plain, writer="2", log=str(tmp_path / "bari.2.jsonl"), has_tools=False
    )
    never = threading.Event()
    work = partial(write_until, never, actions_max=ACTIONS)
    writers = [threading.Thread(target=work, args=(settings,)) for settings in (plain, other)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    actions, models = read_logs(glob.glob(str(tmp_path / "*.jsonl")))
    state = SiteState(
        name="bari",
        tree=see_tree(bytes(tmp_path / "root")),
        conflict_files={},
        conflicts=(),
        problems=(),
        removed=digests_below(bytes(tmp_path / "removed")),
    )
    verdict = judge(Evidence(actions, models, (state,), (), ()))
    assert verdict.is_clean, verdict.findings
    assert set(models) == {"owned/bari-1", "owned/bari-2", "tools/bari-1"}
    assert verdict.counts["writes that must be there, and are"] > 0


@pytest.mark.torture
@pytest.mark.timeout(400)
def test_a_short_torture_loses_nothing_makes_nothing_up_and_comes_to_rest(tmp_path: Path) -> None:
    plan = Plan(SEED, WRITING_S, site_names=("bari", "geneva"), rest_timeout_s=120.0)
    result = torture(plan, tmp_path)
    assert result.verdict.is_clean, "\n".join(
        f"{f.rule}: {f.text}" for f in result.verdict.findings
    )
    assert result.verdict.counts["writes that must be there, and are"] > 0
    assert result.faults.total() > 0
