"""Random programs on the disks of several small sites, and what must hold when they have ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from conflict.actions import Adopt
from conflict.attributes import attributes_of
from conflict.content import Content
from conflict.merged_tree import NodeStore
from conflict.observation import DiskKind
from conflict.operations import Delete, Drop, Operation, Put
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.version import Dot
from tests.simulation.disk_dice import NO_FAULTS, DiskFaults
from tests.simulation.inode_file_system import RenameMode
from tests.support.history import tree_of
from tests.support.small_site import SmallSite, World, exchange, joined, nothing_happens, quiesce

NAMES = (b"a", b"b", b"c", b"d")
DEPTH_MAX = 4
BESIDE = PolicyRule(b"*", ConflictPolicy.BESIDE)
Shown = tuple[str, bytes, int, int]  # kind, content digest, mode, mtime


class SmallHistory:
    """Sites whose programs do as they like, while captures, deliveries and plans happen at random.

    Everything follows from the seed.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World()
        count = self.rng.choice((1, 2, 2, 2, 3))
        self.sites = [SmallSite(number + 1, self.world) for number in range(count)]
        self.is_racy = self.rng.random() < 0.3
        self.is_faulty = self.rng.random() < 0.2
        if self.is_faulty:
            for site in self.sites:
                site.disk.dice.faults = DiskFaults(read_error=0.02, busy=0.05, refused=0.03)
        self._written = 0
        for site in self.sites:
            site.meanwhile = lambda site=site: self._race(site)
        if self.rng.random() < 0.5:
            self.sites[0].set_policy(BESIDE)
        chosen = self.rng.sample(_ACTIONS, self.rng.randint(2, len(_ACTIONS)))
        self._actions = [*chosen, *_CREATING]

    def run(self, steps: int) -> None:
        """Lets programs, captures, deliveries and plans alternate."""
        for _ in range(steps):
            site = self.rng.choice(self.sites)
            self.world.time.advance(self.rng.choice((0.0001, 0.1, 3.0)))
            draw = self.rng.random()
            if draw < 0.5:
                for _ in range(self.rng.randint(1, 4)):
                    self.let_program_act(site)
            elif draw < 0.7:
                self.let_capture(site)
            elif draw < 0.85:
                self.let_receive(site)
            else:
                self.let_apply(site)

    def end(self) -> None:
        """Lets the programs stop and everything arrive everywhere."""
        self.calm()
        quiesce(*self.sites)

    def calm(self) -> None:
        """Ends races and faults."""
        self.is_racy = False
        for site in self.sites:
            site.meanwhile = nothing_happens
            site.disk.dice.faults = NO_FAULTS

    def catch_up(self) -> None:
        """Captures everything and delivers it, so that only plans are left to be done."""
        for other in self.sites:
            other.settle()
        exchange(*self.sites)

    def check(self) -> None:
        """What must hold when all is quiet. Raises AssertionError."""
        check_converged(self.sites)
        check_nothing_lost(self.sites)
        check_quiet(self.sites)

    def let_program_act(self, site: SmallSite) -> None:
        """Does one thing that a program may do, if the disk allows it."""
        with suppress(OSError):
            self.rng.choice(self._actions)(self, site)

    def let_capture(self, site: SmallSite) -> None:
        """Captures everything, or only some directories."""
        if self.rng.random() < 0.5:
            site.capture()
            return
        directories = [b"", *self._paths(site, DiskKind.DIRECTORY)]
        chosen = self.rng.sample(directories, self.rng.randint(1, len(directories)))
        site.capture(*(path.decode() for path in chosen))

    def let_receive(self, site: SmallSite) -> None:
        """Delivers some of what another site wrote."""
        other = self.rng.choice(self.sites)
        for transaction in other.log:
            is_new = not site.received.includes(transaction.operations[-1].dot)
            if is_new and (self.rng.random() < 0.2 or not site.receive(transaction)):
                return

    def let_apply(self, site: SmallSite) -> None:
        """Brings to the disk what is due, or a part of it before the site is killed."""
        if self.rng.random() < 0.7:
            applier = site.apply()
        else:
            applier = site.apply(stop_after=self.rng.randint(0, 6))
            site.mark_everything()
        if len(self.sites) == 1 and not self.is_racy and not self.is_faulty:
            changed = [action for action in applier.done if not isinstance(action, Adopt)]
            assert not changed, f"what programs of the only site did is undone: {changed}"

    def _race(self, site: SmallSite) -> None:
        if self.is_racy and self.rng.random() < 0.1:
            self.let_program_act(site)

    # What programs do

    def _paths(self, site: SmallSite, kind: DiskKind | None = None) -> list[bytes]:
        tree = site.application.tree()
        return [path for path, inode in tree.items() if kind is None or inode.kind is kind]

    def _any(self, site: SmallSite, kind: DiskKind | None = None) -> bytes:
        paths = self._paths(site, kind)
        if not paths:
            raise FileNotFoundError
        return self.rng.choice(paths)

    def _place(self, site: SmallSite) -> bytes:
        """Returns a path that may be free or taken."""
        directories = [b"", *self._paths(site, DiskKind.DIRECTORY)]
        directory = self.rng.choice(directories)
        if directory.count(b"/") >= DEPTH_MAX - 1:
            raise FileNotFoundError
        name = self.rng.choice(NAMES)
        return directory + b"/" + name if directory else name

    def _fresh(self) -> bytes:
        if self.rng.random() < 0.15:
            return self.rng.choice((b"", b"same", b"alike"))
        self._written += 1
        return b"v%d" % self._written

    def write(self, site: SmallSite) -> None:
        site.application.write(self._place(site), self._fresh())

    def rewrite(self, site: SmallSite) -> None:
        site.application.write(self._any(site, DiskKind.REGULAR), self._fresh())

    def save(self, site: SmallSite) -> None:
        site.application.save(self._any(site, DiskKind.REGULAR), self._fresh())

    def save_with_backup(self, site: SmallSite) -> None:
        path = self._any(site, DiskKind.REGULAR)
        site.application.rename(path, path + b"~")
        site.application.write(path, self._fresh())

    def make_directory(self, site: SmallSite) -> None:
        site.application.make_directory(self._place(site))

    def rename(self, site: SmallSite) -> None:
        site.application.rename(self._any(site), self._place(site))

    def rename_directory(self, site: SmallSite) -> None:
        site.application.rename(self._any(site, DiskKind.DIRECTORY), self._place(site))

    def exchange(self, site: SmallSite) -> None:
        site.file_system.rename(self._any(site), self._any(site), RenameMode.EXCHANGE)

    def swap_with_parent(self, site: SmallSite) -> None:
        path = self._any(site, DiskKind.DIRECTORY)
        parent, _, name = path.rpartition(b"/")
        if not parent:
            raise FileNotFoundError
        site.application.rename(path, b"aside")
        site.application.rename(parent, b"aside/" + name)
        site.application.rename(b"aside", parent)

    def remove(self, site: SmallSite) -> None:
        site.application.remove(self._any(site))

    def remove_all(self, site: SmallSite) -> None:
        top = self._any(site, DiskKind.DIRECTORY)
        for path in reversed(self._paths(site)):
            if path == top or path.startswith(top + b"/"):
                site.application.remove(path)

    def hard_link(self, site: SmallSite) -> None:
        site.application.hard_link(self._any(site, DiskKind.REGULAR), self._place(site))

    def symlink(self, site: SmallSite) -> None:
        site.application.symlink(self._fresh() or b"nowhere", self._place(site))

    def make_fifo(self, site: SmallSite) -> None:
        site.application.make_fifo(self._place(site))

    def chmod(self, site: SmallSite) -> None:
        path = self._any(site)
        if site.file_system.lookup(path).kind is not DiskKind.SYMLINK:
            site.application.chmod(path, self.rng.randrange(0o1000))

    def set_mtime(self, site: SmallSite) -> None:
        site.application.set_mtime(self._any(site), self.rng.randrange(10**18))


_ACTIONS: list[Callable[[SmallHistory, SmallSite], None]] = [
    SmallHistory.write,
    SmallHistory.rewrite,
    SmallHistory.save,
    SmallHistory.save_with_backup,
    SmallHistory.make_directory,
    SmallHistory.rename,
    SmallHistory.rename_directory,
    SmallHistory.exchange,
    SmallHistory.swap_with_parent,
    SmallHistory.remove,
    SmallHistory.remove_all,
    SmallHistory.hard_link,
    SmallHistory.symlink,
    SmallHistory.make_fifo,
    SmallHistory.chmod,
    SmallHistory.set_mtime,
]

_CREATING = (SmallHistory.write, SmallHistory.make_directory)  # else there is little to act on


# What must hold


def shown(site: SmallSite) -> dict[bytes, Shown]:
    """Returns what the disk shows, by path."""
    found = {}
    for path, inode in site.application.tree().items():
        content = inode.target if inode.kind is DiskKind.SYMLINK else inode.content
        mode = 0 if inode.kind is DiskKind.SYMLINK else inode.attributes.mode
        found[path] = (inode.kind.value, content, mode, inode.attributes.mtime_ns)
    return found


def link_groups(site: SmallSite) -> set[frozenset[bytes]]:
    """Returns the files with several names, each as the set of its names."""
    names: dict[int, set[bytes]] = {}
    for path, inode in site.application.tree().items():
        names.setdefault(inode.number, set()).add(path)
    return {frozenset(paths) for paths in names.values() if len(paths) > 1}


def wanted(site: SmallSite) -> tuple[dict[bytes, Shown], set[frozenset[bytes]]]:
    """Returns what the disk should show by the merged tree, and which names are one file."""
    tree = tree_of(site.nodes)
    found: dict[bytes, Shown] = {}
    names: dict[object, set[bytes]] = {}
    for path, rendered in tree.items():
        found[joined(path)] = _wanted_at(site, rendered.content, rendered.attributes)
        if rendered.content is not None:
            group = (rendered.claims[0].node, rendered.content.digest)
            names.setdefault(group, set()).add(joined(path))
        if rendered.shows_copies_beside:
            for copy in rendered.copies:
                name = copy.copy_name
                while (*path[:-1], name) in tree:
                    name += b"~"
                shows = _wanted_at(site, copy.version.content, copy.version.attributes)
                found[joined((*path[:-1], name))] = shows
    return found, {frozenset(paths) for paths in names.values() if len(paths) > 1}


def _wanted_at(site: SmallSite, content: Content | None, values: object) -> Shown:
    attributes = attributes_of(values, is_directory=content is None)  # type: ignore[arg-type]
    if content is None:
        return ("directory", b"", attributes.mode, attributes.mtime_ns)
    kind = content.kind.name.lower()
    shows = content.target or site.world.contents.get(content.digest, b"")
    mode = 0 if kind == "symlink" else attributes.mode
    return (kind, shows, mode, attributes.mtime_ns)


def versions_shown(store: NodeStore) -> set[Dot]:
    """Returns all versions that somebody can still get at: on the disk, or as a conflict."""
    found: set[Dot] = set()
    for rendered in tree_of(store).values():
        copies = [claim for copy in rendered.copies for claim in copy.claims]
        for claim in (*rendered.claims, *copies):
            found |= claim.content_dots
    for node in store.contested_nodes():
        state = store.node(node)
        assert state is not None
        found |= {version.dot for version in state.orphaned_versions()}
    return found


def check_converged(sites: list[SmallSite]) -> None:
    """All disks show the merged tree, which is the same everywhere."""
    for site in sites:
        expected, groups = wanted(site)
        disk = shown(site)
        different = {
            path: (disk.get(path), expected.get(path))
            for path in disk.keys() | expected.keys()
            if disk.get(path) != expected.get(path)
        }
        assert not different, f"disk and merged tree differ: {different}"
        assert link_groups(site) == groups
        assert expected == wanted(sites[0])[0]
        private = site.file_system.lookup(b".geosync/parked")
        assert not private.names, "nothing stays parked"
        paths = {joined(path) for path in site.synced_paths()}
        assert paths == set(disk), "the synced tree is what the disk shows"


def check_nothing_lost(sites: list[SmallSite]) -> None:
    """Each version is within reach, or somebody replaced it who had its content on the disk."""
    operations = [operation for site in sites for t in site.log for operation in t]
    contents = {o.dot: o.content.digest for o in operations if isinstance(o, Put)}
    had = {site.clock.actor: site.had for site in sites}
    replaced: set[Dot] = set()
    for operation in operations:
        for dot in _replaced_by(operation):
            if dot in contents:
                assert contents[dot] in had[operation.dot.actor], f"{operation} replaces unseen"
                replaced.add(dot)
    for site in sites:
        lost = contents.keys() - replaced - versions_shown(site.nodes)
        assert not lost, f"lost: {lost}"


def _replaced_by(operation: Operation) -> frozenset[Dot]:
    if isinstance(operation, Put | Drop | Delete):
        return operation.context
    return frozenset()


def check_quiet(sites: list[SmallSite]) -> None:
    """Nothing is written again, and nothing is left to do, wherever one looks."""
    for site in sites:
        assert site.capture() == [], "an echo"
        site.mark_everything()
        assert site.plan() == (), "the disk is not as it is wanted"
        site.dirty.clear()
