"""A sketch: nodes and edges as they are found, until it is known which groups there are.

The passes are shown apart only where there is a backward pass, and the user's functions are groups
only where no module has named its scope: both are known at the end.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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
    """A node, and where it stands: in a pass, in the user's functions, and in what else nests."""

    node: Node
    shown_in: Phase
    functions: Path
    nest: Path


class Sketch:
    """Takes nodes and edges, and gives them with their groups."""

    def __init__(self) -> None:
        self._sketched: list[Sketched] = []
        self._edges: dict[Edge, None] = {}

    def add(
        self, *, functions: Path = (), nest: Path = (), shown_in: Phase | None = None, **facts: Any
    ) -> int:
        """A node; returns its number. Inside a fusion it may be shown in another pass's group."""
        node = Node(number=len(self._sketched), **facts)
        self._sketched.append(Sketched(node, shown_in or node.phase, functions, nest))
        return node.number

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

    def change(self, number: int, **facts: Any) -> None:
        """Say more about a node that is there."""
        known = self._sketched[number]
        node = dataclasses.replace(known.node, **facts)
        self._sketched[number] = dataclasses.replace(known, node=node)

    def phase_of(self, number: int) -> Phase:
        """The phase of a node that is there."""
        return self._sketched[number].node.phase

    def finish(self) -> tuple[tuple[Node, ...], tuple[Edge, ...], tuple[Group, ...]]:
        """The nodes with their groups, the edges, and the groups."""
        groups = _Groups()
        has_passes = any(sketched.node.phase == "backward" for sketched in self._sketched)
        has_scopes = any(key.kind == "scope" for s in self._sketched for key in s.nest)
        shared = 0 if has_scopes else _shared([s.functions for s in self._sketched if s.functions])
        nodes = []
        for sketched in self._sketched:
            node, path = sketched.node, sketched.nest
            if not has_scopes:
                path = (*sketched.functions[shared:], *path)
            if has_passes and node.kind == "operation":
                path = (GroupKey("phase", PASSES[sketched.shown_in]), *path)
            nodes.append(dataclasses.replace(node, group=groups.number_of(path)))
        return tuple(nodes), tuple(self._edges), tuple(groups.groups)


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
