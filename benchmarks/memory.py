"""How much memory a daemon takes with many files, after the first synchronisation.

`resident` is VmRSS, `own share` is PSS (pages that several processes use are divided among them),
`peak` is VmHWM, all as /proc tells. Run it with `python -m benchmarks.memory [--files N]`.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.many_files import sync_at_first, two_sites, write_many_files
from benchmarks.surroundings import print_surroundings
from geosync.demo.demo_world import DemoWorld
from geosync.terminal import plain_table

REST_S = 15.0  # until the daemons have told each other everything and are at rest


def main() -> None:
    """Measures once and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    count = parser.parse_args().files
    print_surroundings()
    with two_sites() as world:
        write_many_files(world.first.root, count)
        sync_at_first(world)
        time.sleep(REST_S)
        rows = _rows(world)
        for site in world.sites:
            site.stop()
            site.start()
        world.wait_until(lambda: all(site.is_up() for site in world.sites), "the daemons are up")
        time.sleep(REST_S)
        rows += [(f"{name}, started again", *figures) for name, *figures in _rows(world)]
    headers = ("daemon", "resident", "own share", "peak")
    print(f"\n{count:,} files")
    print(plain_table(headers, rows, right_aligned=headers[1:]))


def _rows(world: DemoWorld) -> list[tuple[str, ...]]:
    return [
        (
            site.name,
            _megabytes(_field_bytes(site.process_id, "status", "VmRSS")),
            _megabytes(_field_bytes(site.process_id, "smaps_rollup", "Pss")),
            _megabytes(_field_bytes(site.process_id, "status", "VmHWM")),
        )
        for site in world.sites
    ]


def _field_bytes(process_id: int, file_name: str, field: str) -> int:
    with open(f"/proc/{process_id}/{file_name}", encoding="ascii", errors="replace") as file:
        values = [line.split() for line in file if line.startswith(f"{field}:")]
    return int(values[0][1]) * 1024


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
