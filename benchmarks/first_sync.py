"""What a first sync of many small files costs whole daemons, through a real Swift on loopback.

`python -m benchmarks.first_sync [--files N] [--real] [--profile DIRECTORY]`. With a profile, which
makes it slower, it is told which threads of a daemon were at work for how long, and for what.
"""

from __future__ import annotations

import argparse
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import memory_bytes, processor_s
from benchmarks.trees import (
    copy_real_files,
    require_equal,
    seconds_until_equal,
    write_small_files,
)
from geosync.demo.swift_server import SwiftServer

SITES = ("bari", "cnaf")
TIMEOUT_S = 600.0
UP_TIMEOUT_S = 30.0
_LINES = 60
# Runs a daemon and writes what its main thread did, and how long each thread was at work.
_PROFILED = """
import atexit, cProfile, collections, sys, threading, time
at_work = collections.Counter()
run = threading.Thread.run
def timed(thread):
    try:
        run(thread)
    finally:
        at_work[thread.name.rstrip("0123456789-_")] += time.thread_time()
threading.Thread.run = timed
from geosync.cli import main
profile = cProfile.Profile()
began = time.thread_time()
try:
    profile.runcall(main, sys.argv[2:])
finally:
    at_work["main"] = time.thread_time() - began
    profile.dump_stats(sys.argv[1])
    for name, took_s in at_work.most_common():
        print(f"{took_s:9.3f} s in {name}")
    print(f"{time.process_time():9.3f} s in all, from the start of Python on")
"""


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--real", action="store_true", help="files of this machine")
    parser.add_argument("--directory", default=None, help="where the sites are")
    parser.add_argument("--profile", type=Path, help="keeps profiles here, and shows them")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as base,
        SwiftServer(os.path.join(base, "swift")) as swift,
    ):
        _measure(Path(base), swift, options)


def _measure(base: Path, swift: SwiftServer, options: argparse.Namespace) -> None:
    roots = tuple(os.fsencode(base / name / "tree") for name in SITES)
    for name in SITES:
        (base / name / "tree").mkdir(parents=True)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for name in SITES:
            daemons.append(_start(base, name, swift, options))
            _await_up(base / name)
        started_s = [processor_s(daemon.pid) for daemon in daemons]
        began_s = time.monotonic()
        if options.real:
            copy_real_files(roots[0], options.files)
        else:
            write_small_files(roots[0], options.files, seed=1)
        took_s = seconds_until_equal(began_s, roots, TIMEOUT_S)
        print(f"equal after {took_s:.1f} s")
        for name, daemon, before_s in zip(SITES, daemons, started_s, strict=True):
            used_s = processor_s(daemon.pid) - before_s
            resident = memory_bytes(daemon.pid, "status", "VmRSS") / 1e6
            print(
                f"{name}: {used_s / options.files * 1e3:.2f} ms of the processor for each file,"
                f" {resident:.0f} MB; {before_s:.1f} s for its start"
            )
        require_equal(roots)
    finally:
        for daemon in daemons:
            daemon.terminate()
            daemon.wait()
    if options.profile is not None:
        for name in SITES:
            print(f"\n{name}\n{(base / name / 'output.log').read_text()[-2000:]}")
            statistics = pstats.Stats(os.fspath(options.profile / f"{name}.profile"))
            statistics.sort_stats("cumulative").print_stats(_LINES)
            statistics.sort_stats("tottime").print_stats(_LINES)


def _start(
    base: Path, name: str, swift: SwiftServer, options: argparse.Namespace
) -> subprocess.Popen[bytes]:
    configuration = base / name / "geosync.toml"
    configuration.write_text(
        f'volume = "bench"\nsite = "{name}"\nroot = "{base / name / "tree"}"\n'
        f'state_dir = "{base / name / "state"}"\n[http]\nlisten = ""\n[swift]\n'
        f'auth_url = "{swift.auth_url}"\nuser = "{swift.user}"\nkey = "{swift.key}"\n'
    )
    command = [sys.executable, "-m", "geosync"]
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
        kept = os.fspath(options.profile / f"{name}.profile")
        command = [sys.executable, "-c", _PROFILED, kept]
    with open(base / name / "output.log", "ab") as log:
        return subprocess.Popen(
            [*command, "run", "--config", os.fspath(configuration)], stdout=log, stderr=log
        )


def _await_up(site: Path) -> None:
    deadline_s = time.monotonic() + UP_TIMEOUT_S
    while not (site / "state" / "control.sock").exists():
        if time.monotonic() > deadline_s:
            raise TimeoutError((site / "output.log").read_text())
        time.sleep(0.05)


if __name__ == "__main__":
    main()
