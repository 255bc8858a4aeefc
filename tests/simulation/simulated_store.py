"""An object store nastier than Swift: replicas that lag, answers that get lost, stale listings."""

from __future__ import annotations

import heapq
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.simulation.simulated_clock import NS_PER_S, SimulatedTime
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible, StoreUnavailable
from transport.object_store import (
    StoreCounters,
    StoreMeter,
    check_range,
    split_name,
    split_prefix,
)


@dataclass(frozen=True, slots=True)
class StoreFaults:
    """How likely each fault is at each request, from 0 (never) to 1, and how long delays are."""

    lag: float = 0.0  # a replica gets a write or a deletion later than the answer is sent
    unavailable: float = 0.0  # nothing is done, and said so with 503
    answer_lost: float = 0.0  # the write or deletion is done, but the answer is 503
    done_late: float = 0.0  # the answer is 503, and the write arrives long after it
    repeated: float = 0.0  # an acknowledged write arrives once more, perhaps after its deletion
    resurrected: float = 0.0  # a deleted object comes back
    invisible: float = 0.0  # a read asks where the object is not
    corrupt: float = 0.0  # a body arrives with a flipped bit
    truncated: float = 0.0  # a body arrives cut short
    row_missing: float = 0.0  # per row of a listing
    row_ghost: float = 0.0  # per name that was deleted: the listing shows it all the same
    listing_stale: float = 0.0  # the whole listing is an old one
    delay_s_max: float = 60.0  # of what comes late
    is_quorum_certain: bool = False  # a write is answered only once most replicas have it


NO_FAULTS = StoreFaults()


@dataclass(frozen=True, slots=True)
class _Record:
    """What a replica knows of a name; the one with the highest stamp wins, as in Swift."""

    stamp: int
    body: bytes | None  # None: deleted


@dataclass(order=True, slots=True)
class _Delivery:
    """Something that happens later: a record reaches a replica, or a write all of them."""

    due_ns: int
    sequence: int
    name: str = field(compare=False)
    record: _Record = field(compare=False)
    replica: int | None = field(compare=False)  # None: the body is written anew, with a new stamp


class SimulatedStore:
    """The store of all sites; each uses it through its own `client`.

    With no faults it is a perfect store. All chance comes from `fate`, so a run repeats itself.

    Attributes:
        faults: may be exchanged at any time.
        is_down: nobody gets an answer but 503.
        cut_off: sites that reach nothing.
        sent: every body that anybody ever sent under each name, for checkers.
        stored: every body that a replica ever took under each name, for checkers.
        deleted: every name that anybody ever asked to delete, for checkers.
        watcher: called with "before" or "after", the site and the name around each write, so that
            others can act just then.
    """

    def __init__(
        self,
        time: SimulatedTime,
        fate: random.Random,
        faults: StoreFaults = NO_FAULTS,
        replica_count: int = 3,
    ) -> None:
        self.faults = faults
        self.is_down = False
        self.cut_off: set[str] = set()
        self.sent: dict[str, set[bytes]] = defaultdict(set)
        self.stored: dict[str, set[bytes]] = defaultdict(set)
        self.deleted: set[str] = set()
        self.watcher: Callable[[str, str, str], None] = nobody
        self.lock = threading.RLock()
        self._time = time
        self._fate = fate
        self._is_split = False
        self._replicas: list[dict[str, _Record]] = [{} for _ in range(replica_count)]
        self._pending: list[_Delivery] = []
        self._held: list[_Delivery] = []  # waits for the regions to join
        self._homes: dict[str, int] = {}
        self._old_names: list[str] = []
        self._sequence = 0

    # Control

    def client(self, site: str) -> SimulatedStoreClient:
        """Returns the store as one site sees it. Its nearest replica is the next in turn."""
        self._homes.setdefault(site, len(self._homes) % len(self._replicas))
        return SimulatedStoreClient(self, site)

    def split(self) -> None:
        """Cuts the replicas off from each other: each site sees only its nearest one."""
        self._is_split = True

    def join(self) -> None:
        """Ends `split`: what was held back is delivered now."""
        self._is_split = False
        for delivery in self._held:
            heapq.heappush(self._pending, delivery)
        self._held.clear()

    def quiet(self) -> None:
        """Stops all faults and delivers all that is under way, so all replicas are the same."""
        self.faults = NO_FAULTS
        self.is_down = False
        self.cut_off.clear()
        self.join()
        while self._pending:
            self._deliver(heapq.heappop(self._pending))

    def bodies(self) -> dict[str, bytes]:
        """Returns what is stored as the newest record of any replica has it, for checkers."""
        newest: dict[str, _Record] = {}
        for replica in self._replicas:
            for name, record in replica.items():
                if name not in newest or record.stamp > newest[name].stamp:
                    newest[name] = record
        return {name: newest[name].body or b"" for name in sorted(newest) if _lives(newest[name])}

    def bodies_with_deleted(self, prefix: str) -> dict[str, bytes]:
        """Returns what is stored, and what was deleted among the names that begin so."""
        deleted = (name for name in self.deleted if name.startswith(prefix))
        gone = {name: next(iter(self.stored[name])) for name in deleted if self.stored[name]}
        return dict(sorted((gone | self.bodies()).items()))

    # Requests of the clients

    def begin(self, site: str, request: str) -> None:
        """Lets what is due happen, then the request fail. Raises StoreUnavailable."""
        while self._pending and self._pending[0].due_ns <= self._time.now_ns:
            self._deliver(heapq.heappop(self._pending))
        if self.is_down or site in self.cut_off or self._hits(self.faults.unavailable):
            raise StoreUnavailable(f"{request}: answered 503; try again later")

    def put(self, site: str, name: str, body: bytes) -> None:
        """Stores on the replicas that are prompt, and on the others later."""
        self.watcher("before", site, name)
        self.sent[name].add(body)
        if self._hits(self.faults.done_late):
            self._postpone(name, body, None)
            raise StoreUnavailable(f"put {name}: timed out; send the same bytes again")
        prompt = self._prompt_replicas(site)
        found = [self._replicas[replica].get(name) for replica in prompt]
        bodies = {record.body for record in found if record is not None and _lives(record)}
        if bodies - {body}:
            raise ObjectCollision(f"put {name}: the name holds other bytes; find out whose")
        if not bodies:
            self._write(name, body, prompt)
        if self._hits(self.faults.repeated):
            self._postpone(name, body, None)
        self.watcher("after", site, name)
        self._lose_answer(f"put {name}")

    def read(self, site: str, name: str) -> bytes:
        """Returns what one replica has. Raises ObjectNotVisible."""
        record = self._any_replica(site).get(name)
        if record is None or record.body is None or self._hits(self.faults.invisible):
            raise ObjectNotVisible(f"get {name}: not visible now; ask again later")
        return record.body

    def damage(self, body: bytes) -> bytes:
        """Returns the body as it arrives: whole, cut short, or with one bit flipped."""
        if body and self._hits(self.faults.truncated):
            return body[: self._fate.randrange(len(body))]
        if body and self._hits(self.faults.corrupt):
            position = self._fate.randrange(len(body))
            flipped = body[position] ^ (1 << self._fate.randrange(8))
            return body[:position] + bytes([flipped]) + body[position + 1 :]
        return body

    def names(self, site: str, prefix: str) -> list[str]:
        """Returns a listing by one replica, with rows missing and ghosts."""
        replica = self._any_replica(site)
        rows = [name for name in sorted(replica) if self._is_listed(replica[name])]
        if self._hits(self.faults.listing_stale):
            rows, self._old_names = self._old_names, rows
        return [name for name in rows if name.startswith(prefix)]

    def delete(self, site: str, name: str) -> None:
        """Deletes on the replicas that are prompt, and on the others later."""
        self.deleted.add(name)
        prompt = self._prompt_replicas(site)
        present = next((r[name] for r in self._replicas if name in r and _lives(r[name])), None)
        if present is not None:
            self._write(name, None, prompt)
            if self._hits(self.faults.resurrected):
                self._postpone(name, present.body, None)
        self._lose_answer(f"delete {name}")

    # Parts

    def _write(self, name: str, body: bytes | None, prompt: list[int]) -> None:
        record = _Record(self._next(), body)
        if body is not None:
            self.stored[name].add(body)
        for replica in range(len(self._replicas)):
            if replica in prompt:
                self._replicas[replica][name] = record
            else:
                self._postpone_record(name, record, replica)

    def _prompt_replicas(self, site: str) -> list[int]:
        """Returns who takes part in a request: at least one, and all of them without faults.

        Raises:
            StoreUnavailable: most replicas must, and can't.
        """
        if self._is_split:
            if self.faults.is_quorum_certain:
                raise StoreUnavailable("write: most replicas can't be reached; try again later")
            return [self._homes[site]]
        count = len(self._replicas)
        prompt = [r for r in range(count) if not self._hits(self.faults.lag)]
        if self.faults.is_quorum_certain and len(prompt) <= count // 2:
            return sorted(self._fate.sample(range(count), count // 2 + 1))
        return prompt or [self._fate.randrange(count)]

    def _any_replica(self, site: str) -> dict[str, _Record]:
        if self._is_split:
            return self._replicas[self._homes[site]]
        return self._fate.choice(self._replicas)

    def _is_listed(self, record: _Record) -> bool:
        if _lives(record):
            return not self._hits(self.faults.row_missing)
        return self._hits(self.faults.row_ghost)

    def _lose_answer(self, request: str) -> None:
        if self._hits(self.faults.answer_lost):
            raise StoreUnavailable(f"{request}: the connection broke; try again")

    def _postpone(self, name: str, body: bytes | None, replica: int | None) -> None:
        self._postpone_record(name, _Record(0, body), replica)

    def _postpone_record(self, name: str, record: _Record, replica: int | None) -> None:
        delay_ns = round(self._fate.random() * self.faults.delay_s_max * NS_PER_S)
        delivery = _Delivery(self._time.now_ns + delay_ns, self._next(), name, record, replica)
        heapq.heappush(self._pending, delivery)

    def _deliver(self, delivery: _Delivery) -> None:
        if self._is_split:
            self._held.append(delivery)
        elif delivery.replica is None:
            self._write_again(delivery.name, delivery.record.body)
        else:
            replica = self._replicas[delivery.replica]
            present = replica.get(delivery.name)
            if present is None or present.stamp < delivery.record.stamp:
                replica[delivery.name] = delivery.record

    def _write_again(self, name: str, body: bytes | None) -> None:
        """Writes as a request that was on its way all the time: only where nothing lives."""
        if not any(name in replica and _lives(replica[name]) for replica in self._replicas):
            self._write(name, body, list(range(len(self._replicas))))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _hits(self, rate: float) -> bool:
        return rate > 0 and self._fate.random() < rate


class SimulatedStoreClient:
    """The `ObjectStore` of one site."""

    def __init__(self, store: SimulatedStore, site: str) -> None:
        self._store = store
        self._site = site
        self._meter = StoreMeter()

    def prepare(self) -> None:
        """Has nothing to create, but needs an answer. Raises StoreUnavailable."""
        with self._store.lock:
            self._begin("prepare")

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        split_name(name)
        with self._store.lock:
            self._begin(f"put {name}")
            self._meter.count(upload_bytes=len(body))
            self._store.put(self._site, name, body)

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns a whole body, whose checksum was compared; see `ObjectStore.get`."""
        body, arrived = self._read(name)
        if len(body) > size_bytes_max or arrived != body:
            raise CorruptObject(
                f"get {name}: {len(arrived)} of {len(body)} bytes arrived, at most "
                f"{size_bytes_max} were expected, or the checksum is wrong; read it again"
            )
        self._meter.count(download_bytes=len(body))
        return body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of a body, with no checksum compared; see `ObjectStore.get_range`."""
        check_range(name, offset, length)
        _, arrived = self._read(name)
        part = arrived[offset : offset + length]
        if len(part) < length:
            raise CorruptObject(
                f"get {length} bytes at {offset} of {name}: {len(part)} arrived; it was cut short, "
                "or the reference to it is wrong"
            )
        self._meter.count(download_bytes=length)
        return part

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names; see `ObjectStore.list_names`."""
        split_prefix(prefix)
        with self._store.lock:
            self._begin(f"list {prefix}")
            names = self._store.names(self._site, prefix)
        yield from names

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        split_name(name)
        with self._store.lock:
            self._begin(f"delete {name}")
            self._store.delete(self._site, name)

    def counters(self) -> StoreCounters:
        """Returns what this site did so far."""
        return self._meter.read()

    def close(self) -> None:
        """Keeps everything: other sites use the store."""

    def _read(self, name: str) -> tuple[bytes, bytes]:
        """Returns the body as it is stored and as it arrived."""
        split_name(name)
        with self._store.lock:
            self._begin(f"get {name}")
            body = self._store.read(self._site, name)
            return body, self._store.damage(body)

    def _begin(self, request: str) -> None:
        self._meter.count(requests=1)
        self._store.begin(self._site, request)


def nobody(_when: str, _site: str, _name: str) -> None:
    """Acts in no moment."""


def _lives(record: _Record) -> bool:
    return record.body is not None
