"""Users who change files at random on several sites, with what POSIX says each change does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from conflict.operations import EXTENDED_PREFIX, MODE, AttributeValue
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.rendering import ConflictCopy, Rendered
from tests.support.history import Path, Site, Tree, deliver, text_of

Plain = dict[Path, str]
FILE_NAMES = (b"a", b"b.txt")
DIRECTORY_NAMES = (b"d", b"e", b"f")
DEPTH_MAX = 5
POLICIES: tuple[tuple[PolicyRule, ...], ...] = (
    (),
    (PolicyRule(b"*", ConflictPolicy.NEWEST),),
    (PolicyRule(b"*", ConflictPolicy.BESIDE),),
    (PolicyRule(b"*", ConflictPolicy.SITE_PRIORITY, (b"site2", b"site1")),),
    (PolicyRule(b"d/**", ConflictPolicy.NEWEST), PolicyRule(b"*.txt", ConflictPolicy.BESIDE)),
)
FEATURES = (
    "common tree",
    "equal contents",
    "policies",
    "skew",
    "links",
    "attributes",
    "stale disks",
    "partition",
)


def plain(tree: Tree) -> Plain:
    """Returns what an application sees: texts of files, and `/` for directories."""
    return {path: text_of(entry.content) for path, entry in tree.items()}


def text(path: Path) -> str:
    """Returns a path as people write it."""
    return b"/".join(path).decode()


class RandomHistory:
    """Sites and their users. The same seed with fewer steps is a beginning of the same history.

    Each history has only some of FEATURES: what is rare in all of them together is common in some.
    """

    site_class: type[Site] = Site

    def __init__(self, seed: int, site_count: int, features: Iterable[str] = ()) -> None:
        """Starts a history that has the features given, and some that its seed chooses."""
        self.rng = random.Random(seed)
        self.sites = [self.site_class(number + 1) for number in range(site_count)]
        self.features = {feature for feature in FEATURES if self.rng.random() < 0.5}
        self.features.update(features)
        self._written = 0
        self._groups = [0] * site_count
        for site in self.sites:
            if "skew" in self.features:
                site.now_ms += self.rng.choice((0, 60_000, 10**10))
            if "policies" in self.features:
                site.announce()
        self._user_share = self.rng.choice((0.6, 0.9))
        if "common tree" in self.features:
            self._make_common_tree()

    def step(self) -> Site:
        """Lets one thing happen, and returns the site where it happened."""
        index = self.rng.randrange(len(self.sites))
        site = self.sites[index]
        site.now_ms += self.rng.choice((0, 1, 50))
        draw = self.rng.random()
        if draw < self._user_share:
            self._let_user_act(site)
        else:
            self._let_receive(index)
        if "stale disks" not in self.features:
            site.materialise()
        elif self.rng.random() < 0.15:
            site.materialise(self.rng.randrange(4))
        if "partition" in self.features and self.rng.random() < 0.03:
            self._groups = [self.rng.randrange(2) for _ in self.sites]
        return site

    def heal(self) -> None:
        """Brings everything to every disk."""
        deliver(self.sites, self.rng)

    def _make_common_tree(self) -> None:
        for directory in ("d", "e", "d/f"):
            self.sites[0].mkdir(directory)
        for path in ("a", "d/a", "e/b.txt"):
            self.sites[0].create(path, self._fresh())
        self.heal()

    def _let_receive(self, index: int) -> None:
        source = self.rng.randrange(len(self.sites))
        if source == index or self._groups[source] != self._groups[index]:
            return
        for transaction in self.sites[source].log:
            is_new = not self.sites[index].received.includes(transaction.operations[-1].dot)
            if is_new and (self.rng.random() < 0.2 or not self.sites[index].receive(transaction)):
                return

    def _let_user_act(self, site: Site) -> None:
        before = site.disk
        expected = plain(before)
        action = self.rng.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
        action(self, site, expected)
        if site.is_stale and "links" in self.features and action in _MAY_PLACE_AGAIN:
            return
        _check_effect(before, expected, site, action.__name__)

    def _fresh(self) -> str:
        if "equal contents" in self.features and self.rng.random() < 0.3:
            return self.rng.choice(("same", "alike"))
        self._written += 1
        return f"v{self._written}"

    def _free_place(self, site: Site, names: Sequence[bytes] = FILE_NAMES) -> Path | None:
        """Chooses a place, now and then with a name that is usual for something else."""
        if self.rng.random() < 0.1:
            names = FILE_NAMES + DIRECTORY_NAMES
        directories = [(), *(path for path, entry in site.disk.items() if entry.is_directory)]
        place = (*self.rng.choice(directories), self.rng.choice(names))
        return None if place in site.disk or len(place) > DEPTH_MAX else place

    def _file(self, site: Site) -> Path | None:
        """Chooses a file, more often one with conflicts."""
        files = [path for path, entry in site.disk.items() if not entry.is_directory]
        contested = [path for path in files if site.disk[path].copies]
        if contested and self.rng.random() < 0.3:
            files = contested
        return self.rng.choice(files) if files else None

    def _directory(self, site: Site) -> Path | None:
        directories = [path for path, entry in site.disk.items() if entry.is_directory]
        return self.rng.choice(directories) if directories else None

    def _conflict(self, site: Site) -> tuple[Path, ConflictCopy] | None:
        found = [(path, copy) for path, entry in site.disk.items() for copy in entry.copies]
        return self.rng.choice(found) if found else None

    def create(self, site: Site, expected: Plain) -> None:
        if place := self._free_place(site):
            expected[place] = self._fresh()
            site.create(text(place), expected[place])

    def mkdir(self, site: Site, expected: Plain) -> None:
        if place := self._free_place(site, DIRECTORY_NAMES):
            expected[place] = "/"
            site.mkdir(text(place))

    def edit(self, site: Site, expected: Plain) -> None:
        if path := self._file(site):
            written = self._fresh()
            expected.update(dict.fromkeys(_names_of_file(site, path), written))
            site.edit(text(path), written)

    def move_file(self, site: Site, expected: Plain) -> None:
        path, place = self._file(site), self._free_place(site)
        if path and place:
            expected[place] = expected.pop(path)
            site.move(text(path), text(place))

    def move_directory(self, site: Site, expected: Plain) -> None:
        path, place = self._directory(site), self._free_place(site, DIRECTORY_NAMES)
        if path and place and place[: len(path)] != path:
            _move_below(expected, path, place)
            site.move(text(path), text(place))

    def exchange_directories(self, site: Site, expected: Plain) -> None:
        first, second = self._directory(site), self._directory(site)
        if not first or not second or first[: len(second)] == second[: len(first)]:
            return
        if first == second[: len(first)] or second == first[: len(second)]:
            return
        aside = (b"aside",)
        _move_below(expected, first, aside)
        _move_below(expected, second, first)
        _move_below(expected, aside, second)
        site.exchange(text(first), text(second))

    def delete(self, site: Site, expected: Plain) -> None:
        if path := self._file(site):
            del expected[path]
            site.delete(text(path))

    def delete_directory(self, site: Site, expected: Plain) -> None:
        if directory := self._directory(site):
            for path in [path for path in expected if path[: len(directory)] == directory]:
                del expected[path]
            site.delete(text(directory))

    def replace(self, site: Site, expected: Plain) -> None:
        source, target = self._file(site), self._file(site)
        if source and target and target not in _names_of_node(site, source):
            expected[target] = expected.pop(source)
            site.replace(text(source), text(target))

    def exchange_files(self, site: Site, expected: Plain) -> None:
        one, other = self._file(site), self._file(site)
        if one and other and other not in _names_of_node(site, one):
            expected[one], expected[other] = expected[other], expected[one]
            site.exchange(text(one), text(other))

    def save_atomically(self, site: Site, expected: Plain) -> None:
        if path := self._file(site):
            expected[path] = self._fresh()
            site.rewrite_name(text(path), expected[path])

    def link(self, site: Site, expected: Plain) -> None:
        path, place = self._file(site), self._free_place(site)
        if path and place and "links" in self.features:
            expected[place] = expected[path]
            site.link(text(path), text(place))

    def change_attributes(self, site: Site, expected: Plain) -> None:
        path = self._file(site) if self.rng.random() < 0.6 else self._directory(site)
        if not path or "attributes" not in self.features:
            return
        number = self.rng.randrange(0o1000)
        if number % 2:
            site.chmod(text(path), number)
            wanted: tuple[bytes, AttributeValue] = (MODE, number)
        else:
            site.set_extended(text(path), "user.x", b"%d" % number)
            wanted = (EXTENDED_PREFIX + b"user.x", b"%d" % number)
        assert wanted in site.disk[path].attributes, f"{wanted} of {path!r} did not stay"

    def settle(self, site: Site, expected: Plain) -> None:
        if conflict := self._conflict(site):
            path, copy = conflict
            site.settle(text(path), text_of(copy.version.content))
        elif site.orphans:
            site.settle_orphans(text(self.rng.choice(sorted(site.orphans))))

    def edit_copy(self, site: Site, expected: Plain) -> None:
        conflict = self._conflict(site)
        if conflict and site.disk[conflict[0]].shows_copies_beside:
            path, copy = conflict
            beside = (*path[:-1], copy.copy_name)
            if beside not in site.disk:
                expected[beside] = self._fresh()
                site.edit_copy(text(path), text_of(copy.version.content), expected[beside])

    def choose_copy(self, site: Site, expected: Plain) -> None:
        conflict = self._conflict(site)
        if conflict and not site.disk[conflict[0]].is_directory:
            path, copy = conflict
            chosen = text_of(copy.version.content)
            expected.update(dict.fromkeys(_names_of_file(site, path), chosen))
            site.choose_copy(text(path), chosen)

    def change_policy(self, site: Site, expected: Plain) -> None:
        if "policies" in self.features:
            site.set_policy(*self.rng.choice(POLICIES))
            expected.clear()
            expected.update(plain(site.disk))


Action = Callable[[RandomHistory, Site, Plain], None]
_ACTIONS: dict[Action, int] = {
    RandomHistory.create: 20,
    RandomHistory.mkdir: 14,
    RandomHistory.edit: 18,
    RandomHistory.move_file: 10,
    RandomHistory.move_directory: 18,
    RandomHistory.exchange_directories: 2,
    RandomHistory.delete: 8,
    RandomHistory.delete_directory: 4,
    RandomHistory.replace: 4,
    RandomHistory.exchange_files: 2,
    RandomHistory.save_atomically: 4,
    RandomHistory.link: 8,
    RandomHistory.change_attributes: 6,
    RandomHistory.settle: 6,
    RandomHistory.edit_copy: 2,
    RandomHistory.choose_copy: 2,
    RandomHistory.change_policy: 3,
}


# These may give other names of a file, which came back for an edit, a place again. On a disk that
# lags behind, it can be one to which the name was moved in the meantime.
_MAY_PLACE_AGAIN = {
    RandomHistory.link,
    RandomHistory.move_file,
    RandomHistory.edit,
    RandomHistory.delete,
    RandomHistory.choose_copy,
    RandomHistory.save_atomically,
    RandomHistory.replace,
    RandomHistory.exchange_files,
}


def _names_of_file(site: Site, path: Path) -> list[Path]:
    """Returns the names of one inode."""
    own = site.disk[path]
    names = _names_of_node(site, path)
    return [name for name in names if site.disk[name].version == own.version]


def _names_of_node(site: Site, path: Path) -> list[Path]:
    node = site.disk[path].claims[0].node
    return [name for name, entry in site.disk.items() if entry.claims[0].node == node]


def _move_below(expected: Plain, source: Path, target: Path) -> None:
    for path in [path for path in expected if path[: len(source)] == source]:
        expected[target + path[len(source) :]] = expected.pop(path)


def _check_effect(before: Tree, expected: Plain, site: Site, what: str) -> None:
    """What a user did is there as POSIX says: our own changes are never undone or embellished.

    One thing differs: a directory that was deleted elsewhere, and lived on for what was in it,
    goes with the last of it; a file that had lost its name to it may then be there.
    """
    after = plain(site.disk)
    gone = {path for path in expected if expected[path] == "/" and after.get(path) != "/"}
    borrowed = [entry for entry in before.values() if entry.is_directory and not _is_placed(entry)]
    assert len(gone) <= len(borrowed), f"{what}: {gone} is not there"
    wanted = {path: found for path, found in expected.items() if path not in gone}
    found = {path: found for path, found in after.items() if path not in gone}
    assert found == wanted, f"{what}: the disk shows {found} instead of {wanted}"


def _is_placed(entry: Rendered) -> bool:
    return any(claim.place_dots for claim in entry.claims)
