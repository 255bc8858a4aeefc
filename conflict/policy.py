"""Conflict policies: what becomes of concurrent versions of a file, per glob, alike on all sites.

The policies of a volume are attributes of its root, one for each glob, so they are replicated like
any other attribute: of two changes of one rule the later one counts, changes of different rules
are both kept, and two sites that know the same operations show the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from conflict.errors import MalformedValueError
from conflict.node import NodeState
from conflict.operations import ATTRIBUTE_KEY_SIZE_BYTES_MAX, POLICY_PREFIX, AttributeChanges
from conflict.version import ActorId, Dot, actor_id

SITE_KEY_PREFIX = b"site:"  # attribute of the root: the actor follows, the value is its site
GLOB_SIZE_BYTES_MAX = ATTRIBUTE_KEY_SIZE_BYTES_MAX - len(POLICY_PREFIX)


class ConflictPolicy(Enum):
    """What happens to the versions that don't win a name."""

    OUTSIDE = b"outside"  # kept in .geosync/conflicts, where no application looks
    BESIDE = b"beside"  # kept next to the file
    NEWEST = b"newest"  # kept in the history only: the next change of the file replaces them
    SITE_PRIORITY = b"site-priority"  # as OUTSIDE, but the site earlier in a list wins
    UNION = b"union"  # a site writes a version with the lines of all; until then as OUTSIDE
    MERGE = b"merge"  # a site merges them by what they come from; as OUTSIDE where it can't
    COMMAND = b"command"  # a program of a site merges them; as OUTSIDE where it can't

    @property
    def computes_content(self) -> bool:
        """Tells whether a site is to write a version that settles the conflict."""
        return self in (ConflictPolicy.UNION, ConflictPolicy.MERGE, ConflictPolicy.COMMAND)

    @property
    def shows_copies_outside(self) -> bool:
        """Tells whether losing versions are shown in the private directory."""
        return self not in (ConflictPolicy.BESIDE, ConflictPolicy.NEWEST)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One of a volume's policies."""

    glob: bytes
    policy: ConflictPolicy
    sites: tuple[bytes, ...] = ()  # for SITE_PRIORITY, the first wins
    program: bytes = b""  # for COMMAND, by the name that the configurations of sites give it

    def __post_init__(self) -> None:
        if not 1 <= len(self.glob) <= GLOB_SIZE_BYTES_MAX:
            raise MalformedValueError(f"not a glob of a conflict policy: {self.glob[:300]!r}")
        for word in (*self.sites, self.program or b"none"):
            if not word or b"\t" in word or b"\n" in word:
                raise MalformedValueError(f"not a word of a conflict policy: {word!r}")
        if bool(self.sites) != (self.policy is ConflictPolicy.SITE_PRIORITY):
            raise MalformedValueError("site-priority, and only it, needs a list of sites")
        if bool(self.program) != (self.policy is ConflictPolicy.COMMAND):
            raise MalformedValueError("command, and only it, needs the name of a program")

    @property
    def order(self) -> tuple[bool, int, bytes]:
        """By which rules are sorted: the first that matches a path is the one for it.

        Globs of paths go before globs of names, then those with more letters before others. So
        two sites that add a rule each need not agree about their order.
        """
        letters = len(self.glob.translate(None, b"*?"))
        return b"/" not in self.glob, -letters, self.glob

    @property
    def text(self) -> str:
        """The policy as an operator writes it; the glob is not part of it."""
        words = b",".join(self.sites) or self.program
        text = self.policy.value + (b":" + words if words else b"")
        return text.decode(errors="backslashreplace")


DEFAULT_RULE = PolicyRule(b"*", ConflictPolicy.OUTSIDE)


@dataclass(frozen=True, slots=True)
class VolumePolicy:
    """All policies of a volume, and the sites that its actors belong to."""

    rules: tuple[PolicyRule, ...] = ()  # sorted by their order: the first that matches decides
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
    values = {
        key: register.value
        for key, register in root.registers.items()
        if isinstance(register.value, bytes)
    }
    sites = {
        actor_id(key[len(SITE_KEY_PREFIX) :]): value
        for key, value in values.items()
        if key.startswith(SITE_KEY_PREFIX) and len(key) == len(SITE_KEY_PREFIX) + 16
    }
    found = (
        _rule_of(key[len(POLICY_PREFIX) :], value)
        for key, value in values.items()
        if key.startswith(POLICY_PREFIX)
    )
    rules = sorted((rule for rule in found if rule is not None), key=lambda rule: rule.order)
    return VolumePolicy(tuple(rules), sites)


def set_rule(rule: PolicyRule) -> AttributeChanges:
    """Returns what is to be written of the root so that a rule holds, in place of its glob's."""
    words = (rule.policy.value, *rule.sites, *((rule.program,) if rule.program else ()))
    return ((POLICY_PREFIX + rule.glob, b"\t".join(words)),)


def unset_rule(glob: bytes) -> AttributeChanges:
    """Returns what is to be written of the root so that a glob has no rule any more."""
    return ((POLICY_PREFIX + glob, None),)


def replace_rules(before: VolumePolicy, rules: Iterable[PolicyRule]) -> AttributeChanges:
    """Returns what is to be written of the root so that these rules hold, and no others."""
    gone = (change for rule in before.rules for change in unset_rule(rule.glob))
    new = (change for rule in rules for change in set_rule(rule))
    return tuple(sorted((dict(gone) | dict(new)).items()))


def rule_from(glob: str, text: str) -> PolicyRule:
    """Reads a rule as an operator writes it: `PolicyRule.text`. Raises MalformedValueError."""
    name, _, rest = text.partition(":")
    words = tuple(word.encode() for word in rest.split(",")) if rest else ()
    rule = _rule_of(glob.encode(errors="surrogateescape"), b"\t".join((name.encode(), *words)))
    if rule is None:
        raise MalformedValueError(f"{text!r} is no conflict policy")
    return rule


def _rule_of(glob: bytes, value: bytes) -> PolicyRule | None:
    name, *words = value.split(b"\t")
    try:
        policy = ConflictPolicy(name)
        if policy is ConflictPolicy.COMMAND:
            return PolicyRule(glob, policy, program=words[0]) if len(words) == 1 else None
        return PolicyRule(glob, policy, tuple(words))
    except (ValueError, MalformedValueError):
        return None


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
