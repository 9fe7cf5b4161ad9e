"""The recorded paths as data that prints: decisions with their lines, values seen, hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from fxgrad.places import Place
from fxgrad.recorder import place_of
from fxgrad.replay.promotion import Tree
from fxgrad.replay.tree import Node

End = Literal["decision", "output", "python"]

_INDENT_AT_MOST: Final = 24


@dataclass(frozen=True)
class RecordedSegment:
    """One node of the tree of recorded paths.

    Attributes:
      number: its place in the tree's list, from 0.
      parent: the number of the segment before it; None for a first one.
      answer: the value of the decision before it, in words.
      operations: how many operations were recorded in it.
      kinds: how many of each kind, the most frequent first.
      begins: the user's line of its first operation.
      end: what comes after: a decision, the output, or Python, which raised an exception there.
      place: for a decision, the user's line that asked for the value.
      hits: how many calls have come by in segments. Those that one program serves for the whole
        tree do not say which way they went.
      served: for a first one, how its tree is served.
    """

    number: int
    parent: int | None
    answer: str
    operations: int
    kinds: Mapping[str, int]
    begins: Place | None
    end: End
    place: Place | None
    hits: int
    served: str

    def to_dict(self) -> dict[str, Any]:
        """The segment as plain values."""
        places = {"place": self.place, "begins": self.begins}
        plain = {name: place and place.to_dict() for name, place in places.items()}
        return {**vars(self), "kinds": dict(self.kinds), **plain}


@dataclass(frozen=True)
class PathTree:
    """All recorded paths of a Function, each segment after the one before it."""

    segments: tuple[RecordedSegment, ...]

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain values."""
        return {"segments": [segment.to_dict() for segment in self.segments]}

    def __str__(self) -> str:
        depths: dict[int | None, int] = {None: -1}
        lines = []
        for segment in self.segments:
            depths[segment.number] = depth = depths[segment.parent] + 1
            lines.append("  " * min(depth, _INDENT_AT_MOST) + _words(segment))
        return "\n".join(lines) or "nothing recorded"


def path_tree(trees: Iterable[Tree]) -> PathTree:
    """The paths of `trees`. Loops make deep trees, so this does not recurse."""
    segments: list[RecordedSegment] = []
    waiting: list[tuple[Node, int | None, str]] = []
    waiting += [(tree.root, None, tree.served) for tree in trees][::-1]
    while waiting:
        node, parent, served = waiting.pop()
        number = len(segments)
        segments.append(
            RecordedSegment(
                number=number,
                parent=parent,
                answer=value_in_words(node),
                operations=len(node.steps),
                kinds=dict(Counter(step.operation.name for step in node.steps).most_common()),
                begins=place_of(node.steps[0].operation.source) if node.steps else None,
                end="decision" if node.guard else "output" if node.output else "python",
                place=node.place,
                hits=node.hits,
                served=served,
            )
        )
        waiting += [(child, number, "") for child in list(node.children.values())][::-1]
    return PathTree(tuple(segments))


def value_in_words(node: Node) -> str:
    """The value that led to `node`."""
    return "an array" if node.answer is None else np.array2string(node.answer, threshold=8)


def _words(segment: RecordedSegment) -> str:
    led_here = f"{segment.answer}: " if segment.parent is not None else f"({segment.served}) "
    done = f"{segment.operations} operation(s), {segment.hits} hit(s)"
    if segment.end == "decision":
        line = f"  {segment.place.line}" if segment.place else ""
        return f"{led_here}{done}, then {segment.place}{line}"
    end = "the output" if segment.end == "output" else "Python runs"
    return f"{led_here}{done}, then {end}"
