"""A sketch: nodes and edges as they are found, until it is known which groups there are.

The passes are shown apart only where there is a backward pass, which is known at the end. The
user's functions are groups for what stands in no named scope.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fxgrad.graphs.passes import passes
from fxgrad.graphs.record import Edge, EdgeKind, Group, GroupKind, Node, Phase
from fxgrad.places import Frame, inside_the_call, is_users

PASSES: Final[dict[Phase, str]] = {
    "forward": "forward pass",
    "backward": "backward pass",
    "update": "update",
}


class GroupKey(NamedTuple):
    """A group before it has a number; groups of one parent are the same if their keys are equal."""

    kind: GroupKind
    label: str
    identity: Hashable = None


Path = tuple[GroupKey, ...]


@dataclass(frozen=True)
class Sketched:
    """A node as it was found.

    Attributes:
      node: without its group and its phase.
      told: the pass that its name tells of; None if it does not.
      shown_with: the node whose pass it is shown in: inside a fusion the last one, else itself.
      functions: the user's functions around it.
      nest: what else it stands in: scopes, nested functions, loops, branches, a fusion.
    """

    node: Node
    told: Phase | None
    shown_with: int
    functions: Path
    nest: Path


class Sketch:
    """Takes nodes and edges, and gives them with their groups."""

    def __init__(self) -> None:
        self._sketched: list[Sketched] = []
        self._edges: dict[Edge, None] = {}

    def add(
        self, *, told: Phase | None = None, functions: Path = (), nest: Path = (), **facts: Any
    ) -> int:
        """A node; returns its number."""
        number = len(self._sketched)
        node = Node(number=number, **facts)
        self._sketched.append(Sketched(node, told, number, functions, nest))
        return number

    def connect(
        self, sources: Iterable[int], target: int, label: str, kind: EdgeKind = "data"
    ) -> None:
        """An edge from each source."""
        for source in sources:
            self._edges[Edge(source, target, label, kind)] = None

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._sketched)

    def fuse(self, first: int, **facts: Any) -> None:
        """All nodes from `first` on are a fusion; `facts` are said of the last one."""
        last = self.count - 1
        for number in range(first, self.count):
            self._sketched[number] = dataclasses.replace(self._sketched[number], shown_with=last)
        if first <= last:
            known = self._sketched[last]
            node = dataclasses.replace(known.node, **facts)
            self._sketched[last] = dataclasses.replace(known, node=node)

    def finish(self) -> tuple[tuple[Node, ...], tuple[Edge, ...], tuple[Group, ...]]:
        """The nodes with their phases and groups, the edges, and the groups."""
        groups = _Groups()
        phases = passes(
            [s.told for s in self._sketched], [s.node for s in self._sketched], self._edges
        )
        alone = [s.functions for s in self._sketched if s.functions and not _has_scope(s)]
        shared = _shared(alone)
        nodes = []
        for sketched in self._sketched:
            node, path = sketched.node, sketched.nest
            if not _has_scope(sketched):
                path = (*sketched.functions[shared:], *path)
            if "backward" in phases and node.kind == "operation":
                path = (GroupKey("phase", PASSES[phases[sketched.shown_with]]), *path)
            group, phase = groups.number_of(path), phases[node.number]
            nodes.append(dataclasses.replace(node, group=group, phase=phase))
        return tuple(nodes), tuple(self._edges), tuple(groups.groups)


def _has_scope(sketched: Sketched) -> bool:
    return any(key.kind == "scope" for key in sketched.nest)


class _Groups:
    def __init__(self) -> None:
        self.groups: list[Group] = []
        self._numbers: dict[Path, int] = {}

    def number_of(self, path: Path) -> int | None:
        if not path:
            return None
        if path not in self._numbers:
            parent = self.number_of(path[:-1])
            self._numbers[path] = len(self.groups)
            self.groups.append(Group(len(self.groups), parent, path[-1].kind, path[-1].label))
        return self._numbers[path]


def _shared(paths: Sequence[Path]) -> int:
    """How many leading functions all nodes have in common: those around the graphed function."""
    if not paths:
        return 0
    same = (all(key == keys[0] for key in keys) for keys in zip(*paths, strict=False))
    return len(list(itertools.takewhile(bool, same)))


def functions_in(frames: Iterable[Frame]) -> Path:
    """The user's functions on a stack, outermost first, each told by the line that calls it."""
    found = []
    called_at: Hashable = None
    for filename, lineno, function in reversed(list(inside_the_call(frames))):
        if is_users(filename):
            name = function.rpartition(".")[2]
            if not name.startswith("<"):
                found.append(GroupKey("function", name, called_at))
            called_at = (filename, lineno)
    return tuple(found)
