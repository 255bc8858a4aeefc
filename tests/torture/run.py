"""`make torture`: python -m tests.torture.run [--seed N] [--minutes M]

Ends with 0 when all that geosync promises held, with 1 when something did not; what there is to
look at is then kept in the directory that it names.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.torture.torture import Plan, Result, torture

FINDINGS_SHOWN_MAX = 40


def main() -> int:
    """Runs one plan and tells how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--sites", type=int, choices=(2, 3), default=3)
    parser.add_argument("--writers", type=int, default=2, help="of each site")
    parser.add_argument("--pause-ms", type=float, default=120.0, help="of a writer, on average")
    parser.add_argument("--directory", help="where to work, to choose the file system")
    parser.add_argument("--without-faults", action="store_true")
    parser.add_argument("--without-stress", action="store_true")
    arguments = parser.parse_args()
    plan = Plan(
        seed=arguments.seed,
        writing_s=arguments.minutes * 60,
        site_names=("bari", "geneva", "lyon")[: arguments.sites],
        writers_per_site=arguments.writers,
        pause_ms_mean=arguments.pause_ms,
        has_faults=not arguments.without_faults,
        has_stress=not arguments.without_stress,
    )
    directory = Path(tempfile.mkdtemp(prefix="geosync-torture-", dir=arguments.directory))
    print(
        f"seed {plan.seed}: {len(plan.site_names)} sites, {plan.writers_per_site} writers each,"
        f" {plan.writing_s:g} s of writing, in {directory}",
        flush=True,
    )
    result = torture(plan, directory)
    tell(plan, result)
    if result.verdict.is_clean:
        shutil.rmtree(directory)
        return os.EX_OK
    print(f"kept for you to look at: {directory} (evidence.json, sites/*/daemon.log)")
    return 1


def tell(plan: Plan, result: Result) -> None:
    """Prints a summary in plain words."""
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(result.faults.items()))
    print(f"faults: {faults or 'none'}")
    print(f"at rest after {result.rest_after_s:.0f} s")
    for name, count in sorted(result.verdict.counts.items()):
        print(f"  {count:>8,} {name}")
    findings = result.verdict.findings
    if not findings:
        print(f"seed {plan.seed}: nothing lost, nothing made up, all sites the same, all at rest")
        return
    print(f"seed {plan.seed}: {len(findings)} FINDINGS")
    for finding in findings[:FINDINGS_SHOWN_MAX]:
        print(f"  {finding.rule}: {finding.text}")


if __name__ == "__main__":
    sys.exit(main())
