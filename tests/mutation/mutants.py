"""Ways to break the merge rules, each as a change to the text of the `conflict` package."""

from __future__ import annotations

from dataclasses import dataclass

AUTHOR = "author.py"
NODE = "node.py"
PROJECTION = "projection.py"
RENDERING = "rendering.py"
TREE = "merged_tree.py"


@dataclass(frozen=True)
class Patch:
    """Replaces text that is there exactly once, in one module."""

    module: str
    old: str
    new: str


MUTANTS: dict[str, tuple[Patch, ...]] = {
    "no cycle check": (
        Patch(TREE, "not locations.is_at_or_below(target.parent, node)", "True"),
        Patch(PROJECTION, "ancestor not in (ROOT, operation.node)", "False"),
        Patch(PROJECTION, "if ancestor == ROOT:", "if True:"),
    ),
    "younger moves are not undone": (
        Patch(TREE, "= self._store.moves_after(operation.stamp)", "= []"),
    ),
    "ancestors are not revived": (
        Patch(NODE, "self.live_child_count > 0 or any(", "any("),
        Patch(PROJECTION, "parent != ROOT and parent not in shown", "False"),
    ),
    "delete beats edit": (Patch(NODE, "if version.is_deleted or version.is_aside:", "if True:"),),
    "losers are forgotten": (
        Patch(RENDERING, "else groups[1:]", "else []"),
        Patch(RENDERING, "losers = groups if", "losers = [] if"),
    ),
    "ties are broken by order of arrival": (
        Patch(RENDERING, "policy.rank(rule, version.dot), version.stamp)", "0, (0, 0, b''))"),
    ),
    "context is knowledge, not disk": (
        Patch(AUTHOR, "attributes, first.content_dots)", "attributes, self._known(first))"),
        Patch(
            AUTHOR,
            "    def _places(",
            "    def _known(self, claim: Claim) -> Context:\n"
            "        return frozenset(self._state(claim.node).versions)\n\n"
            "    def _places(",
        ),
    ),
    "copy name without dot": (
        Patch("naming.py", 'b".gs-%s-%s-%d" % (_utc(stamp.time_ms), ', 'b".gs-%s" % ('),
        Patch("naming.py", "dot.actor[:4].hex().encode(), dot.counter)", "_utc(stamp.time_ms))"),
    ),
    "directories of one name are not merged": (
        Patch(
            RENDERING, "_rendered_directory(directories,", "_rendered_directory(directories[:1],"
        ),
    ),
    "delete beats move": (
        Patch(
            NODE,
            "if not self.versions:",
            "if all(version.is_deleted for version in self.versions.values()):",
        ),
    ),
    "every unlink deletes the content": (Patch(NODE, " and operation.is_last_name:", ":"),),
    "no unlink deletes the content": (
        Patch(NODE, "operation.context and operation.is_last_name:", "():"),
    ),
    "names that are left are not known": (
        Patch(NODE, "set(self.links) - version.unlinked", "set()"),
    ),
    "aside is ignored": (Patch(NODE, "elif dot in operation.aside:", "elif False:"),),
    "equal contents are conflicts": (
        Patch(RENDERING, "contender.version.content.digest", "str(contender.version.dot).encode()"),
    ),
    "the loser's modification time wins": (
        Patch(RENDERING, "mtime is not None and mtime.dot in", "None in"),
    ),
    "attributes are one register": (
        Patch(NODE, "register is None or register.stamp <", "self._latest() <"),
        Patch(
            NODE,
            "    def _absorb_attributes(",
            "    def _latest(self) -> Stamp:\n"
            "        stamps = [register.stamp for register in self.registers.values()]\n"
            "        return max(stamps, default=self.created)\n\n"
            "    def _absorb_attributes(",
        ),
    ),
    "stamps are not after what they replace": (
        Patch(AUTHOR, "self._now_ms, [*seen, *after])", "self._now_ms, [])"),
    ),
    "moves are not after the moves that are known": (
        Patch(AUTHOR, "self._now_ms, [*seen, *after])", "self._now_ms, seen)"),
    ),
    "the content decides who has a name": (
        Patch(
            RENDERING,
            "policy.rank(rule, place.dot), place.stamp, link)",
            "policy.rank(rule, place.dot), max(v.stamp for v in state.versions.values()), link)",
        ),
    ),
    "each site has policies of its own": (
        Patch(
            NODE,
            "or register.stamp < operation.stamp:",
            'or register.stamp < operation.stamp or key[:7] == b"policy:":',
        ),
    ),
    "newest hides what a deletion then uncovers": (
        Patch(RENDERING, "[contenders] if is_newest_only else _by_content", "_by_content"),
        Patch(RENDERING, "else groups[1:]", "else [] if is_newest_only else groups[1:]"),
    ),
    "settled versions are gone for good": (
        Patch(NODE, "return unsettled or list(self.versions.values())", "return unsettled"),
    ),
    "settling may take the name of the file": (
        Patch(AUTHOR, "claim.is_sibling or not visible", "not visible"),
    ),
    "names that came back yield to the next one": (
        Patch(AUTHOR, "        self._place_again(claim.node)\n", ""),
    ),
    "the loser of a name wins the next one": (
        Patch(AUTHOR, "for claim in reversed(claims))[::-1]", "for claim in claims)"),
    ),
    "chmod looks at one of several merged directories": (
        Patch(
            AUTHOR, "self._next(*(claim.node for claim in claims))", "self._next(claims[0].node)"
        ),
    ),
}
