"""All sites of the demonstration together: what goes over their lines, and whether they agree."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from conflict.errors import GeosyncError
from geosync.demo.demo_site import DemoSite
from geosync.demo.narration import Measurement, Narrator
from geosync.demo.swift_server import SwiftServer
from geosync.demo.tree_comparison import Difference, compare_trees, count_names, read_tree
from geosync.terminal import display_name

ONE_WAY_DELAY_S: Final = 0.010
WAIT_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.005
# Comparing takes its share of the machine from the daemons: at most a fifth of one core.
COMPARE_PAUSE_S_MIN: Final = 0.1
COMPARE_PAUSE_FACTOR: Final = 4.0
DIFFERENCES_SHOWN_MAX: Final = 10


class DemonstrationFailed(GeosyncError):
    """Something was not as geosync promises; the text says what."""


@dataclass(frozen=True, slots=True)
class DemoWorld:
    """The sites, of which at least two, and who tells what happens to them."""

    sites: Sequence[DemoSite]
    tell: Narrator
    wait_timeout_s: float = WAIT_TIMEOUT_S

    @property
    def first(self) -> DemoSite:
        """The site where most changes are made."""
        return self.sites[0]

    @property
    def others(self) -> Sequence[DemoSite]:
        """All sites but the first."""
        return self.sites[1:]

    @property
    def last(self) -> DemoSite:
        """The site that is cut off."""
        return self.sites[-1]

    def start_daemons(self) -> None:
        """Starts the first site, which creates the volume, and then the others, which join it.

        Raises:
            DemonstrationFailed: the first daemon does not come up.
        """
        self.first.start()
        self.wait_until(self.first.is_up, f"the daemon of {self.first.name} answers")
        for site in self.others:
            site.start()

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Tells and keeps what the block took, and what went over all lines meanwhile."""
        sent_bytes, received_bytes = self._traffic()
        start_s = time.monotonic()
        yield
        took_s = time.monotonic() - start_s
        sent_after, received_after = self._traffic()
        self.tell.measured(
            Measurement(what, took_s, sent_after - sent_bytes, received_after - received_bytes)
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> float:
        """Returns, in seconds, how long it took until the condition held.

        Raises:
            DemonstrationFailed: it never did, or a daemon ended by itself.
        """
        start_s = time.monotonic()
        while not condition():
            self._check_daemons()
            if time.monotonic() - start_s > self.wait_timeout_s:
                raise DemonstrationFailed(f"waited {self.wait_timeout_s:g} s in vain: {what}")
            time.sleep(POLL_S)
        return time.monotonic() - start_s

    def wait_until_equal(self) -> None:
        """Returns when every site holds the same tree, by a comparison that reads every byte.

        Raises:
            DemonstrationFailed: they never did (the text shows what differs), or a daemon ended.
        """
        deadline_s = time.monotonic() + self.wait_timeout_s
        while True:
            self._check_daemons()
            start_s = time.monotonic()
            differences = self.differences()
            if not differences:
                return
            if start_s > deadline_s:
                raise DemonstrationFailed(_told(differences))
            took_s = time.monotonic() - start_s
            time.sleep(max(COMPARE_PAUSE_S_MIN, COMPARE_PAUSE_FACTOR * took_s))

    def differences(self) -> list[str]:
        """Compares the trees of all sites with the first one's; each text is one difference.

        A file that goes away while the trees are read counts as a difference.
        """
        counts = {site.name: count_names(site.root) for site in self.sites}
        if len(set(counts.values())) > 1:  # much cheaper than reading everything
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            return [f"the number of files and directories: {listed}"]
        try:
            trees = [read_tree(site.root) for site in self.sites]
        except OSError as error:
            return [f"a file that changed while it was read: {error}"]
        return [
            _shown(found, self.first, site)
            for site, tree in zip(self.others, trees[1:], strict=True)
            for found in compare_trees(trees[0], tree)
        ]

    def _traffic(self) -> tuple[int, int]:
        sent_bytes = sum(site.sent_bytes for site in self.sites)
        return sent_bytes, sum(site.received_bytes for site in self.sites)

    def _check_daemons(self) -> None:
        for site in self.sites:
            code = site.exit_code()
            if code is not None:
                raise DemonstrationFailed(
                    f"the daemon of {site.name} ended by itself with exit code {code};"
                    f" its log is {site.log_path}"
                )


@contextmanager
def running_world(
    directory: str,
    site_names: Sequence[str],
    tell: Narrator,
    wait_timeout_s: float = WAIT_TIMEOUT_S,
) -> Iterator[DemoWorld]:
    """Starts Swift and the lines, but no daemon; ends them all, and the daemons, after the block.

    Raises:
        ServerStartError: Swift is not installed, or did not start.
        PortTakenError: another process took one of the ports.
    """
    with ExitStack() as stack:
        swift = stack.enter_context(SwiftServer(os.path.join(directory, "swift")))
        sites = [
            stack.enter_context(DemoSite(directory, name, swift, one_way_delay_s=ONE_WAY_DELAY_S))
            for name in site_names
        ]
        yield DemoWorld(sites, tell, wait_timeout_s)


def _shown(found: Difference, first: DemoSite, other: DemoSite) -> str:
    path = display_name(found.path)
    return f"{path}: {found.what}: {found.first} on {first.name}, {found.second} on {other.name}"


def _told(differences: Sequence[str]) -> str:
    shown = "".join(f"\n  {text}" for text in differences[:DIFFERENCES_SHOWN_MAX])
    more = len(differences) - DIFFERENCES_SHOWN_MAX
    return "the trees are not the same:" + shown + (f"\n  and {more} more" if more > 0 else "")
