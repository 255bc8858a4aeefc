"""Conflict policies: where concurrent versions of a file go, per glob, the same on all sites.

The policies of a volume are an attribute of its root, so they are replicated like any other
attribute, and two sites that know the same operations show the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from conflict.errors import MalformedValueError
from conflict.node import NodeState
from conflict.operations import POLICY
from conflict.version import ActorId, Dot, actor_id

SITE_KEY_PREFIX = b"site:"  # attribute of the root: the actor follows, the value is its site


class ConflictPolicy(Enum):
    """What happens to the versions that don't win a name."""

    OUTSIDE = b"outside"  # kept in .geosync/conflicts, where no application looks
    BESIDE = b"beside"  # kept next to the file
    NEWEST = b"newest"  # kept in the history only: the next change of the file replaces them
    SITE_PRIORITY = b"site-priority"  # as OUTSIDE, but the site earlier in a list wins


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One line of a volume's policies."""

    glob: bytes
    policy: ConflictPolicy
    sites: tuple[bytes, ...] = ()  # for SITE_PRIORITY, the first wins

    def __post_init__(self) -> None:
        for word in (self.glob, *self.sites):
            if not word or b"\t" in word or b"\n" in word:
                raise MalformedValueError(f"not a glob or site of a conflict policy: {word!r}")
        if bool(self.sites) != (self.policy is ConflictPolicy.SITE_PRIORITY):
            raise MalformedValueError("site-priority, and only it, needs a list of sites")


DEFAULT_RULE = PolicyRule(b"*", ConflictPolicy.OUTSIDE)


@dataclass(frozen=True, slots=True)
class VolumePolicy:
    """All policies of a volume, and the sites that its actors belong to."""

    rules: tuple[PolicyRule, ...] = ()  # the first that matches decides
    sites: Mapping[ActorId, bytes] = field(default_factory=dict)

    def rule_for(self, path: tuple[bytes, ...]) -> PolicyRule:
        """Returns the rule for a path; a glob without a slash looks at the last name only."""
        for rule in self.rules:
            if is_match(rule.glob, path):
                return rule
        return DEFAULT_RULE

    @property
    def depends_on_directory(self) -> bool:
        """Tells whether a file's policy can change when a directory above it is renamed."""
        return any(b"/" in rule.glob for rule in self.rules)

    @property
    def has_site_priority(self) -> bool:
        """Tells whether some versions win for the site that wrote them."""
        return any(rule.policy is ConflictPolicy.SITE_PRIORITY for rule in self.rules)

    def rank(self, rule: PolicyRule, dot: Dot) -> int:
        """Returns how much the author's site yields to others: the lowest rank wins."""
        site = self.sites.get(dot.actor, b"")
        return rule.sites.index(site) if site in rule.sites else len(rule.sites)


def policy_of(root: NodeState | None) -> VolumePolicy:
    """Reads the policies from the root's attributes; what is malformed there counts as absent."""
    if root is None:
        return VolumePolicy()
    text = root.value(POLICY)
    try:
        rules = decode_rules(text) if isinstance(text, bytes) else ()
    except MalformedValueError:
        rules = ()
    sites = {
        actor_id(key[len(SITE_KEY_PREFIX) :]): register.value
        for key, register in root.registers.items()
        if key.startswith(SITE_KEY_PREFIX)
        and len(key) == len(SITE_KEY_PREFIX) + 16
        and isinstance(register.value, bytes)
    }
    return VolumePolicy(rules, sites)


def encode_rules(rules: tuple[PolicyRule, ...]) -> bytes:
    """Writes rules as lines of glob, policy and sites, separated by tabs."""
    return b"".join(
        b"\t".join((rule.glob, rule.policy.value, *rule.sites)) + b"\n" for rule in rules
    )


def decode_rules(text: bytes) -> tuple[PolicyRule, ...]:
    """Reads what `encode_rules` wrote. Raises MalformedValueError."""
    rules = []
    for line in text.removesuffix(b"\n").split(b"\n") if text else ():
        glob, _, rest = line.partition(b"\t")
        name, *sites = rest.split(b"\t")
        try:
            policy = ConflictPolicy(name)
        except ValueError as error:
            raise MalformedValueError(f"not a conflict policy: {name!r}") from error
        rules.append(PolicyRule(glob, policy, tuple(sites)))
    return tuple(rules)


def is_match(glob: bytes, path: tuple[bytes, ...]) -> bool:
    """Tells whether a glob matches a path; one without a slash looks at the last name only."""
    subject = b"/".join(path) if b"/" in glob else path[-1]
    return _glob_pattern(glob).fullmatch(subject) is not None


@lru_cache(maxsize=256)
def _glob_pattern(glob: bytes) -> re.Pattern[bytes]:
    """Translates `**` (any directories), `*` and `?` (within a name); all else is literal."""
    parts = re.split(rb"(\*\*/|\*\*|\*|\?)", glob)
    wild = {b"**/": rb"(?:.*/)?", b"**": rb".*", b"*": rb"[^/]*", b"?": rb"[^/]"}
    pattern = b"".join(wild.get(part, re.escape(part)) for part in parts)
    return re.compile(pattern, re.DOTALL)
