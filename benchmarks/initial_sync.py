"""How long two sites need from the start of the daemons until both have many small files.

Until equal trees, by a comparison that reads every byte, which itself is part of the time. Run it
with `python -m benchmarks.initial_sync [--files N]`.
"""

from __future__ import annotations

import argparse

from benchmarks.many_files import sync_at_first, two_sites, write_many_files
from benchmarks.surroundings import print_surroundings
from geosync.terminal import human_size, plain_table


def main() -> None:
    """Measures once and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    count = parser.parse_args().files
    print_surroundings()
    with two_sites() as world:
        size_bytes = write_many_files(world.first.root, count)
        took_s = sync_at_first(world)
        rows = [
            ("files", f"{count:,}"),
            ("bytes in the files", human_size(size_bytes)),
            ("time until the trees are equal", f"{took_s:.1f} s"),
            ("files per second", f"{count / took_s:.0f}"),
        ]
        for site in world.sites:
            rows += [
                (f"sent by {site.name}", human_size(site.sent_bytes)),
                (f"received by {site.name}", human_size(site.received_bytes)),
            ]
    print("\n" + plain_table(("what", "figure"), rows, right_aligned=("figure",)))


if __name__ == "__main__":
    main()
