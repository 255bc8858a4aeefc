"""Who gets a name: the rule that turns all claims to one name into what is seen there.

A directory has the name before files; directories of one name are one directory. Of files, the
one placed last has it, with its highest version; equal contents are one file; everything else is
a conflict. Pure and symmetric: only identities, stamps and policies decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from conflict.content import Content
from conflict.merged_tree import NodeStore
from conflict.naming import copy_name
from conflict.node import Location, NodeState, Register, Version
from conflict.operations import (
    MTIME_NS,
    NOTHING,
    AttributeValue,
    Context,
    LinkId,
    NodeId,
)
from conflict.policy import ConflictPolicy, PolicyRule, VolumePolicy
from conflict.stamp import Stamp
from conflict.version import Dot


class ConflictKind(Enum):
    """Why a version is not at its name."""

    CONTENT = "content"  # written concurrently with the version that is there
    NAME = "name"  # another file took the same name concurrently
    DIRECTORY = "directory"  # a directory took the same name concurrently
    DELETED = "deleted"  # the file was deleted while this conflict was open


@dataclass(frozen=True, slots=True)
class Claim:
    """What an entry stands for: a change to the entry replaces all of this."""

    node: NodeId
    link: LinkId
    place_dots: Context
    content_dots: Context = NOTHING
    is_sibling: bool = False  # of a conflict: the file that has the name is the same one


@dataclass(frozen=True, slots=True)
class ConflictCopy:
    """One version that lost."""

    kind: ConflictKind
    version: Version  # of several with equal content, the one with the lowest dot
    claims: tuple[Claim, ...]  # all versions with this content
    copy_name: bytes


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is at one name, or would be: nothing, when `claims` is empty."""

    claims: tuple[Claim, ...] = ()  # of a directory: all that are one; else the winner first
    is_directory: bool = False
    content: Content | None = None
    version: Dot | None = None
    attributes: tuple[tuple[bytes, AttributeValue], ...] = ()
    copies: tuple[ConflictCopy, ...] = ()
    policy: PolicyRule | None = None

    @property
    def shows_copies_beside(self) -> bool:
        """Tells whether the copies are entries of the same directory."""
        return self.policy is not None and self.policy.policy is ConflictPolicy.BESIDE


@dataclass(frozen=True, slots=True)
class _Contender:
    state: NodeState
    link: LinkId
    version: Version
    is_first: bool  # the best version of its node


def render(
    name: bytes,
    claimants: Sequence[tuple[NodeState, LinkId]],
    policy: VolumePolicy,
    rule: PolicyRule,
) -> Rendered:
    """Decides between the live links that claim one name. The order of `claimants` is no matter.

    Args:
        name: the last name of the path.
        claimants: live links at that name, in all directories that share the path.
        policy: of the volume.
        rule: the volume's rule for this path.
    """
    directories = sorted((s for s, _ in claimants if s.is_directory), key=lambda s: s.node)
    contenders = _ranked([c for c in claimants if not c[0].is_directory], policy, rule)
    if not directories and not contenders:
        return Rendered()
    is_newest_only = rule.policy is ConflictPolicy.NEWEST and not directories
    groups = [contenders] if is_newest_only else _by_content(contenders)
    losers = groups if directories else groups[1:]
    winner = None if directories else groups[0][0]
    copies = tuple(sorted(_copies(name, losers, winner), key=lambda copy: copy.version.dot))
    if winner is None:
        return _rendered_directory(directories, copies, rule)
    return Rendered(
        claims=_claims(groups[0]),
        content=winner.version.content,
        version=winner.version.dot,
        attributes=_attributes_of_file(winner),
        copies=copies,
        policy=rule if copies else None,
    )


def _rendered_directory(
    directories: list[NodeState], copies: tuple[ConflictCopy, ...], rule: PolicyRule
) -> Rendered:
    return Rendered(
        claims=tuple(
            Claim(s.node, LinkId(s.node), s.links[LinkId(s.node)].place_dots) for s in directories
        ),
        is_directory=True,
        attributes=joined_attributes(directories),
        copies=copies,
        policy=rule if copies else None,
    )


def joined_attributes(
    states: Iterable[NodeState],
) -> tuple[tuple[bytes, AttributeValue], ...]:
    """Returns the attributes of directories that are one: the latest write of each wins."""
    registers: dict[bytes, Register] = {}
    for state in states:
        for key, register in state.registers.items():
            if key not in registers or registers[key].stamp < register.stamp:
                registers[key] = register
    return _present(registers)


def _attributes_of_file(winner: _Contender) -> tuple[tuple[bytes, AttributeValue], ...]:
    """The modification time belongs to the content: one that came with a loser doesn't count."""
    registers = dict(winner.state.registers)
    mtime = registers.get(MTIME_NS)
    if mtime is not None and mtime.dot in winner.state.versions:
        own = dict(winner.version.attributes).get(MTIME_NS)
        registers[MTIME_NS] = Register(winner.version.stamp, winner.version.dot, own)
    return _present(registers)


def _present(registers: dict[bytes, Register]) -> tuple[tuple[bytes, AttributeValue], ...]:
    return tuple((k, r.value) for k, r in sorted(registers.items()) if r.value is not None)


def _ranked(
    claimants: Sequence[tuple[NodeState, LinkId]], policy: VolumePolicy, rule: PolicyRule
) -> list[_Contender]:
    """Sorts all versions at a name: best version of each file first, last placed file first.

    The place decides between files, not the content: else the name would go to the other file
    whenever somebody edits the copy.
    """

    def by_version(version: Version) -> tuple[bool, int, Stamp]:
        return (not version.is_aside, -policy.rank(rule, version.dot), version.stamp)

    def by_place(claimant: tuple[NodeState, LinkId]) -> tuple[int, Stamp, LinkId]:
        state, link = claimant
        place = max(state.links[link].places or (state.links[link].latest,), key=lambda p: p.stamp)
        return (-policy.rank(rule, place.dot), place.stamp, link)

    firsts: list[_Contender] = []
    others: list[_Contender] = []
    for state, link in sorted(claimants, key=by_place, reverse=True):
        versions = sorted(state.visible_versions(), key=by_version, reverse=True)
        for index, version in enumerate(versions):
            contender = _Contender(state, link, version, is_first=index == 0)
            (others if index else firsts).append(contender)
    return firsts + others


def _by_content(contenders: list[_Contender]) -> list[list[_Contender]]:
    groups: dict[bytes, list[_Contender]] = {}
    for contender in contenders:
        groups.setdefault(contender.version.content.digest, []).append(contender)
    return list(groups.values())


def _claims(group: list[_Contender], holder: NodeState | None = None) -> tuple[Claim, ...]:
    dots: dict[LinkId, set[Dot]] = {}
    states: dict[LinkId, NodeState] = {}
    for contender in group:
        dots.setdefault(contender.link, set()).add(contender.version.dot)
        states[contender.link] = contender.state
    return tuple(
        Claim(
            node=states[link].node,
            link=link,
            place_dots=states[link].links[link].place_dots,
            content_dots=frozenset(seen),
            is_sibling=holder is not None and states[link].node == holder.node,
        )
        for link, seen in dots.items()
    )


def _copies(
    name: bytes, groups: list[list[_Contender]], winner: _Contender | None
) -> Iterator[ConflictCopy]:
    """One copy for each content that lost; the version with the lowest dot speaks for it."""
    for group in groups:
        shown = min(group, key=lambda contender: contender.version.dot)
        if winner is None:
            kind = ConflictKind.DIRECTORY
        elif any(contender.state.node == winner.state.node for contender in group):
            kind = ConflictKind.CONTENT
        else:
            kind = ConflictKind.NAME
        yield ConflictCopy(
            kind=kind,
            version=shown.version,
            claims=_claims(group, winner.state if winner else None),
            copy_name=copy_name(name, shown.version.dot, shown.version.stamp),
        )


def claimants_at(
    store: NodeStore, together: tuple[NodeId, ...], name: bytes
) -> list[tuple[NodeState, LinkId]]:
    """Returns the live links of one name in a directory that is given by all its nodes."""
    found = []
    for parent in together:
        for live in store.live_links_at(Location(parent, name)):
            state = store.node(live.node)
            assert state is not None
            found.append((state, live.link))
    return found
