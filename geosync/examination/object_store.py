"""The object store: whether it can be reached, what these credentials allow, what time it has."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Final, TypeVar

from conflict.errors import GeosyncError
from geosync.assembly.assembly import open_store, open_swift_endpoints, retrying
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration, Mode, StoreKind
from geosync.examination.finding import Fact, Finding, Level, Subject
from geosync.examination.shell_commands import grants, own_command
from geosync.examination.store_behaviour import examine_behaviour
from geosync.terminal import human_duration
from transport.errors import (
    CorruptObject,
    InvalidCredentials,
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)
from transport.object_names import ACTORS_PREFIX, VOLUME_RECORD
from transport.object_store import ObjectStore
from transport.volume_record import VOLUME_RECORD_SIZE_BYTES_MAX, decode_volume_record

STORE_BUDGET_S: Final = 5.0
CLOCK_OFFSET_S_MAX: Final = 60.0
CLOCK_OFFSET_S_HARMFUL: Final = 300.0
CHECK_SIZE_BYTES: Final = 4096

_Result = TypeVar("_Result")


def examine_store(
    configuration: Configuration,
    environment: Mapping[str, str],
    clock: Clock,
    volume_key: bytes | None,
) -> Iterator[Finding]:
    """Asks the store for everything that geosync asks of it, with an object of its own.

    Args:
        configuration: of the site.
        environment: of the process, for credentials.
        clock: of this machine.
        volume_key: that the journal knows; None for a site that has not joined yet.
    """
    try:
        raw = open_store(configuration, environment)
    except InvalidCredentials as error:
        yield Finding(Subject.STORE, Level.FAILURE, str(error), "correct [swift] or the variables")
        return
    yield from _examine_endpoints(configuration, environment, clock, volume_key)
    with closing(raw):
        store = retrying(raw, clock, STORE_BUDGET_S)
        examination = _Examination(configuration, store, clock)
        reach = examination.reach(has_joined=volume_key is not None)
        yield reach
        yield _compare_clocks(configuration, environment, examination)
        if reach.level is not Level.OK:
            return
        yield examination.read_record(volume_key)
        if configuration.mode is Mode.REPLICA:
            text = "what else these credentials may do was not tried: a replica writes nothing"
            yield Finding(Subject.STORE_RIGHTS, Level.OK, text)
            return
        rights = examination.try_rights()
        yield rights
        if rights.facts.get("may_remove"):
            yield from examine_behaviour(store, clock)


def _compare_clocks(
    configuration: Configuration, environment: Mapping[str, str], examination: _Examination
) -> Finding:
    """Compares with the nearest endpoint that answers; a directory has no clock."""
    if configuration.store is not StoreKind.SWIFT:
        text = "the store is a directory, which has no clock to compare with"
        return Finding(Subject.CLOCK, Level.OK, text)
    found = Finding(Subject.CLOCK, Level.NOTE, "the store did not tell its time")
    for _, endpoint in open_swift_endpoints(configuration, environment):
        with closing(endpoint):
            found = examination.compare_clocks(endpoint)
        if found.facts:
            break
    return found


def _examine_endpoints(
    configuration: Configuration,
    environment: Mapping[str, str],
    clock: Clock,
    volume_key: bytes | None,
) -> Iterator[Finding]:
    """Looks at each endpoint by itself, where there are several."""
    if configuration.store is not StoreKind.SWIFT or len(configuration.swift_endpoints) < 2:
        return
    for name, store in open_swift_endpoints(configuration, environment):
        with closing(store):
            one = _Examination(configuration, retrying(store, clock, STORE_BUDGET_S), clock)
            found = one.reach(has_joined=True)
            if found.level is Level.OK and volume_key is not None:
                record = one.read_record(volume_key)
                if record.level is not Level.OK:
                    text = f"endpoint {name} leads to another store: {record.text}"
                    yield replace(record, subject=Subject.ENDPOINT, text=text)
                    continue
            is_well = found.level is Level.OK
            yield replace(
                found,
                subject=Subject.ENDPOINT,
                level=Level.OK if is_well else Level.WARNING,
                text=f"endpoint {name}: {found.text}",
                facts={**found.facts, "endpoint": name},
            )


class _Examination:
    def __init__(self, configuration: Configuration, store: ObjectStore, clock: Clock) -> None:
        self._configuration = configuration
        self._store = store
        self._clock = clock

    def reach(self, *, has_joined: bool) -> Finding:
        """Lists the sites, which needs a login, the containers, and the right to list."""
        commands: tuple[str, ...] = ()
        try:
            names, took_s = self._timed(lambda: list(self._store.list_names(ACTORS_PREFIX)))
        except (StoreUnavailable, StoreRefused) as error:
            if not has_joined and "geosync init" in str(error):
                remedy = "if the volume is new, create it with: geosync init"
                commands = (own_command(self._configuration, "init"),)
                return Finding(Subject.STORE, Level.WARNING, str(error), remedy, commands=commands)
            if isinstance(error, StoreRefused):
                remedy = "check the credentials; the owner of the account grants reading so"
                commands = self._grants(with_writing=False)
            else:
                remedy = "check the address, the network, and the store itself"
                commands = self._address()
            return Finding(Subject.STORE, Level.FAILURE, str(error), remedy, commands=commands)
        text = f"the store answers after {human_duration(took_s)} and knows {len(names)} actors"
        facts = {"answer_s": round(took_s, 4), "actors": len(names)}
        return Finding(Subject.STORE, Level.OK, text, facts=facts)

    def compare_clocks(self, raw: ObjectStore) -> Finding:
        """Compares with the Date header of the store's answers, as far as there is one."""
        ask = getattr(raw, "server_time_s", None)
        assert ask is not None, "only Swift tells its time"
        before_s = self._clock.wall_ns() / 1e9
        try:
            server_s = ask()
        except GeosyncError as error:
            text = f"the store did not tell its time: {error}"
            return Finding(Subject.CLOCK, Level.NOTE, text)
        after_s = self._clock.wall_ns() / 1e9
        if server_s is None:
            return Finding(Subject.CLOCK, Level.NOTE, "the store's answers have no date")
        # The date is cut to whole seconds, somewhere between question and answer.
        offset_s = (before_s + after_s) / 2 - (server_s + 0.5)
        uncertain_s = (after_s - before_s) / 2 + 0.5
        return _clock_finding(offset_s, uncertain_s)

    def read_record(self, volume_key: bytes | None) -> Finding:
        """Reads the record that makes the containers a volume."""
        volume = self._configuration.volume
        try:
            stored = self._store.get(VOLUME_RECORD, size_bytes_max=VOLUME_RECORD_SIZE_BYTES_MAX)
            record = decode_volume_record(stored, volume)
        except ObjectNotVisible:
            level = Level.NOTE if volume_key is None else Level.FAILURE
            text = f"the store shows no record of volume {volume}"
            remedy = "create it with: geosync init" if volume_key is None else "restore the object"
            commands = () if volume_key else (own_command(self._configuration, "init"),)
            return Finding(Subject.VOLUME, level, text, remedy, commands=commands)
        except (StoreUnavailable, StoreRefused, CorruptObject) as error:
            remedy = "restore the object in the store; sites that have joined need it no more"
            return Finding(Subject.VOLUME, Level.FAILURE, str(error), remedy)
        facts: dict[str, Fact] = {
            "created_by": record.created_by,
            "created_at_ms": record.created_at_ms,
        }
        if volume_key is not None and record.key != volume_key:
            return Finding(
                Subject.VOLUME,
                Level.FAILURE,
                f"the store holds another volume {volume} than the one that this site has joined",
                "correct the credentials or the containers; if the volume was made anew, start"
                " this site with an empty state directory",
                facts,
            )
        text = f"volume {volume}, created by site {record.created_by}"
        return Finding(Subject.VOLUME, Level.OK, text, facts=facts)

    def try_rights(self) -> Finding:
        """Stores, reads and removes an object of no meaning, under a name used once."""
        name = f"volume/doctor-{secrets.token_hex(16)}"
        body = os.urandom(CHECK_SIZE_BYTES)
        try:
            _, took_s = self._timed(lambda: self._store.put_once(name, body))
        except StoreRefused as error:
            return Finding(
                Subject.STORE_RIGHTS,
                Level.FAILURE,
                f"these credentials may read and not write: {error}",
                "grant them to write to the containers of the volume, as the owner of the account",
                {"may_write": False},
                self._grants(with_writing=True),
            )
        except GeosyncError as error:
            return Finding(Subject.STORE_RIGHTS, Level.FAILURE, str(error), "try again later")
        facts = {"may_write": True, "put_s": round(took_s, 4)}
        try:
            found = self._store.get(name, size_bytes_max=CHECK_SIZE_BYTES)
            part = self._store.get_range(name, 100, 50)
        except ObjectNotVisible:
            found, part = body, body[100:150]  # eventual consistency: nothing that we rely on
        except GeosyncError as error:
            return Finding(
                Subject.STORE_RIGHTS, Level.FAILURE, str(error), "look at the store", facts
            )
        if (found, part) != (body, body[100:150]):
            text = f"the store gave back other bytes than were stored as {name}"
            return Finding(Subject.STORE_RIGHTS, Level.FAILURE, text, "look at the store", facts)
        return self._removed(name, facts)

    def _removed(self, name: str, facts: Mapping[str, Fact]) -> Finding:
        try:
            self._store.delete(name)
        except GeosyncError as error:
            return Finding(
                Subject.STORE_RIGHTS,
                Level.NOTE,
                f"these credentials may write and read, and not remove: {error}",
                f"grant it, or nothing is ever collected; {name} was left in the store",
                {**facts, "may_remove": False},
            )
        return Finding(
            Subject.STORE_RIGHTS,
            Level.OK,
            "these credentials may write, read and remove",
            facts={**facts, "may_remove": True},
        )

    def _grants(self, *, with_writing: bool) -> tuple[str, ...]:
        if self._configuration.store is not StoreKind.SWIFT:
            return ()
        return grants(self._configuration, with_writing=with_writing)

    def _address(self) -> tuple[str, ...]:
        address = self._configuration.swift.get("auth_url")
        if not address:
            return ()
        return (f"curl -sS -o /dev/null -w '%{{http_code}}\\n' {shlex.quote(address)}",)

    def _timed(self, act: Callable[[], _Result]) -> tuple[_Result, float]:
        began_s = self._clock.monotonic_s()
        result = act()
        return result, self._clock.monotonic_s() - began_s


def _clock_finding(offset_s: float, uncertain_s: float) -> Finding:
    facts = {"offset_s": round(offset_s, 1), "uncertain_s": round(uncertain_s, 1)}
    if abs(offset_s) - uncertain_s <= CLOCK_OFFSET_S_MAX:
        error = human_duration(abs(offset_s) + uncertain_s)
        text = f"the clock agrees with the store's, to {error}"
        return Finding(Subject.CLOCK, Level.OK, text, facts=facts)
    way = "ahead of" if offset_s > 0 else "behind"
    is_harmful = abs(offset_s) - uncertain_s > CLOCK_OFFSET_S_HARMFUL
    return Finding(
        Subject.CLOCK,
        Level.FAILURE if is_harmful else Level.WARNING,
        f"the clock is {human_duration(abs(offset_s))} {way} the store's: nothing is lost by that,"
        " but this site wins or loses conflicts that it should not",
        "set up NTP here, or look at the store's clock",
        facts,
        ("timedatectl set-ntp true", "timedatectl timesync-status"),
    )
