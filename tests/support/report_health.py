"""A process that watches a tree and, for each line it reads, prints what it found so far.

python -m tests.support.report_health ROOT RETRY_S
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support.watching import WatchedTree, watching


def report(tree: WatchedTree) -> str:
    tree.take()
    found = asdict(tree.watcher.health())
    found["unwatched"] = [place.directory.decode() for place in tree.watcher.health().unwatched]
    found["to_poll"] = [os.fsdecode(path) for path in tree.watcher.unwatched_directories()]
    found["marked"] = {os.fsdecode(path): recursive for path, recursive in tree.marked.items()}
    return json.dumps(found)


def main() -> None:
    with watching(Path(sys.argv[1]), retry_s=float(sys.argv[2])) as tree:
        print("ready", flush=True)
        for _ in sys.stdin:
            print(report(tree), flush=True)


if __name__ == "__main__":
    main()
