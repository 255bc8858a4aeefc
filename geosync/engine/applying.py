"""Applying: knows where merged tree and disk may differ, and brings them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise

from conflict.actions import Action, ApplyAttributes, PlaceFile, ReplaceFile, entries_of
from conflict.merged_tree import ROOT_LOCATION
from conflict.node import Location
from conflict.operations import ROOT, NodeId
from conflict.ordering import in_order_of_writing
from conflict.planner import plan
from conflict.policy import policy_of
from conflict.report import contended_paths
from conflict.synced import PARKED, ROOT_ENTRY, EntryId, Path, path_of_entry
from geosync.engine.batch import ApplyResult, BatchRunner, batches
from geosync.engine.content_stage import ContentStage
from geosync.engine.dirty_names import DirtyNames
from geosync.engine.fetching import Fetcher
from geosync.engine.planned_entries import PlannedEntries
from geosync.engine.progress import Stage
from geosync.engine.site import Site


class Applier:
    """Knows which names may differ between merged tree and disk, and brings them together."""

    def __init__(self, site: Site, fetcher: Fetcher) -> None:
        self._site = site
        self._fetcher = fetcher
        self._dirty = DirtyNames(site.journal)
        self._entries = PlannedEntries(site)
        self._to_bring_out: set[EntryId] = set()
        self._held_names = DirtyNames(site.journal)  # which brakes keep from being planned
        self._held: frozenset[NodeId] = frozenset()
        self._stage = ContentStage(site, fetcher)

    def mark(self, touched: Iterable[Location]) -> None:
        """Says that the merged tree may look different at these names."""
        names = set(touched)
        if ROOT_LOCATION in names or self._moves_policies(names):
            self._dirty.add_paths(contended_paths(self._site.journal.nodes))
        self._dirty.add(names - {ROOT_LOCATION})

    def _moves_policies(self, names: set[Location]) -> bool:
        """Tells whether other policies may hold for what is below one of these names."""
        nodes = self._site.journal.nodes
        if not policy_of(nodes.node(ROOT)).depends_on_directory:
            return False
        found = (nodes.node(live.node) for at in names for live in nodes.live_links_at(at))
        return any(state is not None and state.is_directory for state in found)

    def mark_everything(self) -> None:
        """Compares the whole trees next time: after a crash, nobody knows what was under way."""
        nodes, synced = self._site.journal.nodes, self._site.journal.synced
        pending: list[NodeId] = [ROOT]
        while pending:
            node = pending.pop()
            for live in nodes.live_links_in(node):
                self._dirty.add([Location(node, live.name)])
                pending.append(live.node)
        below: list[EntryId] = [ROOT_ENTRY, PARKED]
        while below:
            entry = below.pop()
            for child in synced.entries_in(entry):
                self._dirty.add_entry(entry, child.name)
                if child.is_directory:
                    below.append(child.entry)

    def mark_paths(self, paths: Iterable[Path]) -> None:
        """Says that the disk may differ from the merged tree at these paths."""
        self._dirty.add_paths(paths)

    def hold(self, held: frozenset[NodeId]) -> None:
        """Says which files and directories stay as they are, until a person decided."""
        if held != self._held:
            self._held = held
            self._dirty.update(self._held_names)
            self._held_names.clear()

    def held_paths(self) -> list[Path]:
        """Returns the names that are not as they are to be since a brake holds them, sorted."""
        return sorted(self._held_names.paths())

    def has_work(self) -> bool:
        """Tells whether the disk may differ from the merged tree, but for what brakes hold."""
        return bool(self._dirty) or any(self._site.journal.synced.entries_in(PARKED))

    def waiting(self) -> list[Path]:
        """Returns the names at which the disk may differ, sorted."""
        return sorted(self._dirty.paths())

    def apply(self) -> ApplyResult:
        """Does what can be done now; the rest stays marked.

        Raises:
            OSError: the stage can't be written or synced; nothing was changed by this batch.
        """
        result = ApplyResult()
        journal = self._site.journal
        asked, paths = self._dirty, self._dirty.paths()
        bring_out = sorted(self._to_bring_out)
        ignored = self._site.ignored
        began_s = self._site.clock.monotonic_s()

        def is_ignored(path: Path, is_directory: bool) -> bool:  # noqa: FBT001 - see IsIgnored
            return ignored.is_ignored(path, is_directory=is_directory)

        planned = plan(journal.nodes, journal.synced, paths, bring_out, self._held, is_ignored)
        self._entries = PlannedEntries(self._site)
        runner = BatchRunner(self._site, self._fetcher, self._entries, self._stage)
        self._dirty = DirtyNames(journal)
        self._dirty.update(asked)
        self._note(planned.actions)  # an exception must not lose what the planner found
        now_s = self._site.clock.monotonic_s()
        self._site.progress.note_planned(*self._size(planned.actions), now_s)
        self._fetcher.begin_round(now_s - began_s)
        cut = batches(in_order_of_writing(planned.actions, journal.nodes))
        with closing(runner):
            for batch, following in pairwise((*cut, [])):
                if result.is_coming and self._site.role.keeps_order:
                    runner.hold_back(batch, result)
                else:
                    runner.run(batch, following, result)
        self._fetcher.pause_others()
        if not result.blocked:
            self._site.progress.end(Stage.BRINGING)
        # Names below a directory that was moved, or should have been, were not planned.
        self._dirty = asked.displaced(paths - planned.deferred)
        self._held_names.add_paths(planned.held)
        self._note(result.undone)
        self._to_bring_out = result.to_bring_out
        self._dirty.add_paths(self._spoilt(planned.actions))
        if not planned.deferred and not planned.held:
            self._fetcher.discard_downloads(_contents(result.undone))
        if not self.has_work():
            self._stage.forget()
        return result

    def _size(self, actions: Iterable[Action]) -> tuple[int, int]:
        """Returns how many files have to be brought, and how many bytes that are not here yet."""
        contents = [a.content for a in actions if isinstance(a, (PlaceFile, ReplaceFile))]
        sizes = [each.size_bytes - self._fetcher.here_bytes(each) for each in contents]
        return len(sizes), sum(sizes)

    def _note(self, actions: Iterable[Action]) -> None:
        """Marks the names that actions are about."""
        nodes = self._site.journal.nodes
        for action in actions:
            for entry in entries_of(action):
                for claim in entry.claims:
                    state = nodes.node(claim.node)
                    at = state.location_of(claim.link) if state is not None else None
                    self._dirty.add([at] if at is not None else [])
                parent = self._entries.id_of(entry.parent)
                if parent >= ROOT_ENTRY:
                    self._dirty.add_entry(parent, entry.name)

    def _spoilt(self, actions: Iterable[Action]) -> set[Path]:
        """Returns directories whose mtime a program changed while we were restoring it."""
        found: set[Path] = set()
        for action in actions:
            if isinstance(action, ApplyAttributes) and action.becomes.is_directory:
                now = self._site.journal.synced.entry(self._entries.id_of(action.becomes.entry))
                if now is not None and now.intended.mtime_ns != action.attributes.mtime_ns:
                    found.add(path_of_entry(self._site.journal.synced, now) or ())
        return found - {()}

    def note_applied(self) -> None:
        """Remembers, once nothing is left to do, that all that was received is on the disk."""
        journal = self._site.journal
        received = journal.log.received()
        is_all_done = not self.has_work() and not self._held_names
        if is_all_done and self._site.applied() != received:
            with journal.transaction():
                self._site.save_applied(received)


def _contents(actions: Iterable[Action]) -> Iterator[bytes]:
    """Yields the digests of the contents that are to be brought."""
    return (a.content.digest for a in actions if isinstance(a, (PlaceFile, ReplaceFile)))
