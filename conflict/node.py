"""The state of one node: which of its names, versions and attributes still count.

Absorbing operations is independent of their order, as long as an operation comes after those in
its context: each only ever takes away what it names, and adds itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from conflict.content import Content
from conflict.operations import (
    AttributeChanges,
    AttributeValue,
    Context,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Place,
    Put,
    SetAttributes,
    TreeOperation,
)
from conflict.stamp import Stamp
from conflict.version import Dot


class Location(NamedTuple):
    """A name in a directory."""

    parent: NodeId
    name: bytes


@dataclass(frozen=True, slots=True)
class PlaceRecord:
    """One place operation, as far as the tree still needs it."""

    dot: Dot
    stamp: Stamp
    location: Location


@dataclass(frozen=True, slots=True)
class LinkState:
    """One name of a node."""

    places: tuple[PlaceRecord, ...]  # neither replaced by a later place nor deleted
    latest: PlaceRecord  # the one with the highest stamp of all that ever were

    @property
    def location(self) -> Location:
        """Where the name is (or was): the latest place, one that still counts before others."""
        if len(self.places) == 1:
            return self.places[0].location
        return max(self.places or (self.latest,), key=lambda place: place.stamp).location

    @property
    def place_dots(self) -> Context:
        """The places that a change of this name replaces."""
        return frozenset(place.dot for place in self.places)


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a file that no later content has replaced."""

    dot: Dot
    stamp: Stamp
    content: Content
    attributes: AttributeChanges  # as set together with the content
    via: LinkId
    is_deleted: bool = False  # whoever deleted the file's last name had this version on disk
    unlinked: frozenset[LinkId] = frozenset()  # names deleted, by somebody who kept another one
    is_aside: bool = False  # whoever deleted the file saw this version as a conflict beside it
    is_settled: bool = False  # somebody who saw it as a conflict no longer wanted it


@dataclass(frozen=True, slots=True)
class Register:
    """The value of one attribute: the latest write wins."""

    stamp: Stamp
    dot: Dot
    value: AttributeValue


@dataclass(slots=True)
class NodeState:
    """All that the tree needs to know of one file or directory."""

    node: NodeId
    is_directory: bool
    created: Stamp
    links: dict[LinkId, LinkState] = field(default_factory=dict)
    versions: dict[Dot, Version] = field(default_factory=dict)
    registers: dict[bytes, Register] = field(default_factory=dict)
    location: Location | None = None  # of a directory, after all moves in order of their stamps
    live_child_count: int = 0  # of a directory

    @property
    def is_live_directory(self) -> bool:
        """A directory lives while one of its places counts, or while anything below it lives."""
        return self.live_child_count > 0 or any(link.places for link in self.links.values())

    @property
    def is_placed(self) -> bool:
        """Whether any name has a place that counts: then none comes back for an edit."""
        for state in self.links.values():  # noqa: SIM110 - asked for with each operation
            if state.places:
                return True
        return False

    @property
    def is_present(self) -> bool:
        """Whether the node has a name in the tree; cheaper than to look at all of many."""
        if self.is_directory:
            return bool(self.presence())
        return bool(self.versions) if self.is_placed else bool(self._live_links())

    @property
    def has_several_names(self) -> bool:
        """Whether a file has hard links in the tree; cheaper than to look at all of many."""
        if self.is_directory:
            return False
        placed = (link for link, state in self.links.items() if state.places)
        if self.versions and next(placed, None) is not None:
            return next(placed, None) is not None
        return len(self._live_links()) > 1

    def location_of(self, link: LinkId) -> Location | None:
        """Returns where one of its names is in the tree, as `presence` has it."""
        if self.is_directory:
            return self.presence().get(link)
        state = self.links.get(link)
        if state is None or not self.versions:
            return None
        is_there = state.places or (not self.is_placed and link in self._revived_links())
        return state.location if is_there else None

    def is_placed_but_for(self, link: LinkId) -> bool:
        """Tells whether another name than this one has a place that counts."""
        return any(state.places and other != link for other, state in self.links.items())

    def presence(self, only: LinkId | None = None) -> dict[LinkId, Location]:
        """Returns the names under which the node is in the tree; empty when it is gone.

        Args:
            only: the one name that is asked for; None for all.
        """
        if only is not None:
            at = self.location_of(only)
            return {} if at is None else {only: at}
        if self.is_directory:
            if not self.is_live_directory or self.location is None:
                return {}
            return dict.fromkeys(self.links, self.location)
        return {link: self.links[link].location for link in self._live_links()}

    def _live_links(self) -> set[LinkId]:
        if not self.versions:
            return set()
        return {link for link, state in self.links.items() if state.places} or self._revived_links()

    def _revived_links(self) -> set[LinkId]:
        """Returns the names that come back for a version, where none has a place."""
        return {link for version in self._unsettled() for link in self._revived_names(version)}

    def _revived_names(self, version: Version) -> set[LinkId]:
        """Returns the name that comes back for a version whose author knew of no deletion.

        That is the name through which it was written or, where that one alone was taken away,
        the latest of the others: whoever took it away kept the file there.
        """
        if version.is_deleted or version.is_aside:
            return set()
        if version.via not in version.unlinked:
            return {version.via}
        kept = set(self.links) - version.unlinked
        return {max(kept, key=lambda link: self.links[link].latest.stamp)} if kept else set()

    def _unsettled(self) -> list[Version]:
        """Returns versions that are wanted, or all when each lost to another one somewhere."""
        unsettled = [version for version in self.versions.values() if not version.is_settled]
        return unsettled or list(self.versions.values())

    def visible_versions(self) -> list[Version]:
        """Returns the versions that compete for the node's names, in no particular order.

        Deleted versions come back only where a concurrent move keeps a name alive and nothing
        newer can take it (move beats delete).
        """
        if not self.is_present:
            return []
        if len(self.versions) == 1:
            return list(self.versions.values())
        unsettled = self._unsettled()
        wanted = [version for version in unsettled if not version.is_deleted]
        if any(not version.is_aside for version in wanted):
            return wanted
        return unsettled

    def orphaned_versions(self) -> list[Version]:
        """Returns unsettled conflicts of a file that is gone, in no particular order."""
        if self.is_directory or self.is_present:
            return []
        return [v for v in self._unsettled() if v.is_aside and not v.is_deleted]

    def may_conflict(self) -> bool:
        """Tells whether there is more than one version, or one without a file."""
        if len(self.versions) < 2 and not any(v.is_aside for v in self.versions.values()):
            return False
        return len(self.visible_versions()) > 1 or bool(self.orphaned_versions())

    def value(self, key: bytes) -> AttributeValue:
        """Returns an attribute, None when it was never set or was taken away."""
        register = self.registers.get(key)
        return register.value if register else None

    def absorb(self, operation: TreeOperation) -> None:
        """Takes in one operation on this node."""
        match operation:
            case Place():
                self._absorb_place(operation)
            case Put():
                for dot in operation.context:
                    self.versions.pop(dot, None)
                self.versions[operation.dot] = Version(
                    dot=operation.dot,
                    stamp=operation.stamp,
                    content=operation.content,
                    attributes=operation.attributes,
                    via=operation.via,
                )
                self._absorb_attributes(operation)
            case SetAttributes():
                self._absorb_attributes(operation)
            case Delete():
                self._absorb_delete(operation)
            case Drop():
                for dot in operation.context & self.versions.keys():
                    self.versions[dot] = replace(self.versions[dot], is_settled=True)

    def _absorb_place(self, operation: Place) -> None:
        record = PlaceRecord(
            operation.dot, operation.stamp, Location(operation.parent, operation.name)
        )
        link = self.links.get(operation.link)
        if link is None:
            self.links[operation.link] = LinkState((record,), record)
            return
        kept = tuple(place for place in link.places if place.dot not in operation.context)
        latest = max(link.latest, record, key=lambda place: place.stamp)
        self.links[operation.link] = LinkState((*kept, record), latest)

    def _absorb_delete(self, operation: Delete) -> None:
        link = self.links[operation.link]
        kept = tuple(place for place in link.places if place.dot not in operation.context)
        self.links[operation.link] = replace(link, places=kept)
        for dot, version in self.versions.items():
            if dot in operation.context and operation.is_last_name:
                self.versions[dot] = replace(version, is_deleted=True)
            elif dot in operation.context:
                unlinked = version.unlinked | {operation.link}
                self.versions[dot] = replace(version, unlinked=unlinked)
            elif dot in operation.aside:
                self.versions[dot] = replace(version, is_aside=True)

    def _absorb_attributes(self, operation: Put | SetAttributes) -> None:
        for key, value in operation.attributes:
            register = self.registers.get(key)
            if register is None or register.stamp < operation.stamp:
                self.registers[key] = Register(operation.stamp, operation.dot, value)
