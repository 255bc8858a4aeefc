"""The simulation's checkers bite: an engine that breaks a safety rule does not get past them.

For each mutant of the engine there are seeds at which it was noticed. When the engine changes, so
do the histories, and these may notice nothing any more: then all seeds of every test run are tried,
which takes longer. `python -m tests.simulation.bite "NAME"` finds others, with the option
`--without-incidents` for those that have nothing to do with machines that were set back. One seed
that notices many of them is better than many: the engine as it is has to pass each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.engine_mutants import BREAKS
from tests.simulation.run import describe, run_seed
from tests.simulation.test_simulation import ONCE_FAILED, ONCE_FAILED_WITH_INCIDENTS
from tests.simulation.test_simulation import SEEDS as OF_EVERY_RUN

NOTICED_AT: dict[str, tuple[int, ...]] = {
    "recovery forgets what was under way": (28,),
    "recovery takes all that was under way for done": (22,),
    "intents are not noted": (28,),
    "the stage is not synced": (22,),
    "a start does not look at what was left to do": (16,),
    "a start clears the spool": (38,),
    "the outbox is lost with the process": (14,),
    "a pack counts as stored before it is": (14,),
    "a failed segment is sent again under a new name": (3,),
    "a failed segment is built anew under its name": (3,),
    "what was received is acknowledged before it is applied": (27,),
    "a segment that is not visible is passed over": (15,),
    "the order of causes is ignored": (17,),
    "hashes of what is fetched are not compared": (627,),
    "a content that can't be had is taken for empty": (6,),
    "replace ignores what is expected": (28,),
    "remove_file ignores what is expected": (3,),
    "what a change displaced is not examined": (9,),
    "displaced files are not watched for late writes": (43,),
    "nothing is ever swept": (3,),
    "a change that could not be made is forgotten": (6,),
    "conflict copies are not shown": (6,),
    "what can't be read is taken for deleted": (4,),
    "a file is captured while it is written": (3,),
    "a version replaces all that was received": (6,),
    "a deletion deletes all that was received": (28,),
}
NOTICED_WITH_INCIDENTS: dict[str, tuple[int, ...]] = {
    "another body under a name of ours is taken for ours": (23,),
    "a fresh journal is the actor that the site was before": (1,),
    "journal and directory of different moments go together": (9,),
    "changes leave no new generation": (43,),
    "what a site lacks when it joins counts as deleted": (1,),
    "the trash is emptied unseen": (136,),
}
UNNOTICED = {
    "recovery forgets what its changes displaced": "the sweeper captures it as a stray file",
    "a start takes the trash for garbage": "recovery has told of what is in it before",
    "a segment counts as stored before it is": "what the store lacks of a log is stored again;"
    " tests/unit/test_publishing.py holds this",
    "changes of the disk are not synced": "the power has to go in one moment that is rare;"
    " the power cuts of tests/crash/ look for it on real file systems",
    "set_attributes ignores what is expected": "a program has to act in one moment that is rare;"
    " tests/contract/test_disk_contract.py holds this",
    "packs are stored after the segment that tells of them": "the others wait, and get them in the"
    " end; tests/unit/test_publishing.py holds this",
    "transactions that are known are merged again": "it takes a segment of which a part waited,"
    " which is rare; tests/property/test_projection_properties.py holds that it is refused",
    "a file that is missing once is deleted": "no program acts between two listings here;"
    " tests/unit/test_capture.py holds this",
    "the logical clock is not kept": "stamps of what is replaced keep the order all the same;"
    " tests/property/test_projection_properties.py holds what must hold of stamps",
    "move ignores what is expected": "what is moved in place of another is found by the next scan,"
    " at its new name; tests/contract/test_disk_contract.py holds this",
    "an old file is new to a site that joins": "it is rare that nobody touches what was set back"
    " to before an edit; tests/unit/test_joining.py holds this",
    "what only an earlier journal knew is not rescued": "copies of what was never published are"
    " rare; tests/unit/test_joining.py holds this",
    "the own counter is not kept": "the journal refuses a number that is taken before anything of"
    " it is written; tests/unit/test_journal_parts.py holds what the log keeps",
    "the root is not checked": "a lost root is rare here; tests/e2e/test_daemon.py and"
    " tests/unit/test_posix_disk.py hold this",
}
MISTAKES = ("AttributeError", "NameError", "TypeError", "sqlite3.")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A broken engine has a lot to say."""
    logger = logging.getLogger("geosync")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.mark.parametrize("name", NOTICED_AT)
def test_a_broken_engine_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BREAKS[name](monkeypatch)
    _require_noticed(NOTICED_AT[name], has_incidents=False)


@pytest.mark.parametrize("name", NOTICED_WITH_INCIDENTS)
def test_an_engine_that_takes_an_old_machine_for_a_new_one_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    BREAKS[name](monkeypatch)
    _require_noticed(NOTICED_WITH_INCIDENTS[name], has_incidents=True)


def _require_noticed(first: tuple[int, ...], *, has_incidents: bool) -> None:
    seeds = dict.fromkeys((*first, *OF_EVERY_RUN))
    runs = (run_seed(seed, has_incidents=has_incidents).failure for seed in seeds)
    said = next(filter(None, runs), "")
    assert said, f"nothing was noticed at the seeds {list(seeds)}"
    last = said.strip().splitlines()[-1]
    assert not last.startswith(MISTAKES), f"the mutant does not fit the engine any more: {said}"


def test_the_engine_as_it_is_passes() -> None:
    """So what is noticed is the mutant. All other seeds are among those of every run."""
    quiet = {seed for seeds in NOTICED_AT.values() for seed in seeds}
    named = {seed for seeds in NOTICED_WITH_INCIDENTS.values() for seed in seeds}
    known = {*OF_EVERY_RUN, *ONCE_FAILED_WITH_INCIDENTS}
    for has_incidents, seeds in ((False, quiet - {*ONCE_FAILED}), (True, named - known)):
        for seed in sorted(seeds):
            outcome = run_seed(seed, has_incidents=has_incidents)
            assert not outcome.failure, describe(seed, outcome, has_incidents=has_incidents)


def test_every_mutant_is_noticed_or_explained() -> None:
    assert sorted([*NOTICED_AT, *NOTICED_WITH_INCIDENTS, *UNNOTICED]) == sorted(BREAKS)
