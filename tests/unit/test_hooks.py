"""Hooks: what is gathered, what a program is told, and what becomes of programs that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conflict.brakes import Amount, BrakeKind
from conflict.version import ActorId, Dot
from geosync.configuration.hook_rules import HookInput, HookRule, Occasion
from geosync.engine.brake_verdicts import KnownBrake
from geosync.hooks import hook_runner
from geosync.hooks.happenings import NewBrakes, SilentSites
from geosync.hooks.hook_input import standard_input, variables
from geosync.hooks.hook_queue import GATHERED_FOR_AT_MOST, HookQueue, HookRun, Occurrence
from geosync.hooks.hook_runner import HookRunner
from geosync.program_run import OUTPUT_KEPT_BYTES, ProgramFailed, run_program
from geosync.reporting.status import OtherSite
from tests.support.await_condition import await_condition

PROGRAM = ("/bin/true",)


def arrived(path: str) -> Occurrence:
    return Occurrence(Occasion.ARRIVED, tuple(path.encode().split(b"/")))


def rule(*occasions: Occasion, **more: object) -> HookRule:
    return HookRule(occasions or (Occasion.ARRIVED,), PROGRAM, **more)  # type: ignore[arg-type]


def named(runs: list[HookRun]) -> list[list[str]]:
    return [[b"/".join(o.path or ()).decode() for o in run.occurrences] for run in runs]


# Gathering


def test_a_run_waits_until_nothing_more_comes_and_names_each_path_once() -> None:
    queue = HookQueue([rule(wait_s=2)])
    queue.note([arrived("a"), arrived("b")], 10.0)
    queue.note([arrived("a")], 11.0)
    assert queue.due(12.9) == []
    assert queue.next_due_s() == 13.0
    assert named(queue.due(13.0)) == [["b", "a"]]
    assert queue.next_due_s() is None


def test_a_stream_that_never_ends_does_not_put_a_run_off_for_ever() -> None:
    queue = HookQueue([rule(wait_s=2)])
    for second in range(2 * GATHERED_FOR_AT_MOST):
        queue.note([arrived(f"file-{second}")], float(second))
        assert queue.due(float(second)) == []
    assert len(queue.due(2.0 * GATHERED_FOR_AT_MOST)) == 1


def test_a_program_hears_of_what_its_patterns_match_alone() -> None:
    queue = HookQueue([rule(globs=(b"public/**",), wait_s=0), rule(Occasion.CONFLICT, wait_s=0)])
    queue.note([arrived("public/a"), arrived("private/b")], 0.0)
    assert named(queue.due(0.0)) == [["public/a"]]


def test_what_happens_while_a_program_runs_waits_for_its_end() -> None:
    queue = HookQueue([rule(wait_s=0)])
    queue.note([arrived("a")], 0.0)
    assert queue.due(1.0, busy={0}) == []
    queue.note([arrived("b")], 1.0)
    assert named(queue.due(2.0)) == [["a", "b"]]


def test_two_occasions_of_one_program_are_two_runs_one_after_the_other() -> None:
    queue = HookQueue([rule(Occasion.ARRIVED, Occasion.CONFLICT, wait_s=0)])
    queue.note([arrived("a"), Occurrence(Occasion.CONFLICT, (b"a",), {"conflict": "x-1"})], 0.0)
    first, second = queue.due(0.0), queue.due(0.0)
    assert [run.occasion for run in (*first, *second)] == [Occasion.ARRIVED, Occasion.CONFLICT]


def test_too_many_paths_for_memory_are_cut_and_the_program_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("geosync.hooks.hook_queue.OCCURRENCES_MAX", 3)
    queue = HookQueue([rule(wait_s=0, input=HookInput.JSON)])
    queue.note([arrived(str(number)) for number in range(5)], 0.0)
    (run,) = queue.due(0.0)
    assert len(run.occurrences) == 3
    assert json.loads(standard_input(run, "volume", "bari"))["is_cut"] is True


# Silence


def other(heard_at_ms: int, lacks: int) -> OtherSite:
    return OtherSite("cnaf", "c" * 32, heard_at_ms, lacks, 0, "")


def occasions(silence: SilentSites, site: OtherSite, now_ms: int) -> list[Occasion]:
    return [each.occasion for each in silence.since([site], now_ms)]


def test_a_site_that_has_to_answer_and_does_not_is_silent_once_and_heard_again() -> None:
    silence = SilentSites(300)
    assert occasions(silence, other(5, 3), 0) == []
    assert occasions(silence, other(5, 3), 299_999) == []
    assert occasions(silence, other(5, 4), 300_000) == [Occasion.SILENT]
    assert occasions(silence, other(5, 4), 900_000) == []
    assert occasions(silence, other(900_001, 4), 900_002) == [Occasion.HEARD]


def test_a_site_that_has_nothing_to_answer_is_never_silent() -> None:
    silence = SilentSites(300)
    assert occasions(silence, other(5, 0), 0) == []
    assert occasions(silence, other(5, 0), 10**9) == []
    assert occasions(silence, other(5, 1), 10**9 + 1) == []


# Brakes


def test_a_brake_is_told_once_wherever_it_has_engaged() -> None:
    brake = KnownBrake(
        dot=Dot(ActorId(b"c" * 16), 7),
        site="cnaf",
        is_here=False,
        is_capture=True,
        kind=BrakeKind.DELETION,
        reason="900 of 1000 files would be deleted",
        since_ms=0,
        amount=Amount(),
        paths=(b"a",),
    )
    brakes = NewBrakes()
    (told,) = list(brakes.since([brake]))
    assert (told.occasion, told.path) == (Occasion.BRAKE, None)
    assert told.facts.items() >= {"brake": brake.name, "site": "cnaf"}.items()
    assert list(brakes.since([brake])) == []
    assert list(brakes.since([])) == []
    assert len(list(brakes.since([brake]))) == 1  # it holds something again


# What a program is told


def test_paths_are_ended_by_nul_whatever_bytes_they_hold() -> None:
    strange = (b"d", b"\xff\n name")
    run = HookRun(0, rule(), Occasion.ARRIVED, (Occurrence(Occasion.ARRIVED, strange),))
    assert standard_input(run, "volume", "bari") == b"d/\xff\n name\0"


def test_json_names_a_path_for_people_and_exactly() -> None:
    facts = {"conflict": "c-1", "kind": "content"}
    happened = (Occurrence(Occasion.CONFLICT, (b"\xff",), facts),)
    run = HookRun(0, rule(input=HookInput.JSON), Occasion.CONFLICT, happened)
    told = json.loads(standard_input(run, "volume", "bari"))
    (occurrence,) = told["occurrences"]
    assert bytes.fromhex(occurrence["path_hex"]) == b"\xff"
    assert occurrence.items() >= facts.items()
    assert (told["volume"], told["site"], told["occasion"]) == ("volume", "bari", "conflict")


def test_the_variables_say_where_and_what() -> None:
    run = HookRun(0, rule(), Occasion.ARRIVED, (arrived("a"), arrived("b")))
    assert variables(run, "redmine", "bari", b"/srv/files") == {
        "GEOSYNC_VOLUME": "redmine",
        "GEOSYNC_SITE": "bari",
        "GEOSYNC_ROOT": "/srv/files",
        "GEOSYNC_OCCASION": "arrived",
        "GEOSYNC_COUNT": "2",
    }


# Programs


def python(code: str, given: bytes = b"", timeout_s: float = 30.0) -> None:
    run_program([sys.executable, "-c", code], given, {"GEOSYNC_SITE": "bari"}, timeout_s)


def test_a_program_reads_its_input_and_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "secret")
    report = tmp_path / "report"
    python(
        "import os, sys;"
        f"out = open({str(report)!r}, 'w');"
        "print(sys.stdin.read(), os.environ['GEOSYNC_SITE'], 'OS_PASSWORD' in os.environ,"
        " os.getcwd(), file=out)",
        b"what happened",
    )
    assert report.read_text() == "what happened bari False /\n"


def test_a_program_that_does_not_read_its_input_may_end_all_the_same() -> None:
    run_program(["/bin/true"], b"x" * 10_000_000, {}, 30.0)


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(ProgramFailed, match="ended with code 3; it said: no such host"):
        python("import sys; print('no such host', file=sys.stderr); sys.exit(3)")


def test_a_program_that_is_killed_and_one_that_is_not_there_say_so() -> None:
    with pytest.raises(ProgramFailed, match="signal SIGKILL; it said nothing"):
        python("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ProgramFailed, match="could not be started: No such file"):
        run_program(["/no/such/program"], b"", {}, 30.0)


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    number = tmp_path / "number"
    command = ["/bin/sh", "-c", f"sleep 1000 & echo $! > {number}; wait"]
    with pytest.raises(ProgramFailed, match="took longer than 3 s and was ended"):
        run_program(command, b"", {}, 3.0)
    child = int(number.read_text())
    await_condition(lambda: not is_running(child), "the program's child ends")


def is_running(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_may_leave_something_behind_that_holds_its_output_open() -> None:
    python("import subprocess; subprocess.Popen(['sleep', '1000'])", timeout_s=20.0)


def test_of_a_flood_of_output_the_end_is_kept() -> None:
    with pytest.raises(ProgramFailed) as caught:
        python("import sys; print('x' * 5_000_000); print('the end'); sys.exit(1)")
    assert "the end" in str(caught.value)
    assert len(str(caught.value)) < OUTPUT_KEPT_BYTES + 200


# Running


@contextmanager
def runner(hooks: list[HookRule], program: Callable[[HookRun], None]) -> Iterator[HookRunner]:
    made = HookRunner(hooks, program)
    try:
        yield made
    finally:
        made.stop()


def run_of(hook: HookRule, number: int = 0) -> HookRun:
    return HookRun(number, hook, Occasion.ARRIVED, (arrived("a"),))


def test_a_program_that_fails_is_tried_again_and_then_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hook_runner, "PAUSE_S", 0.001)
    attempts: list[HookRun] = []

    def fails(run: HookRun) -> None:
        attempts.append(run)
        raise ProgramFailed("it ended with code 1")

    hook = rule(attempts=3)
    with runner([hook], fails) as made:
        made.start(run_of(hook))
        await_condition(lambda: not made.busy(), "the hook is over")
        assert len(attempts) == 3
        (failure,) = made.take_results().values()
        assert failure is not None
        assert "/bin/true was run 3 times for 1 x arrived" in failure
        assert "it ended with code 1" in failure
        assert made.take_results() == {}


def test_a_program_that_succeeds_at_last_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_runner, "PAUSE_S", 0.001)
    outcomes = iter([ProgramFailed("not yet"), None])

    def fails_once(run: HookRun) -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    hook = rule()
    with runner([hook], fails_once) as made:
        made.start(run_of(hook))
        await_condition(lambda: not made.busy(), "the hook is over")
        assert made.take_results() == {0: None}


def test_a_program_that_hangs_delays_no_other() -> None:
    goes_on = threading.Event()
    done = threading.Event()

    def program(run: HookRun) -> None:
        if run.number == 0:
            goes_on.wait(60)
        else:
            done.set()

    hooks = [rule(), rule()]
    with runner(hooks, program) as made:
        made.start(run_of(hooks[0], 0))
        made.start(run_of(hooks[1], 1))
        assert done.wait(60)
        await_condition(lambda: made.busy() == {0}, "only the hanging one is busy")
        goes_on.set()
        await_condition(lambda: not made.busy(), "both are over")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a capability to pass on")
def test_the_daemons_capabilities_are_not_passed_on() -> None:
    code = (
        "import threading\n"
        "from geosync.program_run import give_up_capabilities, run_program\n"
        "def work():\n"
        "    give_up_capabilities()\n"
        "    run_program(['/bin/grep', '-q', 'CapEff:.0000000000000000', '/proc/self/status'],"
        " b'', {}, 60)\n"
        "    print('none')\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
        "print(open('/proc/self/status').read())\n"
    )
    daemon = ["setpriv", "--reuid=65534", "--clear-groups"]
    daemon += ["--inh-caps=+chown", "--ambient-caps=+chown", sys.executable, "-c", code]
    said = subprocess.run(daemon, check=True, capture_output=True, text=True).stdout
    assert said.startswith("none\n")
    assert "CapEff:\t0000000000000001" in said  # the daemon itself keeps it
