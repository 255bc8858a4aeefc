"""An object store that is reached through several endpoints, of which the nearest is used."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from conflict.errors import GeosyncError
from transport.errors import CorruptObject, ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.object_names import VOLUME_RECORD
from transport.object_store import EndpointState, StoreCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transport.object_store import ObjectStore

_T = TypeVar("_T")

PROBE_EVERY_S: Final = 15.0
"""So often an endpoint that failed is asked whether it is back, by one small request."""

PROBE_SIZE_BYTES_MAX: Final = 64 * 1024


@dataclass(slots=True)
class _Endpoint:
    """One way to the store, and how it is doing."""

    name: str
    store: ObjectStore
    problem: str = ""
    down_since_s: float = 0.0
    probed_at_s: float = 0.0
    is_probed: bool = False  # just now
    is_proven: bool = False  # it has shown the volume's record


class FailoverStore:
    """An `ObjectStore` that asks the nearest endpoint that works. All are doors to the same data.

    An operation that an endpoint can't do now, or refuses, is asked of the next one at once; if
    that one can, the first is left alone until a probe in the background finds it well. So nobody
    waits twice for an endpoint that hangs. When all fail, none is left alone: each is asked
    again, in order.

    After a change of endpoint the store may show less than before, for a while: that is what
    every reader of an eventually consistent store has to expect anyway. A `put_once` that failed
    at one endpoint may have stored its object; the same bytes are then sent through another.

    Nothing is written, and nothing is read once a volume is known, through an endpoint that has
    not shown this volume's record: what is stored in some other cluster, by a mistake in the
    configuration, nobody would ever find.
    """

    def __init__(
        self,
        endpoints: Sequence[tuple[str, ObjectStore]],
        *,
        monotonic: Callable[[], float],
        in_background: Callable[[Callable[[], object]], object],
        on_change: Callable[[str, str], object],
    ) -> None:
        """Takes the endpoints.

        Args:
            endpoints: name and store of each, the nearest first.
            monotonic: the time in seconds, from any origin.
            in_background: calls a function soon, and does not wait for it.
            on_change: is told an endpoint and why it is left alone; "" when it is well again.
        """
        assert endpoints
        self._endpoints = [_Endpoint(name, store) for name, store in endpoints]
        self._monotonic = monotonic
        self._in_background = in_background
        self._on_change = on_change
        self._lock = threading.Lock()
        self._record: bytes | None = None  # of the volume, once an endpoint has shown it

    def prepare(self) -> None:
        """Creates what is missing; see `ObjectStore.prepare`."""
        self._ask(lambda store: store.prepare(), before_volume=True)

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        is_record = name == VOLUME_RECORD
        self._ask(lambda store: store.put_once(name, body), before_volume=is_record)

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._ask(
            lambda store: store.get(name, size_bytes_max=size_bytes_max), before_volume=True
        )

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._ask(lambda store: store.get_range(name, offset, length), before_volume=True)

    def list_names(self, prefix: str) -> Iterator[str]:
        """Returns names, all at once; see `ObjectStore.list_names`."""
        return iter(self._ask(lambda store: list(store.list_names(prefix)), before_volume=True))

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        self._ask(lambda store: store.delete(name))

    def counters(self) -> StoreCounters:
        """Returns what was done through all endpoints, and how each is doing."""
        counters = [endpoint.store.counters() for endpoint in self._endpoints]
        return StoreCounters(
            requests=sum(each.requests for each in counters),
            upload_bytes=sum(each.upload_bytes for each in counters),
            download_bytes=sum(each.download_bytes for each in counters),
            endpoints=self.endpoints(),
        )

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Returns how each endpoint is doing, the nearest first."""
        now_s = self._monotonic()
        with self._lock:
            in_use = self._in_order()[0]
            return tuple(
                EndpointState(
                    name=endpoint.name,
                    is_in_use=endpoint is in_use,
                    problem=endpoint.problem,
                    down_for_s=round(now_s - endpoint.down_since_s, 1) if endpoint.problem else 0.0,
                )
                for endpoint in self._endpoints
            )

    def close(self) -> None:
        """Closes all endpoints."""
        for endpoint in self._endpoints:
            endpoint.store.close()

    def _in_order(self) -> list[_Endpoint]:
        """Returns the endpoints in the order in which they are asked."""
        return sorted(self._endpoints, key=lambda endpoint: bool(endpoint.problem))

    def _ask(self, operation: Callable[[ObjectStore], _T], *, before_volume: bool = False) -> _T:
        """Asks one endpoint after the other.

        Args:
            operation: what is asked.
            before_volume: it may be asked while no endpoint shows a record of the volume.
        """
        self._probe_what_is_due()
        with self._lock:
            ordered = self._in_order()
        failed: list[tuple[_Endpoint, StoreUnavailable | StoreRefused]] = []
        for endpoint in ordered:
            try:
                self._prove(endpoint, before_volume=before_volume)
                result = operation(endpoint.store)
            except (StoreUnavailable, StoreRefused) as error:
                failed.append((endpoint, error))
                continue
            except GeosyncError:  # an answer
                self._note(endpoint, failed)
                raise
            self._note(endpoint, failed)
            return result
        raise _error_of_all(failed)

    def _prove(self, endpoint: _Endpoint, *, before_volume: bool) -> None:
        """Has an endpoint show the volume's record, once.

        Raises:
            StoreUnavailable: it does not, now.
            StoreRefused: it shows another one.
        """
        if endpoint.is_proven:
            return
        try:
            record = endpoint.store.get(VOLUME_RECORD, size_bytes_max=PROBE_SIZE_BYTES_MAX)
        except (ObjectNotVisible, CorruptObject) as error:
            if before_volume and self._record is None:
                return
            raise StoreUnavailable(
                f"{VOLUME_RECORD} is not to be seen there: a moment ago the volume was created, or"
                " the endpoint leads to another store; check it with: geosync doctor"
            ) from error
        with self._lock:
            self._record = self._record or record
            endpoint.is_proven = record == self._record
        if not endpoint.is_proven:
            raise StoreRefused(
                f"{VOLUME_RECORD} is another one there than at another endpoint: they lead to"
                " different stores. Correct the endpoints in the configuration."
            )

    def _note(
        self, well: _Endpoint, failed: list[tuple[_Endpoint, StoreUnavailable | StoreRefused]]
    ) -> None:
        """Remembers that an endpoint answered what others could not."""
        told = [(well.name, "")] if self._set_problem(well, "") else []
        told += [(each.name, str(e)) for each, e in failed if self._set_problem(each, str(e))]
        for name, problem in told:
            self._on_change(name, problem)

    def _set_problem(self, endpoint: _Endpoint, problem: str) -> bool:
        """Returns whether that changes whether the endpoint is left alone."""
        now_s = self._monotonic()
        with self._lock:
            is_new = bool(endpoint.problem) != bool(problem)
            if is_new and problem:
                endpoint.down_since_s = endpoint.probed_at_s = now_s
            endpoint.problem = problem
        return is_new

    def _probe_what_is_due(self) -> None:
        now_s = self._monotonic()
        with self._lock:
            due = [
                endpoint
                for endpoint in self._endpoints
                if endpoint.problem
                and not endpoint.is_probed
                and now_s >= endpoint.probed_at_s + PROBE_EVERY_S
            ]
            for endpoint in due:
                endpoint.is_probed = True
        for endpoint in due:
            self._in_background(lambda endpoint=endpoint: self._probe(endpoint))  # type: ignore[misc]

    def _probe(self, endpoint: _Endpoint) -> None:
        """Asks an endpoint for an object that every volume has."""
        problem = ""
        try:
            self._prove(endpoint, before_volume=True)
            endpoint.store.get(VOLUME_RECORD, size_bytes_max=PROBE_SIZE_BYTES_MAX)
        except ObjectNotVisible:
            pass  # an answer, of a volume that is only just made
        except GeosyncError as error:
            problem = str(error)
        finally:
            with self._lock:
                endpoint.is_probed = False
                endpoint.probed_at_s = self._monotonic()
        if self._set_problem(endpoint, problem):
            self._on_change(endpoint.name, problem)


def _error_of_all(
    failed: list[tuple[_Endpoint, StoreUnavailable | StoreRefused]],
) -> StoreUnavailable | StoreRefused:
    """Returns what all failures together mean: who can't tell may be able to later."""
    text = "; ".join(f"through {endpoint.name}: {error}" for endpoint, error in failed)
    unavailable = [error for _, error in failed if isinstance(error, StoreUnavailable)]
    if not unavailable:
        return StoreRefused(text)
    asked_s = [e.retry_after_s for e in unavailable if e.retry_after_s is not None]
    return StoreUnavailable(text, retry_after_s=min(asked_s) if asked_s else None)
