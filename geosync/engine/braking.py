"""Braking: what would take much away at once is not captured until a person has decided.

What is held stays as it is, on the disk and in the volume; everything else goes on. The journal
keeps which entries are held, and nothing of what became of them: that is seen on the disk again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from conflict.author import Author
from conflict.brakes import (
    Amount,
    BrakeKind,
    OnEncryption,
    reason_of_empty_root,
    reason_to_brake,
)
from conflict.observation import DiskEntry, DiskKind, Fingerprint
from conflict.operations import Topic
from conflict.prospect import Prospect, prospect
from conflict.scan import Scan, StableContent, directory_entry, is_unchanged, keeps_name
from conflict.synced import EntryId, Path, SyncedEntry, path_of_entry
from geosync.engine.burst import Burst
from geosync.engine.encryption_alarm import EncryptionAlarm, Suspects
from geosync.engine.groups import Group
from geosync.engine.intake import Intake
from geosync.engine.reading import Read
from geosync.engine.site import Site, joined
from geosync.engine.veil import veiled
from geosync.event_log import event_logger
from geosync.journal.brakes import Brake, HeldEntry
from transport.brake_record import (
    BRAKE_PATHS_MAX,
    Engaged,
    Grown,
    Released,
    Settled,
    Verdict,
    encode_brake_record,
)

CERTAIN_AFTER_S: Final = 2.0  # what is missing for so long was not only moved
HOUR_MS: Final = 3_600_000
BURST_SHARE: Final = 4  # so much less than a brake holds is enough to wait whether more follows
TOLD_AGAIN_AT: Final = 2  # times as much as the others were told of
_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class Engaging:
    """A brake that engages with this capture."""

    kind: BrakeKind
    reason: str
    amount: Amount
    paths: tuple[bytes, ...]


@dataclass(slots=True)
class Parked:
    """What one capture may write, and what is held back of it.

    Attributes:
        scan: in which what is held looks as it is known.
        contents: without what is held.
        prospect: all that would go.
        joins: what is held from now on, by the kind of the brake.
        returned: what was held, and is as it is known again.
        passes: what goes, by the kind that it counts for.
        approved: what goes since somebody approved it.
        engaging: the brakes that are not there yet.
        kept: all that is not captured: none of it counts as certainly gone, also where a directory
            above it is missing, so that no veil shows it.
        deferred: deletions that wait until it is certain how many they are.
        bursting: where files have changed that wait, as many more may follow.
        again: directories that are to be looked at again.
        suspects: files that look encrypted, and the suffix that their names got.
        alarm: why these are too many.
    """

    scan: Scan
    contents: dict[Path, StableContent]
    prospect: Prospect = field(default_factory=Prospect)
    joins: dict[BrakeKind, set[EntryId]] = field(default_factory=dict)
    returned: set[EntryId] = field(default_factory=set)
    passes: dict[BrakeKind, set[EntryId]] = field(default_factory=dict)
    approved: set[EntryId] = field(default_factory=set)
    engaging: list[Engaging] = field(default_factory=list)
    kept: set[EntryId] = field(default_factory=set)
    deferred: set[EntryId] = field(default_factory=set)
    bursting: set[Path] = field(default_factory=set)
    again: set[Path] = field(default_factory=set)
    suspects: Suspects = field(default_factory=dict)
    alarm: str | None = None


class Braking:
    """The brakes of one site against changes of its own disk."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._journal = site.journal
        self._held: dict[EntryId, HeldEntry] = {}
        self._brakes: dict[int, Brake] = {}
        self._seen: dict[EntryId, tuple[bytes, Fingerprint]] = {}  # changed files, when read
        self._alarm = EncryptionAlarm(site)
        self._burst = Burst(site.clock)
        self.reload()

    def reload(self) -> None:
        """Reads what the journal says."""
        self._held = {held.entry: held for held in self._journal.brakes.held()}
        self._brakes = {b.dot.counter: b for b in self._journal.brakes.brakes() if b.is_ours}

    def held(self) -> set[EntryId]:
        """Returns all that is held: what is missing of it was missing before."""
        return set(self._held)

    def waiting(self) -> dict[Path, str]:
        """Returns the paths that are held, and by what."""
        found: dict[Path, str] = {}
        for held in self._held.values():
            entry = self._journal.synced.entry(held.entry)
            path = path_of_entry(self._journal.synced, entry) if entry is not None else None
            brake = self._brakes.get(held.brake)
            if path and brake is not None and brake.verdict is None:
                found[path] = f"held by brake {brake.dot.label}; see: geosync brake list"
        return found

    # Before the reading

    def unread(self, scan: Scan) -> Scan:
        """Hides files that are held, and were read as they are: nobody needs to read them again."""
        if not self._seen:
            return scan
        hidden = {
            path
            for path, known, here in self._known_names(scan)
            if self._is_undecided(known.entry)
            and self._seen.get(known.entry) == (here.handle, here.fingerprint)
        }
        return veiled(self._journal.synced, scan, hidden.__contains__) if hidden else scan

    def _known_names(self, scan: Scan) -> Iterator[tuple[Path, SyncedEntry, DiskEntry]]:
        """Yields the names that were there before and are now, perhaps as something else."""
        synced = self._journal.synced
        for path, listing in scan.listings.items():
            directory = directory_entry(synced, path, listing)
            if directory is None:
                continue
            for here in listing.entries:
                known = synced.entry_at(directory.entry, here.name)
                if known is not None:
                    yield (*path, here.name), known, here

    def _is_undecided(self, entry: EntryId) -> bool:
        held = self._held.get(entry)
        return held is not None and self._brakes[held.brake].verdict is None

    # Before the capture

    def park(
        self,
        asked: Scan,
        read: Read,
        confirmed: set[EntryId],
        missing_s: Mapping[EntryId, float],
        intake: Intake,
    ) -> Parked:
        """Decides what of a scan is captured now.

        Args:
            asked: the scan before `unread`.
            read: what was read of it.
            confirmed: entries that are certainly gone, if they are missing; with all that is held.
            missing_s: entries that are missing, also elsewhere, and for how long.
            intake: which has the contents.
        """
        parked = Parked(read.scan, read.contents)
        may_go = bool(read.contents or confirmed) and self._site.brake_limits.is_on
        if not may_go and not self._held:
            return parked
        self._adopt_directories(read.scan)
        found = prospect(self._journal.synced, read.scan, read.contents, frozenset(confirmed))
        parked.prospect = found
        going = found.deleted.keys() | found.replaced.keys()
        parked.approved = {e for e in going & self._held.keys() if not self._is_undecided(e)}
        held = {entry for entry in going if self._is_undecided(entry)}
        parked.returned = self._returned(asked, read, going)
        for entry in held & found.replaced.keys():
            seen = read.contents[found.replaced[entry].now_at].entry
            self._seen[entry] = (seen.handle, seen.fingerprint)
        fresh = going - self._held.keys()
        deletions, changes = fresh & found.deleted.keys(), fresh & found.replaced.keys()
        encrypted = self._look_for_encryption(changes, intake, parked)
        changes -= encrypted
        held |= encrypted
        held |= self._judge_deletions(deletions, missing_s, parked)
        held |= self._judge_changes(changes, parked)
        parked.kept = held
        if held:
            self._veil(held, read.groups, parked)
        return parked

    def _look_for_encryption(
        self, changes: set[EntryId], intake: Intake, parked: Parked
    ) -> set[EntryId]:
        """Raises the alarm if need be; returns what of the changes it holds, if it does."""
        limits = self._site.brake_limits
        self._alarm.tend()
        if not limits.is_on or limits.on_encryption is OnEncryption.OFF:
            return set()
        parked.suspects = self._alarm.suspects(parked.prospect, changes, intake)
        parked.alarm = self._alarm.reason(parked.suspects)
        if parked.alarm is None or limits.on_encryption is not OnEncryption.BRAKE:
            return set()
        encrypted = changes & parked.suspects.keys()
        return self._hold(BrakeKind.ENCRYPTION, encrypted, parked.alarm, parked)

    def _returned(self, asked: Scan, read: Read, going: set[EntryId]) -> set[EntryId]:
        """Returns what was held and is as it is known again."""
        if not self._held:
            return set()
        return {
            known.entry
            for path, known, here in self._known_names(asked)
            if known.entry in self._held
            and known.entry not in going
            and keeps_name(known, here)
            and (is_unchanged(known, here) or known.is_directory or path in read.contents)
        }

    def _adopt_directories(self, scan: Scan) -> None:
        """Lets a directory that was made again, where a held one is missing, carry on that one.

        Else whatever is restored into it would look new, beside all that is missing still.
        """
        synced = self._journal.synced
        adopted = [
            replace(known, handle=here.handle)
            for _, known, here in (self._known_names(scan) if self._held else ())
            if known.is_directory
            and here.kind is DiskKind.DIRECTORY
            and known.handle != here.handle
            and not synced.entries_of_handle(here.handle)
            and self._is_undecided(known.entry)
        ]
        if adopted:
            with self._journal.transaction():
                for entry in adopted:
                    synced.save_entry(entry)

    def _judge_deletions(
        self, fresh: set[EntryId], missing_s: Mapping[EntryId, float], parked: Parked
    ) -> set[EntryId]:
        """Decides about what is not held yet; returns what of it is not captured now."""
        kind = BrakeKind.DELETION
        if not fresh:
            return set()
        elsewhere = {e: s for e, s in missing_s.items() if e not in fresh and e not in self._held}
        for entry in parked.prospect.unconfirmed:
            elsewhere.setdefault(entry, 0.0)
        certain = sum(waited_s >= CERTAIN_AFTER_S for waited_s in elsewhere.values())
        reason = self._reason(kind, fresh, certain, parked)
        is_uncertain = reason is None and len(elsewhere) > certain
        if is_uncertain and self._reason(kind, fresh, len(elsewhere), parked) is not None:
            parked.deferred |= fresh
            return fresh
        if reason is None:
            parked.passes[kind] = fresh
            return set()
        return self._hold(kind, fresh, reason, parked)

    def _judge_changes(self, fresh: set[EntryId], parked: Parked) -> set[EntryId]:
        """As `_judge_deletions`, of changes: many wait until it is seen how many they are."""
        if not fresh:
            return set()
        count = self._burst.elsewhere(fresh)
        reason = self._reason(BrakeKind.CHANGE, fresh, count, parked)
        share = BURST_SHARE
        is_much = self._reason(BrakeKind.CHANGE, fresh, count, parked, share) is not None
        if reason is None and is_much and self._burst.goes_on(fresh):
            parked.bursting |= {parked.prospect.paths[entry] for entry in fresh}
            return fresh
        self._burst.forget(fresh)
        if reason is not None:
            return self._hold(BrakeKind.CHANGE, fresh, reason, parked)
        parked.passes[BrakeKind.CHANGE] = fresh
        return set()

    def _hold(
        self, kind: BrakeKind, fresh: set[EntryId], reason: str, parked: Parked
    ) -> set[EntryId]:
        if not fresh:
            return fresh
        parked.joins[kind] = fresh
        if self._undecided_brake(kind) is None:
            entries = map(self._journal.synced.entry, sorted(fresh)[: 2 * BRAKE_PATHS_MAX])
            paths = [path_of_entry(self._journal.synced, entry) for entry in entries if entry]
            shown = tuple(joined(path) for path in sorted(filter(None, paths))[:BRAKE_PATHS_MAX])
            parked.engaging.append(Engaging(kind, reason, parked.prospect.amount(fresh), shown))
        directories = (e for e, known in parked.prospect.deleted.items() if known.is_directory)
        found = (parked.prospect.paths.get(e) for e in directories if e in fresh)
        parked.again |= {path[:-1] for path in found if path}
        return fresh

    def _reason(
        self, kind: BrakeKind, fresh: set[EntryId], elsewhere: int, parked: Parked, share: int = 1
    ) -> str | None:
        """Returns why to brake, None when there is no need; also, by a share of the limits."""
        now_ms, brakes = self._site.now_ms(), self._journal.brakes
        entries = self._journal.synced.count()
        if kind is BrakeKind.DELETION:
            root = parked.scan.listings.get(())
            if root is not None and not root.entries:
                reason = reason_of_empty_root(self._site.brake_limits, entries)
                if reason is not None:
                    return reason
        since_ms = now_ms - self._site.brake_limits.window_s * 1000
        certain = parked.prospect.amount(fresh) + Amount(elsewhere) + self._joined(kind, since_ms)
        lately = brakes.passed(kind, since_ms, fresh) + certain
        hour = brakes.passed(kind, now_ms - HOUR_MS, fresh).count + certain.count
        if kind is BrakeKind.DELETION:
            entries += brakes.passed(kind, since_ms).count
        limits = self._site.brake_limits.divided_by(share)
        return reason_to_brake(limits, kind, lately, hour, entries)

    def _joined(self, kind: BrakeKind, since_ms: int) -> Amount:
        """Returns how much was held since then."""
        brake = self._undecided_brake(kind)
        if brake is None:
            return Amount()
        own = [h for h in self._held.values() if h.brake == brake.dot.counter]
        sizes = [held.size_bytes for held in own if held.since_ms > since_ms]
        return Amount(len(sizes), sum(sizes))

    def _undecided_brake(self, kind: BrakeKind) -> Brake | None:
        undecided = (b for b in self._brakes.values() if b.kind is kind and b.verdict is None)
        return next(undecided, None)

    def _veil(self, held: set[EntryId], groups: list[Group], parked: Parked) -> None:
        """Lets what is held look as it is known, and with it all of a group of which it is one."""
        synced, paths = self._journal.synced, set()
        for entry_id in held:
            if entry_id in parked.prospect.paths:
                paths.add(parked.prospect.paths[entry_id])
            entry = synced.entry(entry_id)
            path = path_of_entry(synced, entry) if entry is not None else None
            if path:
                paths.add(path)
        whole = [group for group in groups if any(map(group.contains, paths))]
        is_held = _below(paths, whole)
        parked.scan = veiled(synced, parked.scan, is_held)
        parked.contents = {p: c for p, c in parked.contents.items() if not is_held(p)}

    # With the capture, in its transaction

    def engage(self, author: Author, parked: Parked) -> None:
        """Writes down what is held from now on, and tells the other sites of new brakes."""
        now_ms = self._site.now_ms()
        numbers = {b.kind: b.dot.counter for b in self._brakes.values() if b.verdict is None}
        for new in parked.engaging:
            body = Engaged(new.kind, now_ms, new.amount, new.reason, new.paths)
            dot = author.declare(Topic.BRAKE, encode_brake_record(body))
            self._journal.brakes.save(
                Brake(
                    dot,
                    is_ours=True,
                    kind=new.kind,
                    reason=new.reason,
                    since_ms=now_ms,
                    told_count=new.amount.count,
                )
            )
            numbers[new.kind] = dot.counter
        for kind, entries in parked.joins.items():
            sizes = {entry: parked.prospect.size_of(entry) for entry in entries}
            self._journal.brakes.hold(
                HeldEntry(entry, numbers[kind], now_ms, size) for entry, size in sizes.items()
            )

    def release(self, author: Author, parked: Parked) -> None:
        """Forgets what is held no longer, after the capture; says so of brakes that are over."""
        brakes, now_ms = self._journal.brakes, self._site.now_ms()
        for kind, entries in parked.passes.items():
            sizes = {entry: parked.prospect.size_of(entry) for entry in entries}
            brakes.note_passed(kind, sizes, now_ms)
        if parked.suspects:
            suspects = dict.fromkeys(parked.suspects, 0)
            brakes.note_passed(BrakeKind.ENCRYPTION, suspects, now_ms)
        if parked.passes:
            brakes.forget_passed(now_ms - max(HOUR_MS, self._site.brake_limits.window_s * 1000))
        if parked.approved:
            self._settle(author)
        if not self._brakes:
            return
        captured = {entry for entry in parked.approved if self._is_captured(entry, parked)}
        brakes.let_go(captured | parked.returned)
        brakes.let_go_missing()
        left = brakes.holding()
        for brake in self._brakes.values():
            number, amount = brake.dot.counter, left.get(brake.dot.counter, Amount())
            if not amount.count and brake.verdict is not Verdict.REJECTED:
                brakes.remove(brake.dot)
                author.declare(Topic.BRAKE, encode_brake_record(Released(number)))
            elif amount.count >= brake.told_count * TOLD_AGAIN_AT:
                brakes.save(replace(brake, told_count=amount.count))
                author.declare(Topic.BRAKE, encode_brake_record(Grown(number, amount)))

    def _settle(self, author: Author) -> None:
        """Tells the others that a person has looked at what this transaction takes away."""
        written = author.transaction()
        if written is not None:
            first, last = written.operations[0].dot.counter, written.last_counter
            body = Settled(self._site.actor, first, last, Verdict.APPROVED)
            author.declare(Topic.BRAKE, encode_brake_record(body))

    def _is_captured(self, entry_id: EntryId, parked: Parked) -> bool:
        entry = self._journal.synced.entry(entry_id)
        replaced = parked.prospect.replaced.get(entry_id)
        if entry is None or entry.content is None:
            return entry is None
        return replaced is not None and entry.content.digest == replaced.content.digest

    def note_kept(self, parked: Parked) -> None:
        """Sees what the transaction has kept, and tells of it, once it is durable."""
        if parked.alarm is not None:
            self._alarm.tell(parked.alarm)
        if not (self._brakes or parked.engaging):
            return
        before = self._brakes
        self.reload()
        self._seen = {e: seen for e, seen in self._seen.items() if e in self._held}
        for engaging, brake in zip(parked.engaging, self._newest(parked), strict=False):
            tell_engaged(self._site, brake, engaging.amount)
        for number in before.keys() - self._brakes.keys():
            tell_released(self._site, before[number])

    def _newest(self, parked: Parked) -> list[Brake]:
        by_number = [self._brakes[number] for number in sorted(self._brakes)]
        return by_number[len(by_number) - len(parked.engaging) :]


def tell_engaged(site: Site, brake: Brake, amount: Amount) -> None:
    """Raises the alarm."""
    name = brake.dot.label
    _log.error(
        "brake_engaged",
        brake=name,
        kind=brake.kind.value,
        reason=brake.reason,
        held=amount.count,
    )
    what = "goes to the other sites" if brake.is_ours else "is done on this disk"
    text = (
        f"{brake.reason}. None of it {what}"
        f" until you have decided; all else goes on. Look at it with: geosync brake list; then:"
        f" geosync brake approve {name}, or: geosync brake reject {name}"
    )
    site.report(b"brake " + name.encode(), text)


def tell_released(site: Site, brake: Brake) -> None:
    """Takes the alarm back."""
    name = brake.dot.label
    verdict = (
        brake.verdict.name.lower() if brake.verdict is not None else "nothing is held any more"
    )
    _log.warning("brake_released", brake=name, kind=brake.kind.value, verdict=verdict)
    site.report(b"brake " + name.encode(), None)


def _below(paths: set[Path], groups: list[Group]) -> Callable[[Path], bool]:
    """Returns what tells whether something is, or is below, one of the paths, or of a group."""

    def is_held(path: Path) -> bool:
        is_below = any(path[:depth] in paths for depth in range(1, len(path) + 1))
        return is_below or any(group.contains(path) for group in groups)

    return is_held
